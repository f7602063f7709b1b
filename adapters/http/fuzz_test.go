package httpapi

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"accord/domain/inbox"
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
	*a.inbox = *newFakeInbox() // nobody asks between two inputs
	a.publish(global("news", ""))
}

// harmless says what holds for whatever anybody sends: never a 5xx, and every refusal is a problem document (which send
// checks for each answer, together with the contract).
func harmless(t *testing.T, a *api, req *http.Request) (status int) {
	t.Helper()
	got := a.send(req)
	if got.status >= 500 {
		t.Fatalf("%d for %s %s: %s", got.status, req.Method, req.URL, got.body)
	}
	if got.status < 400 || strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		return got.status
	}
	p := got.problem()
	if p.Code == "" {
		t.Fatal("a problem without a code")
	}
	if p.Code != "invalid-request" {
		return got.status
	}
	if p.Errors == nil || len(*p.Errors) == 0 {
		t.Fatalf("nothing says what is wrong: %s", got.body)
	}
	for _, e := range *p.Errors {
		if e.Code == "" || e.Message == "" || len(e.Field) > 400 || !utf8.ValidString(e.Field) {
			t.Fatalf("this does not say what is wrong: %s", got.body)
		}
	}
	return got.status
}

func fuzzBody(f *testing.F, method, target string, seeds ...string) {
	f.Helper()
	fuzzBodyAs(f, "ada", method, target, seeds...)
}

func fuzzBodyAs(f *testing.F, token, method, target string, seeds ...string) {
	f.Helper()
	for _, s := range append(seeds, ``, `null`, `{}`, `[]`, `{"a":{"a":{"a":[1,2,"\u0000"]}}}`, `{"enabled":1e999}`, "{\"\xff\":1}") {
		f.Add(s)
	}
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, body string) {
		a.startOver(t)
		req := newRequest(method, target, body)
		req.Header.Set("Authorization", "Bearer "+token)
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

func FuzzPublish(f *testing.F) {
	fuzzBodyAs(f, "editor", "POST", "/v1/messages", everything, `{"source":"s","external_id":"1","audience":{"type":"global"},"title":"t"}`,
		`{"audience":{"type":"customers","ids":["ada",{"a":[]}]}}`, `{"audience":{"ids":[]},"audience":{"ids":["x"]}}`)
}

func FuzzPatchMessage(f *testing.F) {
	fuzzBodyAs(f, "editor", "PATCH", "/v1/messages/"+inbox.MessageID(1).String(), `{"title":"t","variants":{"de":null}}`, `{"actions":[],"expiry":"2100-01-01T00:00:00Z"}`,
		`{"expiry":"9999-12-31T23:59:59-01:00"}`)
}

func FuzzPutTarget(f *testing.F) {
	fuzzBodyAs(f, "editor", "PUT", "/v1/deeplink-targets/x", `{"pattern":"app://orders/{id}","active_from":"2100-01-01T00:00:00Z"}`, `{"pattern":"app://{a}/b"}`,
		`{"pattern":"app://x","active_from":"9999-12-31T23:59:59-01:00"}`, `{"pattern":"app://x","active_from":"1970-01-01T00:00:00+01:00"}`)
}

func FuzzAcknowledge(f *testing.F) {
	fuzzBody(f, "POST", "/v1/inbox/messages/"+inbox.MessageID(1).String()+"/acknowledge", `{"state":"read","at":"2026-05-04T10:00:00Z"}`, `{"state":"unread"}`)
}

func FuzzAcknowledgeMany(f *testing.F) {
	fuzzBody(f, "POST", "/v1/inbox/acknowledge", `{"items":[{"id":"x","state":"seen","at":null}]}`, `{"all":"seen","as_of":"1.1"}`)
}

func FuzzMerge(f *testing.F) {
	fuzzBody(f, "POST", "/v1/inbox/merge", `{"installation_id":"8e03978e-40d5-43e8-bc93-6894a57f9324"}`)
}

func FuzzEvents(f *testing.F) {
	fuzzBody(f, "POST", "/v1/events", `{"events":[{"id":"1","type":"inbox_opened","at":"2026-05-04T10:00:00Z"}]}`,
		`{"events":[{"id":"1","type":"deeplink_converted","at":"2026-05-04T10:00:00Z","message_id":"x"}]}`)
}

// FuzzInbox asks every question of the inbox twice: the second may be answered from memory, and must be answered alike.
func FuzzInbox(f *testing.F) {
	f.Add("limit=2&category=a&category=b&state=unread", "de-CH, fr;q=0.3", "", `W/"x"`)
	f.Add("cursor=AQ&limit=101", "*;q=", "8e03978e-40d5-43e8-bc93-6894a57f9324", "*")
	f.Add("%zz&state=", "\xff,,", "", "")
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, query, language, installation, tag string) {
		a.startOver(t)
		var first int
		for i := range 2 {
			req := newRequest("GET", "/v1/inbox", "")
			req.URL.RawQuery = query
			for name, value := range map[string]string{"Accept-Language": language, "Accord-Installation-Id": installation, "If-None-Match": tag} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			status := harmless(t, a, req)
			if i > 0 && status != first {
				t.Fatalf("%d at first, then %d", first, status)
			}
			first = status
		}
	})
}

// FuzzReconciliations and the like are what operators send.
func FuzzReconciliations(f *testing.F) {
	fuzzBodyAs(f, "ops", "POST", "/v1/reconciliations", `{"customers":["ada"]}`, `{"customers":["a\u0000b","",".."]}`)
}

func FuzzUnsubscribeLinks(f *testing.F) {
	fuzzBodyAs(f, "mailer", "POST", "/v1/customers/ada/unsubscribe-links", `{"topic":"news"}`, `{"topic":"\u0000"}`)
}

// FuzzWebhooks hands on the bytes that came, and nothing that is not JSON by its media type.
func FuzzWebhooks(f *testing.F) {
	f.Add("generic", "application/json", "1", []byte(`{"events":[]}`))
	f.Add("a/../b", "application/json; charset=utf-16", "\xff", []byte("\x00"))
	f.Add("", "", "", []byte{})
	h := &hearing{}
	a := newAPI(f, func(c *Config) { c.Decisions = h })
	f.Fuzz(func(t *testing.T, source, mediaType, id string, body []byte) {
		a.startOver(t)
		h.source, h.got.Body = "", nil
		req := newRequest("POST", "/v1/webhooks/"+url.PathEscape(source), string(body))
		req.Header["Content-Type"], req.Header["Webhook-Id"] = []string{mediaType}, []string{id}
		if harmless(t, a, req) == http.StatusOK && (h.source != source || !bytes.Equal(h.got.Body, body) || h.got.Header("webhook-id") != id) {
			t.Fatalf("%q was handed on as %q: %q", source, h.source, h.got.Body)
		}
	})
}

// FuzzLinkPages: nothing but a link that was made is one, whatever is posted to it, and a page says nothing that was sent.
func FuzzLinkPages(f *testing.F) {
	f.Add("good", "pressed=all", "application/x-www-form-urlencoded", "de")
	f.Add("good", "List-Unsubscribe=One-Click", "multipart/form-data; boundary=x", "*")
	f.Add("good", "--x\r\nContent-Disposition: form-data; name=\"pressed\"\r\n\r\nall\r\n--x--", "multipart/form-data; boundary=x", "")
	f.Add("<script>", "%zz", "", "\xff")
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, token, body, mediaType, language string) {
		a.startOver(t)
		for _, page := range []string{"/u/", "/c/"} {
			for _, method := range []string{"GET", "POST"} {
				a.links.uses = nil
				req := newRequest(method, page+url.PathEscape(token), body)
				req.Header["Content-Type"], req.Header["Accept-Language"] = []string{mediaType}, []string{language}
				status := harmless(t, a, req)
				if token != "good" && status < 400 || len(a.links.uses) > 0 && (token != "good" || method != "POST") {
					t.Fatalf("%d for %q, used %v", status, token, a.links.uses)
				}
			}
		}
	})
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

// FuzzTarget asks whatever can be asked, as each of those who may ask something.
func FuzzTarget(f *testing.F) {
	f.Add("operations/op-1", "limit=1&cursor=x")
	f.Add("customers/ada%2Fb/deliverability", "channel=email")
	f.Add("devices/%00", "%zz")
	f.Add("preferences/consent", "at=9999-12-31T23:59:59-01:00")
	f.Add("customers/ada/consent", "at=0000-01-01T00:00:00%2B23:59")
	f.Add("metrics/engagement", "from=0000-01-01&to=9999-12-31")
	f.Add("erasures/x", "")
	a := newAPI(f)
	f.Fuzz(func(t *testing.T, path, query string) {
		a.startOver(t)
		for _, token := range []string{"ada", "ops", "auditor", "privacy", "analyst", "proof"} {
			req := newRequest("GET", "/", "")
			parsed, err := req.URL.Parse("/v1/" + path + "?" + query)
			if err != nil {
				return // not an address a server is ever asked for
			}
			req.URL = parsed
			req.Header.Set("Authorization", "Bearer "+token)
			harmless(t, a, req)
		}
	})
}
