package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPreferencesOfACustomerNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	got := newAPI(t).call("GET", "/v1/preferences", "ada", "").is(200)
	require.JSONEq(t, `{"version":0,
		"push":{"enabled":true,"ts":null,"source":"default","version":0,"devices":[],"effective":[],"quiet_hours":null,"channels":{
			"promotions":{"enabled":false,"ts":null,"source":"default","required":false},
			"order_updates":{"enabled":true,"ts":null,"source":"default","required":true},
			"loyalty":{"enabled":false,"ts":null,"source":"default","required":false},
			"news":{"enabled":false,"ts":null,"source":"default","required":false}}},
		"email":{"version":0,"marketing":{"status":"unsubscribed","ts":null,"source":"default","consent_purpose":"email-marketing"}},
		"devices":[],"effective":[],"quiet_hours":null}`, string(got.body))
	require.Equal(t, `"0"`, got.header.Get("ETag"))
	require.Equal(t, "private, no-cache", got.header.Get("Cache-Control"))
	require.Equal(t, "Authorization, Origin", got.header.Get("Vary"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
}

func TestPushPreferencesShowTheDeviceAndNeverItsToken(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"promotions":{"enabled":true}}}`).is(200)
	got := a.call("GET", "/v1/preferences/push", "ada", "").is(200)
	require.NotContains(t, string(got.body), "token-of-ada")
	var push PushPreferences
	got.json(&push)
	require.Equal(t, int64(2), push.Version)
	require.True(t, push.Channels["promotions"].Enabled)
	require.Equal(t, "app", push.Channels["promotions"].Source)
	require.NotNil(t, push.Channels["promotions"].Ts)
	require.Len(t, push.Devices, 1)
	require.Equal(t, "phone", push.Devices[0].DeviceId)
	require.Len(t, push.Devices[0].TokenFingerprint, 16)
	require.Equal(t, Effect{Channel: "promotions", DeviceId: "phone", Deliverable: true, BlockedBy: []string{}}, push.Effective[0])
	require.Equal(t, []string{"channel_disabled"}, push.Effective[2].BlockedBy)
}

func TestEmailPreferences(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	changed := a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"},"wording":{"id":"newsletter-2","locale":"en"}}`).is(200)
	read := a.call("GET", "/v1/preferences/email", "ada", "").is(200)
	require.JSONEq(t, `{"version":1,"marketing":{"status":"subscribed","ts":"2026-05-04T10:00:00Z","source":"app","consent_purpose":"email-marketing"}}`, string(changed.body))
	require.JSONEq(t, string(changed.body), string(read.body))
	require.Equal(t, changed.header.Get("ETag"), read.header.Get("ETag"))
}

func TestIfNoneMatch(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	for _, path := range []string{"/v1/preferences", "/v1/preferences/push", "/v1/preferences/email"} {
		tag := a.call("GET", path, "ada", "").is(200).header.Get("ETag")
		for given, status := range map[string]int{tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, "nonsense": 200} {
			got := a.call("GET", path, "ada", "", "If-None-Match: "+given).is(status)
			require.Equal(t, tag, got.header.Get("ETag"))
			if status == 304 {
				require.Empty(t, got.body)
			}
		}
		a.call("GET", path, "ada", "", `If-None-Match: "other"`, "If-None-Match: "+tag).is(304)
	}
}

func TestTagWithAChangeUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.stuck = true
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(202)
	got := a.call("GET", "/v1/preferences/push", "ada", "").is(200)
	require.Equal(t, `"0+1"`, got.header.Get("ETag"))
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, `If-Match: "0+1"`).is(202)
}

func TestDevices(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var push PushPreferences

	a.call("PUT", "/v1/devices/ada.phone:1", "ada", phone).is(200).json(&push)
	require.Equal(t, "ada.phone:1", push.Devices[0].DeviceId)
	require.Equal(t, "en-GB", *push.Devices[0].Locale)

	a.call("PATCH", "/v1/devices/ada.phone:1", "ada", `{"enabled":false,"channels":{"promotions":{"enabled":false},"news":true}}`).is(200).json(&push)
	require.False(t, push.Devices[0].Enabled)
	require.Equal(t, map[string]DeviceChannel{"promotions": {Enabled: false}, "news": {Enabled: true}}, push.Devices[0].Channels)

	got := a.call("DELETE", "/v1/devices/ada.phone:1", "ada", "").is(200)
	got.json(&push)
	require.Empty(t, push.Devices)
	require.Equal(t, `"3"`, got.header.Get("ETag"))
	a.call("DELETE", "/v1/devices/ada.phone:1", "ada", "").is(404)
	a.call("PATCH", "/v1/devices/unknown", "ada", `{"enabled":false}`).is(404)
}

func TestOtherPeoplesDevicesAreUnknown(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	require.Equal(t, "not-found", a.call("PATCH", "/v1/devices/phone", "grace", `{"enabled":false}`).is(404).problem().Code)
	require.Equal(t, "not-found", a.call("DELETE", "/v1/devices/phone", "grace", "").is(404).problem().Code)
}

func TestDeliverability(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"promotions":{"enabled":true}}}`).is(200)

	all := a.call("GET", "/v1/customers/ada/deliverability", "reader", "").is(200)
	var got DeliverabilityAnswer
	all.json(&got)
	require.Len(t, got.Channels, 4)
	require.Nil(t, got.Deliverable)
	require.Equal(t, []string{"email_unsubscribed"}, got.Email.BlockedBy)

	one := a.call("GET", "/v1/customers/ada/deliverability?channel=promotions", "reader", "").is(200)
	require.JSONEq(t, `{"customer":"ada","channel":"promotions","deliverable":true,"blocked_by":[],"email":null,
		"channels":[{"channel":"promotions","deliverable":true,"blocked_by":[],"devices":[{"channel":"promotions","device_id":"phone","deliverable":true,"blocked_by":[]}]}]}`, string(one.body))

	email := a.call("GET", "/v1/customers/ada/deliverability?channel=email", "reader", "").is(200)
	require.JSONEq(t, `{"customer":"ada","channel":"email","deliverable":false,"blocked_by":["email_unsubscribed"],"channels":[],
		"email":{"deliverable":false,"blocked_by":["email_unsubscribed"]}}`, string(email.body))

	p := a.call("GET", "/v1/customers/ada/deliverability?channel=fax", "reader", "").is(400).problem()
	require.Equal(t, map[string]string{"channel": "unknown_channel"}, fields(p))
}

func TestCustomerIDsWithReservedCharacters(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for escaped, id := range map[string]string{"ada%40example.org": "ada@example.org", "a%2Fb": "a/b", "a%25b": "a%b", "a+b": "a+b"} {
		var got DeliverabilityAnswer
		a.call("GET", "/v1/customers/"+escaped+"/deliverability?channel=news", "reader", "").is(200).json(&got)
		require.Equal(t, id, got.Customer)
	}
	p := a.call("GET", "/v1/customers/a%20b/deliverability", "reader", "").is(400).problem()
	require.Equal(t, map[string]string{"id": "invalid_id"}, fields(p))
	a.call("GET", "/v1/customers/%ff/deliverability", "reader", "").is(400)
	a.call("GET", "/v1/customers/a%00b/audit", "auditor", "").is(400)
}

func TestAudit(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"},"wording":{"id":"newsletter-2","locale":"en"}}`,
		"X-Request-Id: req-1", "Accord-Installation-Id: 8E03978E-40D5-43E8-BC93-6894A57F9324").is(200)

	var own AuditPage
	a.call("GET", "/v1/preferences/audit?limit=3", "ada", "").is(200).json(&own)
	require.Len(t, own.Entries, 3)
	newest := own.Entries[0]
	require.Equal(t, "applied", newest.Event)
	require.Equal(t, int64(4), newest.Seq)
	require.Equal(t, Facts{"email.marketing": "unsubscribed", "purposes.email-marketing": "unknown"}, newest.Before)
	require.Equal(t, Facts{"email.marketing": "subscribed", "purposes.email-marketing": "granted"}, newest.After)
	require.Equal(t, "newsletter-2", newest.Wording.Id)
	require.Equal(t, newest.PrevHash, own.Entries[1].Hash)
	require.Equal(t, "customer", own.Entries[1].Actor.Type)
	require.Equal(t, "req-1", *own.Entries[1].Origin.RequestId)
	require.Equal(t, "8e03978e-40d5-43e8-bc93-6894a57f9324", *own.Entries[1].Origin.Installation)
	require.NotContains(t, mustJSON(t, own), "token-of-ada")

	var rest AuditPage
	a.call("GET", "/v1/preferences/audit?cursor="+*own.NextCursor, "ada", "").is(200).json(&rest)
	require.Len(t, rest.Entries, 1)
	require.Equal(t, int64(1), rest.Entries[0].Seq)
	require.Nil(t, rest.NextCursor)

	var theirs AuditPage
	a.call("GET", "/v1/customers/ada/audit", "auditor", "").is(200).json(&theirs)
	require.Len(t, theirs.Entries, 4)
	require.JSONEq(t, `{"entries":[],"next_cursor":null}`, string(a.call("GET", "/v1/preferences/audit", "grace", "").is(200).body))

	for _, bad := range []string{"x", "YXVkaXQ6MA", "YXVkaXQ6LTE", strings.Repeat("A", 600)} {
		require.Contains(t, fields(a.call("GET", "/v1/preferences/audit?cursor="+bad, "ada", "").is(400).problem()), "cursor")
	}
}

func TestCustomersAreNotToldWhichOperatorActed(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.parked = true
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(202)
	a.call("POST", "/v1/operations/op-1/retry", "ops", "").is(202)
	require.NotContains(t, string(a.call("GET", "/v1/preferences/audit", "ada", "").is(200).body), "night-shift")
	require.Contains(t, string(a.call("GET", "/v1/customers/ada/audit", "auditor", "").is(200).body), "night-shift")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
