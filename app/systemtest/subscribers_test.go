package systemtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
	"accord/domain/webhook"
)

// receiver is another system that keeps what it was sent, and answers as it is told to.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	secrets []webhook.Secret
	answer  func(n int, w http.ResponseWriter)
	tried   map[string]int            // attempts by webhook-id
	got     map[string]map[string]any // taken
	wrong   []string
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter)) *receiver {
	r := &receiver{answer: answer, tried: map[string]int{}, got: map[string]map[string]any{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.CloseClientConnections)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	id := req.Header.Get(webhook.HeaderID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := (webhook.Signed{ID: id, Timestamp: req.Header.Get(webhook.HeaderTimestamp), Signature: req.Header.Get(webhook.HeaderSignature)}).Verify(r.secrets, body, time.Now()); err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	var event map[string]any
	if json.Unmarshal(body, &event) != nil || len(body) > 20_000 {
		r.wrong = append(r.wrong, string(body))
	}
	n := r.tried[id]
	r.tried[id]++
	recorder := &statusOf{ResponseWriter: w}
	r.answer(n, recorder)
	if recorder.status < 300 {
		r.got[id] = event
	}
}

type statusOf struct {
	http.ResponseWriter
	status int
}

func (s *statusOf) WriteHeader(status int) { s.status = status; s.ResponseWriter.WriteHeader(status) }

// of lists the operations that a receiver was told of a customer.
func (r *receiver) of(who string) map[string]map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]map[string]any{}
	for _, e := range r.got {
		if dig(e, "data", "customer") == who {
			out[fmt.Sprint(dig(e, "data", "operation"))] = e
		}
	}
	return out
}

func (c client) endpoints(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a, err := c.try("integrations", "webhooks:write", method, c.api+"/v1/webhook-endpoints"+path, body)
	require.NoError(t, err)
	return a
}

func (c client) subscribe(t *testing.T, r *receiver) (id string) {
	t.Helper()
	a := c.endpoints(t, http.MethodPost, "", map[string]any{"url": r.URL})
	require.Equal(t, 201, a.status, a.body)
	r.learn(t, a)
	return a.text("id")
}

func (r *receiver) learn(t *testing.T, a answer) {
	secret, err := webhook.ParseSecret(a.text("secret"))
	require.NoError(t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets = append(r.secrets, secret)
}

func takes(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

// TestOthersAreToldOfEachAppliedChange at least once, signed, whatever other receivers do.
func TestOthersAreToldOfEachAppliedChange(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *config.Config) { patient(c); c.Webhooks.AllowLocal = true })
	good := newReceiver(t, takes)
	flaky := newReceiver(t, func(n int, w http.ResponseWriter) { // the first attempt at each fails
		w.WriteHeader(map[bool]int{true: 500, false: 200}[n == 0])
	})
	release := make(chan struct{})
	defer close(release)
	hangs := newReceiver(t, func(_ int, w http.ResponseWriter) { <-release; w.WriteHeader(200) })
	gone := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(410) })
	elsewhere := newReceiver(t, func(_ int, w http.ResponseWriter) { w.Header().Set("Location", good.URL); w.WriteHeader(307) })
	goodID, goneID := s.subscribe(t, good), s.subscribe(t, gone)
	s.subscribe(t, flaky)
	s.subscribe(t, hangs)
	elsewhereID := s.subscribe(t, elsewhere)
	require.Equal(t, true, s.endpoints(t, http.MethodPost, "/"+goodID+"/ping", nil).at("delivered"))
	a := s.endpoints(t, http.MethodPost, "/"+goodID+"/rotate-secret", nil)
	require.Equal(t, 200, a.status, a.body) // the receiver has the old one only, for now

	who, applied := customer(), map[string]bool{}
	for n := range 6 {
		a := s.as(t, who, http.MethodPatch, "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": map[bool]string{true: "subscribed", false: "unsubscribed"}[n%2 == 0]}}, "Prefer", "wait=30")
		require.Equal(t, 200, a.status, a.body)
		applied[a.header.Get("Accord-Operation")] = true
	}
	for name, r := range map[string]*receiver{"good": good, "flaky": flaky} {
		eventually(t, 60*time.Second, func() string {
			if told := r.of(who); len(told) < len(applied) {
				return fmt.Sprintf("%s was told of %d of %d", name, len(told), len(applied))
			}
			return ""
		})
		for op, e := range r.of(who) {
			require.True(t, applied[op], op)
			require.Equal(t, "preferences.changed", e["type"])
			require.Equal(t, "app", dig(e, "data", "source"))
			require.Equal(t, "customer", dig(e, "data", "actor", "type"))
			require.NotEqual(t, dig(e, "data", "changed", "email.marketing", "before"), dig(e, "data", "changed", "email.marketing", "after"))
			require.NotNil(t, dig(e, "data", "version"))
		}
		require.Empty(t, r.wrong, name)
	}
	eventually(t, 30*time.Second, func() string {
		if e := s.endpoints(t, http.MethodGet, "/"+goneID, nil); e.text("disabled_reason") != "gone" {
			return fmt.Sprint(e.body)
		}
		return ""
	})
	page := s.endpoints(t, http.MethodGet, "/"+elsewhereID+"/deliveries", nil)
	require.Equal(t, "redirect", dig(page.at("deliveries").([]any)[len(applied)-1], "code"), "nobody is followed elsewhere")

	// Replayed, each comes once more under its own id.
	a = s.endpoints(t, http.MethodPost, "/"+goodID+"/replay", map[string]any{"from": time.Now().Add(-time.Hour).Format(time.RFC3339)})
	require.Equal(t, 202, a.status, a.body)
	eventually(t, 30*time.Second, func() string {
		good.mu.Lock()
		defer good.mu.Unlock()
		for op := range applied {
			if good.tried["evt_"+op] < 2 {
				return "not again yet: " + op
			}
		}
		return ""
	})
	good.mu.Lock()
	defer good.mu.Unlock()
	require.Empty(t, good.wrong)
}
