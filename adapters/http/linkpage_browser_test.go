package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

// browser is a real one. Tests that need it fail where there is none: a page that nobody has opened is not tested.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	require.NotEmpty(t, path, "no Chromium here; install it (on Debian: apt-get install chromium)")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.WSURLReadTimeout(time.Minute))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// visit is one tab, in a window of a size, on an API of its own.
type visit struct {
	*api
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	problems []string // what the browser complains about
	requests []string // "METHOD path" of all it has sent
}

type look struct {
	width, height int64
	language      string
	dark          bool
	noScripts     bool
}

func (l look) open(in context.Context, t *testing.T, options ...func(*Config)) *visit {
	t.Helper()
	v := &visit{api: newAPI(t, options...), t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.requests = append(v.requests, r.Method+" "+r.URL.Path)
		v.mu.Unlock()
		v.engine.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	v.base = server.URL
	ctx, cancel := chromedp.NewContext(in)
	t.Cleanup(cancel)
	v.ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(v.ctx, v.hear))
	scheme := map[bool]string{true: "dark", false: "light"}[l.dark]
	v.run(command(cdplog.Enable, cdp.Empty{}), command(network.Enable, network.EnableParams{}), command(runtime.Enable, cdp.Empty{}),
		command(accessibility.Enable, cdp.Empty{}),
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScripts}),
		command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": l.language}}))
	return v
}

// command is one of the protocol's whose answer does not matter.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, params)
		return chromedp.Void{}, err
	}
}

// answerOf is one whose answer does.
func answerOf[P, R any](v *visit, c cdp.Command[P, R], params P) R {
	v.t.Helper()
	out, err := chromedp.Run(v.ctx, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
	require.NoError(v.t, err)
	return out
}

func (v *visit) hear(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		v.problems = append(v.problems, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		v.problems = append(v.problems, "console."+string(e.Type))
	case *runtime.EventExceptionThrown:
		v.problems = append(v.problems, e.ExceptionDetails.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, v.base+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			v.problems = append(v.problems, "asks elsewhere: "+e.Request.URL)
		}
	}
}

func (v *visit) run(actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	require.NoError(v.t, chromedp.Do(v.ctx, actions...))
}

// named are the accessible names of a role, as a screen reader has them, in order.
func (v *visit) named(role string) []string {
	v.t.Helper()
	var out []string
	for _, node := range answerOf(v, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Role != nil && string(node.Role.Value) == `"`+role+`"` && !node.Ignored && node.Name != nil {
			var name string
			require.NoError(v.t, json.Unmarshal([]byte(node.Name.Value), &name))
			out = append(out, name)
		}
	}
	return out
}

// fits reports that nothing is cut off or has to be scrolled sideways.
func (v *visit) fits(width int64) {
	v.t.Helper()
	require.LessOrEqual(v.t, answerOf(v, page.GetLayoutMetrics, cdp.Empty{}).CSSContentSize.Width, float64(width))
}

// press goes to the first button with the keyboard alone, and presses it.
func (v *visit) press() {
	v.t.Helper()
	v.run(chromedp.KeyEvent(kb.Tab), chromedp.WaitReady(chromedp.CSS("button:focus-visible")))
	_, err := chromedp.RunResponse(v.ctx, chromedp.KeyEvent(kb.Enter))
	require.NoError(v.t, err)
}

func (v *visit) used() []ports.LinkUse {
	v.links.mu.Lock()
	defer v.links.mu.Unlock()
	return append([]ports.LinkUse(nil), v.links.uses...)
}

// picture keeps what is seen where ACCORD_SCREENSHOTS names a folder.
func (v *visit) picture(name string) {
	v.t.Helper()
	dir := os.Getenv("ACCORD_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(v.ctx, chromedp.CaptureScreenshot())
	require.NoError(v.t, err)
	require.NoError(v.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

func (v *visit) finish() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	require.Empty(v.t, v.problems)
	for _, r := range v.requests {
		require.Regexp(v.t, `^(GET|POST) /[uc]/good$`, r, "the page needs nothing else")
	}
}

// The pages in a real browser: three languages, narrow and wide, light and dark, by keyboard, without scripts. To see it
// fail, take the style's hash out of the policy, give the button no text, or withdraw in GetUnsubscribePage.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	in := browser(t)
	for name, test := range map[string]struct {
		look
		path, heading, button, after string
		topic                        bool
	}{
		"unsubscribe-en-wide": {look: look{1280, 800, "en-GB,en", false, false}, path: "/u/good", heading: "Unsubscribe",
			button: "Unsubscribe from all marketing e-mail", after: "You are unsubscribed"},
		"unsubscribe-de-narrow-no-scripts": {look: look{360, 740, "de-AT,de", false, true}, path: "/u/good", heading: "Abmelden",
			button: "„Sonderangebote“ abbestellen", after: "Sie sind abgemeldet", topic: true},
		"unsubscribe-fr-narrow-dark": {look: look{360, 740, "fr", true, false}, path: "/u/good", heading: "Se désabonner",
			button: "Se désabonner de tous les e-mails publicitaires", after: "Vous êtes désabonné(e)"},
		"confirm-en-wide-no-scripts": {look: look{1280, 800, "en", false, true}, path: "/c/good", heading: "Confirm your subscription",
			button: "Yes, subscribe me", after: "You are subscribed"},
		"confirm-de-wide-dark": {look: look{1280, 800, "de", true, false}, path: "/c/good", heading: "Anmeldung bestätigen",
			button: "Ja, ich melde mich an", after: "Sie sind angemeldet"},
		"confirm-fr-narrow": {look: look{320, 640, "fr-CH,fr", false, false}, path: "/c/good", heading: "Confirmer votre abonnement",
			button: "Oui, je m’abonne", after: "Vous êtes abonné(e)"},
	} {
		t.Run(name, func(t *testing.T) {
			v := test.open(in, t, func(c *Config) { c.Brand = "Maison Example" })
			v.links.view.Settled = true
			if test.topic {
				v.links.view.Topic = preference.Topic{Key: "offers", Title: "Sonderangebote"}
			}
			for range 3 { // as scanners do
				v.run(chromedp.Navigate(v.base + test.path))
			}
			require.Empty(t, v.used(), "fetching changes nothing")
			v.fits(test.width)
			require.Equal(t, []string{test.heading}, v.named("heading"))
			require.Equal(t, test.button, v.named("button")[0])
			require.Len(t, v.named("main"), 1)
			v.picture(name)
			v.press()
			require.Equal(t, []string{test.after}, v.named("heading"))
			require.Len(t, v.used(), 1)
			require.False(t, v.used()[0].OneClick, "a person pressed it")
			v.fits(test.width)
			v.picture(name + "-done")
			require.Empty(t, answerOf(v, network.GetCookies, network.GetCookiesParams{}).Cookies)
			v.finish()
		})
	}
}

// What others name themselves is text in a browser too, and the policy would stop it if it were not.
func TestAHostileNameRunsNothingInABrowser(t *testing.T) {
	t.Parallel()
	const hostile = `<img src=x onerror="console.error('ran')"><script>console.error('ran')</script>`
	v := look{800, 600, "en", false, false}.open(browser(t), t, func(c *Config) { c.Brand = hostile })
	v.links.view.Topic = preference.Topic{Key: "offers", Title: hostile}
	v.run(chromedp.Navigate(v.base+"/u/good"), chromedp.WaitVisible(chromedp.CSS("button")))
	require.Contains(t, v.named("button")[0], "<img src=x")
	images, err := chromedp.Run(v.ctx, chromedp.Nodes(chromedp.CSS("img, script"), chromedp.AtLeast(0)))
	require.NoError(t, err)
	require.Empty(t, images)
	v.finish()
}
