package campaigns_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/engagement/campaigns"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// platform answers by cursor.
type platform struct {
	pages  map[string]string
	status map[string]int
	asked  []url.Values
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked = append(p.asked, r.URL.Query())
	cursor := r.URL.Query().Get("cursor")
	if status := p.status[cursor]; status != 0 {
		w.WriteHeader(status)
	}
	if r.URL.Path != "/messages" {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = io.WriteString(w, p.pages[cursor])
}

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func feed(p *platform, adjust ...func(*campaigns.Config)) *campaigns.Feed {
	cfg := campaigns.Config{Clock: func() time.Time { return now }}
	for _, f := range adjust {
		f(&cfg)
	}
	return campaigns.New(portstest.VendorAPI(ports.Engagement, p), cfg)
}

// one reads a page with a single message.
func one(t *testing.T, message string) ports.Campaign {
	t.Helper()
	page, err := feed(&platform{pages: map[string]string{"": `{"messages":[` + message + `],"next_cursor":null,"latest_cursor":"1"}`}}).Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, page.Campaigns, 1)
	return page.Campaigns[0]
}

func TestMessages(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/page.json")
	require.NoError(t, err)
	page, err := feed(&platform{pages: map[string]string{"": string(raw)}}).Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, ports.CampaignPage{Next: "p2", More: true, Campaigns: []ports.Campaign{
		{Draft: inbox.Draft{
			Source: "campaigns", ExternalID: "spring-sale", Audience: inbox.Global, Campaign: "spring",
			PublishAt: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Expiry: time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC),
			Content: inbox.Content{
				Text:   inbox.Text{Title: "Spring sale", Body: "Everything in the shop is cheaper until Sunday.", ImageURL: "https://img.example/en.png"},
				Locale: "en", Category: "promotions", Link: "app://offers/spring", Pinned: true,
				Variants: map[string]inbox.Text{"de": {Title: "Frühlingsverkauf", Body: "Alles ist günstiger.", ImageURL: "https://img.example/de.png", Actions: map[string]string{"go": "Ansehen"}}},
				Actions:  []inbox.Action{{ID: "go", Title: "Have a look", Link: "app://offers/spring"}},
			},
		}},
		{Draft: inbox.Draft{
			Source: "campaigns", ExternalID: "vip", Audience: inbox.Personal, Recipients: []preference.CustomerID{"ada", "grace"},
			Content: inbox.Content{Text: inbox.Text{Title: "For you"}},
		}},
		{Draft: inbox.Draft{Source: "campaigns", ExternalID: "mistake"}, Retracted: true},
	}}, page)
}

// TestTheDocumentedExampleIsTaken: what docs/campaign-feed.md shows can be published as it stands there.
func TestTheDocumentedExampleIsTaken(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/campaign-feed.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(doc), "```json\n")
	example, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	page, err := feed(&platform{pages: map[string]string{"": example}}).Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "1042", page.Next)
	require.Len(t, page.Campaigns, 2)
	pattern, err := inbox.ParsePattern("app://offers/{offer}")
	require.NoError(t, err)
	_, err = page.Campaigns[0].Draft.Publish(inbox.NewLinks(inbox.LinkTarget{Key: "offer", Pattern: pattern, Active: true}), now)
	require.NoError(t, err)
	require.True(t, page.Campaigns[1].Retracted)
}

func TestPaging(t *testing.T) {
	t.Parallel()
	message := `{"source":"s","external_id":"%s","audience":{"type":"global"},"title":"t"}`
	p := &platform{pages: map[string]string{
		"":   `{"messages":[` + fmt.Sprintf(message, "a") + `],"next_cursor":"c1"}`,
		"c1": `{"messages":[],"next_cursor":"c2","latest_cursor":"ignored"}`,
		"c2": `{"messages":[` + fmt.Sprintf(message, "b") + `],"next_cursor":null,"latest_cursor":"c3"}`,
		"c3": `{"messages":[],"next_cursor":null,"latest_cursor":"c3"}`,
	}}
	f := feed(p)
	var read []string
	cursor, more := "", true
	for range 4 {
		page, err := f.Campaigns(t.Context(), cursor)
		require.NoError(t, err)
		for _, c := range page.Campaigns {
			read = append(read, c.Draft.ExternalID)
		}
		cursor, more = page.Next, page.More
	}
	require.Equal(t, []string{"a", "b"}, read)
	require.False(t, more)
	require.Equal(t, "c3", cursor, "set on the last page too: reading goes on there")
	require.Equal(t, url.Values{"limit": {"100"}, "updated_since": {"2024-11-20T10:00:00Z"}}, p.asked[0])
	require.Equal(t, url.Values{"limit": {"100"}, "cursor": {"c1"}}, p.asked[1])
}

func TestAnEmptyLastPageMayLeaveTheCursorOut(t *testing.T) {
	t.Parallel()
	page, err := feed(&platform{pages: map[string]string{"c": `{"messages":[]}`}}).Campaigns(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, ports.CampaignPage{Next: "c", Campaigns: []ports.Campaign{}}, page)
}

func TestAForgottenCursorStartsFromTheBeginning(t *testing.T) {
	t.Parallel()
	p := &platform{status: map[string]int{"old": 410}, pages: map[string]string{"": `{"messages":[],"latest_cursor":"new"}`}}
	page, err := feed(p).Campaigns(t.Context(), "old")
	require.NoError(t, err)
	require.Equal(t, "new", page.Next)

	p.status[""] = 410
	_, err = feed(p).Campaigns(t.Context(), "old")
	failure, is := ports.AsTargetError(err)
	require.True(t, is)
	require.Equal(t, "malformed", failure.Code)
}

func TestAnAnswerThatLeadsNowhereIsMalformed(t *testing.T) {
	t.Parallel()
	message := `{"source":"s","external_id":"a","audience":{"type":"global"},"title":"t"}`
	for name, body := range map[string]string{
		"no messages":          `{"next_cursor":null,"latest_cursor":"1"}`,
		"messages are no list": `{"messages":{},"latest_cursor":"1"}`,
		"null":                 `null`,
		"a page after which we know not where to go on": `{"messages":[` + message + `]}`,
		"more, at the same place":                       `{"messages":[],"next_cursor":"here"}`,
		"more, at no place":                             `{"messages":[],"next_cursor":""}`,
		"a cursor that is a number":                     `{"messages":[],"next_cursor":null,"latest_cursor":7}`,
		"a cursor that is too long":                     `{"messages":[],"latest_cursor":"` + strings.Repeat("c", 1025) + `"}`,
		"a cursor that cannot be kept":                  `{"messages":[],"latest_cursor":"a\u0000"}`,
	} {
		_, err := feed(&platform{pages: map[string]string{"here": body}}).Campaigns(t.Context(), "here")
		failure, is := ports.AsTargetError(err)
		require.True(t, is, name)
		require.Equal(t, ports.Transient, failure.Class, name)
		require.Equal(t, "malformed", failure.Code, name)
		require.Equal(t, ports.Engagement, failure.Target, name)
	}
}

func TestABrokenMemberIsNamedAndNothingElseIsSaid(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"title":{"secret":1}`:                                "title: must be a string",
		`"title":"a\u0000b"`:                                  "title: must not have the character U+0000",
		`"body":["secret"]`:                                   "body: must be a string",
		`"pinned":"secret"`:                                   "pinned: must be true or false",
		`"expiry":"secret"`:                                   "expiry: must be a time such as 2026-12-01T00:00:00Z",
		`"expiry":1795341600`:                                 "expiry: must be a string",
		`"publish_at":"2026-13-01T00:00:00Z"`:                 "publish_at: must be a time such as 2026-12-01T00:00:00Z",
		`"retracted_at":true`:                                 "retracted_at: must be a string",
		`"actions":{}`:                                        "actions: must be a list",
		`"actions":["secret"]`:                                "actions.0: must be an object",
		`"actions":[{"id":"a"},{"id":1}]`:                     "actions.1.id: must be a string",
		`"variants":[]`:                                       "variants: must be an object",
		`"variants":{"de":"secret"}`:                          "variants.de: must be an object",
		`"variants":{"de":{"title":1}}`:                       "variants.de.title: must be a string",
		`"variants":{"de":{"title":"t","actions":{"go":1}}}`:  "variants.de.actions.go: must be a string",
		`"variants":{"de":{"title":"t","actions":[]}}`:        "variants.de.actions: must be an object",
		`"variants":{"\u0000":{"title":"t"}}`:                 "variants: must not have a member whose name has the character U+0000",
		`"variants":{"` + strings.Repeat("s", 65) + `":5}`:    "variants.?: must be an object",
		`"audience":"global"`:                                 "audience: must be an object",
		`"audience":null`:                                     "audience.type: must be global or customers",
		`"audience":{"type":"all"}`:                           "audience.type: must be global or customers",
		`"audience":{"type":"global","ids":["ada"]}`:          "audience.ids: must not be given for a global message",
		`"audience":{"type":"customers"}`:                     "audience.ids: must name at least one customer",
		`"audience":{"type":"customers","ids":"ada"}`:         "audience.ids: must be a list",
		`"audience":{"type":"customers","ids":["ada","a b"]}`: "audience.ids.1: is not the id of a customer",
		`"audience":{"type":"customers","ids":["ada",5]}`:     "audience.ids.1: is not the id of a customer",
		`"campaign":5`:                                        "campaign: must be a string",
	} {
		message := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal([]byte(`{"source":"s","external_id":"x","audience":{"type":"global"},"title":"t"}`), &message))
		require.NoError(t, json.Unmarshal([]byte("{"+member+"}"), &message))
		raw, err := json.Marshal(message)
		require.NoError(t, err)
		c := one(t, string(raw))
		require.Equal(t, want, c.Broken, member)
		require.Equal(t, inbox.Draft{Source: "s", ExternalID: "x"}, c.Draft, "the name alone")
		require.NotContains(t, c.Broken, "secret")
		_, err = c.Draft.Publish(inbox.NewLinks(), now)
		require.Error(t, err, "no rule lets it through")
	}
}

func TestTakingBackNeedsTheNameAlone(t *testing.T) {
	t.Parallel()
	c := one(t, `{"source":"s","external_id":"x","retracted_at":"2026-11-22T10:00:00Z","title":[],"expiry":"never"}`)
	require.Equal(t, ports.Campaign{Draft: inbox.Draft{Source: "s", ExternalID: "x"}, Retracted: true}, c)
}

func TestReservedSources(t *testing.T) {
	t.Parallel()
	f := feed(&platform{pages: map[string]string{"": `{"messages":[
		{"source":"iterable","external_id":"x","audience":{"type":"customers","ids":["ada"]},"title":"t"},
		{"source":"iterable","external_id":"y","retracted_at":"2026-11-22T10:00:00Z"}],"latest_cursor":"1"}`}},
		func(c *campaigns.Config) { c.ReservedSources = []string{"iterable"} })
	page, err := f.Campaigns(t.Context(), "")
	require.NoError(t, err)
	for _, c := range page.Campaigns {
		require.Equal(t, "source: is reserved", c.Broken)
		require.False(t, c.Retracted, "nor can it take another's back")
	}
}

func TestNamelessMessagesAreLeftOutAndCounted(t *testing.T) {
	t.Parallel()
	var skipped atomic.Int32
	var log bytes.Buffer
	f := feed(&platform{pages: map[string]string{"": `{"messages":[null,5,"secret",[],{},{"source":"s"},{"external_id":"secret"},
		{"source":"s","external_id":5},{"source":"s","external_id":"secret\u0000"},{"source":"s","external_id":"` + strings.Repeat("x", 256) + `"},
		{"source":"s","external_id":"good","audience":{"type":"global"},"title":"t"}],"latest_cursor":"1"}`}},
		func(c *campaigns.Config) {
			c.Skipped = func() { skipped.Add(1) }
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
	page, err := f.Campaigns(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, page.Campaigns, 1)
	require.Equal(t, "good", page.Campaigns[0].Draft.ExternalID)
	require.EqualValues(t, 10, skipped.Load())
	require.Contains(t, log.String(), "count=10")
	require.NotContains(t, log.String(), "secret")
}

// FuzzOneBadMessageSpoilsNoOther: whatever one message holds, those before and after it are read, and what is read of it
// has a name and can be stored.
func FuzzOneBadMessageSpoilsNoOther(f *testing.F) {
	raw, err := os.ReadFile("testdata/page.json")
	require.NoError(f, err)
	var seeds struct{ Messages []json.RawMessage }
	require.NoError(f, json.Unmarshal(raw, &seeds))
	for _, seed := range seeds.Messages {
		f.Add([]byte(seed))
	}
	for _, odd := range []string{`null`, `[]`, `{"source":"s","external_id":"\ud800","variants":{"\u0000":null}}`, `{"source":"s","external_id":"e","audience":{"type":"customers","ids":[null]}}`} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		good := `{"source":"fuzz","external_id":"%s","audience":{"type":"global"},"title":"t"}`
		page, err := feed(&platform{pages: map[string]string{
			"": `{"messages":[` + fmt.Sprintf(good, "before") + "," + string(raw) + "," + fmt.Sprintf(good, "after") + `],"latest_cursor":"1"}`,
		}}).Campaigns(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "before", page.Campaigns[0].Draft.ExternalID)
		require.Equal(t, "after", page.Campaigns[len(page.Campaigns)-1].Draft.ExternalID)
		for _, c := range page.Campaigns {
			require.NotEmpty(t, c.Draft.Source)
			require.NotEmpty(t, c.Draft.ExternalID)
			kept, err := json.Marshal(c)
			require.NoError(t, err)
			require.NotContains(t, string(kept), `\u0000`)
			if c.Broken != "" {
				require.False(t, c.Retracted)
				require.Empty(t, c.Draft.Content)
			}
		}
	})
}
