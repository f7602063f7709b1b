package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (h *harness) export(id string, fields ...string) map[string]any {
	h.t.Helper()
	a := h.braze("POST", "/users/export/ids", `{"external_ids":["`+id+`"],"fields_to_export":["`+strings.Join(fields, `","`)+`"]}`)
	require.Equal(h.t, 201, a.status, a.body)
	users := a.json(h.t)["users"].([]any)
	if len(users) == 0 {
		return nil
	}
	return users[0].(map[string]any)
}

func TestBrazeRefusesUnknownKeys(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", h.cfg.BrazeAPIKey}} {
		a := h.do("POST", "/braze/users/track", subscribe("ada"), header...)
		require.Equal(t, 401, a.status)
		require.NotEmpty(t, a.json(t)["message"])
	}
	require.Equal(t, "unknown", h.customer("ada").CRM.EmailMarketing)
	require.Equal(t, 404, h.braze("GET", "/users/nothing", "").status)
}

func TestBrazeNewProfileIsSubscribedUnasked(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","language":"en"}]}`)
	require.Equal(t, 201, a.status)
	require.Equal(t, map[string]any{"message": "success", "attributes_processed": 1.0}, a.json(t))
	require.Equal(t, "neutral", h.customer("ada").CRM.EmailMarketing)
	require.Equal(t, map[string]any{"email_subscribe": "subscribed", "push_subscribe": "subscribed", "language": "en", "email": nil},
		h.export("ada", "email_subscribe", "push_subscribe", "language", "email"))

	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"grace","_update_existing_only":true,"email_subscribe":"opted_in"}]}`)
	require.Nil(t, h.export("grace", "email_subscribe"))
}

func TestBrazeAttributes(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, attributes := range []string{
		`"points":{"inc":5},"tier":"gold","tags":["a"],"big":12345678901234567890`,
		`"points":{"inc":-2},"tier":null,"tags":{"add":["b","a"]},"email":"a@example.com"`,
		`"tags":{"remove":["b"]},"email":null,"push_tokens":[{"app_id":"app","token":"t1","device_id":"d"}]`,
	} {
		require.Equal(t, 201, h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada",`+attributes+`}]}`).status)
	}
	user := h.export("ada", "custom_attributes", "email", "push_tokens", "nonsense")
	require.Equal(t, map[string]any{
		"custom_attributes": map[string]any{"points": 3.0, "tags": []any{"a"}, "big": 12345678901234567890.0},
		"email":             nil,
		"push_tokens": []any{map[string]any{
			"app": "app", "platform": "Android", "token": "t1", "device_id": "d", "notifications_enabled": true,
		}},
	}, user)
	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","push_tokens":null}]}`)
	require.Empty(t, h.export("ada", "push_tokens")["push_tokens"])
}

func TestBrazePartialAndFatalErrors(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.braze("POST", "/users/track", `{"attributes":[
		{"email_subscribe":"opted_in"},
		{"external_id":"ada","email_subscribe":"opted_in"},
		{"external_id":"grace","email_subscribe":"Opted_In"},
		{"external_id":"grace","subscription_groups":[{"subscription_group_id":"none","subscription_state":"subscribed"}]}],
		"events":[{"external_id":"ada","name":"visit","time":"2026-01-01T00:00:00Z"},{"external_id":"ada","name":"visit"}]}`)
	require.Equal(t, 201, a.status)
	body := a.json(t)
	require.Equal(t, "success", body["message"])
	require.Equal(t, 1.0, body["attributes_processed"])
	require.Equal(t, 1.0, body["events_processed"])
	require.Equal(t, []any{
		map[string]any{"type": brazeNoID, "input_array": "attributes", "index": 0.0},
		map[string]any{"type": "'email_subscribe' is not valid", "input_array": "attributes", "index": 2.0},
		map[string]any{"type": "'subscription_groups' is not valid", "input_array": "attributes", "index": 3.0},
		map[string]any{"type": "'time' is not valid", "input_array": "events", "index": 1.0},
	}, body["errors"])
	require.Equal(t, "subscribed", h.customer("ada").CRM.EmailMarketing)
	require.Equal(t, "unknown", h.customer("grace").CRM.EmailMarketing)

	a = h.braze("POST", "/users/track", `{"attributes":[{"external_id":"grace","email_subscribe":"yes"}]}`)
	require.Equal(t, 400, a.status)
	require.Len(t, a.json(t)["errors"], 1)
	require.Equal(t, 400, h.braze("POST", "/users/track", `{`).status)

	many := strings.Repeat(`{"external_id":"ada"},`, 76)
	a = h.braze("POST", "/users/track", `{"attributes":[`+strings.TrimSuffix(many, ",")+`]}`)
	require.Equal(t, 400, a.status)
	require.Contains(t, a.json(t)["message"], "Max Input Length Exceeded")
}

func TestBrazeGroups(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","email":"a@example.com","subscription_groups":[
		{"subscription_group_id":"`+promotionsGroup+`","subscription_state":"subscribed"}]}]}`)
	a := h.braze("POST", "/v2/subscription/status/set", `{"subscription_groups":[{"subscription_group_id":"`+newsGroup+
		`","subscription_state":"unsubscribed","external_ids":["ada","nobody"]}]}`)
	require.Equal(t, 201, a.status)
	require.Equal(t, map[string]any{"message": "success"}, a.json(t))

	status := func(query string) any {
		a := h.braze("GET", "/subscription/status/get?"+query, "")
		require.Equal(t, 200, a.status, a.body)
		return a.json(t)["status"]
	}
	require.Equal(t, map[string]any{"ada": "Subscribed"}, status("subscription_group_id="+promotionsGroup+"&external_id=ada"))
	require.Equal(t, map[string]any{"ada": "Unsubscribed", "nobody": "Unknown"},
		status("subscription_group_id="+newsGroup+"&external_id[]=ada&external_id[]=nobody"))
	require.Equal(t, map[string]any{"a@example.com": "Subscribed"}, status("subscription_group_id="+promotionsGroup+"&email=a@example.com"))

	a = h.braze("GET", "/subscription/user/status?external_id=ada&external_id=nobody", "")
	require.Equal(t, map[string]any{"message": "success", "total_count": 1.0, "users": []any{map[string]any{
		"external_id": "ada", "email": "a@example.com", "phone": nil, "subscription_groups": []any{
			map[string]any{"id": promotionsGroup, "name": "promotions", "channel": "push", "status": "Subscribed"},
			map[string]any{"id": newsGroup, "name": "news", "channel": "push", "status": "Unsubscribed"},
		}}}}, a.json(t))

	for _, bad := range []string{
		`{}`,
		`{"subscription_groups":[{"subscription_group_id":"none","subscription_state":"subscribed","external_ids":["ada"]}]}`,
		`{"subscription_groups":[{"subscription_group_id":"` + newsGroup + `","subscription_state":"Subscribed","external_ids":["ada"]}]}`,
		`{"subscription_groups":[{"subscription_group_id":"` + newsGroup + `","subscription_state":"subscribed"}]}`,
		`{"subscription_groups":[{"subscription_group_id":"` + newsGroup + `","subscription_state":"subscribed","emails":["a"],"phones":["1"]}]}`,
		fmt.Sprintf(`{"subscription_groups":[{"subscription_group_id":"%s","subscription_state":"subscribed","external_ids":["%s"]}]}`,
			newsGroup, strings.Repeat(`a","`, 50)+"z"),
	} {
		require.Equal(t, 400, h.braze("POST", "/v2/subscription/status/set", bad).status, bad)
	}
	for _, query := range []string{"", "subscription_group_id=none&external_id=ada", "subscription_group_id=" + newsGroup} {
		require.Equal(t, 400, h.braze("GET", "/subscription/status/get?"+query, "").status, query)
	}
}

func TestBrazeExportNeedsFieldsAndNamesTheUnknown(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.braze("POST", "/users/track", subscribe("ada"))
	require.Equal(t, 400, h.braze("POST", "/users/export/ids", `{"external_ids":["ada"]}`).status)
	require.Equal(t, 400, h.braze("POST", "/users/export/ids", `{"fields_to_export":["external_id"]}`).status)
	a := h.braze("POST", "/users/export/ids", `{"external_ids":["ada","nobody"],"fields_to_export":["external_id"]}`)
	require.Equal(t, map[string]any{
		"message": "success", "users": []any{map[string]any{"external_id": "ada"}}, "invalid_user_ids": []any{"nobody"},
	}, a.json(t))
}

func TestBrazeDelete(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.braze("POST", "/users/track", subscribe("ada"))
	a := h.braze("POST", "/users/delete", `{"external_ids":["ada","nobody"]}`)
	require.Equal(t, 201, a.status)
	require.Equal(t, map[string]any{"deleted": 1.0, "message": "success"}, a.json(t))
	require.Nil(t, h.export("ada", "external_id"))
}

func TestBrazeWritesAreAppliedLaterAndInOrder(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.braze("POST", "/users/track", subscribe("ada"))
	require.Nil(t, h.export("ada", "email_subscribe"), "accepted is not applied")
	h.clock.advance(500 * time.Millisecond)
	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","email_subscribe":"unsubscribed"}]}`)
	h.clock.advance(499 * time.Millisecond)
	require.Nil(t, h.export("ada", "email_subscribe"))
	h.clock.advance(time.Millisecond)
	require.Equal(t, "opted_in", h.export("ada", "email_subscribe")["email_subscribe"])
	h.clock.advance(500 * time.Millisecond)
	require.Equal(t, "unsubscribed", h.export("ada", "email_subscribe")["email_subscribe"])
}

func TestBrazeRateLimit(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RateLimits.Braze = Rate{Requests: 2, Per: 3 * time.Second} })
	first := h.braze("POST", "/users/track", subscribe("ada"))
	require.Equal(t, "2", first.header.Get("x-ratelimit-limit"))
	require.Equal(t, "1", first.header.Get("x-ratelimit-remaining"))
	require.Equal(t, fmt.Sprint(h.clock.Now().Add(3*time.Second).Unix()), first.header.Get("x-ratelimit-reset"))
	h.braze("POST", "/users/track", subscribe("ada"))
	require.Equal(t, 429, h.braze("POST", "/users/track", subscribe("grace")).status)
	require.Equal(t, "unknown", h.customer("grace").CRM.EmailMarketing)
	h.clock.advance(3 * time.Second)
	require.Equal(t, 201, h.braze("POST", "/users/track", subscribe("grace")).status)
}
