package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newRequest(method, target, body string) *http.Request {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	return req
}

// startOver forgets what was done before, so that an input found once is found again.
func (a *api) startOver(t *testing.T) {
	a.t = t
	fresh := newFakeApp()
	a.app.accounts, a.app.ops, a.app.links, a.app.commands = fresh.accounts, fresh.ops, fresh.links, nil
	a.withPhone("ada")
}

// harmless says what holds for whatever anybody sends: never a 5xx, and every refusal is a problem document (which send
// checks for each answer, together with the contract).
func harmless(t *testing.T, a *api, req *http.Request) {
	t.Helper()
	got := a.send(req)
	if got.status >= 500 {
		t.Fatalf("%d for %s %s: %s", got.status, req.Method, req.URL, got.body)
	}
	if got.status >= 400 && got.problem().Code == "" {
		t.Fatal("a problem without a code")
	}
}

func fuzzBody(f *testing.F, method, target string, seeds ...string) {
	f.Helper()
	for _, s := range append(seeds, ``, `null`, `{}`, `[]`, `{"a":{"a":{"a":[1,2,"\u0000"]}}}`, `{"enabled":1e999}`, "{\"\xff\":1}") {
		f.Add(s)
	}
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, body string) {
		a.startOver(t)
		req := newRequest(method, target, body)
		req.Header.Set("Authorization", "Bearer ada")
		harmless(t, a, req)
	})
}

func FuzzPatchPush(f *testing.F) {
	fuzzBody(f, "PATCH", "/v1/preferences/push", `{"enabled":false}`, `{"channels":{"promotions":{"enabled":true}}}`,
		`{"channels":{"order_updates":{"enabled":false}}}`, `{"enabled":false,"wording":{"id":"w","locale":"en"}}`)
}

func FuzzPatchEmail(f *testing.F) {
	fuzzBody(f, "PATCH", "/v1/preferences/email", `{"marketing":{"status":"subscribed"},"wording":{"id":"newsletter-2","locale":"en"}}`,
		`{"marketing":{"status":"unsubscribed"}}`)
}

func FuzzPutDevice(f *testing.F) {
	fuzzBody(f, "PUT", "/v1/devices/phone", phone, `{"platform":"web","token":"t","permission":"denied"}`)
}

func FuzzPatchDevice(f *testing.F) {
	fuzzBody(f, "PATCH", "/v1/devices/phone", `{"enabled":false}`, `{"channels":{"news":false,"promotions":{"enabled":true}}}`)
}

func FuzzHeaders(f *testing.F) {
	f.Add(`"k"`, `"1"`, "wait=1", "8e03978e-40d5-43e8-bc93-6894a57f9324", "r-1", "application/json", "Bearer ada")
	f.Add(`"\"`, `W/"1", *`, "respond-async, wait=\"", "", "\n", "application/merge-patch+json; charset=", "bearer ada==")
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, key, match, prefer, installation, requestID, mediaType, authorization string) {
		a.startOver(t)
		req := newRequest("PATCH", "/v1/devices/phone", `{"enabled":false}`)
		for name, value := range map[string]string{"Idempotency-Key": key, "If-Match": match, "If-None-Match": match, "Prefer": prefer,
			"Accord-Installation-Id": installation, "X-Request-Id": requestID, "Content-Type": mediaType, "Authorization": authorization} {
			req.Header.Set(name, value)
		}
		harmless(t, a, req)
	})
}

func FuzzTarget(f *testing.F) {
	f.Add("operations/op-1", "limit=1&cursor=x")
	f.Add("customers/ada%2Fb/deliverability", "channel=email")
	f.Add("devices/%00", "%zz")
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, path, query string) {
		a.startOver(t)
		req := newRequest("GET", "/", "")
		parsed, err := req.URL.Parse("/v1/" + path + "?" + query)
		if err != nil {
			return // not an address a server is ever asked for
		}
		req.URL = parsed
		req.Header.Set("Authorization", "Bearer ops")
		harmless(t, a, req)
	})
}
