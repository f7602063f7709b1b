package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

func statuses() []preference.Status { return preference.Statuses }

type check func(context.Context) error

func (c check) Ready(ctx context.Context) error { return c(ctx) }

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	broken := errors.New("password wrong for accord@db")
	a := newAPI(t, func(c *Config) {
		c.Ready = map[string]ports.Readiness{
			"database": check(func(context.Context) error { return broken }),
			"temporal": check(func(context.Context) error { return nil }),
		}
	})
	require.JSONEq(t, `{"status":"ok","build":"test"}`, string(a.call("GET", "/healthz", "", "").is(200).body))
	got := a.call("GET", "/readyz", "", "").is(503)
	require.JSONEq(t, `{"status":"unavailable","checks":{"database":"unavailable","temporal":"ok"}}`, string(got.body))
	require.Contains(t, a.logs.String(), "password wrong")
	broken = nil
	a.call("GET", "/readyz", "", "").is(200)
	require.JSONEq(t, `{"status":"ready","checks":{}}`, string(newAPI(t).call("GET", "/readyz", "", "").is(200).body))
}

func TestReadinessDoesNotWaitForACheckThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := readyOrLate(ctx, check(func(context.Context) error { <-release; return nil }))
	require.ErrorIs(t, err, context.Canceled)
}

func TestMetricsKnowRoutesAndNotAddresses(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.call("GET", "/v1/customers/ada/audit", "auditor", "").is(200)
	a.call("GET", "/made/up", "", "").is(404)
	a.call("BREW", "/v1/preferences", "", "")
	got := string(a.call("GET", "/metrics", "", "").is(200).body)
	require.Contains(t, got, `accord_http_request_duration_seconds_count{method="GET",route="/v1/customers/:id/audit",status="200"} 1`)
	require.Contains(t, got, `accord_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1`)
	require.Contains(t, got, `method="other"`)
	require.NotContains(t, got, "made")
	require.NotContains(t, got, "BREW")
}

func TestAccessLogHoldsNothingPersonal(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("GET", "/v1/customers/ada%40example.org/deliverability?channel=promotions", "reader", "", "X-Request-Id: r-1").is(200)
	a.call("GET", "/v1/preferences", "ada", "", "X-Request-Id: not fit for logs\n").is(200)
	logs := a.logs.String()
	for _, secret := range []string{"example.org", "promotions", "reader", "token-of-ada", "ada", "not fit"} {
		require.NotContains(t, logs, secret)
	}
	var line struct {
		Msg, Method, Route string
		RequestID          string `json:"request_id"`
		Status, Took       int
	}
	for _, l := range strings.Split(strings.TrimSpace(logs), "\n") {
		require.NoError(t, json.Unmarshal([]byte(l), &line))
		if line.RequestID == "r-1" {
			break
		}
	}
	require.Equal(t, "/v1/customers/:id/deliverability", line.Route)
	require.Equal(t, 200, line.Status)
	require.Positive(t, line.Took)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	require.Equal(t, "client-1", a.call("GET", "/healthz", "", "", "X-Request-Id: client-1").header.Get("X-Request-Id"))
	seen := map[string]bool{}
	for _, bad := range []string{"", "a b", strings.Repeat("x", 65), "<script>"} {
		got := a.call("GET", "/healthz", "", "", "X-Request-Id: "+bad).header.Get("X-Request-Id")
		require.Regexp(t, `^[A-Z2-7]{12}-[0-9a-z]{1,13}$`, got)
		require.False(t, seen[got], "an id is there once")
		seen[got] = true
	}
}

func TestDocumentAndDocs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	require.Equal(t, document, a.call("GET", "/openapi.yaml", "", "").is(200).body)
	docs := a.call("GET", "/docs", "", "").is(200)
	page := string(docs.body)
	for _, want := range []string{"/v1/preferences/push", "patchDevice", "problem-change-compensated", "schema-pushpreferences", "<code>test</code>"} {
		require.Contains(t, page, want)
	}
	require.NotRegexp(t, `(?i)<script|<link|@import|url\(|src=|href="https?:`, page, "the page must work without any other server")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)[1]
	sum := sha256.Sum256([]byte(style))
	require.Contains(t, docs.header.Get("Content-Security-Policy"), "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	require.Equal(t, "/docs#problem-internal", a.call("GET", "/problems/internal", "", "").is(302).header.Get("Location"))
}

func withDev(c *Config) {
	c.Dev = &DevTokens{
		Mint: func(subject, scope string) (string, time.Time, error) {
			return "token for " + subject + " " + scope, time.Date(2026, 5, 4, 22, 0, 0, 0, time.UTC), nil
		},
		Keys: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }),
	}
}

func TestDevTokens(t *testing.T) {
	t.Parallel()
	a := newAPI(t, withDev)
	here := func(body string) answer {
		req := newRequest("POST", "/dev/token", body)
		req.RemoteAddr = "127.0.0.1:5555"
		return a.send(req)
	}
	require.JSONEq(t, `{"token":"token for ada preferences:read","expires_at":"2026-05-04T22:00:00Z"}`,
		string(here(`{"sub":"ada","scope":"preferences:read"}`).is(200).body))
	here(`{"sub":"ada"}`).is(200)
	require.Equal(t, map[string]string{"sub": "required"}, fields(here(`{}`).is(400).problem()))
	require.Equal(t, map[string]string{"sub": "invalid_id"}, fields(here(`{"sub":"a b"}`).is(400).problem()))
	require.Equal(t, map[string]string{"admin": "unknown_field"}, fields(here(`{"sub":"a","admin":true}`).is(400).problem()))
	a.call("POST", "/dev/token", "", `{"sub":"ada"}`).is(404) // from another machine
	newAPI(t).call("POST", "/dev/token", "", `{"sub":"ada"}`).is(404)
}

func TestServerHasBounds(t *testing.T) {
	t.Parallel()
	s := NewServer(http.NotFoundHandler(), "127.0.0.1:0")
	require.Greater(t, s.WriteTimeout, maxWait)
	require.Greater(t, s.ReadTimeout, maxWait, "its deadline runs on while a request waits for its outcome")
	require.Positive(t, s.ReadHeaderTimeout)
	require.Positive(t, s.IdleTimeout)
	require.Positive(t, s.MaxHeaderBytes)
}

func TestConfigMustBeWhole(t *testing.T) {
	t.Parallel()
	_, err := New(Config{})
	require.Error(t, err)
}
