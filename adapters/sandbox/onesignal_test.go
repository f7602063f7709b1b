package sandbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (h *harness) user(id string) answer {
	h.t.Helper()
	return h.oneSignal("GET", "/users/by/external_id/"+id, "")
}

func (h *harness) createUser(id string, tokens ...string) answer {
	h.t.Helper()
	subs := ""
	for i, token := range tokens {
		if i > 0 {
			subs += ","
		}
		subs += `{"type":"iOSPush","token":"` + token + `"}`
	}
	return h.oneSignal("POST", "/users", `{"identity":{"external_id":"`+id+`"},"subscriptions":[`+subs+`]}`)
}

func (h *harness) tokens(id string) (tokens []string) {
	h.t.Helper()
	for _, d := range h.customer(id).Push.Devices {
		tokens = append(tokens, d.Token)
	}
	return tokens
}

func (h *harness) addSubscription(id, token string) answer {
	h.t.Helper()
	return h.oneSignal("POST", "/users/by/external_id/"+id+"/subscriptions", `{"subscription":{"type":"iOSPush","token":"`+token+`"}}`)
}

func subscriptionID(t *testing.T, a answer) string {
	t.Helper()
	return a.json(t)["subscription"].(map[string]any)["id"].(string)
}

func TestOneSignalRefusesBadKeysAndUnknownUsers(t *testing.T) {
	t.Parallel()
	h := start(t)
	path := "/onesignal/apps/" + h.cfg.OneSignalAppID + "/users/by/external_id/ada"
	require.Equal(t, 403, h.do("GET", path, "", "Authorization", "Key wrong").status)
	require.Equal(t, 403, h.do("GET", path, "", "Authorization", "Bearer "+h.cfg.OneSignalAPIKey).status)
	require.Equal(t, 403, h.do("GET", "/onesignal/apps/other/users/by/external_id/ada", "", "Authorization", "Key "+h.cfg.OneSignalAPIKey).status)
	require.Equal(t, 404, h.user("ada").status)
	require.Equal(t, 404, h.addSubscription("ada", "t1").status)
	require.Equal(t, 404, h.oneSignal("PATCH", "/subscriptions/none", `{"subscription":{"enabled":true}}`).status)
	require.Equal(t, 404, h.oneSignal("DELETE", "/subscriptions/none", "").status)
	require.Equal(t, 404, h.oneSignal("PATCH", "/subscriptions_by_token/iOSPush/t1", `{"subscription":{"enabled":true}}`).status)
	require.Equal(t, 404, h.oneSignal("GET", "/users/by/external_id/ada/identity", "").status)
	require.Equal(t, 202, h.oneSignal("PATCH", "/users/by/external_id/ada", `{"properties":{"tags":{"a":"1"}}}`).status)
	require.Equal(t, 404, h.user("ada").status, "an update creates nobody")
}

func TestOneSignalUser(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.oneSignal("POST", "/users", `{"identity":{"external_id":"ada"},"properties":{"language":"en","tags":{"news":"1","n":2,"gone":""}},
		"subscriptions":[{"type":"iOSPush","token":"t1","device_model":"phone"},{"type":"Email","token":"a@example.com","enabled":false}]}`)
	require.Equal(t, 201, a.status, a.body)
	require.Equal(t, 200, h.createUser("ada", "t1").status)

	user := h.user("ada").json(t)
	require.Equal(t, map[string]any{"language": "en", "tags": map[string]any{"news": "1", "n": "2"}}, user["properties"])
	require.Equal(t, "ada", user["identity"].(map[string]any)["external_id"])
	require.NotEmpty(t, user["identity"].(map[string]any)["onesignal_id"])
	subs := user["subscriptions"].([]any)
	require.Len(t, subs, 2)
	push, email := subs[0].(map[string]any), subs[1].(map[string]any)
	require.NotEmpty(t, push["id"])
	delete(push, "id")
	require.Equal(t, map[string]any{"type": "iOSPush", "token": "t1", "enabled": true, "notification_types": 1.0, "device_model": "phone"}, push)
	require.Equal(t, false, email["enabled"])
	require.Equal(t, -2.0, email["notification_types"])
	require.Equal(t, []deviceView{{"t1", true}}, h.customer("ada").Push.Devices, "e-mail is no device")

	a = h.oneSignal("PATCH", "/users/by/external_id/ada", `{"properties":{"tags":{"news":"","loyalty":"0"}}}`)
	require.Equal(t, 202, a.status)
	require.Equal(t, map[string]any{"n": "2", "loyalty": "0"}, h.user("ada").json(t)["properties"].(map[string]any)["tags"])

	require.Equal(t, 200, h.oneSignal("DELETE", "/users/by/external_id/ada", "").status)
	require.Equal(t, 404, h.user("ada").status)
	require.Equal(t, 201, h.createUser("grace", "t1").status, "the token was free again")
}

func TestOneSignalValidation(t *testing.T) {
	t.Parallel()
	h := start(t)
	tags := ""
	for i := range 101 {
		tags += fmt.Sprintf(`,"t%d":"1"`, i)
	}
	for _, bad := range []string{
		`{}`, `{"identity":{"onesignal_id":"x"}}`, `{"identity":{"external_id":""}}`,
		`{"identity":{"external_id":"ada"},"subscriptions":[{"type":"Pigeon","token":"t"}]}`,
		`{"identity":{"external_id":"ada"},"subscriptions":[{"type":"iOSPush"}]}`,
		`{"identity":{"external_id":"ada"},"subscriptions":[{"type":"iOSPush","token":"t","enabled":"yes"}]}`,
		`{"identity":{"external_id":"ada"},"properties":{"tags":{` + tags[1:] + `}}}`,
	} {
		require.Equal(t, 400, h.oneSignal("POST", "/users", bad).status, bad)
	}
}

func TestOneSignalAliasConflict(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.createUser("ada")
	h.oneSignal("POST", "/users", `{"identity":{"crm":"7"},"subscriptions":[]}`)
	a := h.oneSignal("POST", "/users", `{"identity":{"external_id":"ada","crm":"7"}}`)
	require.Equal(t, 409, a.status)
	failure := a.json(t)["errors"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"conflicting_aliases": map[string]any{"external_id": "ada", "crm": "7"}}, failure["meta"])
	require.Equal(t, 409, h.oneSignal("PATCH", "/users/by/external_id/ada/identity", `{"identity":{"crm":"7"}}`).status)

	a = h.oneSignal("PATCH", "/users/by/external_id/ada/identity", `{"identity":{"crm":"8"}}`)
	require.Equal(t, 200, a.status)
	require.Equal(t, "8", a.json(t)["identity"].(map[string]any)["crm"])
	require.Equal(t, 200, h.oneSignal("GET", "/users/by/crm/8", "").status)
}

func TestOneSignalTokenMovesToTheAddressedUser(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.createUser("ada", "t1", "t2")
	h.createUser("grace")
	a := h.addSubscription("grace", "t1")
	require.Equal(t, 201, a.status)
	require.Equal(t, []string{"t2"}, h.tokens("ada"))
	require.Equal(t, []string{"t1"}, h.tokens("grace"))
	require.Equal(t, 202, h.addSubscription("grace", "t1").status, "it is there already")
	require.Equal(t, []string{"t1"}, h.tokens("grace"))

	id := subscriptionID(t, a)
	a = h.oneSignal("PATCH", "/subscriptions/"+id+"/owner", `{"identity":{"external_id":"ada"}}`)
	require.Equal(t, 200, a.status)
	require.Equal(t, "ada", a.json(t)["identity"].(map[string]any)["external_id"])
	require.Equal(t, []string{"t2", "t1"}, h.tokens("ada"))
	require.Empty(t, h.tokens("grace"))
	require.Equal(t, 404, h.oneSignal("PATCH", "/subscriptions/"+id+"/owner", `{"identity":{"external_id":"nobody"}}`).status)
	require.Equal(t, 400, h.oneSignal("PATCH", "/subscriptions/"+id+"/owner", `{"identity":{"external_id":"ada","x":"y"}}`).status)
}

func TestOneSignalEvictsTheOldestOfTwentyOne(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.createUser("ada")
	for i := range 21 {
		h.clock.advance(time.Minute)
		require.Equal(t, 201, h.addSubscription("ada", fmt.Sprintf("t%02d", i)).status)
	}
	tokens := h.tokens("ada")
	require.Len(t, tokens, 20)
	require.Equal(t, "t01", tokens[0])
	require.Equal(t, "t20", tokens[19])

	// The evicted subscription lives on with an anonymous user, and can be found by its token.
	require.Equal(t, 202, h.oneSignal("PATCH", "/subscriptions_by_token/iOSPush/t00", `{"subscription":{"enabled":false}}`).status)
	h.createUser("grace")
	a := h.addSubscription("grace", "t00")
	require.Equal(t, 201, a.status)
	require.Equal(t, 409, h.oneSignal("PATCH", "/subscriptions/"+subscriptionID(t, a)+"/owner", `{"identity":{"external_id":"ada"}}`).status)
}

func TestOneSignalSubscriptionSwitch(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.createUser("ada", "t2")
	id := subscriptionID(t, h.addSubscription("ada", "t1"))
	a := h.oneSignal("PATCH", "/subscriptions/"+id, `{"subscription":{"enabled":false}}`)
	require.Equal(t, 200, a.status)
	require.Equal(t, []deviceView{{"t2", true}, {"t1", false}}, h.customer("ada").Push.Devices)
	h.oneSignal("PATCH", "/subscriptions/"+id, `{"subscription":{"notification_types":1}}`)
	require.Equal(t, []deviceView{{"t2", true}, {"t1", true}}, h.customer("ada").Push.Devices)
	require.Equal(t, 409, h.oneSignal("PATCH", "/subscriptions/"+id, `{"subscription":{"token":"t2"}}`).status)
	require.Equal(t, 200, h.oneSignal("PATCH", "/subscriptions/"+id, `{"subscription":{"token":"t3"}}`).status)
	require.Equal(t, []string{"t2", "t3"}, h.tokens("ada"))
}

func TestOneSignalAcceptedIsAppliedLater(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.createUser("ada")
	a := h.addSubscription("ada", "t1")
	require.Equal(t, 201, a.status)
	require.Equal(t, []string{"t1"}, h.tokens("ada"), "creating is synchronous")

	require.Equal(t, 202, h.oneSignal("PATCH", "/subscriptions_by_token/iOSPush/t1", `{"subscription":{"enabled":false}}`).status)
	require.True(t, h.customer("ada").Push.Devices[0].Enabled)
	require.Equal(t, 202, h.oneSignal("DELETE", "/subscriptions/"+subscriptionID(t, a), "").status)
	require.Equal(t, []string{"t1"}, h.tokens("ada"))
	h.clock.advance(time.Second)
	require.Empty(t, h.tokens("ada"))
}

func TestOneSignalAddingAfterADeletionThatWaits(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.createUser("ada")
	id := subscriptionID(t, h.addSubscription("ada", "t1"))
	h.oneSignal("DELETE", "/subscriptions/"+id, "")
	a := h.addSubscription("ada", "t1")
	require.Equal(t, 201, a.status)
	require.NotEqual(t, id, subscriptionID(t, a))
	h.clock.advance(time.Minute)
	require.Equal(t, []string{"t1"}, h.tokens("ada"))
}

func TestOneSignalLimitPerUserIsASwitch(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RateLimits.OneSignalPerSubject = Rate{Requests: 1, Per: time.Second} })
	h.createUser("ada")
	require.Equal(t, 429, h.addSubscription("ada", "t1").status, "creating the user was the write of this second")
	h.clock.advance(time.Second)
	require.Equal(t, 201, h.addSubscription("ada", "t1").status)
	a := h.addSubscription("ada", "t2")
	require.Equal(t, 429, a.status)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.Equal(t, "1", a.json(t)["limit"])
	require.Equal(t, 200, h.user("ada").status, "reads are not limited")
	h.clock.advance(time.Second)
	require.Equal(t, 201, h.addSubscription("ada", "t2").status)
}
