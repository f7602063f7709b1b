package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childState); path != "" {
		serveAsChild(path)
	}
	goleak.VerifyTestMain(m)
}

const (
	promotionsGroup = "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c01"
	newsGroup       = "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c04"
	pushPurpose     = "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d501"
	emailPurpose    = "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d502"
)

// manualClock stands still until a test moves it.
type manualClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *manualClock {
	return &manualClock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
}

func (c *manualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manualClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// harness is a sandbox behind a real server.
type harness struct {
	t       *testing.T
	cfg     Config
	clock   *manualClock
	sandbox *Sandbox
	server  *httptest.Server
	client  *http.Client
}

func start(t *testing.T, adjust ...func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, cfg: DefaultConfig(), clock: newClock()}
	h.cfg.Clock = h.clock.Now
	for _, f := range adjust {
		f(&h.cfg)
	}
	s, err := New(h.cfg)
	require.NoError(t, err)
	h.sandbox = s
	h.server = httptest.NewServer(s)
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(h.stop)
	return h
}

func (h *harness) stop() {
	require.NoError(h.t, h.sandbox.Close())
	h.server.Close()
	h.client.CloseIdleConnections()
}

type answer struct {
	status int
	header http.Header
	body   string
}

// json decodes the body.
func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &out), a.body)
	return out
}

func (h *harness) request(method, path, body string, header ...string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequest(method, h.server.URL+path, strings.NewReader(body))
	require.NoError(h.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (h *harness) send(r *http.Request) (answer, error) {
	res, err := h.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	var body bytes.Buffer
	_, err = io.Copy(&body, res.Body)
	return answer{res.StatusCode, res.Header, body.String()}, err
}

func (h *harness) do(method, path, body string, header ...string) answer {
	h.t.Helper()
	a, err := h.send(h.request(method, path, body, header...))
	require.NoError(h.t, err)
	return a
}

func (h *harness) braze(method, path, body string) answer {
	h.t.Helper()
	return h.do(method, "/braze"+path, body, "Authorization", "Bearer "+h.cfg.BrazeAPIKey)
}

func (h *harness) oneSignal(method, path, body string) answer {
	h.t.Helper()
	return h.do(method, "/onesignal/apps/"+h.cfg.OneSignalAppID+path, body, "Authorization", "Key "+h.cfg.OneSignalAPIKey)
}

// receipt posts a consent receipt with one purpose.
func (h *harness) receipt(identifier, purpose, kind string) answer {
	h.t.Helper()
	return h.do("POST", "/onetrust/request/v1/consentreceipts", `{"requestInformation":"`+h.cfg.CollectionPointToken()+
		`","identifier":"`+identifier+`","purposes":[{"Id":"`+purpose+`","TransactionType":"`+kind+`"}]}`)
}

func (h *harness) accessToken() string {
	h.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {h.cfg.OneTrustClientID},
		"client_secret": {h.cfg.OneTrustClientSecret}}
	a := h.do("POST", "/onetrust/api/access/v1/oauth/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(h.t, 200, a.status, a.body)
	return a.json(h.t)["access_token"].(string)
}

func (h *harness) profiles(query string, header ...string) answer {
	h.t.Helper()
	return h.do("GET", "/onetrust/api/consentmanager/v1/datasubjects/profiles"+query, "",
		append([]string{"Authorization", "Bearer " + h.accessToken()}, header...)...)
}

// segment escapes a customer for a path; "." and ".." would otherwise be steps of the path itself.
func segment(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

func (h *harness) customer(id string) customerView {
	h.t.Helper()
	a := h.do("GET", "/_sandbox/customers/"+segment(id), "")
	require.Equal(h.t, 200, a.status, a.body)
	var view customerView
	require.NoError(h.t, json.Unmarshal([]byte(a.body), &view))
	return view
}

func (h *harness) put(id, body string) {
	h.t.Helper()
	a := h.do("PUT", "/_sandbox/customers/"+segment(id), body)
	require.Equal(h.t, 200, a.status, a.body)
}

func (h *harness) fault(body string) string {
	h.t.Helper()
	a := h.do("POST", "/_sandbox/faults", body)
	require.Equal(h.t, 201, a.status, a.body)
	return a.json(h.t)["id"].(string)
}

func (h *harness) requests(query string) []loggedRequest {
	h.t.Helper()
	var out struct {
		Requests []loggedRequest `json:"requests"`
	}
	a := h.do("GET", "/_sandbox/requests"+query, "")
	require.NoError(h.t, json.Unmarshal([]byte(a.body), &out))
	return out.Requests
}

// awaitInFlight waits until a call is logged that was not answered yet.
func (h *harness) awaitInFlight(query string) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		for _, r := range h.requests(query) {
			if r.FinishedAt == nil {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
}

func subscribe(id string) string {
	return `{"attributes":[{"external_id":"` + id + `","email_subscribe":"opted_in"}]}`
}

func delayed(d time.Duration) func(*Config) { return func(c *Config) { c.ApplyDelay = d } }
