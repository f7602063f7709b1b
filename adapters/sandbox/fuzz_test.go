package sandbox

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func quick(f *testing.F) *Sandbox {
	f.Helper()
	cfg := DefaultConfig()
	cfg.Clock = newClock().Now
	cfg.ApplyDelay = 0
	s, err := New(cfg)
	require.NoError(f, err)
	f.Cleanup(func() { _ = s.Close() })
	return s
}

// FuzzControl: whatever a test's control call says, the sandbox answers, never with a failure of its own, and what it
// refuses is a problem that names the field.
func FuzzControl(f *testing.F) {
	for _, seed := range [][3]string{
		{"PUT", "customers/ada", `{"crm":{"email_marketing":"subscribed","channels":{"promotions":"subscribed"},"quiet_hours":""},"push":{"devices":[{"token":"t"}]},"cmp":{"purposes":{"push-marketing":"granted"}}}`},
		{"PUT", "customers/%2e%2e", `{"push":{"devices":[{"token":"","type":"x"},{"token":"t"},{"token":"t"}]}}`},
		{"PUT", "customers/a%00b", `{"crm":null}`},
		{"POST", "faults", `{"target":"crm","kind":"malformed","times":-1}`}, {"POST", "faults", `{"target":"crm","kind":"status","status":99,"headers":{"a b":"c\r\nd"}}`},
		{"POST", "messages", `{"title":"t","audience":{"type":"global"}}`}, {"POST", "messages", `{} {}`},
		{"GET", "requests?customer=%zz&target=crm", ``}, {"DELETE", "faults/x", ``}, {"GET", "nothing", ``},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	s := quick(f)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		s.faults.removeAll()
		got := ask(t, s, method, "/_sandbox/"+path, body, nil)
		if got == nil {
			return
		}
		require.Less(t, got.Code, 500, "%s", got.Body)
		if got.Code >= 400 && strings.Contains(got.Header().Get("Content-Type"), "json") {
			var p struct {
				Code   string
				Errors []fieldError
			}
			require.NoError(t, json.Unmarshal(got.Body.Bytes(), &p))
			require.NotEmpty(t, p.Code)
			require.Equal(t, p.Code == "bad-request", len(p.Errors) > 0)
		}
	})
}

// FuzzVendors: the emulated vendors answer whatever they are sent, and what they hold can be shown and is whole after it.
func FuzzVendors(f *testing.F) {
	for _, seed := range [][4]string{
		{"POST", "/braze/users/track", `{"attributes":[{"external_id":"ada","email_subscribe":"opted_in","subscription_groups":[{"subscription_group_id":"x"}]}]}`, "application/json"},
		{"POST", "/braze/users/export/ids", `{"external_ids":["ada"],"fields_to_export":null}`, "application/json"},
		{"POST", "/onesignal/apps/app/users", `{"identity":{"external_id":"ada"},"subscriptions":[{"type":"iOSPush","token":"t"}],"properties":{"tags":{"a":null}}}`, "application/json"},
		{"PATCH", "/onesignal/apps/app/users/by/external_id/ada", `{"properties":{"tags":{"a":1}}}`, "application/json"},
		{"POST", "/onetrust/request/v1/consentreceipts", `{"identifier":"ada","requestInformation":"a.b.c","purposes":[{"Id":"x","TransactionType":"CONFIRMED"}]}`, "application/json"},
		{"POST", "/onetrust/api/access/v1/oauth/token", `client_id=%zz&grant_type=client_credentials`, "application/x-www-form-urlencoded"},
		{"GET", "/engagement/messages?cursor=-1&limit=x", ``, ""}, {"GET", "/iterable/inApp/getMessages?userId=ada&count=9999999999", ``, ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	s := quick(f)
	f.Fuzz(func(t *testing.T, method, path, body, mediaType string) {
		header := http.Header{"Content-Type": {mediaType}, "Authorization": {"Bearer " + s.cfg.BrazeAPIKey}, "Api-Key": {s.cfg.IterableAPIKey}}
		if strings.HasPrefix(path, "/onesignal") {
			header.Set("Authorization", "Key "+s.cfg.OneSignalAPIKey)
		}
		got := ask(t, s, method, path, body, header)
		if got == nil || strings.HasPrefix(path, "/_sandbox") {
			return
		}
		require.Less(t, got.Code, 500, "%s", got.Body)
		shown := ask(t, s, http.MethodGet, "/_sandbox/customers/ada", "", nil)
		require.Equal(t, http.StatusOK, shown.Code)
		require.True(t, json.Valid(shown.Body.Bytes()))
	})
}

// ask is nil for what is no request.
func ask(t *testing.T, s *Sandbox, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandbox.example", strings.NewReader(body))
	if err != nil {
		return nil
	}
	u.Scheme, u.Host = "http", "sandbox.example"
	req.URL = u
	req.RequestURI = target
	if header != nil {
		req.Header = header
	}
	began, rec := time.Now(), httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	require.Less(t, time.Since(began), 30*time.Second)
	return rec
}
