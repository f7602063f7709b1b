package iterable_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/engagement/iterable"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// vendor answers each of the two calls and notes what was asked.
type vendor struct {
	inApp, embedded string // bodies
	status          map[string]int

	mu    sync.Mutex
	asked map[string][]url.Values // by path
}

const (
	inAppPath    = "/api/inApp/getMessages"
	embeddedPath = "/api/embedded-messaging/messages"
)

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked == nil {
		v.asked = map[string][]url.Values{}
	}
	v.asked[r.URL.Path] = append(v.asked[r.URL.Path], r.URL.Query())
	if status := v.status[r.URL.Path]; status != 0 {
		w.WriteHeader(status)
	}
	switch r.URL.Path {
	case inAppPath:
		_, _ = io.WriteString(w, v.inApp)
	case embeddedPath:
		_, _ = io.WriteString(w, v.embedded)
	}
}

const (
	noInApp    = `{"inAppMessages":[]}`
	noEmbedded = `{"placements":[]}`
)

func fixture(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return string(raw)
}

func feed(t testing.TB, v *vendor, adjust ...func(*iterable.Config)) *iterable.Iterable {
	t.Helper()
	cfg := iterable.Config{}
	for _, f := range adjust {
		f(&cfg)
	}
	it, err := iterable.New(portstest.VendorAPI(ports.Engagement, v), cfg)
	require.NoError(t, err)
	return it
}

// counted collects reasons, and what is logged.
type counted struct {
	mu      sync.Mutex
	reasons []string
	log     bytes.Buffer
}

func (c *counted) into(cfg *iterable.Config) {
	cfg.Skipped = func(reason string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reasons = append(c.reasons, reason)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(&c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestInAppMessages(t *testing.T) {
	t.Parallel()
	c := &counted{}
	it := feed(t, &vendor{inApp: fixture(t, "in-app.json"), embedded: noEmbedded}, c.into)
	require.Equal(t, "iterable", it.Source())
	got, err := it.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	ada := []preference.CustomerID{"ada"}
	created := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	require.Equal(t, []inbox.Draft{
		{
			Source: "iterable", ExternalID: "in-app:0d4ee3a05c9b4d2d9ac7ad1bb1a44c02:ada", Audience: inbox.Personal, Recipients: ada,
			Campaign: "iterable/4410007", PublishAt: created, Expiry: created.Add(inbox.MaxLife),
			Content: inbox.Content{Text: inbox.Text{Title: "Thank you", Body: "Ten points are yours", ImageURL: "https://img.example/points.png"}},
		},
		{
			Source: "iterable", ExternalID: "in-app:f2b6e0c19d6a4a1f8f6d6a5d7f0e5b11:ada", Audience: inbox.Personal, Recipients: ada,
			Campaign: "iterable/4410021", PublishAt: time.UnixMilli(1795341600123).UTC(), Expiry: time.UnixMilli(1803117600123).UTC(),
			Content: inbox.Content{
				Text:   inbox.Text{Title: "Your order is on its way", Body: "It will be with you on Friday, between 8 and 12.", ImageURL: "https://img.example/van.png"},
				Locale: "en", Category: "order_updates", Link: "app://orders/42", Pinned: true,
				Variants: map[string]inbox.Text{"de": {Title: "Unterwegs", Body: "Sie kommt am Freitag.", Actions: map[string]string{"track": "Verfolgen"}}},
				Actions:  []inbox.Action{{ID: "track", Title: "Track it", Link: "app://orders/42/track"}},
			},
		},
		{
			Source: "iterable", ExternalID: "in-app:c1d9f8:ada", Audience: inbox.Personal, Recipients: ada,
			PublishAt: time.UnixMilli(1795341700000).UTC(), Content: inbox.Content{Text: inbox.Text{Title: "Odd data"}},
		},
	}, got)
	slices.Sort(c.reasons)
	require.Equal(t, []string{"no_title", "not_in_inbox"}, c.reasons)
	require.NotContains(t, c.log.String(), "ada", "nothing personal in the log")
	require.Contains(t, c.log.String(), "reason=no_title")
}

func TestEmbeddedMessages(t *testing.T) {
	t.Parallel()
	c := &counted{}
	v := &vendor{inApp: noInApp, embedded: fixture(t, "embedded.json")}
	got, err := feed(t, v, c.into).CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	var names []string
	for _, d := range got {
		names = append(names, d.ExternalID)
	}
	require.Equal(t, []string{"embedded:second:ada", "embedded:first:ada", "embedded:doibjo4590340oidiobnw:ada"}, names,
		"those without a time first, and of them the most important last")
	require.Equal(t, inbox.Draft{
		Source: "iterable", ExternalID: "embedded:doibjo4590340oidiobnw:ada", Audience: inbox.Personal, Recipients: []preference.CustomerID{"ada"},
		Campaign: "double-points", PublishAt: time.Date(2026, 11, 19, 8, 0, 0, 0, time.UTC), Expiry: time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC),
		Content: inbox.Content{
			Text: inbox.Text{Title: "Double points", Body: "Until Sunday.", ImageURL: "https://img.example/points.png"}, Category: "loyalty", Link: "app://loyalty",
			Actions: []inbox.Action{{ID: "see_rewards", Title: "See rewards", Link: "app://loyalty/rewards"}, {ID: "button-3", Title: "Rules", Link: "https://shop.example/rules"}},
		},
	}, got[2])
	require.Equal(t, "iterable/2326", got[0].Campaign)
	require.True(t, got[0].PublishAt.IsZero())
	slices.Sort(c.reasons)
	require.Equal(t, []string{"no_title", "unreadable"}, c.reasons)
	require.Equal(t, url.Values{"userId": {"ada"}}, v.asked[embeddedPath][0], "all of it, with content")
}

// TestEveryDraftCanBePublished: the mapping leaves nothing in that our rules would refuse without need.
func TestEveryDraftCanBePublished(t *testing.T) {
	t.Parallel()
	var targets []inbox.LinkTarget
	for i, p := range []string{"app://loyalty", "app://loyalty/rewards", "app://orders/{id}", "app://orders/{id}/track", "https://shop.example/rules"} {
		pattern, err := inbox.ParsePattern(p)
		require.NoError(t, err)
		targets = append(targets, inbox.LinkTarget{Key: inbox.TargetKey(fmt.Sprint("t", i)), Pattern: pattern, Active: true})
	}
	drafts, err := feed(t, &vendor{inApp: fixture(t, "in-app.json"), embedded: fixture(t, "embedded.json")}).CustomerMessages(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.Len(t, drafts, 6)
	for _, d := range drafts {
		require.NotContains(t, d.ExternalID, "ada@", "a name is shown to others")
		_, err := d.Publish(inbox.NewLinks(targets...), time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
		require.NoError(t, err, d.ExternalID)
	}
}

func TestTwoCustomersNeverShareAName(t *testing.T) {
	t.Parallel()
	it := feed(t, &vendor{inApp: fixture(t, "in-app.json"), embedded: fixture(t, "embedded.json")})
	names := map[string]bool{}
	for _, customer := range []preference.CustomerID{"ada", "grace", "ada@example.com"} {
		drafts, err := it.CustomerMessages(t.Context(), customer)
		require.NoError(t, err)
		for _, d := range drafts {
			require.False(t, names[d.ExternalID])
			names[d.ExternalID] = true
			require.Equal(t, []preference.CustomerID{customer}, d.Recipients)
		}
	}
}

func TestReadingTwiceMakesTheSameDrafts(t *testing.T) {
	t.Parallel()
	it := feed(t, &vendor{inApp: fixture(t, "in-app.json"), embedded: fixture(t, "embedded.json")})
	first, err := it.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	again, err := it.CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	for i := range first {
		require.Equal(t, first[i].Fingerprint(), again[i].Fingerprint())
	}
}

func many(n int) string {
	messages := make([]string, n)
	for i := range messages {
		messages[i] = fmt.Sprintf(`{"messageId":"m%d","createdAt":%d,"saveToInbox":true,"inboxMetadata":{"title":"t"}}`, i, 1795341600000+i)
	}
	return `{"inAppMessages":[` + strings.Join(messages, ",") + `]}`
}

func TestAListThatMayBeCutIsNotTaken(t *testing.T) {
	t.Parallel()
	v := &vendor{inApp: many(250), embedded: noEmbedded}
	got, err := feed(t, v).CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, got, 250)
	require.Equal(t, []string{"250", "2000"}, []string{v.asked[inAppPath][0].Get("count"), v.asked[inAppPath][1].Get("count")})

	v = &vendor{inApp: many(249), embedded: noEmbedded}
	_, err = feed(t, v).CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, v.asked[inAppPath], 1)

	_, err = feed(t, &vendor{inApp: many(2000), embedded: noEmbedded}).CustomerMessages(t.Context(), "ada")
	failure, is := ports.AsTargetError(err)
	require.True(t, is)
	require.Equal(t, ports.TargetError{Target: "engagement", Class: ports.Refused, Code: "too_many", Status: 200}, *failure)
}

func TestAMessageThatIsThereTwiceIsOne(t *testing.T) {
	t.Parallel()
	one := `{"messageId":"m","createdAt":1795341600000,"saveToInbox":true,"inboxMetadata":{"title":"t"}}`
	got, err := feed(t, &vendor{inApp: `{"inAppMessages":[` + one + `,` + one + `]}`, embedded: noEmbedded}).CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func TestSomebodyIterableDoesNotKnowHasNoMessages(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"UnknownUserIdError", "ForgottenUserError"} {
		for _, status := range []int{400, 404, 409} {
			body := `{"code":"` + code + `","msg":"no","params":null}`
			v := &vendor{inApp: body, embedded: body, status: map[string]int{inAppPath: status, embeddedPath: status}}
			got, err := feed(t, v).CustomerMessages(t.Context(), "ada")
			require.NoError(t, err)
			require.Empty(t, got)
		}
	}
}

// TestHalfAListIsNone: what is missing from a list counts as ended, so no failure may look like an empty list.
func TestHalfAListIsNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path, body string
		status     int
		class      ports.TargetErrorClass
		code       string
	}{
		"our call is wrong":              {inAppPath, `{"code":"BadParams"}`, 400, ports.Refused, "refused"},
		"no such address":                {embeddedPath, `<html>`, 404, ports.Refused, "refused"},
		"another conflict":               {inAppPath, `{"code":"UserIdAlreadyExists"}`, 409, ports.Refused, "refused"},
		"no list of in-app messages":     {inAppPath, `{}`, 200, ports.Transient, "malformed"},
		"null for a list":                {inAppPath, `{"inAppMessages":null}`, 200, ports.Transient, "malformed"},
		"something else for a list":      {inAppPath, `{"inAppMessages":{}}`, 200, ports.Transient, "malformed"},
		"no list of placements":          {embeddedPath, `{"code":"Success"}`, 200, ports.Transient, "malformed"},
		"a placement that is none":       {embeddedPath, `{"placements":["x"]}`, 200, ports.Transient, "malformed"},
		"a placement whose list is none": {embeddedPath, `{"placements":[{"embeddedMessages":5}]}`, 200, ports.Transient, "malformed"},
		"a server that fails":            {embeddedPath, `{}`, 500, ports.Transient, "server_error"},
	} {
		v := &vendor{inApp: fixture(t, "in-app.json"), embedded: fixture(t, "embedded.json"), status: map[string]int{test.path: test.status}}
		if test.path == inAppPath {
			v.inApp = test.body
		} else {
			v.embedded = test.body
		}
		got, err := feed(t, v).CustomerMessages(t.Context(), "ada")
		require.Empty(t, got, name)
		failure, is := ports.AsTargetError(err)
		require.True(t, is, name)
		require.Equal(t, test.class, failure.Class, name)
		require.Equal(t, test.code, failure.Code, name)
		require.Equal(t, ports.Engagement, failure.Target, name)
	}
}

func TestTheCallersEndIsNoFailureOfIterable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := feed(t, &vendor{inApp: noInApp, embedded: noEmbedded}).CustomerMessages(ctx, "ada")
	require.ErrorIs(t, err, context.Canceled)
}

func TestWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	v := &vendor{inApp: noInApp, embedded: noEmbedded}
	_, err := feed(t, v, func(c *iterable.Config) { c.Platform, c.PackageName = "iOS", "com.example.shop" }).CustomerMessages(t.Context(), "ada+1@example.com")
	require.NoError(t, err)
	app := url.Values{"userId": {"ada+1@example.com"}, "platform": {"iOS"}, "packageName": {"com.example.shop"}}
	require.Equal(t, []url.Values{app}, v.asked[embeddedPath])
	withCount := maps.Clone(app)
	withCount["count"] = []string{"250"}
	require.Equal(t, []url.Values{withCount}, v.asked[inAppPath])

	v = &vendor{inApp: noInApp, embedded: "not even JSON"}
	_, err = feed(t, v, func(c *iterable.Config) { c.NoEmbedded = true }).CustomerMessages(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, v.asked[embeddedPath])
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []iterable.Config{{Platform: "iOS"}, {PackageName: "a.b"}, {Platform: "ios", PackageName: "a.b"}} {
		_, err := iterable.New(nil, cfg)
		require.Error(t, err)
	}
}

// FuzzOneBadMessageSpoilsNoOther: whatever one message holds, those before and after it are read, and what is read of it
// has a name, a title, and a link wherever there is a button.
func FuzzOneBadMessageSpoilsNoOther(f *testing.F) {
	var seeds struct {
		InApp      []json.RawMessage                              `json:"inAppMessages"`
		Placements []struct{ EmbeddedMessages []json.RawMessage } `json:"placements"`
	}
	require.NoError(f, json.Unmarshal([]byte(fixture(f, "in-app.json")), &seeds))
	require.NoError(f, json.Unmarshal([]byte(fixture(f, "embedded.json")), &seeds))
	for _, raw := range seeds.InApp {
		f.Add([]byte(raw))
	}
	for _, placement := range seeds.Placements {
		for _, raw := range placement.EmbeddedMessages {
			f.Add([]byte(raw))
		}
	}
	for _, odd := range []string{`null`, `5`, `[]`, `{"messageId":"a\u0000"}`, `{"messageId":"x","saveToInbox":true,"createdAt":1e300,"inboxMetadata":{"title":"\ud800"}}`} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		inApp := `{"messageId":"%s","saveToInbox":true,"inboxMetadata":{"title":"t"}}`
		embedded := `{"metadata":{"messageId":"%s"},"elements":{"title":"t"}}`
		around := func(good string) string {
			return fmt.Sprintf(good, "fuzz before") + "," + string(raw) + "," + fmt.Sprintf(good, "fuzz after")
		}
		got, err := feed(t, &vendor{
			inApp:    `{"inAppMessages":[` + around(inApp) + `]}`,
			embedded: `{"placements":[{"placementId":1,"embeddedMessages":[` + around(embedded) + `]}]}`,
		}).CustomerMessages(t.Context(), "ada")
		require.NoError(t, err)
		names := map[string]bool{}
		for _, d := range got {
			require.NotEmpty(t, d.Content.Title)
			require.LessOrEqual(t, len(d.ExternalID), 255)
			require.False(t, names[d.ExternalID])
			names[d.ExternalID] = true
			ids := map[string]bool{}
			for _, a := range d.Content.Actions {
				require.NotEmpty(t, a.Link)
				require.Regexp(t, `^[A-Za-z0-9_-]{1,64}$`, a.ID)
				require.False(t, ids[a.ID])
				ids[a.ID] = true
			}
			_, err := json.Marshal(d)
			require.NoError(t, err)
			require.NotContains(t, d.Content.Title+d.Content.Body+d.Content.Link+d.Campaign, "\x00")
		}
		for _, good := range []string{"in-app:fuzz before:ada", "in-app:fuzz after:ada", "embedded:fuzz before:ada", "embedded:fuzz after:ada"} {
			require.True(t, names[good], "%s is missing", good)
		}
	})
}
