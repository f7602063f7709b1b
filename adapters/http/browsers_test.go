package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// asShipped is the handler as it is shipped, with what is around the engine.
func asShipped(t *testing.T, options ...func(*Config)) http.Handler {
	t.Helper()
	var cfg Config
	newAPI(t, append(options, func(c *Config) { cfg = *c })...)
	cfg.Metrics = prometheus.NewRegistry() // the other one has been registered with
	h, err := New(cfg)
	require.NoError(t, err)
	return h
}

func ask(h http.Handler, method, target string, headers map[string]string) *http.Response {
	req := httptest.NewRequest(method, target, nil)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Result()
}

const shop = "https://shop.example"

func TestBrowsersMayCallFromTheNamedOriginsAlone(t *testing.T) {
	t.Parallel()
	preflight := map[string]string{"Origin": shop, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type,if-match"}
	none := asShipped(t)
	got := ask(none, "OPTIONS", "/v1/preferences/push", preflight)
	require.Empty(t, got.Header.Get("Access-Control-Allow-Origin"), "none by default")
	require.Equal(t, 405, got.StatusCode)
	require.Empty(t, ask(none, "GET", "/v1/inbox", map[string]string{"Origin": shop}).Header.Get("Access-Control-Allow-Origin"))

	some := asShipped(t, func(c *Config) { c.CORSOrigins = []string{shop} })
	got = ask(some, "OPTIONS", "/v1/preferences/push", preflight)
	require.Equal(t, []any{204, shop, "PATCH"}, []any{got.StatusCode, got.Header.Get("Access-Control-Allow-Origin"), got.Header.Get("Access-Control-Allow-Methods")})
	require.Empty(t, got.Header.Get("Access-Control-Allow-Credentials"))
	got = ask(some, "GET", "/v1/inbox", map[string]string{"Origin": shop})
	require.Equal(t, []any{200, shop}, []any{got.StatusCode, got.Header.Get("Access-Control-Allow-Origin")})
	require.Contains(t, got.Header.Get("Access-Control-Expose-Headers"), "Retry-After")
	require.Contains(t, got.Header.Values("Vary")[0], "Origin", "what is kept for one origin is not for another")
	for _, other := range []string{"https://shop.example.evil", "http://shop.example", "null", "https://evil.example"} {
		preflight["Origin"] = other
		require.Empty(t, ask(some, "OPTIONS", "/v1/preferences/push", preflight).Header.Get("Access-Control-Allow-Origin"), other)
		got := ask(some, "GET", "/v1/inbox", map[string]string{"Origin": other})
		require.Equal(t, 200, got.StatusCode)
		require.Empty(t, got.Header.Get("Access-Control-Allow-Origin"), other)
	}
}

func TestEveryAnswerTellsBrowsersToBeCareful(t *testing.T) {
	t.Parallel()
	h := asShipped(t, withDev, func(c *Config) { c.HSTS = 24 * time.Hour })
	for _, target := range []string{"/v1/inbox", "/v1/preferences", "/nothing", "/healthz", "/metrics", "/openapi.yaml", "/docs", "/problems/not-found", "/dev/jwks.json"} {
		for _, method := range []string{"GET", "HEAD", "TRACE"} {
			got := ask(h, method, target, nil).Header
			require.Equal(t, "nosniff", got.Get("X-Content-Type-Options"), target)
			require.Contains(t, got.Get("Content-Security-Policy"), "frame-ancestors 'none'", target)
			require.Contains(t, got.Get("Content-Security-Policy"), "default-src 'none'", target)
			require.Equal(t, "same-origin", got.Get("Cross-Origin-Resource-Policy"), target)
			require.Equal(t, "max-age=86400", got.Get("Strict-Transport-Security"), target)
			require.NotEmpty(t, got.Get("Cache-Control"), target)
			require.Empty(t, got.Get("Server"), target)
		}
	}
	require.Empty(t, ask(asShipped(t), "GET", "/v1/inbox", nil).Header.Get("Strict-Transport-Security"), "not before somebody says that there is https")
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	s := NewServer(asShipped(t), "127.0.0.1:0")
	require.Equal(t, []time.Duration{5 * time.Second, 45 * time.Second, 45 * time.Second, 2 * time.Minute},
		[]time.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout})
	require.Equal(t, 32<<10, s.MaxHeaderBytes)
}
