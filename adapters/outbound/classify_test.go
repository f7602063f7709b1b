package outbound_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/outbound"
	"accord/ports"
)

func TestStatuses(t *testing.T) {
	t.Parallel()
	type verdict struct {
		class     ports.TargetErrorClass
		code      string
		maybeDone bool // of a write
	}
	refused := verdict{ports.Refused, "refused", false}
	for status, want := range map[int]verdict{
		301: {ports.Transient, "malformed", true},
		400: refused, 403: refused, 404: refused, 405: refused, 409: refused, 410: refused, 422: refused,
		401: {ports.Transient, "credentials", false},
		408: {ports.Transient, "timeout", true},
		429: {ports.Transient, "rate_limited", false},
		500: {ports.Transient, "server_error", true},
		502: {ports.Transient, "server_error", true},
		503: {ports.Transient, "server_error", true},
		504: {ports.Transient, "server_error", true},
		599: {ports.Transient, "server_error", true},
	} {
		c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "ada@example.com is not welcome")
		})
		for _, call := range []ports.VendorCall{read("/ada"), write("/ada")} {
			got := failure(t, c, call)
			expected := want
			expected.maybeDone = want.maybeDone && call.Write
			require.Equal(t, expected, verdict{got.Class, got.Code, got.MaybeDone}, status)
			require.Equal(t, status, got.Status)
			require.NotContains(t, got.Error(), "ada")
		}
	}
}

func TestCredentialStatusesOfTheVendor(t *testing.T) {
	t.Parallel()
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		func(cfg *outbound.Config) { cfg.CredentialStatuses = []int{401, 403} })
	got := failure(t, c, write("/"))
	require.Equal(t, ports.Transient, got.Class)
	require.Equal(t, "credentials", got.Code)
	require.False(t, got.MaybeDone)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	epoch := strconv.FormatInt(now.Add(42*time.Second).Unix(), 10)
	for _, test := range []struct {
		status        int
		retry, resets string
		want          time.Duration
	}{
		{429, "7", "", 7 * time.Second},
		{503, "7", "", 7 * time.Second},
		{429, now.Add(9 * time.Second).Format(http.TimeFormat), "", 9 * time.Second},
		{429, "", epoch, 42 * time.Second},
		{429, "7", epoch, 7 * time.Second},
		{503, "", epoch, 0}, // sent with every answer, so it asks for nothing here
		{422, "7", "", 0},
		{429, "", "", 0},
		{429, "soon", "", 0},
		{429, "-7", "", 0},
		{429, now.Add(-time.Hour).Format(http.TimeFormat), "", 0},
		{429, "", "1", 0},
		{429, "301", "", 5 * time.Minute},
		{429, "9223372036854775807", "", 5 * time.Minute},
		{429, now.Add(24 * time.Hour).Format(http.TimeFormat), "", 5 * time.Minute},
		{429, "", "99999999999", 5 * time.Minute},
	} {
		c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.retry != "" {
				w.Header().Set("Retry-After", test.retry)
			}
			if test.resets != "" {
				w.Header().Set("x-ratelimit-reset", test.resets)
			}
			w.WriteHeader(test.status)
		}, func(cfg *outbound.Config) { cfg.Clock = func() time.Time { return now } })
		require.Equal(t, test.want, failure(t, c, write("/")).RetryAfter, "%+v", test)
	}
}

func TestBodiesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"cut off": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":"succ`) },
		"less than said": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, `{}`)
		},
		"two values":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}{}`) },
		"maintenance page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>back soon</html>`) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `"`+strings.Repeat("x", 2000)+`"`)
		},
	} {
		c := newClient(t, answer, func(cfg *outbound.Config) { cfg.MaxBody = 1000 })
		for _, out := range []any{nil, &struct{ ID string }{}} {
			for _, call := range []ports.VendorCall{read("/"), write("/")} {
				call.Out = out
				got := failure(t, c, call)
				require.Equal(t, "malformed", got.Code, name)
				require.Equal(t, ports.Transient, got.Class, name)
				require.Equal(t, call.Write, got.MaybeDone, name)
			}
		}
	}
}

func TestBodyOfAnotherShapeKeepsItsContentToItself(t *testing.T) {
	t.Parallel()
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":987654321}`) })
	call := read("/")
	call.Out = &struct{ ID string }{}
	got := failure(t, c, call)
	require.Equal(t, "malformed", got.Code)
	require.NotContains(t, got.Err.Error(), "987654321")
}

func TestEmptyBodies(t *testing.T) {
	t.Parallel()
	for status, fine := range map[int]bool{200: false, 201: false, 202: true, 204: true} {
		c := newClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		call := write("/")
		_, err := c.Call(t.Context(), call)
		require.NoError(t, err)
		call.Out = &struct{}{}
		_, err = c.Call(t.Context(), call)
		require.Equal(t, fine, err == nil, status)
	}
}

func TestNothingWasSent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for name, address := range map[string]string{
		"connection refused": "http://" + listener.Addr().String(),
		"bad certificate":    untrusted.URL,
	} {
		got := failure(t, newClientFor(t, address), write("/ada"))
		require.Equal(t, ports.Transient, got.Class, name)
		require.Equal(t, "connection", got.Code, name)
		require.False(t, got.MaybeDone, name)
		require.NotContains(t, got.Err.Error(), "ada", name)
	}
}

func TestCutConnection(t *testing.T) {
	t.Parallel()
	c := newClient(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	got := failure(t, c, write("/ada"))
	require.Equal(t, "connection", got.Code)
	require.True(t, got.MaybeDone)
	require.NotContains(t, got.Err.Error(), "ada", "net/http's error repeats the address")
	require.False(t, failure(t, c, read("/ada")).MaybeDone)
}

func TestSlowVendor(t *testing.T) {
	t.Parallel()
	for name, vendor := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"answer stops half-way": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"id":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, drained(vendor), func(cfg *outbound.Config) { cfg.Timeout = 50 * time.Millisecond })
			got := failure(t, c, write("/"))
			require.Equal(t, "timeout", got.Code)
			require.True(t, got.MaybeDone)
			require.ErrorIs(t, got, context.DeadlineExceeded)
			require.False(t, failure(t, c, read("/")).MaybeDone)
		})
		t.Run(name+" and the caller gives up", func(t *testing.T) {
			t.Parallel()
			c := newClient(t, drained(vendor), func(cfg *outbound.Config) { cfg.Timeout = time.Minute })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := c.Call(ctx, write("/"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, is := ports.AsTargetError(err)
			require.False(t, is, "the caller's own end is not the vendor's failure")
		})
	}
}

// drained reads the request first: only then does net/http notice that the client has gone.
func drained(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil && !errors.Is(err, net.ErrClosed) {
			return
		}
		next(w, r)
	}
}
