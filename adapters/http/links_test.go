package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

func TestLinksForThoseWhoSendTheEMail(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var link UnsubscribeLink
	got := a.call("POST", "/v1/customers/ada/unsubscribe-links", "mailer", "").is(200)
	require.JSONEq(t, `{"url":"https://mail.example/u/ada","headers":{"List-Unsubscribe":"<https://mail.example/u/ada>","List-Unsubscribe-Post":"List-Unsubscribe=One-Click"}}`, string(got.body))
	a.call("POST", "/v1/customers/ada/unsubscribe-links", "mailer", `{"topic":"offers"}`).is(200).json(&link)
	require.Equal(t, "https://mail.example/u/adaoffers", link.Url)
	var confirmation ConfirmationLink
	a.call("POST", "/v1/customers/ada/confirmation-links", "mailer", "").is(200).json(&confirmation)
	require.Equal(t, "https://mail.example/c/ada", confirmation.Url)
	require.Equal(t, "2026-05-07T10:00:00Z", confirmation.ExpiresAt.Format("2006-01-02T15:04:05Z07:00"))

	for _, path := range []string{"/v1/customers/ada/unsubscribe-links", "/v1/customers/ada/confirmation-links"} {
		a.call("POST", path, "ada", "").is(403)
		a.call("POST", path, "reader", "").is(403)
		a.call("POST", path, "", "").is(401)
	}
	require.Equal(t, map[string]string{"topics": "unknown_field"}, fields(a.call("POST", "/v1/customers/ada/unsubscribe-links", "mailer", `{"topics":"x"}`).is(400).problem()))
	a.links.err = fault.New(fault.Conflict, "nothing-to-confirm", "nothing waits")
	require.Equal(t, "nothing-to-confirm", a.call("POST", "/v1/customers/ada/confirmation-links", "mailer", "").is(409).problem().Code)
}

func TestAPageChangesNothingHoweverOftenItIsFetched(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, path := range []string{"/u/good", "/c/good"} {
		for range 20 {
			page := a.call("GET", path, "", "").is(200)
			require.Contains(t, string(page.body), "<button")
			require.Contains(t, string(page.body), "Example &amp; Sons")
			require.Empty(t, page.header.Values("Set-Cookie"))
			require.Equal(t, "no-store", page.header.Get("Cache-Control"))
			require.Equal(t, "no-referrer", page.header.Get("Referrer-Policy"))
			require.Equal(t, "noindex, nofollow", page.header.Get("X-Robots-Tag"))
			require.Equal(t, "nosniff", page.header.Get("X-Content-Type-Options"))
			require.Regexp(t, `^default-src 'none'; style-src 'sha256-[^']+'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$`, page.header.Get("Content-Security-Policy"))
		}
	}
	require.Equal(t, 40, a.links.looks)
	head := httptest.NewRecorder()
	headAsGet(a.engine.Handler()).ServeHTTP(head, httptest.NewRequest(http.MethodHead, "/u/good", nil))
	require.Equal(t, 200, head.Code)
	require.Empty(t, a.links.uses)
}

func TestAMailProvidersClickAndAPersonsAreToldApart(t *testing.T) {
	t.Parallel()
	var multi bytes.Buffer
	w := multipart.NewWriter(&multi)
	require.NoError(t, w.WriteField("List-Unsubscribe", "One-Click"))
	require.NoError(t, w.Close())
	const form = "Content-Type: application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		body, contentType    string
		oneClick, everything bool
	}{
		"one-click, url-encoded":           {"List-Unsubscribe=One-Click", form, true, false},
		"one-click, multipart":             {multi.String(), "Content-Type: " + w.FormDataContentType(), true, false},
		"the button for all":               {"pressed=all", form, false, true},
		"the button for a topic":           {"pressed=topic", form, false, false},
		"nothing at all":                   {"", "Content-Type: ", true, false},
		"something broken":                 {"--x\r\n", "Content-Type: multipart/form-data; boundary=x", true, false},
		"something that is no form at all": {`{"a":1}`, "Content-Type: application/json", true, false},
		"more than we read":                {strings.Repeat("a=b&", 10_000), form, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			page := a.call("POST", "/u/good", "", test.body, test.contentType).is(200)
			require.Contains(t, string(page.body), "You are unsubscribed")
			require.Empty(t, page.header.Get("Location"))
			require.Empty(t, page.header.Values("Set-Cookie"))
			require.Len(t, a.links.uses, 1)
			use := a.links.uses[0]
			require.Equal(t, []bool{test.oneClick, test.everything}, []bool{use.OneClick, use.Everything})
			require.NotEmpty(t, use.RequestID)
		})
	}
}

func TestOnlyTheButtonConfirms(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, body := range []string{"", "List-Unsubscribe=One-Click", "pressed=all"} {
		a.call("POST", "/c/good", "", body, "Content-Type: application/x-www-form-urlencoded").is(400)
	}
	require.Empty(t, a.links.uses)
	press := func() answer {
		return a.call("POST", "/c/good", "", "pressed=confirm", "Content-Type: application/x-www-form-urlencoded")
	}
	look := func() answer { return a.call("GET", "/c/good", "", "") }
	a.links.view = ports.LinkView{Known: true, Done: true, Settled: true}
	require.Contains(t, string(press().is(200).body), "You are subscribed")
	require.Contains(t, string(look().is(200).body), "You are subscribed")
	a.links.view.Settled = false
	require.Contains(t, string(press().is(200).body), "within a few minutes")
	require.Contains(t, string(look().is(200).body), "within a few minutes")
	for code, says := range map[string]string{"expired": "has expired", "superseded": "not needed any more"} {
		a.links.err = fault.New(fault.Conflict, code, "over")
		require.Contains(t, string(press().is(410).body), says)
		a.links.view = ports.LinkView{Known: true, Over: code}
		page := a.call("GET", "/c/good", "", "").is(410)
		require.Contains(t, string(page.body), says)
		require.NotContains(t, string(page.body), "<button")
	}
}

func TestALinkThatIsNotGoodTellsNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var seen []string
	for _, token := range []string{"revoked", "x", "a.b.c.d.e", strings.Repeat("a", 5000), "%3Cscript%3E"} {
		for _, call := range []string{"GET /u/", "POST /u/", "GET /c/", "POST /c/"} {
			method, path, _ := strings.Cut(call, " ")
			page := a.call(method, path+token, "", "").is(404)
			if !slices.Contains(seen, string(page.body)) {
				seen = append(seen, string(page.body))
			}
		}
	}
	require.Len(t, seen, 1)
	require.NotContains(t, seen[0], "<button")
	require.NotContains(t, a.logs.String(), "revoked", "a token is a credential and in no log")
}

func TestWhenItCanNotBeAcceptedThePageSaysTryAgain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.links.err = fault.New(fault.Unavailable, "unavailable", "no database")
	page := a.call("POST", "/u/good", "", "pressed=all", "Content-Type: application/x-www-form-urlencoded").is(503)
	require.Equal(t, "2", page.header.Get("Retry-After"))
	require.Contains(t, string(page.body), `name="pressed" value="all"`)
	require.NotContains(t, string(page.body), "You are unsubscribed")
	require.NotContains(t, string(a.call("POST", "/u/good", "", "").is(503).body), "<button", "a mail provider needs none")
	a.links.err = errors.New("something nobody has thought of")
	page = a.call("POST", "/u/good", "", "pressed=all", "Content-Type: application/x-www-form-urlencoded").is(500)
	require.Contains(t, string(page.body), "Please try again")
	require.NotContains(t, string(page.body), "nobody has thought of")
	require.Contains(t, a.logs.String(), "nobody has thought of")
}

func TestALinkMayBeOpenedTooOftenAndStillUnsubscribes(t *testing.T) {
	t.Parallel()
	a := newAPI(t, limited(RateLimits{Links: scarce(3)}))
	for range 3 {
		a.call("GET", "/u/good", "", "").is(200)
	}
	a.call("GET", "/u/good", "", "").is(429)
	a.call("POST", "/c/good", "", "").is(429)
	a.call("POST", "/u/good", "", "List-Unsubscribe=One-Click", "Content-Type: application/x-www-form-urlencoded").is(200)
}

func TestPagesSpeakTheLanguageOfTheDeviceThenOfTheBrowser(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, test := range []struct{ device, browser, want string }{
		{"", "", "en"}, {"", "de-AT,de;q=0.9", "de"}, {"fr_CA", "de", "fr"}, {"ja", "fr", "fr"}, {"", "nonsense;;;", "en"}, {"", "ja, pt;q=0.5", "en"},
	} {
		a.links.view = ports.LinkView{Locale: test.device}
		page := a.call("GET", "/u/good", "", "", "Accept-Language: "+test.browser).is(200)
		require.Equal(t, test.want, page.header.Get("Content-Language"), "%v", test)
		require.Contains(t, string(page.body), `<html lang="`+test.want+`">`)
	}
}

func TestEveryLanguageHasEveryText(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(languageFiles, "languages/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(names), 3)
	read := func(name string) map[string]string {
		raw, err := languageFiles.ReadFile(name)
		require.NoError(t, err)
		texts := map[string]string{}
		require.NoError(t, json.Unmarshal(raw, &texts))
		return texts
	}
	english := read("languages/en.json")
	blank := regexp.MustCompile(`\{[^}]*\}`)
	for _, name := range names {
		texts := read(name)
		require.ElementsMatch(t, slices.Collect(maps.Keys(english)), slices.Collect(maps.Keys(texts)), name)
		for key, text := range texts {
			require.NotEmpty(t, strings.TrimSpace(text), "%s: %s", name, key)
			require.ElementsMatch(t, blank.FindAllString(english[key], -1), blank.FindAllString(text, -1), "%s: %s", name, key)
		}
	}
}

func TestHostileNamesAreText(t *testing.T) {
	t.Parallel()
	const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{topic}`
	a := newAPI(t, func(c *Config) { c.Brand = hostile })
	a.links.view = ports.LinkView{Topic: preference.Topic{Key: "offers", Title: hostile}, Locale: hostile}
	for _, page := range []answer{a.call("GET", "/u/good", "", "", "Accept-Language: "+hostile).is(200), a.call("POST", "/u/good", "", "").is(200)} {
		require.NotContains(t, string(page.body), "<script")
		require.NotContains(t, string(page.body), "<img")
		require.Contains(t, string(page.body), "&lt;script&gt;")
		require.NotContains(t, strings.Join(page.header.Values("Content-Language"), ""), "<")
	}
	require.Contains(t, string(a.call("GET", "/u/good", "", "").body), `Unsubscribe from &lt;script&gt;`)
}

func TestTopicsAreSwitchedLikeChannels(t *testing.T) {
	t.Parallel()
	app := newFakeApp()
	catalogue, err := app.catalogue.WithEmail(0, preference.Topic{Key: "offers", Title: "Offers"}, preference.Topic{Key: "tips", Title: "Tips"})
	require.NoError(t, err)
	a := newAPI(t, func(c *Config) { c.Catalogue = catalogue })
	a.app.catalogue = catalogue
	var got EmailPreferences
	a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"},"topics":{"offers":{"enabled":true}}}`).is(200).json(&got)
	require.Equal(t, "subscribed", got.Marketing.Status)
	require.True(t, (*got.Topics)["offers"].Enabled)
	require.Equal(t, EmailTopic{Source: "default"}, (*got.Topics)["tips"])
	a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"unsubscribed"}}`).is(200).json(&got)
	require.True(t, (*got.Topics)["offers"].Enabled, "masked, not changed")
	require.Equal(t, map[string]string{"topics.x": "unknown_topic"}, fields(a.call("PATCH", "/v1/preferences/email", "ada", `{"topics":{"x":{"enabled":true}}}`).is(400).problem()))
	a.call("PATCH", "/v1/preferences/email", "ada", `{"wording":{"id":"w","locale":"en"}}`).is(400)
}
