package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
)

const everything = `{"source":"shop","external_id":"42","audience":{"type":"customers","ids":["ada","grace","ada"]},"title":"Order 42","body":"On its way",
	"deeplink":"app://orders/42","expiry":"2100-01-01T01:00:00+01:00","category":"orders","image_url":"https://img.example.org/42.png","pinned":true,
	"actions":[{"id":"track","title":"Track","deeplink":"app://orders/42"}],"locale":"en","campaign":"spring",
	"variants":{"de":{"title":"Bestellung 42","body":"Unterwegs","image_url":null,"actions":{"track":"Verfolgen"}},"fr":{"title":"Commande 42"}}}`

func newShop(t *testing.T) *api {
	t.Helper()
	a := newAPI(t)
	a.inbox.now = time.Date(2099, 12, 1, 0, 0, 0, 0, time.UTC)
	a.call("PUT", "/v1/deeplink-targets/orders", "editor", `{"pattern":"app://orders/{order_id}"}`).is(201)
	return a
}

func TestPublishingAMessage(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	got := a.call("POST", "/v1/messages", "editor", everything).is(201)
	var m StoredMessage
	got.json(&m)
	require.Equal(t, "/v1/messages/"+m.Id, got.header.Get("Location"))
	two, now := 2, a.inbox.now
	require.Equal(t, StoredMessage{Id: m.Id, Source: "shop", ExternalId: "42", Audience: StoredAudience{Type: "customers", Recipients: &two}, Title: "Order 42", Body: "On its way",
		Deeplink: textOrNull("app://orders/42"), Expiry: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Category: "orders", ImageUrl: textOrNull("https://img.example.org/42.png"),
		Pinned: true, Actions: []StoredAction{{Id: "track", Title: "Track", Deeplink: "app://orders/42"}}, PublishAt: now, Locale: textOrNull("en"), Campaign: textOrNull("spring"),
		Variants: map[string]StoredVariant{"de": {Title: "Bestellung 42", Body: "Unterwegs", Actions: map[string]string{"track": "Verfolgen"}},
			"fr": {Title: "Commande 42", Actions: map[string]string{}}},
		Targets: []string{"orders"}, CreatedAt: now, UpdatedAt: now, Delivery: Delivery{Recipients: 2}}, m)

	var again StoredMessage
	got = a.call("POST", "/v1/messages", "editor", everything).is(200)
	got.json(&again)
	require.Equal(t, m, again)
	require.Equal(t, "/v1/messages/"+m.Id, got.header.Get("Location"))
	reordered := strings.Replace(everything, `["ada","grace","ada"]`, `["grace","ada"]`, 1)
	a.call("POST", "/v1/messages", "editor", reordered).is(200)
	other := strings.Replace(everything, "On its way", "Delayed", 1)
	require.Equal(t, "message-exists", a.call("POST", "/v1/messages", "editor", other).is(409).problem().Code)

	for _, token := range []string{"editor", "proof"} {
		a.call("GET", "/v1/messages/"+m.Id, token, "").is(200).json(&again)
		require.Equal(t, m, again)
	}
	require.Equal(t, []string{"Order 42"}, titles(a.feed("", "grace")))
}

func TestAGlobalMessageWithNothingButATitle(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var m StoredMessage
	a.call("POST", "/v1/messages", "editor", global("news", `,"body":"","deeplink":null,"expiry":null,"category":null,"image_url":null,"actions":null,
		"publish_at":null,"locale":null,"variants":null,"campaign":null`)).is(201).json(&m)
	require.Equal(t, StoredAudience{Type: "global"}, m.Audience)
	require.Equal(t, inbox.DefaultCategory, m.Category)
	require.Equal(t, inbox.DefaultLife, m.Expiry.Sub(m.PublishAt))
	require.Equal(t, "shop/news", *m.Campaign)
	a.call("POST", "/v1/messages", "editor", global("news", "")).is(200)
	planned := a.inbox.now.Add(time.Hour).Format(time.RFC3339)
	a.publish(global("later", `,"publish_at":"`+planned+`"`))
	require.Equal(t, []string{"news"}, titles(a.feed("", "")))
}

func TestMessagesThatBreakARule(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	base := func(more string) string { return global("x", more) }
	for _, c := range []struct {
		body string
		want map[string]string
	}{
		{`{}`, map[string]string{"source": "required", "external_id": "required", "audience": "required", "title": "required"}},
		{`[]`, map[string]string{"": "wrong_type"}},
		{`null`, map[string]string{"": "null_not_allowed"}},
		{base(`,"titel":"x"`), map[string]string{"titel": "unknown_field"}},
		{base(`,"title":"x"`), map[string]string{"title": "duplicate_field"}},
		{base(`,"pinned":null`), map[string]string{"pinned": "null_not_allowed"}},
		{base(`,"pinned":"yes","body":7`), map[string]string{"pinned": "wrong_type", "body": "wrong_type"}},
		{base(`,"expiry":"soon"`), map[string]string{"expiry": "bad_format"}},
		{base(`,"expiry":"2099-02-30T00:00:00Z"`), map[string]string{"expiry": "bad_format"}},
		{base(`,"expiry":"2026-01-01T00:00:00Z"`), map[string]string{"expiry": "in_the_past"}},
		{base(`,"publish_at":"2026-13-01T00:00:00Z"`), map[string]string{"publish_at": "bad_format"}},
		{base(`,"publish_at":"9999-01-01T00:00:00Z"`), map[string]string{"publish_at": "too_late"}},
		{base(`,"category":"Über"`), map[string]string{"category": "invalid_category"}},
		{base(`,"image_url":"http://x/y"`), map[string]string{"image_url": "invalid_url"}},
		{base(`,"locale":"!"`), map[string]string{"locale": "invalid_locale"}},
		{base(`,"actions":[{"id":"a"}]`), map[string]string{"actions.0.title": "required", "actions.0.deeplink": "required"}},
		{base(`,"actions":[{"id":"a","title":"A","deeplink":"app://orders/1","url":"x"}]`), map[string]string{"actions.0.url": "unknown_field"}},
		{base(`,"variants":{"de":{}}`), map[string]string{"variants.de.title": "required"}},
		{base(`,"variants":{"de":{"title":"D","actions":{"a":"A"}}}`), map[string]string{"variants.de.actions.a": "unknown_action"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"global"},"title":"` + strings.Repeat("x", 201) + `"}`, map[string]string{"title": "invalid_text"}},
		{`{"source":"s h","external_id":"","audience":{"type":"global"},"title":"x"}`, map[string]string{"source": "invalid_source", "external_id": "invalid_id"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"everybody"},"title":"x"}`, map[string]string{"audience.type": "not_allowed"}},
		{`{"source":"shop","external_id":"x","audience":"global","title":"x"}`, map[string]string{"audience": "wrong_type"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"global","ids":["ada"]},"title":"x"}`, map[string]string{"audience.ids": "not_allowed"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers"},"title":"x"}`, map[string]string{"audience.ids": "required"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":[]},"title":"x"}`, map[string]string{"audience.ids": "required"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":"ada"},"title":"x"}`, map[string]string{"audience.ids": "wrong_type"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":["ada",7]},"title":"x"}`, map[string]string{"audience.ids.1": "wrong_type"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":["ada",["b"]]},"title":"x"}`, map[string]string{"audience.ids.1": "wrong_type"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":["a b"]},"title":"x"}`, map[string]string{"audience.ids.0": "invalid_id"}},
		{`{"source":"shop","external_id":"x","audience":{"type":"customers","ids":["ada"],"ids":[]},"title":"x"}`, map[string]string{"audience.ids": "duplicate_field"}},
	} {
		p := a.call("POST", "/v1/messages", "editor", c.body).is(400).problem()
		require.Equal(t, c.want, fields(p), c.body)
		require.Equal(t, "invalid-request", p.Code)
	}
	for _, body := range []string{`{`, `{"audience":{"type":"customers","ids":["ada",]}}`, `{"audience":{"type":"customers","ids":["ada"`, base("") + "x",
		"{\"audience\":{\"type\":\"customers\",\"ids\":[\"\xff\"]}}", base("") + base("")} {
		require.Equal(t, "malformed-json", a.call("POST", "/v1/messages", "editor", body).is(400).problem().Code, body)
	}
	require.Empty(t, a.inbox.messages)
}

func TestLinksThatLeadNowhereAreRefused(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	a.call("PUT", "/v1/deeplink-targets/basket", "editor", `{"pattern":"app://basket","active":false}`).is(201)
	p := a.call("POST", "/v1/messages", "editor", global("x", `,"deeplink":"app://nowhere","actions":[{"id":"a","title":"A","deeplink":"app://orders/1"},
		{"id":"b","title":"B","deeplink":"app://basket"}]`)).is(400).problem()
	require.Equal(t, "deeplink-inactive", p.Code)
	require.Equal(t, map[string]string{"deeplink": "unknown_target", "actions.1.deeplink": "inactive_target"}, fields(p))
}

func TestChangingAMessage(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	id := a.publish(everything)
	patch := func(body string) (m StoredMessage) {
		t.Helper()
		a.call("PATCH", "/v1/messages/"+id, "editor", body, "Content-Type: application/merge-patch+json").is(200).json(&m)
		return m
	}
	before := patch(`{"pinned":true}`)
	after := patch(`{"title":"Order 42 is late"}`)
	require.Equal(t, "Order 42 is late", after.Title)
	before.Title = after.Title
	require.Equal(t, before, after, "what is not named stays")
	after = patch(`{"image_url":null,"deeplink":null,"category":null,"variants":{"fr":null,"de":{"body":"Verspätet","actions":null},"it":{"title":"Ordine 42"}}}`)
	require.Nil(t, after.ImageUrl)
	require.Nil(t, after.Deeplink)
	require.Equal(t, "general", after.Category)
	require.Equal(t, map[string]StoredVariant{"de": {Title: "Bestellung 42", Body: "Verspätet", Actions: map[string]string{}},
		"it": {Title: "Ordine 42", Actions: map[string]string{}}}, after.Variants)
	after = patch(`{"actions":[{"id":"x","title":"X","deeplink":"app://orders/7"}],"variants":null,"locale":null,"expiry":"2100-02-01T00:00:00Z"}`)
	require.Equal(t, []StoredAction{{Id: "x", Title: "X", Deeplink: "app://orders/7"}}, after.Actions)
	require.Empty(t, after.Variants)
	require.Equal(t, time.Date(2100, 2, 1, 0, 0, 0, 0, time.UTC), after.Expiry)
	require.Empty(t, patch(`{"actions":null}`).Actions)

	for body, want := range map[string]map[string]string{
		`{}`:                                   {"": "empty_change"},
		`{"title":null}`:                       {"title": "null_not_allowed"},
		`{"title":""}`:                         {"title": "invalid_text"},
		`{"source":"x"}`:                       {"source": "unknown_field"},
		`{"audience":{"type":"global"}}`:       {"audience": "unknown_field"},
		`{"expiry":null}`:                      {"expiry": "null_not_allowed"},
		`{"expiry":"2099-11-31T00:00:00Z"}`:    {"expiry": "bad_format"},
		`{"variants":{"es":{"body":"x"}}}`:     {"variants.es.title": "invalid_text"},
		`{"deeplink":"app://nowhere"}`:         {"deeplink": "unknown_target"},
		`{"actions":[{"id":"a","title":"A"}]}`: {"actions.0.deeplink": "required"},
	} {
		require.Equal(t, want, fields(a.call("PATCH", "/v1/messages/"+id, "editor", body).is(400).problem()), body)
	}
	require.Equal(t, "application/json, application/merge-patch+json",
		a.call("PATCH", "/v1/messages/"+id, "editor", `{"pinned":true}`, "Content-Type: text/plain").is(415).header.Get("Accept-Patch"))
}

func TestRetractingAMessage(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	id := a.publish(everything)
	for range 2 {
		var m StoredMessage
		a.call("DELETE", "/v1/messages/"+id, "editor", "").is(200).json(&m)
		require.NotNil(t, m.RetractedAt)
	}
	require.Empty(t, a.feed("", "ada").Messages)
	require.Equal(t, "message-retracted", a.call("PATCH", "/v1/messages/"+id, "editor", `{"pinned":false}`).is(409).problem().Code)
	for _, method := range []string{"GET", "DELETE", "PATCH"} {
		for _, unknown := range []string{"msg_0000000000000", "nonsense"} {
			body := ""
			if method == "PATCH" {
				body = `{"pinned":false}`
			}
			require.Equal(t, "not-found", a.call(method, "/v1/messages/"+unknown, "editor", body).is(404).problem().Code)
		}
	}
}

func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	a := newShop(t)
	a.measure.report.By = engagement.ByDay
	id := a.publish(everything)
	target := `{"pattern":"app://x"}`
	for _, c := range []struct{ call, body, permitted string }{
		{"POST /v1/messages", everything, "editor"},
		{"GET /v1/messages/" + id, "", "proof"},
		{"PATCH /v1/messages/" + id, `{"pinned":false}`, "editor"},
		{"DELETE /v1/messages/" + id, "", "editor"},
		{"GET /v1/deeplink-targets", "", "proof"},
		{"GET /v1/deeplink-targets/orders", "", "proof"},
		{"PUT /v1/deeplink-targets/x", target, "editor"},
		{"DELETE /v1/deeplink-targets/x", "", "editor"},
		{"GET /v1/metrics/engagement", "", "analyst"},
	} {
		method, path, _ := strings.Cut(c.call, " ")
		require.Equal(t, "unauthenticated", a.call(method, path, "", c.body).is(401).problem().Code)
		for _, token := range []string{"ada", "machine", "ops", "proof"} {
			if token != c.permitted {
				require.Equal(t, "insufficient-scope", a.call(method, path, token, c.body).is(403).problem().Code, "%s as %s", c.call, token)
			}
		}
		require.Less(t, a.call(method, path, c.permitted, c.body).status, 300, c.call)
	}
}

func TestDeeplinkTargets(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var target DeeplinkTarget
	a.call("PUT", "/v1/deeplink-targets/orders", "editor", `{"pattern":"app://orders/{order_id}","active":true,"active_from":null,"active_until":"2100-01-01T00:00:00Z"}`).is(201).json(&target)
	until := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, DeeplinkTarget{Key: "orders", Pattern: "app://orders/{order_id}", Active: true, ActiveUntil: &until, UpdatedAt: a.inbox.now}, target)
	a.call("PUT", "/v1/deeplink-targets/orders", "editor", `{"pattern":"app://orders/{order_id}","active":false}`).is(200).json(&target)
	require.False(t, target.Active)
	require.Nil(t, target.ActiveUntil)
	a.call("PUT", "/v1/deeplink-targets/basket", "editor", `{"pattern":"app://basket"}`).is(201)
	var list DeeplinkTargetList
	a.call("GET", "/v1/deeplink-targets", "proof", "").is(200).json(&list)
	require.Equal(t, "basket", list.Targets[0].Key)
	require.Len(t, list.Targets, 2)
	a.call("GET", "/v1/deeplink-targets/orders", "proof", "").is(200).json(&target)
	require.Empty(t, a.call("DELETE", "/v1/deeplink-targets/orders", "editor", "").is(204).body)
	for _, method := range []string{"GET", "DELETE"} {
		require.Equal(t, "not-found", a.call(method, "/v1/deeplink-targets/orders", "editor", "").is(404).problem().Code)
	}
	for body, want := range map[string]map[string]string{
		`{}`:                                         {"pattern": "required"},
		`{"pattern":7}`:                              {"pattern": "wrong_type"},
		`{"pattern":"orders"}`:                       {"pattern": "invalid_pattern"},
		`{"pattern":"javascript://x"}`:               {"pattern": "invalid_pattern"},
		`{"pattern":"app://x","active":null}`:        {"active": "null_not_allowed"},
		`{"pattern":"app://x","key":"x"}`:            {"key": "unknown_field"},
		`{"pattern":"app://x","active_from":"then"}`: {"active_from": "bad_format"},
		`{"pattern":"app://x","active_from":"2100-01-01T00:00:00Z","active_until":"2100-01-01T00:00:00Z"}`: {"active_until": "before_start"},
	} {
		require.Equal(t, want, fields(a.call("PUT", "/v1/deeplink-targets/x", "editor", body).is(400).problem()), body)
	}
	require.Equal(t, map[string]string{"key": "bad_format"}, fields(a.call("PUT", "/v1/deeplink-targets/a%20b", "editor", `{"pattern":"app://x"}`).is(400).problem()))
}

func TestAMessageToVeryMany(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const many = 20_000
	var ids strings.Builder
	for i := range many {
		fmt.Fprintf(&ids, `"customer-%d",`, i%(many/2))
	}
	body := `{"source":"shop","external_id":"many","audience":{"type":"customers","ids":[` + ids.String() + `"ada"]},"title":"x"}`
	var m StoredMessage
	a.call("POST", "/v1/messages", "editor", body).is(201).json(&m)
	require.Equal(t, many/2+1, m.Delivery.Recipients)
	id, err := inbox.ParseMessageID(m.Id)
	require.NoError(t, err)
	require.Equal(t, preference.CustomerID("ada"), a.inbox.messages[id].to[0])
}

// Too many at once, and too many recipients, are found out without keeping what was sent.
func TestBoundsOfLargeBodies(t *testing.T) {
	t.Parallel()
	route := &route{maxBody: 48 << 20, bodies: publishRoute(t).bodies}
	read := func(in io.Reader, length int64) error {
		req := httptest.NewRequest("POST", "/v1/messages", in)
		req.ContentLength = length
		_, err := readDraftBody(httptest.NewRecorder(), req, route, new(MessageDraft))
		return err
	}
	head, tail := `{"source":"shop","external_id":"x","title":"x","audience":{"type":"customers","ids":[`, `"z"]}}`
	fill := func(n int) io.Reader {
		return io.MultiReader(strings.NewReader(head), strings.NewReader(strings.Repeat(`"a",`, n)), strings.NewReader(tail))
	}
	require.NoError(t, read(fill(99), -1))
	few := recipients{most: 100}
	lists := map[string]listReader{recipientsPath: few.read}
	_, err := newParser(fill(99), lists).document()
	require.NoError(t, err)
	require.Equal(t, []preference.CustomerID{"a", "z"}, few.each())
	few.ids = nil
	_, err = newParser(fill(100), lists).document()
	f, is := fault.As(err)
	require.True(t, is)
	require.Equal(t, []fault.Field{{Path: "audience.ids", Code: "too_many", Message: "may name at most 100 customers"}}, f.Fields)
	require.ErrorIs(t, read(fill(1), 48<<20+1), errTooLarge, "as it says itself")
	route.maxBody = 100
	require.ErrorIs(t, read(fill(100), -1), errTooLarge, "as it turns out")
	require.ErrorContains(t, read(iotest.ErrReader(errors.New("reset")), -1), "could not be read to its end")
	require.ErrorContains(t, read(io.MultiReader(strings.NewReader(head[:20]), iotest.ErrReader(errors.New("reset"))), -1), "could not be read to its end")
}

func publishRoute(t *testing.T) *route {
	t.Helper()
	c, err := ownContract()
	require.NoError(t, err)
	r := c.routes["POST /v1/messages"]
	require.EqualValues(t, 48<<20, r.maxBody)
	return r
}

func TestOnlySomeLargeBodiesAreWorkedOnAtOnce(t *testing.T) {
	t.Parallel()
	s := &server{large: make(chan struct{}, maxLarge)}
	take := func(length int64, ctx context.Context) (func(), *httptest.ResponseRecorder) {
		rec := httptest.NewRecorder()
		g, _ := gin.CreateTestContext(rec)
		g.Request = httptest.NewRequestWithContext(ctx, "POST", "/v1/messages", nil)
		g.Request.ContentLength = length
		done, _ := s.takeLarge(g)
		return done, rec
	}
	first, _ := take(maxBody+1, t.Context())
	second, _ := take(-1, t.Context())
	require.NotNil(t, first)
	require.NotNil(t, second)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	third, _ := take(maxBody+1, gone)
	require.Nil(t, third)
	small, _ := take(maxBody, gone)
	require.NotNil(t, small, "small ones never wait")
	first()
	again, _ := take(maxBody+1, t.Context())
	require.NotNil(t, again)
}

func TestALargeBodyThatWaitsInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{large: make(chan struct{})}
		rec := httptest.NewRecorder()
		g, _ := gin.CreateTestContext(rec)
		g.Request = httptest.NewRequest("POST", "/v1/messages", nil)
		g.Request.ContentLength = maxBody + 1
		done, ok := s.takeLarge(g)
		require.False(t, ok)
		require.Nil(t, done)
		require.Equal(t, 503, rec.Code)
		require.NotEmpty(t, rec.Header().Get("Retry-After"))
	})
}
