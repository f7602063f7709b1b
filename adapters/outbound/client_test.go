package outbound_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/outbound"
	"accord/domain/preference"
	"accord/ports"
)

// newClient calls a vendor that is the handler.
func newClient(t *testing.T, vendor http.HandlerFunc, change ...func(*outbound.Config)) *outbound.Client {
	t.Helper()
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	return newClientFor(t, server.URL, change...)
}

func newClientFor(t *testing.T, address string, change ...func(*outbound.Config)) *outbound.Client {
	t.Helper()
	cfg := outbound.Config{Target: preference.CRM, BaseURL: address}
	for _, c := range change {
		c(&cfg)
	}
	client, err := outbound.New(cfg)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func read(path string) ports.VendorCall {
	return ports.VendorCall{Name: "things.read", Method: http.MethodGet, Path: path}
}

func write(path string) ports.VendorCall {
	return ports.VendorCall{Name: "things.write", Method: http.MethodPost, Path: path, In: map[string]string{"a": "b"}, Write: true}
}

// failure calls and expects a TargetError.
func failure(t *testing.T, c *outbound.Client, call ports.VendorCall) *ports.TargetError {
	t.Helper()
	_, err := c.Call(t.Context(), call)
	got, is := ports.AsTargetError(err)
	require.True(t, is, "got %v", err)
	require.Equal(t, preference.CRM, got.Target)
	return got
}

func TestCallSendsAndDecodes(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	var body []byte
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Thing", "yes")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"7"}`)
	}, func(cfg *outbound.Config) {
		cfg.BaseURL += "/base/"
		cfg.Authorize = func(h http.Header) { h.Set("Authorization", "Bearer key") }
	})
	var out struct{ ID string }
	answer, err := c.Call(t.Context(), ports.VendorCall{
		Method: http.MethodPost, Path: "/things/" + url.PathEscape("a/b c"), Query: map[string][]string{"q": {"1", "&"}},
		Header: map[string]string{"identifier": "ada"}, In: map[string]int{"n": 1}, Out: &out,
	})
	require.NoError(t, err)
	require.Equal(t, 201, answer.Status)
	require.Equal(t, []string{"yes"}, answer.Header["X-Thing"])
	require.Equal(t, "7", out.ID)
	require.Equal(t, "/base/things/a%2Fb%20c?q=1&q=%26", seen.RequestURI)
	require.JSONEq(t, `{"n":1}`, string(body))
	for name, want := range map[string]string{
		"Authorization": "Bearer key", "Identifier": "ada", "Content-Type": "application/json", "Accept": "application/json", "User-Agent": "accord",
	} {
		require.Equal(t, want, seen.Header.Get(name), name)
	}
}

func TestCallsOwnHeaderWins(t *testing.T) {
	t.Parallel()
	var seen string
	c := newClient(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") },
		func(cfg *outbound.Config) {
			cfg.Authorize = func(h http.Header) { h.Set("Authorization", "policy's") }
		})
	call := read("/")
	call.Header = map[string]string{"Authorization": "call's"}
	_, err := c.Call(t.Context(), call)
	require.NoError(t, err)
	require.Equal(t, "call's", seen)
}

func TestForm(t *testing.T) {
	t.Parallel()
	var seen url.Values
	c := newClient(t, func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm(); seen = r.PostForm })
	_, err := c.Call(t.Context(), ports.VendorCall{Method: http.MethodPost, Path: "/token", Form: map[string]string{"secret": "a&b=c"}})
	require.NoError(t, err)
	require.Equal(t, url.Values{"secret": {"a&b=c"}}, seen)
}

func TestUnsendableCalls(t *testing.T) {
	t.Parallel()
	c := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("nothing may be sent") })
	for name, call := range map[string]ports.VendorCall{
		"body":   {Method: http.MethodPost, Path: "/", In: func() {}},
		"both":   {Method: http.MethodPost, Path: "/", In: 1, Form: map[string]string{}},
		"path":   {Method: http.MethodGet, Path: "/%zz-ada"},
		"method": {Method: "NO WAY", Path: "/ada"},
	} {
		got := failure(t, c, call)
		require.Equal(t, ports.Refused, got.Class, name)
		require.Equal(t, "unsendable", got.Code, name)
		require.NotContains(t, got.Err.Error(), "ada", name)
	}
}

func TestExpectedStatusIsLeftToTheCaller(t *testing.T) {
	t.Parallel()
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "plain text")
	})
	call := read("/")
	call.Expect = []int{404}
	out := map[string]any{}
	call.Out = &out
	answer, err := c.Call(t.Context(), call)
	require.NoError(t, err)
	require.Equal(t, 404, answer.Status)
	require.Empty(t, out)
	call.Expect = []int{409}
	require.Equal(t, "refused", failure(t, c, call).Code)
}

func TestWhatAnExpectedStatusSaysIsDecodedWhenItCanBe(t *testing.T) {
	t.Parallel()
	type said struct{ Code string }
	for body, want := range map[string]said{`{"code":"UnknownUser","msg":"x"}`: {"UnknownUser"}, `<html>`: {}, ``: {}, `{"code":5}`: {}, `{"code":"cut`: {}} {
		c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, body)
		})
		var got said
		call := read("/")
		call.Expect, call.Declined, call.Out = []int{409}, &got, &struct{}{}
		answer, err := c.Call(t.Context(), call)
		require.NoError(t, err, body)
		require.Equal(t, 409, answer.Status)
		require.Equal(t, want, got, body)
		call.Expect = nil
		require.Equal(t, "refused", failure(t, c, call).Code)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := newClient(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		require.Equal(t, ports.Transient, failure(t, c, write("/")).Class)
		require.Equal(t, "malformed", failure(t, c, read("/")).Code)
	}
	require.Zero(t, elsewhere.Load())
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000)) // nobody wants it, but it must be read
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := newClientFor(t, server.URL)
	for range 20 {
		_, err := c.Call(t.Context(), read("/"))
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, failure(t, c, read("/fails")).Status)
	}
	require.EqualValues(t, 1, opened.Load())
}

func TestBurstDoesNotThrowConnectionsAway(t *testing.T) {
	t.Parallel()
	const width = 16
	var opened atomic.Int32
	// Each wave is answered when all of it is there, so that it needs this many connections.
	var mu sync.Mutex
	waiting, release := 0, make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		waiting++
		mine := release
		if waiting == width {
			waiting, release = 0, make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		<-mine
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := newClientFor(t, server.URL)
	for range 5 {
		var wave sync.WaitGroup
		for range width {
			wave.Go(func() {
				_, err := c.Call(context.WithoutCancel(t.Context()), read("/"))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wave.Wait()
	}
	// A connection comes back to the pool a moment after its answer, so a wave may open a few more than the one before.
	require.Less(t, opened.Load(), int32(3*width))
}

func TestObserveAndLog(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	var outcomes []string
	status := 200
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"email":"ada@example.com"}`)
	}, func(cfg *outbound.Config) {
		cfg.Authorize = func(h http.Header) { h.Set("Authorization", "secret-key") }
		cfg.Logger = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Observe = func(target preference.Target, outcome string, took time.Duration) {
			require.Equal(t, preference.CRM, target)
			require.Positive(t, took)
			outcomes = append(outcomes, outcome)
		}
	})
	call := write("/users/ada@example.com")
	call.In = map[string]string{"token": "push-token-1"}
	call.Query = map[string][]string{"external_id": {"ada@example.com"}}
	for _, status = range []int{200, 503, 422} {
		_, _ = c.Call(t.Context(), call)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Call(ended, call)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"ok", "server_error", "refused", "cancelled"}, outcomes)

	for _, secret := range []string{"ada", "push-token-1", "secret-key", "external_id"} {
		require.NotContains(t, logged.String(), secret)
	}
	var line struct {
		Msg, Target, Call, Method, Outcome string
		Status                             int
		Took                               int64
	}
	lines := slices.Collect(strings.Lines(logged.String()))
	require.Len(t, lines, 4)
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &line))
	require.Positive(t, line.Took)
	line.Took = 0
	want := line
	want.Msg, want.Target, want.Call, want.Method, want.Outcome, want.Status = "vendor call", "crm", "things.write", "POST", "server_error", 503
	require.Equal(t, want, line)
}

func TestNewReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := outbound.New(outbound.Config{BaseURL: "ftp://host", Timeout: -1, Breaker: outbound.Breaker{FailureRatio: 2}})
	for _, problem := range []string{"Target", "BaseURL", "Timeout", "FailureRatio"} {
		require.ErrorContains(t, err, problem)
	}
	for _, address := range []string{"", "nonsense", "http://", "http://h/?q=1", "http://user:secret@h", "http://h%zz:secret"} {
		_, err := outbound.New(outbound.Config{Target: preference.CRM, BaseURL: address})
		require.ErrorContains(t, err, "BaseURL", address)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestCustomTransport(t *testing.T) {
	t.Parallel()
	broken := errors.New("no route for ada")
	c := newClientFor(t, "http://vendor.example", func(cfg *outbound.Config) {
		cfg.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, broken })
	})
	got := failure(t, c, write("/"))
	require.True(t, got.MaybeDone, "a transport that does not say where it failed may have sent the call")
	require.NotContains(t, got.Err.Error(), "ada")

	c = newClientFor(t, "http://vendor.example", func(cfg *outbound.Config) {
		cfg.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, &net.OpError{Op: "dial", Err: io.EOF} })
	})
	require.False(t, failure(t, c, write("/")).MaybeDone, "nothing leaves before there is a connection")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
