package httpapi

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
)

func TestAppliedChange(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	got := a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false,"channels":{"news":{"enabled":true}}}`,
		"Content-Type: application/merge-patch+json; charset=UTF-8", `If-Match: "1"`).is(200)
	require.Equal(t, "op-2", got.header.Get("Accord-Operation"))
	require.Equal(t, `"2"`, got.header.Get("ETag"))
	require.Empty(t, got.header.Get("Idempotency-Replayed"))
	var push PushPreferences
	got.json(&push)
	require.False(t, push.Enabled)
	require.True(t, push.Channels["news"].Enabled)
}

func TestChangeUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, "Prefer: respond-async").is(202)
	require.Equal(t, "/v1/operations/op-1", got.header.Get("Location"))
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Equal(t, "respond-async", got.header.Get("Preference-Applied"))
	require.JSONEq(t, `{"id":"op-1","status":"accepted","kind":"withdrawal","source":"app","summary":"push off","customer":null,"number":1,
		"accepted_at":"2026-05-04T10:00:00Z","started_at":null,"settled_at":null,"deadline":null,
		"targets":{"crm":{"state":"pending","attempts":0,"code":null},"push":{"state":"pending","attempts":0,"code":null}},
		"reason":null,"decision":null,"temporal_ui":null}`, string(got.body))

	a.app.stuck = true
	var op Operation
	a.call("PATCH", "/v1/preferences/push", "grace", `{"enabled":false}`).is(202).json(&op)
	require.Equal(t, "running", op.Status)
	require.Equal(t, "applying", op.Targets["crm"].State)
	require.Equal(t, "http_503", *op.Targets["crm"].Code)
}

func TestPreferSaysHowLongToWait(t *testing.T) {
	t.Parallel()
	for prefer, want := range map[string]struct {
		wait    time.Duration
		applied string
	}{
		"":                         {5 * time.Second, ""},
		"wait=0":                   {0, "wait=0"},
		"wait=10":                  {10 * time.Second, "wait=10"},
		"WAIT=30 ; x=y":            {30 * time.Second, "wait=30"},
		"wait=31":                  {30 * time.Second, "wait=30"},
		"wait=999999999":           {30 * time.Second, "wait=30"},
		"wait=3, wait=7":           {3 * time.Second, "wait=3"},
		"respond-async":            {0, "respond-async"},
		"respond-async, wait=2":    {2 * time.Second, "wait=2"},
		"handling=lenient, wait=1": {time.Second, "wait=1"},
		"wait=-1":                  {5 * time.Second, ""},
		"wait=soon":                {5 * time.Second, ""},
		"wait=99999999999":         {5 * time.Second, ""},
	} {
		a := newAPI(t)
		got := a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, "Prefer: "+prefer)
		require.Less(t, got.status, 300)
		require.Equal(t, want.wait, a.app.commands[0].Wait, prefer)
		require.Equal(t, want.applied, got.header.Get("Preference-Applied"), prefer)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	first := a.call("PATCH", "/v1/devices/phone", "ada", `{"enabled":true,"channels":{"news":{"enabled":false}}}`, `Idempotency-Key: "k-1"`).is(200)
	// The same request, said otherwise: bare key, other order, white space, the short form, another condition.
	again := a.call("PATCH", "/v1/devices/phone", "ada", `{ "channels": {"news": false}, "enabled": true }`, "Idempotency-Key: k-1",
		`If-Match: "77"`, "Content-Type: application/merge-patch+json").is(200)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, first.header.Get("Accord-Operation"), again.header.Get("Accord-Operation"))
	require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"))
	require.JSONEq(t, string(first.body), string(again.body))

	other := a.call("PATCH", "/v1/devices/phone", "ada", `{"enabled":false}`, "Idempotency-Key: k-1").is(422)
	require.Equal(t, "idempotency-key-reused", other.problem().Code)
	a.call("DELETE", "/v1/devices/phone", "ada", "", "Idempotency-Key: k-1").is(422)
	a.withPhone("grace").call("PATCH", "/v1/devices/phone", "grace", `{"enabled":false}`, "Idempotency-Key: k-1").is(200)
}

func TestFingerprintIsOfMethodPathAndBody(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range []struct{ method, path, body string }{
		{"PUT", "/v1/devices/a", `{}`}, {"PATCH", "/v1/devices/a", `{}`}, {"PUT", "/v1/devices/b", `{}`}, {"PUT", "/v1/devices/a", `{"a":1}`},
		{"PUT", "/v1/devices/a{", `}`}, {"DELETE", "/v1/devices/a", ``},
	} {
		f := fingerprint(newRequest(r.method, r.path, ""), []byte(r.body))
		require.False(t, seen[f], "%v", r)
		seen[f] = true
		require.Equal(t, f, fingerprint(newRequest(r.method, r.path, ""), []byte(r.body)))
	}
}

func TestIdempotencyKeysThatAreTaken(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`"8e03978e"`: "8e03978e", "8e03978e": "8e03978e", `"a\"b\\c"`: `a"b\c`, "a:b/c=d": "a:b/c=d",
		strings.Repeat("k", 255): strings.Repeat("k", 255),
	} {
		a := newAPI(t)
		a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, "Idempotency-Key: "+given).is(200)
		require.Equal(t, want, a.app.commands[0].Key)
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for given, status := range map[string]int{
		`"0"`: 200, `*`: 200, `"9", "0"`: 200, `"9" ,"0" ,`: 200,
		`"9"`: 412, `W/"0"`: 412, `"*"`: 412, `""`: 412, `W/"0", "9"`: 412,
		``: 400, `0`: 400, `"0`: 400, `"0" "9"`: 400, `w/"0"`: 400, `*, "0"`: 400, `,`: 400,
	} {
		a := newAPI(t)
		got := a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, "If-Match: "+given)
		require.Equal(t, status, got.status, given)
		switch status {
		case 400:
			require.Equal(t, map[string]string{"If-Match": "bad_format"}, fields(got.problem()))
		case 412:
			require.Equal(t, "version-changed", got.problem().Code)
		}
	}
	newAPI(t).call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, `If-Match: "9"`, `If-Match: "0"`).is(200)
}

func TestCompensatedChange(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.refuse = &consent.Reason{Code: "rejected", Target: "cmp", Detail: "not for the customer's eyes"}
	got := a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"}}`, "Idempotency-Key: k").is(502)
	require.JSONEq(t, `{"type":"/problems/change-compensated","title":"The change was taken back everywhere","status":502,"code":"change-compensated",
		"detail":"The change did not reach cmp and was taken back everywhere.","operation":"op-1","failed_target":"cmp","reason":"rejected"}`, string(got.body))
	again := a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"}}`, "Idempotency-Key: k").is(502)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, string(got.body), string(again.body))
}

func TestChangeRefusedWhenItsTurnCame(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.app.refuse = &consent.Reason{Code: "push-permission-required", Target: "store", Detail: "needs a device"}
	p := a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"promotions":{"enabled":true}}}`).is(409).problem()
	require.Equal(t, "push-permission-required", p.Code)
	require.Equal(t, "op-2", *p.Operation)
}

func TestFailuresHaveTheStatusOfTheirKind(t *testing.T) {
	t.Parallel()
	for kind, status := range statusOf {
		a := newAPI(t)
		a.app.err = fault.New(kind, "some-code", "some words")
		a.inbox.err = a.app.err
		method, path, body := "PATCH", "/v1/preferences/push", `{"enabled":true}`
		switch kind { // those that changes of preferences never have
		case fault.Throttled:
			method, path, body = "POST", "/v1/inbox/refresh", ""
		case fault.Gone:
			method, path, body = "GET", "/v1/inbox/changes?since=9.9", ""
		}
		got := a.call(method, path, "ada", body).is(status)
		if kind == fault.Internal {
			require.NotContains(t, string(got.body), "some")
			require.Contains(t, a.logs.String(), "some words")
			continue
		}
		require.Equal(t, "some-code", got.problem().Code)
		require.Equal(t, status == 503 || status == 429, got.header.Get("Retry-After") != "")
	}
}

func TestConflictsOfTheDomain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	require.Equal(t, "push-permission-required", a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":true}`).is(409).problem().Code)
	require.Equal(t, "channel-required", a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"order_updates":{"enabled":false}}}`).is(409).problem().Code)
	for i := range 20 {
		a.call("PUT", "/v1/devices/d"+strconv.Itoa(i), "ada", strings.Replace(phone, "token-of-ada", "token-"+strconv.Itoa(i), 1)).is(200)
	}
	require.Equal(t, "too-many-devices", a.call("PUT", "/v1/devices/one-more", "ada", phone).is(409).problem().Code)
}
