package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (h *harness) iterable(path string) answer {
	h.t.Helper()
	return h.do("GET", "/iterable/api"+path, "", "Api-Key", h.cfg.IterableAPIKey)
}

func (h *harness) inApp(customer string) []any {
	h.t.Helper()
	a := h.iterable("/inApp/getMessages?count=100&userId=" + customer)
	require.Equal(h.t, 200, a.status, a.body)
	return a.json(h.t)["inAppMessages"].([]any)
}

func (h *harness) embedded(customer, more string) []any {
	h.t.Helper()
	a := h.iterable("/embedded-messaging/messages?userId=" + customer + more)
	require.Equal(h.t, 200, a.status, a.body)
	return a.json(h.t)["placements"].([]any)
}

func (h *harness) personal(title, more string) string {
	h.t.Helper()
	a := h.do("POST", "/_sandbox/messages", `{"audience":{"type":"customers","ids":["ada","grace"]},"title":"`+title+`"`+more+`}`)
	require.Equal(h.t, 201, a.status, a.body)
	return a.json(h.t)["id"].(string)
}

const button = `,"actions":[{"id":"track","title":"Track it","deeplink":"app://orders/42"}]`

func TestIterableInAppMessage(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.personal("Hi & <b>bye</b>", `,"body":"There","deeplink":"app://orders/42","expiry":"2026-12-01T00:00:00Z","category":"loyalty",
		"image_url":"https://img.example/1.png","pinned":true,"campaign":"spring","locale":"en","variants":{"de":{"title":"Hallo"}}`)
	got := h.inApp("ada")
	require.Len(t, got, 1)
	m := got[0].(map[string]any)
	require.Equal(t, map[string]any{"title": "Hi & <b>bye</b>", "subtitle": "There", "icon": nil}, m["inboxMetadata"])
	require.Equal(t, map[string]any{"deeplink": "app://orders/42", "category": "loyalty", "image_url": "https://img.example/1.png", "pinned": true,
		"campaign": "spring", "locale": "en", "variants": map[string]any{"de": map[string]any{"title": "Hallo"}},
		"publish_at": "2026-11-22T10:00:00Z", "expiry": "2026-12-01T00:00:00Z"}, m["customPayload"])
	require.Equal(t, "<h1>Hi &amp; &lt;b&gt;bye&lt;/b&gt;</h1><p>There</p>", m["content"].(map[string]any)["html"])
	require.EqualValues(t, h.clock.Now().UnixMilli(), m["createdAt"])
	require.EqualValues(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), m["expiresAt"])
	require.Equal(t, true, m["saveToInbox"])
	require.Equal(t, false, m["jsonOnly"])

	other := h.inApp("grace")[0].(map[string]any)
	require.NotEqual(t, m["messageId"], other["messageId"], "an id is of one send to one user")
	require.Equal(t, m["campaignId"], other["campaignId"])
	require.Empty(t, h.inApp("mary"))
	require.Empty(t, h.embedded("ada", ""))
}

func TestIterableShowsAMessageOnceAndWhileItLasts(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.message("for all", "")
	plain := h.personal("plain", `,"external_id":"p","expiry":"2026-11-22T11:00:00Z"`)
	h.personal("with a button", `,"external_id":"b"`+button)
	h.personal("later", `,"publish_at":"2026-11-22T10:30:00Z"`)
	titles, _, _ := h.feed("")
	require.Equal(t, []string{"for all"}, titles, "customers' messages come through Iterable alone")
	require.Len(t, h.inApp("ada"), 1)
	require.Len(t, h.embedded("ada", "")[0].(map[string]any)["embeddedMessages"], 1)

	before := h.inApp("ada")[0].(map[string]any)["messageId"]
	h.personal("plain, edited", `,"external_id":"p","expiry":"2026-11-22T11:00:00Z"`)
	require.Equal(t, before, h.inApp("ada")[0].(map[string]any)["messageId"])

	h.clock.advance(45 * time.Minute)
	require.Len(t, h.inApp("ada"), 2, "its time has come")
	require.Equal(t, "later", h.inApp("ada")[0].(map[string]any)["inboxMetadata"].(map[string]any)["title"], "the newest first")
	require.Len(t, h.iterable("/inApp/getMessages?count=1&userId=ada").json(t)["inAppMessages"], 1)
	h.clock.advance(15 * time.Minute)
	require.Len(t, h.inApp("ada"), 1, "expired")

	require.Equal(t, 200, h.do("DELETE", "/_sandbox/messages/"+plain, "").status)
	h.personal("with a button", `,"external_id":"b","expiry":"2026-11-22T11:00:00Z"`+button)
	require.Empty(t, h.embedded("ada", ""))
}

func TestIterableEmbeddedDelta(t *testing.T) {
	t.Parallel()
	h := start(t)
	first := h.personal("first", `,"body":"b","deeplink":"app://orders/1","image_url":"https://img.example/1.png"`+button)
	h.clock.advance(time.Second)
	h.personal("second", button)
	placement := h.embedded("ada", "")[0].(map[string]any)
	require.EqualValues(t, iterablePlacement, placement["placementId"])
	messages := placement["embeddedMessages"].([]any)
	require.Len(t, messages, 2)
	m := messages[1].(map[string]any)
	require.EqualValues(t, 2, m["metadata"].(map[string]any)["priorityOrder"])
	require.Equal(t, map[string]any{"title": "first", "body": "b", "mediaUrl": "https://img.example/1.png", "mediaUrlCaption": "", "text": []any{},
		"defaultAction": map[string]any{"type": "openUrl", "data": "app://orders/1"},
		"buttons":       []any{map[string]any{"id": "track", "title": "Track it", "action": map[string]any{"type": "openUrl", "data": "app://orders/42"}}},
	}, m["elements"])

	known := m["metadata"].(map[string]any)["messageId"].(string)
	delta := h.embedded("ada", "&currentMessageIds=gone&currentMessageIds="+known)[0].(map[string]any)["embeddedMessages"].([]any)
	require.Len(t, delta, 2)
	require.Contains(t, delta[0], "elements")
	require.NotContains(t, delta[1], "elements", "what the caller has comes without content")
	require.Contains(t, delta[1], "metadata")
	h.do("DELETE", "/_sandbox/messages/"+first, "")
	require.Len(t, h.embedded("ada", "&currentMessageIds="+known)[0].(map[string]any)["embeddedMessages"], 1)

	asked := h.embedded("ada", fmt.Sprintf("&placementIds=7&placementIds=%d", iterablePlacement))
	require.Len(t, asked, 2)
	require.Empty(t, asked[0].(map[string]any)["embeddedMessages"])
	require.Len(t, asked[1].(map[string]any)["embeddedMessages"], 1)
}

func TestIterableRefuses(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RateLimits.Iterable = Rate{Requests: 9, Per: time.Minute} })
	h.personal("x", "")
	for path, code := range map[string]string{
		"/inApp/getMessages?userId=ada": "BadParams", "/inApp/getMessages?userId=ada&count=0": "BadParams", "/inApp/getMessages?count=1": "BadParams",
		"/inApp/getMessages?count=1&userId=ada&email=ada": "BadParams", "/inApp/getMessages?count=1&userId=ada&platform=ios": "BadParams",
		"/embedded-messaging/messages?userId=ada&platform=OTT": "BadParams", "/embedded-messaging/messages?userId=ada&placementIds=a": "BadParams",
	} {
		a := h.iterable(path)
		require.Equal(t, 400, a.status, path)
		require.Equal(t, code, a.json(t)["code"], path)
	}
	require.Equal(t, "NotFound", h.iterable("/nothing").json(t)["code"])
	a := h.do("GET", "/iterable/api/inApp/getMessages?userId=ada&count=1", "", "Api-Key", "wrong")
	require.Equal(t, 401, a.status)
	require.Equal(t, "BadApiKey", a.json(t)["code"])
	a = h.do("POST", "/iterable/api/events/inAppConsume", `{"userId":"ada","messageId":"m"}`, "Api-Key", h.cfg.IterableAPIKey)
	require.Equal(t, 403, a.status)
	require.Equal(t, "Forbidden", a.json(t)["code"])
	require.Len(t, h.inApp("ada"), 1, "the ninth of nine")
	a = h.iterable("/inApp/getMessages?userId=ada&count=1")
	require.Equal(t, 429, a.status)
	require.Equal(t, map[string]any{"code": "RateLimitExceeded", "msg": "Too many requests",
		"params": map[string]any{"rateLimitLimit": 9.0, "rateLimitRemaining": 0.0, "rateLimitReset": 60.0}}, a.json(t))
	require.Empty(t, a.header.Get("Retry-After"), "Iterable says it in the body")
}

func TestIterableFaultsAndLog(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"engagement","customer":"ada","kind":"status","status":429,"times":0}`)
	for _, status := range []int{400, 401, 409, 500} {
		h.fault(fmt.Sprintf(`{"target":"engagement","customer":"grace","kind":"status","status":%d}`, status))
	}
	a := h.iterable("/inApp/getMessages?userId=ada&count=1")
	require.Equal(t, 429, a.status)
	require.Contains(t, a.json(t)["params"], "rateLimitReset")
	require.Equal(t, 200, h.campaigns("").status, "the campaign feed is about nobody")
	var codes []string
	for range 4 {
		codes = append(codes, h.iterable("/embedded-messaging/messages?userId=grace").json(t)["code"].(string))
	}
	require.Equal(t, "BadParams BadApiKey ForgottenUserError GenericError", strings.Join(codes, " "))
	require.Equal(t, 200, h.iterable("/embedded-messaging/messages?userId=grace").status)
	h.fault(`{"target":"engagement","kind":"status"}`)
	require.Equal(t, 503, h.campaigns("").status)

	require.Len(t, h.requests("?target=engagement&customer=grace"), 5)
	logged := h.requests("?target=engagement&customer=ada")
	require.Len(t, logged, 1)
	require.Equal(t, "/iterable/api/inApp/getMessages", logged[0].Path)
	require.Equal(t, callRead, logged[0].Call)
}
