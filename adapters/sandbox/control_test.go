package sandbox

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nobody = `{"crm":{"email_marketing":"unknown","channels":{"loyalty":"unknown","news":"unknown","order_updates":"unknown",` +
	`"promotions":"unknown"}},"push":{"devices":[]},"cmp":{"purposes":{"email-marketing":"unknown","push-marketing":"unknown"}}}` + "\n"

func TestCustomerNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.do("GET", "/_sandbox/customers/ada", "")
	require.Equal(t, 200, a.status)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	require.Equal(t, nobody, a.body)
}

func TestPutSetsExactlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.do("PUT", "/_sandbox/customers/ada", `{"crm":{"email_marketing":"subscribed","channels":{"promotions":"subscribed","news":"unsubscribed"}},
		"push":{"devices":[{"token":"t1","enabled":true},{"token":"t2","enabled":false}]},"cmp":{"purposes":{"push-marketing":"granted"}}}`)
	full := `{"crm":{"email_marketing":"subscribed","channels":{"loyalty":"unknown","news":"unsubscribed","order_updates":"unknown",` +
		`"promotions":"subscribed"}},"push":{"devices":[{"token":"t1","enabled":true},{"token":"t2","enabled":false}]},` +
		`"cmp":{"purposes":{"email-marketing":"unknown","push-marketing":"granted"}}}` + "\n"
	require.Equal(t, 200, a.status)
	require.Equal(t, full, a.body)
	require.Equal(t, full, h.do("GET", "/_sandbox/customers/ada", "").body)
	require.Equal(t, full, h.do("PUT", "/_sandbox/customers/ada", full).body, "what GET says can be put back")
	require.Equal(t, full, h.do("PUT", "/_sandbox/customers/ada", `{}`).body)
	require.Equal(t, full, h.do("PUT", "/_sandbox/customers/ada", `{"crm":{},"push":{},"cmp":{"purposes":{}}}`).body)

	require.Equal(t, "opted_in", h.export("ada", "email_subscribe")["email_subscribe"])
	require.Equal(t, "ACTIVE", h.purposes("ada")[pushPurpose]["Status"])

	h.put("ada", `{"crm":{"channels":{"news":"unknown"}},"push":{"devices":[{"token":"t2"}]},"cmp":{"purposes":{"email-marketing":"withdrawn"}}}`)
	view := h.customer("ada")
	require.Equal(t, "subscribed", view.CRM.EmailMarketing)
	require.Equal(t, "unknown", view.CRM.Channels["news"])
	require.Equal(t, "subscribed", view.CRM.Channels["promotions"])
	require.Equal(t, []deviceView{{"t2", true}}, view.Push.Devices)
	require.Equal(t, map[string]string{"push-marketing": "granted", "email-marketing": "withdrawn"}, view.CMP.Purposes)

	a = h.do("PUT", "/_sandbox/customers/ada", `{"crm":{"email_marketing":"unknown","channels":{"promotions":"unknown"}},
		"push":{"devices":[]},"cmp":{"purposes":{"push-marketing":"unknown","email-marketing":"unknown"}}}`)
	require.Equal(t, nobody, a.body)
	require.Nil(t, h.export("ada", "external_id"), "the vendors have not heard of her either")
	require.Empty(t, h.purposes("ada"))
}

func TestPutQuietHours(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.put("ada", `{"crm":{"quiet_hours":"22:00-07:00 Europe/Zurich","time_zone":"Europe/Zurich"},"push":{"quiet_hours":"01:00-02:00 UTC","time_zone":"UTC","devices":[{"token":"t1"}]}}`)
	shown := h.do("GET", "/_sandbox/customers/ada", "").body
	view := h.customer("ada")
	require.Equal(t, quietView{"22:00-07:00 Europe/Zurich", "Europe/Zurich"}, view.CRM.quietView)
	require.Equal(t, quietView{"01:00-02:00 UTC", "UTC"}, view.Push.quietView)
	require.Equal(t, shown, h.do("PUT", "/_sandbox/customers/ada", shown).body, "what GET says can be put back")
	require.Equal(t, "Europe/Zurich", h.export("ada", "time_zone")["time_zone"])
	h.put("ada", `{"push":{"quiet_hours":""}}`)
	view = h.customer("ada")
	require.Equal(t, quietView{"", "UTC"}, view.Push.quietView)
	require.Len(t, view.Push.Devices, 1, "what is not given stays")
	h.put("ada", `{"crm":{"quiet_hours":"","time_zone":""},"push":{"time_zone":"","devices":[]}}`)
	require.Equal(t, nobody, h.do("GET", "/_sandbox/customers/ada", "").body)
}

func TestPutEmailStates(t *testing.T) {
	t.Parallel()
	h := start(t)
	for state, vendors := range map[string]any{"subscribed": "opted_in", "unsubscribed": "unsubscribed", "neutral": "subscribed"} {
		h.put("ada", `{"crm":{"email_marketing":"`+state+`"}}`)
		require.Equal(t, state, h.customer("ada").CRM.EmailMarketing)
		require.Equal(t, vendors, h.export("ada", "email_subscribe")["email_subscribe"])
	}
	h.put("grace", `{"crm":{"channels":{"news":"subscribed"}}}`)
	require.Equal(t, "unknown", h.customer("grace").CRM.EmailMarketing, "no vendor default comes with it")
}

func TestPutMovesTokens(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.createUser("grace", "t1", "t2")
	h.put("ada", `{"push":{"devices":[{"token":"t1","enabled":false}]}}`)
	require.Equal(t, []deviceView{{"t1", false}}, h.customer("ada").Push.Devices)
	require.Equal(t, []string{"t2"}, h.tokens("grace"))
	h.put("nobody", `{"push":{"devices":[]}}`)
	require.Equal(t, 404, h.user("nobody").status)
}

func TestPutIsAtOnceAndLast(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.braze("POST", "/users/track", subscribe("ada"))
	h.receipt("ada", pushPurpose, "CONFIRMED")
	h.put("ada", `{"crm":{"email_marketing":"unsubscribed"},"cmp":{"purposes":{"push-marketing":"withdrawn"}}}`)
	for range 2 {
		view := h.customer("ada")
		require.Equal(t, "unsubscribed", view.CRM.EmailMarketing)
		require.Equal(t, "withdrawn", view.CMP.Purposes["push-marketing"])
		h.clock.advance(time.Minute)
	}
}

func TestPutNamesEveryBadField(t *testing.T) {
	t.Parallel()
	h := start(t)
	for body, fields := range map[string][]string{
		`{"sms":{}}`:                        {"sms"},
		`{"crm":{"email":"subscribed"}}`:    {"email"},
		`{"crm":{"email_marketing":"yes"}}`: {"crm.email_marketing"},
		`{"crm":{"email_marketing":1}}`:     {"crm.email_marketing"},
		`{"crm":{"channels":{"sms":"subscribed","news":"neutral"}},"cmp":{"purposes":{"x":"granted","push-marketing":"yes"}}}`: {
			"crm.channels.news", "crm.channels.sms", "cmp.purposes.push-marketing", "cmp.purposes.x"},
		`{"push":{"devices":[{"token":""},{"token":"a"},{"token":"a"},{"token":"b","type":"SMS"}]}}`: {
			"push.devices.token", "push.devices.token", "push.devices.type"},
		`[]`: {""}, `{}{}`: {""}, ``: {""},
	} {
		a := h.do("PUT", "/_sandbox/customers/ada", body)
		require.Equal(t, 400, a.status, body)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
		problem := a.json(t)
		require.Equal(t, "bad-request", problem["code"])
		var named []string
		for _, e := range problem["errors"].([]any) {
			named = append(named, e.(map[string]any)["field"].(string))
		}
		require.Equal(t, fields, named, body)
	}
	require.Equal(t, nobody, h.do("GET", "/_sandbox/customers/ada", "").body)
}

func TestCustomerIdsMayBeAnyText(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, id := range []string{"a/b", "a b", "ä@example.com", "..", "100%", "a?b#c", "*"} {
		h.put(id, `{"crm":{"email_marketing":"subscribed"},"push":{"devices":[{"token":"t-`+segment(id)+`"}]}}`)
		require.Equal(t, "subscribed", h.customer(id).CRM.EmailMarketing, id)
		require.Equal(t, 200, h.user(segment(id)).status, id)
		require.NotEmpty(t, h.requests("?customer="+url.QueryEscape(id)), id)
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada"},{"external_id":"grace"}]}`)
	h.export("ada", "email_subscribe")
	h.createUser("grace", "t1")
	h.oneSignal("PATCH", "/subscriptions_by_token/iOSPush/t1", `{"subscription":{"enabled":false}}`)
	h.purposes("ada")
	h.customer("ada") // control calls are not vendor calls

	short := func(query string) (out []string) {
		for _, r := range h.requests(query) {
			require.NotNil(t, r.FinishedAt)
			out = append(out, fmt.Sprint(r.Target, " ", r.Customer, r.Customers, " ", r.Call, " ", r.Method, " ", r.Path, " ", r.Status))
		}
		return out
	}
	app := "/onesignal/apps/" + h.cfg.OneSignalAppID
	require.Equal(t, []string{
		"crm ada[ada grace] write POST /braze/users/track 201",
		"crm ada[] read POST /braze/users/export/ids 201",
		"push grace[] write POST " + app + "/users 201",
		"push grace[] write PATCH " + app + "/subscriptions_by_token/iOSPush/t1 202",
		"cmp [] auth POST /onetrust/api/access/v1/oauth/token 200",
		"cmp ada[] read GET /onetrust/api/consentmanager/v1/datasubjects/profiles 200",
	}, short(""))
	require.Len(t, short("?customer=grace"), 3)
	require.Len(t, short("?customer=grace&target=push"), 2)
	require.Len(t, short("?target=crm"), 2)
	require.Equal(t, 204, h.do("DELETE", "/_sandbox/requests", "").status)
	require.JSONEq(t, `{"requests":[]}`, h.do("GET", "/_sandbox/requests", "").body)
}

func TestRequestLogIsBounded(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RequestLogSize = 3 })
	for i := range 5 {
		h.export(fmt.Sprintf("c%d", i), "external_id")
	}
	var customers []string
	for _, r := range h.requests("") {
		customers = append(customers, r.Customer)
	}
	require.Equal(t, []string{"c2", "c3", "c4"}, customers)
}

func TestHealthAndUnknownControlCalls(t *testing.T) {
	t.Parallel()
	h := start(t)
	require.JSONEq(t, `{"status":"ok"}`, h.do("GET", "/healthz", "").body)
	a := h.do("GET", "/_sandbox/nothing", "")
	require.Equal(t, 404, a.status)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
}

func TestConfigReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Channels: []Channel{{Key: "a", BrazeGroupID: "g"}, {Key: "a", BrazeGroupID: "h"}}, Purposes: []Purpose{{Name: "p"}}})
	require.Error(t, err)
	for _, part := range []string{"BrazeAPIKey", "OneSignalAppID", "OneTrustClientSecret", `channel "a"`, `purpose "p"`} {
		require.ErrorContains(t, err, part)
	}
}
