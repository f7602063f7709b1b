package httpapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBadBodiesNameFieldAndRule(t *testing.T) {
	t.Parallel()
	const push, email, device = "PATCH /v1/preferences/push", "PATCH /v1/preferences/email", "/v1/devices/phone"
	for _, c := range []struct {
		call, body string
		want       map[string]string
	}{
		{push, `{"enabled":"yes"}`, map[string]string{"enabled": "wrong_type"}},
		{push, `{"enabled":null}`, map[string]string{"enabled": "null_not_allowed"}},
		{push, `{"enabled":false,"enabeld":true,"more":{}}`, map[string]string{"enabeld": "unknown_field", "more": "unknown_field"}},
		{push, `{"enabled":1,"channels":[]}`, map[string]string{"enabled": "wrong_type", "channels": "wrong_type"}},
		{push, `{"channels":{"promotions":{"enabled":"on"}}}`, map[string]string{"channels.promotions.enabled": "wrong_type"}},
		{push, `{"channels":{"promotions":{"enabled":null}}}`, map[string]string{"channels.promotions.enabled": "null_not_allowed"}},
		{push, `{"channels":{"promotions":null}}`, map[string]string{"channels.promotions": "null_not_allowed"}},
		{push, `{"channels":{"promotions":{}}}`, map[string]string{"channels.promotions.enabled": "required"}},
		{push, `{"channels":{"promotions":true}}`, map[string]string{"channels.promotions": "wrong_type"}},
		{push, `{"channels":{"promotions":{"enabled":true,"ts":"now"}}}`, map[string]string{"channels.promotions.ts": "unknown_field"}},
		{push, `{"channels":{"fax":{"enabled":false}}}`, map[string]string{"channels.fax": "unknown_channel"}},
		{push, `{"enabled":true,"enabled":false}`, map[string]string{"enabled": "duplicate_field"}},
		{push, `{"channels":{"news":{"enabled":true,"enabled":true}}}`, map[string]string{"channels.news.enabled": "duplicate_field"}},
		{push, `{}`, map[string]string{"": "empty_change"}},
		{push, `{"wording":{"id":"w","locale":"en"}}`, map[string]string{"": "empty_change"}},
		{push, `{"enabled":false,"wording":{"id":"w"}}`, map[string]string{"wording.locale": "required"}},
		{push, `{"enabled":false,"wording":{"id":"w","locale":"!!"}}`, map[string]string{"wording.locale": "invalid_locale"}},
		{push, `[]`, map[string]string{"": "wrong_type"}},
		{push, `"enabled"`, map[string]string{"": "wrong_type"}},
		{push, `null`, map[string]string{"": "null_not_allowed"}},
		{push, `{"channels":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) + `}`, map[string]string{"channels" + strings.Repeat(".a", 32): "too_deep"}},
		{email, `{"marketing":{"status":"pending_confirmation"}}`, map[string]string{"marketing.status": "not_allowed"}},
		{email, `{"marketing":{"status":7}}`, map[string]string{"marketing.status": "not_allowed"}},
		{email, `{"marketing":{"status":null}}`, map[string]string{"marketing.status": "null_not_allowed"}},
		{email, `{"marketing":{}}`, map[string]string{"marketing.status": "required"}},
		{email, `{"wording":{"id":"w","locale":"en"}}`, map[string]string{"": "empty_change"}},
		{email, `{"marketing":{"status":"subscribed"},"email":"x"}`, map[string]string{"email": "unknown_field"}},
		{"PUT " + device, `{"platform":"fridge","token":"t","permission":"maybe"}`, map[string]string{"platform": "not_allowed", "permission": "not_allowed"}},
		{"PUT " + device, `{"platform":"ios","permission":"granted"}`, map[string]string{"token": "required"}},
		{"PUT " + device, `{"platform":"ios","token":"","permission":"granted"}`, map[string]string{"token": "too_short"}},
		{"PUT " + device, `{"platform":"ios","token":"a b","permission":"granted"}`, map[string]string{"token": "invalid_token"}},
		{"PUT " + device, `{"platform":"ios","token":"` + strings.Repeat("t", 4097) + `","permission":"granted"}`, map[string]string{"token": "too_long"}},
		{"PUT " + device, `{"platform":"ios","token":["t"],"permission":"granted","id":"x"}`, map[string]string{"token": "wrong_type", "id": "unknown_field"}},
		{"PUT " + device, `{"platform":"ios","token":"t","permission":"granted","locale":"not a locale"}`, map[string]string{"locale": "invalid_locale"}},
		{"PUT " + device, `{"platform":"ios","token":"t","permission":"granted","app_version":null}`, map[string]string{"app_version": "null_not_allowed"}},
		{"PATCH " + device, `{"enabled":"no"}`, map[string]string{"enabled": "wrong_type"}},
		{"PATCH " + device, `{"channels":{"news":"no"}}`, map[string]string{"channels.news": "wrong_type"}},
		{"PATCH " + device, `{"channels":{"news":null}}`, map[string]string{"channels.news": "null_not_allowed"}},
		{"PATCH " + device, `{"channels":{"news":{"enabled":0}}}`, map[string]string{"channels.news.enabled": "wrong_type"}},
		{"PATCH " + device, `{"channels":{"news":{"on":true}}}`, map[string]string{"channels.news.enabled": "required", "channels.news.on": "unknown_field"}},
		{"PATCH " + device, `{"channels":{"fax":true}}`, map[string]string{"channels.fax": "unknown_channel"}},
		{"PATCH " + device, `{"token":"t"}`, map[string]string{"token": "unknown_field"}},
		{"PATCH " + device, `{}`, map[string]string{"": "empty_change"}},
	} {
		method, path, _ := strings.Cut(c.call, " ")
		got := newAPI(t).withPhone("ada").call(method, path, "ada", c.body)
		require.Equal(t, 400, got.status, "%s: %s", c.body, got.body)
		p := got.problem()
		require.Equal(t, "invalid-request", p.Code, c.body)
		require.Equal(t, c.want, fields(p), c.body)
	}
}

func TestMessagesSayTheRuleAndNotTheValue(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	p := a.call("PUT", "/v1/devices/phone", "ada", `{"platform":"s3cret","token":5,"permission":"granted","locale":"s3cret-s3cret-s3cret-s3cret-s3cret-s3cret"}`).is(400).problem()
	require.Equal(t, []FieldError{
		{Field: "locale", Code: "too_long", Message: "must have at most 35 characters"},
		{Field: "platform", Code: "not_allowed", Message: "must be one of ios, android, web"},
		{Field: "token", Code: "wrong_type", Message: "must be a string"},
	}, *p.Errors)
	require.Equal(t, "locale must have at most 35 characters; platform must be one of ios, android, web; token must be a string", p.Detail)

	long := strings.Repeat("k", 5000)
	got := a.call("PATCH", "/v1/preferences/push", "ada", `{"`+long+`":1}`).is(400)
	require.Less(t, len(got.body), 1000, "what a client made up must not come back at any length")
}

func TestMalformedJSON(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, body := range []string{`{`, `{"enabled":tru}`, `{"enabled":false}{"enabled":true}`, `{"enabled":false} x`, `{'enabled':false}`, `{"enabled":false,}`,
		"{\"enabled\":false,\"\xff\":1}", "\ufeff{}", ` `, `{"enabled":false}]`} {
		p := a.call("PATCH", "/v1/preferences/push", "ada", body).is(400).problem()
		require.Equal(t, "malformed-json", p.Code, body)
		require.Equal(t, map[string]string{"": "malformed_json"}, fields(p))
	}
	require.Empty(t, a.app.commands)
}

func TestABodyWithoutAMediaTypeIsTakenForJSON(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, "Content-Type: ").is(200)
	require.Len(t, a.app.commands, 1)
}

func TestBodiesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	big := `{"enabled":false,"wording":{"id":"` + strings.Repeat("x", 64<<10) + `","locale":"en"}}`
	require.Equal(t, "content-too-large", a.call("PATCH", "/v1/preferences/push", "ada", big).is(413).problem().Code)
	for _, header := range []string{"Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json; charset=latin1",
		"Content-Type: /", "Content-Encoding: gzip"} {
		got := a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`, header).is(415)
		require.Equal(t, "unsupported-media-type", got.problem().Code)
		require.Equal(t, "application/json, application/merge-patch+json", got.header.Get("Accept-Patch"))
	}
	put := a.call("PUT", "/v1/devices/phone", "ada", phone, "Content-Type: application/merge-patch+json").is(415)
	require.Equal(t, "application/json", put.header.Get("Accept"))
	require.Equal(t, "unexpected-body", a.call("DELETE", "/v1/devices/phone", "ada", `{}`).is(400).problem().Code)
	require.Equal(t, "unexpected-body", a.call("POST", "/v1/operations/op-1/retry", "ops", `{"reason":"x"}`).is(400).problem().Code)
	require.Empty(t, a.app.commands)
}

func TestBadParametersAndHeaders(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	long := strings.Repeat("k", 256)
	for _, c := range []struct{ call, token, header, field, code string }{
		{"GET /v1/preferences/audit?limit=0", "ada", "", "limit", "out_of_range"},
		{"GET /v1/preferences/audit?limit=201", "ada", "", "limit", "out_of_range"},
		{"GET /v1/preferences/audit?limit=ten", "ada", "", "limit", "wrong_type"},
		{"GET /v1/preferences/audit?limit=99999999999999999999", "ada", "", "limit", "wrong_type"},
		{"GET /v1/preferences/audit?limit=1&limit=2", "ada", "", "limit", "given_twice"},
		{"GET /v1/preferences/audit?lmit=5", "ada", "", "lmit", "unknown_parameter"},
		{"GET /v1/preferences?x=1", "ada", "", "x", "unknown_parameter"},
		{"GET /v1/preferences?%zz", "ada", "", "", "bad_query"},
		{"GET /v1/operations?status=lost", "ops", "", "status", "not_allowed"},
		{"GET /v1/operations?status=applied&status=", "ops", "", "status", "not_allowed"},
		{"GET /v1/operations?cursor=%20", "ops", "", "cursor", "bad_format"},
		{"GET /v1/operations?cursor=nonsense", "ops", "", "cursor", "bad_cursor"},
		{"GET /v1/operations/%00", "ops", "", "id", "bad_format"},
		{"GET /v1/customers/ada/deliverability?channel=", "reader", "", "channel", "too_short"},
		{"GET /v1/preferences", "ada", "Accord-Installation-Id: phone", "Accord-Installation-Id", "bad_format"},
		{"GET /v1/preferences", "ada", "Accord-Installation-Id: ", "Accord-Installation-Id", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", "Idempotency-Key: ", "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", `Idempotency-Key: ""`, "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", `Idempotency-Key: "a`, "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", `Idempotency-Key: "a"b`, "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", `Idempotency-Key: "a\b"`, "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", "Idempotency-Key: a b", "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", "Idempotency-Key: schlüssel", "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", "Idempotency-Key: " + long, "Idempotency-Key", "bad_format"},
		{"DELETE /v1/devices/phone", "ada", `If-Match: 1`, "If-Match", "bad_format"},
		{"GET /v1/inbox?limit=101", "", "", "limit", "out_of_range"},
		{"GET /v1/inbox?limit=x", "ada", "", "limit", "wrong_type"},
		{"GET /v1/inbox?cursor=%20", "", "", "cursor", "bad_format"},
		{"GET /v1/inbox?cursor=nonsense", "", "", "cursor", "invalid_cursor"},
		{"GET /v1/inbox?category=Up", "", "", "category", "bad_format"},
		{"GET /v1/inbox?category=" + strings.Repeat("a&category=", 20) + "a", "", "", "category", "too_many"},
		{"GET /v1/inbox?state=gone", "", "", "state", "not_allowed"},
		{"GET /v1/inbox?state=", "", "", "state", "not_allowed"},
		{"GET /v1/inbox?state=all&state=all", "", "", "state", "given_twice"},
		{"GET /v1/inbox?locale=de", "", "", "locale", "unknown_parameter"},
		{"GET /v1/inbox", "", "Accord-Installation-Id: phone", "Accord-Installation-Id", "bad_format"},
		{"GET /v1/inbox/counts?state=all", "", "", "state", "unknown_parameter"},
		{"GET /v1/inbox/changes", "ada", "", "since", "required"},
		{"GET /v1/inbox/changes?since=", "ada", "", "since", "bad_format"},
		{"GET /v1/inbox/changes?since=1", "ada", "", "since", "invalid_version"},
		{"POST /v1/inbox/refresh?cursor=AQ", "ada", "", "cursor", "unknown_parameter"},
		{"GET /v1/messages/%00", "editor", "", "id", "bad_format"},
		{"GET /v1/deeplink-targets/a%2Fb", "editor", "", "key", "bad_format"},
		{"GET /v1/metrics/engagement?from=may", "analyst", "", "from", "bad_format"},
		{"GET /v1/metrics/engagement?group_by=customer", "analyst", "", "group_by", "not_allowed"},
		{"DELETE /v1/devices/a%20b", "ada", "", "device_id", "bad_format"},
		{"DELETE /v1/devices/" + strings.Repeat("d", 129), "ada", "", "device_id", "bad_format"},
	} {
		method, target, _ := strings.Cut(c.call, " ")
		var headers []string
		if c.header != "" {
			headers = append(headers, c.header)
		}
		got := a.call(method, target, c.token, "", headers...)
		require.Equal(t, 400, got.status, "%s %s: %s", c.call, c.header, got.body)
		require.Equal(t, map[string]string{c.field: c.code}, fields(got.problem()), "%s %s", c.call, c.header)
	}
	twice := a.call("DELETE", "/v1/devices/phone", "ada", "", "Idempotency-Key: a", "Idempotency-Key: b").is(400)
	require.Equal(t, map[string]string{"Idempotency-Key": "given_twice"}, fields(twice.problem()))
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	for _, c := range []struct {
		call, token string
		status      int
		code        string
	}{
		{"GET /v1/preferences", "", 401, "unauthenticated"},
		{"GET /v1/preferences", "expired", 401, "invalid-token"},
		{"GET /v1/preferences", "ada extra", 401, "invalid-token"},
		{"GET /v1/preferences", "later", 503, "unavailable"},
		{"GET /v1/preferences", "machine", 403, "not-a-customer"},
		{"GET /v1/preferences", "reader", 403, "not-a-customer"},
		{"GET /v1/preferences", "broken", 403, "not-a-customer"},
		{"GET /v1/customers/ada/audit", "ada", 403, "insufficient-scope"},
		{"GET /v1/customers/ada/audit", "reader", 403, "insufficient-scope"},
		{"GET /v1/customers/ada/deliverability", "auditor", 403, "insufficient-scope"},
		{"GET /v1/operations", "ada", 403, "insufficient-scope"},
		{"POST /v1/operations/op-1/retry", "looker", 403, "insufficient-scope"},
		{"POST /v1/operations/op-1/compensate", "ada", 403, "insufficient-scope"},
		{"GET /v1/operations/op-1", "machine", 403, "not-a-customer"},
	} {
		method, target, _ := strings.Cut(c.call, " ")
		got := a.call(method, target, c.token, "").is(c.status)
		require.Equal(t, c.code, got.problem().Code, "%s as %s", c.call, c.token)
		challenge := got.header.Get("WWW-Authenticate")
		switch c.code {
		case "unauthenticated":
			require.Equal(t, `Bearer realm="accord"`, challenge)
		case "invalid-token":
			require.Contains(t, challenge, `error="invalid_token"`)
		case "insufficient-scope":
			require.Contains(t, challenge, `error="insufficient_scope", scope="`)
		case "unavailable":
			require.NotEmpty(t, got.header.Get("Retry-After"))
		}
	}
	a.call("GET", "/v1/preferences", "", "", "Authorization: Basic YTpi").is(401)
	a.call("GET", "/v1/preferences", "ada", "", "Authorization: Bearer grace").is(401)
	a.call("GET", "/v1/preferences", "", "", "Authorization: bearer  ada").is(200)
}

func TestAddressesAndMethodsThatDoNotExist(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, path := range []string{"/", "/v1", "/v1/preferences/", "/v1/nothing", "/dev/token", "/dev/jwks.json", "/problems/nothing"} {
		require.Equal(t, "not-found", a.call("GET", path, "ada", "").is(404).problem().Code, path)
	}
	got := a.call("DELETE", "/v1/preferences/push", "ada", "").is(405)
	require.Equal(t, "method-not-allowed", got.problem().Code)
	require.ElementsMatch(t, []string{"GET", "PATCH"}, strings.Split(got.header.Get("Allow"), ", "))
}

func TestPanicsSayNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.panics = true
	got := a.call("GET", "/v1/preferences", "ada", "", "X-Request-Id: look-here").is(500)
	require.Equal(t, "internal", got.problem().Code)
	require.NotContains(t, string(got.body), "told to")
	require.Contains(t, a.logs.String(), "look-here")
	require.Contains(t, a.logs.String(), "fake_test.go")
}
