package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

const (
	hers   = "8e03978e-40d5-43e8-bc93-6894a57f9324"
	others = "11111111-40d5-43e8-bc93-6894a57f9324"
	header = "Accord-Installation-Id: "
)

// publish makes a message and answers with its id.
func (a *api) publish(body string) string {
	a.t.Helper()
	var m StoredMessage
	a.call("POST", "/v1/messages", "editor", body).is(201).json(&m)
	return m.Id
}

func global(name, more string) string {
	return fmt.Sprintf(`{"source":"shop","external_id":%q,"audience":{"type":"global"},"title":%q%s}`, name, name, more)
}

func personal(name, customer, more string) string {
	return fmt.Sprintf(`{"source":"shop","external_id":%q,"audience":{"type":"customers","ids":[%q]},"title":%q%s}`, name, customer, name, more)
}

func (a *api) feed(query, token string, headers ...string) InboxPage {
	a.t.Helper()
	var page InboxPage
	a.call("GET", "/v1/inbox"+query, token, "", headers...).is(200).json(&page)
	return page
}

func titles(p InboxPage) []string {
	out := []string{}
	for _, m := range p.Messages {
		out = append(out, m.Title)
	}
	return out
}

func (a *api) acknowledge(id, state, token string, headers ...string) answer {
	a.t.Helper()
	return a.call("POST", "/v1/inbox/messages/"+id+"/acknowledge", token, `{"state":"`+state+`"}`, headers...)
}

func TestTheFeedIsEachViewersOwn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.publish(global("news", ""))
	a.publish(personal("order", "ada", `,"category":"orders"`))
	a.publish(personal("other", "grace", ""))
	a.publish(global("pinned", `,"pinned":true`))

	require.Equal(t, []string{"pinned", "order", "news"}, titles(a.feed("", "ada")))
	require.Equal(t, []string{"pinned", "other", "news"}, titles(a.feed("", "grace", header+hers)), "the customer alone counts")
	require.Equal(t, []string{"pinned", "news"}, titles(a.feed("", "")))
	require.Equal(t, []string{"pinned", "news"}, titles(a.feed("", "", header+hers)))
	require.Equal(t, []string{"order"}, titles(a.feed("?category=orders&category=none", "ada")))

	page := a.feed("?limit=2", "ada")
	require.Equal(t, []string{"pinned", "order"}, titles(page))
	require.Equal(t, InboxCounts{Total: 3, Unseen: 3, Unread: 3}, page.Counts)
	rest := a.feed("?limit=2&cursor="+*page.NextCursor, "ada")
	require.Equal(t, []string{"news"}, titles(rest))
	require.Nil(t, rest.NextCursor)
	foreign := a.call("GET", "/v1/inbox?limit=2&cursor="+*page.NextCursor, "grace", "").is(400).problem()
	require.Equal(t, map[string]string{"cursor": "foreign_cursor"}, fields(foreign))
}

func TestTheFeedIsInTheLanguageThatIsAskedFor(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.publish(global("Hello", `,"locale":"en","variants":{"de":{"title":"Hallo"},"fr":{"title":"Salut"}}`))
	for language, want := range map[string]string{"": "Hello", "de": "Hallo", "de-CH": "Hallo", "fr;q=0.3, de;q=0.9": "Hallo", "it, fr": "Salut", "fr;q=0, it": "Hello",
		"*": "Hello", "de;q=": "Hello", ";;;": "Hello", strings.Repeat("de,", 500): "Hello", strings.Repeat("it,", 10) + "de": "Hello"} {
		require.Equal(t, []string{want}, titles(a.feed("", "ada", "Accept-Language: "+language)), language)
		for range 2 { // the second is answered from memory
			require.Equal(t, []string{want}, titles(a.feed("", "", "Accept-Language: "+language)), language)
		}
	}
	require.Equal(t, []string{"Salut"}, titles(a.feed("", "", "Accept-Language: fr;q=0.5", "Accept-Language: de;q=0.1")), "two lines are one list")
}

func TestHowLongAPageIsFresh(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.publish(global("news", ""))
	cacheControl := func(token string, headers ...string) string {
		got := a.call("GET", "/v1/inbox", token, "", headers...).is(200)
		require.Equal(t, "Authorization, Origin, Accept-Language, Accord-Installation-Id", got.header.Get("Vary"))
		require.Equal(t, fmt.Sprint(len(got.body)), got.header.Get("Content-Length"))
		return got.header.Get("Cache-Control")
	}
	for range 2 {
		require.Equal(t, "public, max-age=10", cacheControl(""))
		require.Equal(t, "private, max-age=0, must-revalidate", cacheControl("", header+hers))
		require.Equal(t, "private, max-age=0, must-revalidate", cacheControl("ada"))
	}
	a.inbox.freshness.FreshUntil = time.Now().Add(4*time.Second + 900*time.Millisecond)
	require.Equal(t, "public, max-age=4", cacheControl(""))
	a.inbox.freshness.FreshUntil, a.inbox.freshness.Stale = time.Now().Add(-time.Second), true
	require.Equal(t, "public, max-age=0", cacheControl(""))
	require.True(t, a.feed("", "").Freshness.Stale)
	require.Equal(t, "private, max-age=0, must-revalidate", a.call("GET", "/v1/inbox/changes?since=0.0", "", "").is(200).header.Get("Cache-Control"))
}

func TestUpstreamThatWasNeverReached(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.inbox.freshness.AsOf, a.inbox.freshness.FreshUntil, a.inbox.freshness.Stale = time.Time{}, time.Time{}, true
	for range 2 {
		f := a.feed("", "").Freshness
		require.Nil(t, f.AsOf)
		require.Nil(t, f.FreshUntil)
		require.True(t, f.Stale)
	}
}

func TestAPageThatTheClientHas(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.publish(global("news", ""))
	for _, who := range [][]string{{"ada"}, {"", header + hers}, {""}, {""}} {
		for _, path := range []string{"/v1/inbox", "/v1/inbox?limit=5", "/v1/inbox/counts"} {
			get := func(tag string) answer {
				return a.call("GET", path, who[0], "", append(who[1:], "If-None-Match: "+tag)...)
			}
			tag := get(`"other"`).is(200).header.Get("ETag")
			require.Regexp(t, `^W/"[A-Za-z0-9_-]+"$`, tag)
			for _, held := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
				got := get(held).is(304)
				require.Empty(t, got.body)
				require.Equal(t, tag, got.header.Get("ETag"))
				require.NotEmpty(t, got.header.Get("Cache-Control"))
				require.Contains(t, got.header.Get("Vary"), "Authorization")
			}
			get("news").is(200)
		}
	}
	before := a.inbox.feeds
	tag := a.call("GET", "/v1/inbox", "ada", "").is(200).header.Get("ETag")
	a.call("GET", "/v1/inbox", "ada", "", "If-None-Match: "+tag).is(304)
	require.Equal(t, before+1, a.inbox.feeds, "what the client holds is not read again")
	a.call("GET", "/v1/inbox", "grace", "", "If-None-Match: "+tag).is(200)
	a.acknowledge(id, "seen", "ada").is(200)
	a.call("GET", "/v1/inbox", "ada", "", "If-None-Match: "+tag).is(200)
}

func TestAnonymousPagesFollowEveryChangeAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.call("PUT", "/v1/deeplink-targets/orders", "editor", `{"pattern":"app://orders/{id}"}`).is(201)
	require.Empty(t, a.feed("", "").Messages)
	id := a.publish(global("news", `,"deeplink":"app://orders/1"`))
	require.Equal(t, "app://orders/1", *a.feed("", "").Messages[0].Deeplink)
	a.call("PUT", "/v1/deeplink-targets/orders", "editor", `{"pattern":"app://orders/{id}","active":false}`).is(200)
	off := a.feed("", "").Messages[0]
	require.Nil(t, off.Deeplink)
	require.Equal(t, "inactive", *off.DeeplinkStatus)
	a.inbox.freshness.AsOf = a.inbox.freshness.AsOf.Add(time.Second)
	require.Equal(t, a.inbox.freshness.AsOf, *a.feed("", "").Freshness.AsOf)
	a.call("DELETE", "/v1/messages/"+id, "editor", "").is(200)
	require.Empty(t, a.feed("", "").Messages)

	for i := range 2 * maxKnownQuestions { // however many different questions are asked, the answers are right
		require.Empty(t, a.feed(fmt.Sprintf("?category=c%d", i), "").Messages)
	}
	a.inbox.err = fault.New(fault.Unavailable, "unavailable", "the database is away")
	require.Equal(t, "unavailable", a.call("GET", "/v1/inbox", "", "").is(503).problem().Code)
}

func TestQuestionsThatAreRememberedAreStillHeldAgainstTheContract(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for range 2 {
		a.call("GET", "/v1/inbox?limit=0", "", "").is(400)
		a.call("GET", "/v1/inbox?limit=5", "", "").is(200)
		a.call("GET", "/v1/inbox?limit=5", "", "", header+"nonsense").is(400)
		a.call("GET", "/v1/inbox?limit=5", "nobody", "").is(401)
		a.call("GET", "/v1/inbox?limit=5", "", "", "Authorization: ").is(401)
		a.call("GET", "/v1/inbox?limit=5", "machine", "").is(403)
	}
}

func TestChangesSinceAVersion(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first := a.publish(global("first", ""))
	gone := a.publish(global("gone", ""))
	since := a.feed("", "ada").Version
	var none InboxChanges
	a.call("GET", "/v1/inbox/changes?since="+since, "ada", "").is(200).json(&none)
	require.Empty(t, none.Upserts)
	require.Equal(t, since, none.Version)

	a.publish(personal("second", "ada", ""))
	a.acknowledge(first, "read", "ada").is(200)
	a.call("DELETE", "/v1/messages/"+gone, "editor", "").is(200)
	var some InboxChanges
	a.call("GET", "/v1/inbox/changes?since="+since, "ada", "").is(200).json(&some)
	require.Len(t, some.Upserts, 2)
	require.NotNil(t, some.Upserts[0].ReadAt)
	require.Equal(t, []string{gone}, some.Removals)
	require.Equal(t, InboxCounts{Total: 2, Unseen: 1, Unread: 1}, some.Counts)
	require.False(t, some.HasMore)

	a.inbox.floor = 100
	require.Equal(t, "version-too-old", a.call("GET", "/v1/inbox/changes?since="+since, "ada", "").is(410).problem().Code)
}

func TestRefreshIsLimited(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.publish(global("news", ""))
	var page InboxPage
	got := a.call("POST", "/v1/inbox/refresh?limit=1", "", "", header+hers).is(200)
	got.json(&page)
	require.Equal(t, []string{"news"}, titles(page))
	require.NotEmpty(t, got.header.Get("ETag"))
	require.Equal(t, ownPage, a.call("POST", "/v1/inbox/refresh", "", "", "If-None-Match: *").is(200).header.Get("Cache-Control"))
	a.inbox.throttled = true
	got = a.call("POST", "/v1/inbox/refresh", "ada", "").is(429)
	require.Equal(t, "refresh-limit", got.problem().Code)
	require.Equal(t, "5", got.header.Get("Retry-After"))
}

func TestInboxAnswersAreNotLoggedWithTheViewer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.publish(personal("secret title", "ada", ""))
	a.feed("?limit=7", "ada", header+hers)
	a.acknowledge(id, "seen", "ada").is(200)
	for _, private := range []string{"ada", hers, "secret title", "limit=7"} {
		require.NotContains(t, a.logs.String(), private)
	}
	require.Contains(t, a.logs.String(), `"route":"/v1/inbox"`)
}

func TestOnlySoManyQuestionsAreKept(t *testing.T) {
	t.Parallel()
	qs := newQuestions()
	ask := func(query string, languages ...string) *http.Request {
		req := httptest.NewRequest("GET", "/v1/inbox?"+query, nil)
		req.Header["Accept-Language"] = languages
		return req
	}
	for i := range 3 * maxKnownQuestions {
		req := ask(fmt.Sprintf("limit=%d", i))
		qs.remember(req, ports.FeedQuery{Limit: i, Held: []string{"x"}, Viewer: inbox.CustomerViewer("ada")})
		require.LessOrEqual(t, len(qs.known), maxKnownQuestions)
		require.Equal(t, ports.FeedQuery{Limit: i}, qs.find(req).query, "whose question it was is nobody's business")
	}
	long := ask("category=" + strings.Repeat("x", maxKnownText))
	for _, req := range []*http.Request{long, ask("", strings.Repeat("de,", 200)), ask("", "de", "fr")} {
		qs.remember(req, ports.FeedQuery{})
		require.Nil(t, qs.find(req))
	}
	later := ask("cursor=x")
	qs.remember(later, ports.FeedQuery{Cursor: "x"})
	require.Nil(t, qs.find(later))
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^(?i:bearer) +([A-Za-z0-9._~+/-]+=*)$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]string{"", "Bearer ", "bEARER  ", "Basic ", "Bearer"}).Draw(t, "scheme") +
			rapid.StringMatching(`[A-Za-z0-9._~+/= ä\x00-]{0,6}={0,2}`).Draw(t, "token")
		want := pattern.FindStringSubmatch(s)
		got, ok := bearer(s)
		require.Equal(t, want != nil, ok, "%q", s)
		if ok {
			require.Equal(t, want[1], got)
		}
	})
}
