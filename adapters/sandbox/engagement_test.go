package sandbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (h *harness) campaigns(query string) answer {
	h.t.Helper()
	return h.do("GET", "/engagement/messages"+query, "", "Authorization", "Bearer "+h.cfg.EngagementAPIKey)
}

func (h *harness) feed(query string) (titles []string, next any, latest string) {
	h.t.Helper()
	a := h.campaigns(query)
	require.Equal(h.t, 200, a.status, a.body)
	body := a.json(h.t)
	for _, m := range body["messages"].([]any) {
		titles = append(titles, m.(map[string]any)["title"].(string))
	}
	return titles, body["next_cursor"], body["latest_cursor"].(string)
}

func (h *harness) message(title, more string) map[string]any {
	h.t.Helper()
	h.clock.advance(time.Second)
	a := h.do("POST", "/_sandbox/messages", `{"audience":{"type":"global"},"title":"`+title+`"`+more+`}`)
	require.Equal(h.t, 201, a.status, a.body)
	return a.json(h.t)
}

func TestEngagementMessage(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.do("POST", "/_sandbox/messages", `{"source":"crm","external_id":"c-1","audience":{"type":"customers","ids":["ada"]},"title":"Hi",
		"body":"There","deeplink":"app://orders/42","expiry":"2026-12-01T00:00:00Z","category":"promotions","image_url":null,
		"pinned":true,"actions":[{"label":"Go"}],"publish_at":null,"campaign":"spring","locale":"en",
		"variants":{"de":{"title":"Hallo"}}}`)
	require.Equal(t, 201, a.status, a.body)
	m := a.json(t)
	require.NotEmpty(t, m["id"])
	delete(m, "id")
	at := "2026-11-22T10:00:00Z"
	require.Equal(t, map[string]any{
		"source": "crm", "external_id": "c-1", "audience": map[string]any{"type": "customers", "ids": []any{"ada"}},
		"campaign": "spring", "locale": "en", "variants": map[string]any{"de": map[string]any{"title": "Hallo"}},
		"title": "Hi", "body": "There", "deeplink": "app://orders/42", "expiry": "2026-12-01T00:00:00Z", "category": "promotions",
		"image_url": nil, "pinned": true, "actions": []any{map[string]any{"label": "Go"}}, "publish_at": nil,
		"created_at": at, "updated_at": at, "retracted_at": nil, "sequence": 1.0,
	}, m)
	generated := h.message("x", "")
	require.Nil(t, generated["variants"])
	require.Equal(t, "sandbox", generated["source"])
	require.NotEmpty(t, generated["external_id"])
	for _, bad := range []string{`{}`, `{"title":"x","audience":{"type":"all"}}`, `{"title":"x","audience":{"type":"customers"}}`,
		`{"title":"x","audience":{"type":"global"},"extra":1}`, `{"title":"x","audience":{"type":"global"},"variants":[]}`, `{"title":"x","audience":{"type":"global"},"expiry":"soon"}`} {
		require.Equal(t, 400, h.do("POST", "/_sandbox/messages", bad).status, bad)
	}
	a = h.do("POST", "/_sandbox/messages", `{"source":"crm","external_id":"c-1","audience":{"type":"global"},"title":"Hi"}`)
	require.Equal(t, 409, a.status, "no feed could say that the other one has it now")
}

func TestEngagementFeedPagesThroughChanges(t *testing.T) {
	t.Parallel()
	h := start(t)
	titles, next, latest := h.feed("")
	require.Empty(t, titles)
	require.Nil(t, next)
	require.Equal(t, "0", latest)
	for i := range 5 {
		h.message(fmt.Sprint("m", i), fmt.Sprintf(`,"external_id":"e%d"`, i))
	}
	titles, next, _ = h.feed("?limit=2")
	require.Equal(t, []string{"m0", "m1"}, titles)
	edited := h.message("m1 edited", `,"external_id":"e1"`) // moves to the end: nothing is missed, and it is seen again
	titles, next, _ = h.feed("?limit=3&cursor=" + next.(string))
	require.Equal(t, []string{"m2", "m3", "m4"}, titles)
	titles, next, latest = h.feed("?limit=3&cursor=" + next.(string))
	require.Equal(t, []string{"m1 edited"}, titles)
	require.Nil(t, next)

	h.clock.advance(time.Second)
	a := h.do("DELETE", "/_sandbox/messages/"+edited["id"].(string), "")
	require.Equal(t, 200, a.status)
	require.NotNil(t, a.json(t)["retracted_at"])
	require.Equal(t, 404, h.do("DELETE", "/_sandbox/messages/none", "").status)
	titles, _, _ = h.feed("?cursor=" + latest)
	require.Equal(t, []string{"m1 edited"}, titles)
	titles, _, _ = h.feed("?updated_since=" + h.clock.Now().Format(time.RFC3339))
	require.Equal(t, []string{"m1 edited"}, titles)
	for _, query := range []string{"?limit=0", "?limit=201", "?cursor=x", "?updated_since=x"} {
		require.Equal(t, 400, h.campaigns(query).status, query)
	}
}

func TestEngagementKeyAndFaults(t *testing.T) {
	t.Parallel()
	h := start(t)
	require.Equal(t, 401, h.do("GET", "/engagement/messages", "").status)
	require.Equal(t, 200, h.campaigns("").status)
	h.fault(`{"target":"engagement","calls":"read","kind":"status","status":500}`)
	require.Equal(t, 500, h.campaigns("").status)
	open := start(t, func(c *Config) { c.EngagementAPIKey = "" })
	require.Equal(t, 200, open.do("GET", "/engagement/messages", "").status)
}
