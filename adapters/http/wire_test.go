package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"accord/ports/mocks"
)

// overTheWire serves the API as it is served, on a port of its own.
func overTheWire(t *testing.T) (address string, app *fakeApp) {
	t.Helper()
	app = newFakeApp()
	box := newFakeInbox()
	handler, err := New(Config{Preferences: app, Operators: app, Inbox: box, Messages: box, LinkTargets: box, EmailLinks: &fakeLinks{}, Engagement: newFakeMeasures(), Reconciliation: &fakeAsking{}, Rights: fakeRights{app}, Auditing: fakeAuditing{app}, Streams: &fakeStreams{}, Endpoints: mocks.NewMockEndpoints(nil),
		Verifier: newFakeVerifier(), Catalogue: app.catalogue,
		Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := NewServer(handler, listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return listener.Addr().String(), app
}

func exchangeOverTheWire(t *testing.T, method, url string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer ada")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestHeadIsAnsweredLikeGetWithoutABody(t *testing.T) {
	t.Parallel()
	address, _ := overTheWire(t)
	res := exchangeOverTheWire(t, "HEAD", "http://"+address+"/v1/preferences", nil)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, `"0"`, res.Header.Get("ETag"))
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Empty(t, body)
}

// A reader that is no known kind makes the client send chunks, without saying how long the body is.
func TestBodiesOfUnknownLength(t *testing.T) {
	t.Parallel()
	address, app := overTheWire(t)
	chunked := func(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }
	base := "http://" + address + "/v1"
	require.Equal(t, 200, exchangeOverTheWire(t, "PATCH", base+"/preferences/push", chunked(`{"enabled":false}`)).StatusCode)
	require.Equal(t, 413, exchangeOverTheWire(t, "PATCH", base+"/preferences/push", chunked(strings.Repeat(" ", maxBody+1))).StatusCode)
	require.Equal(t, 400, exchangeOverTheWire(t, "DELETE", base+"/devices/phone", chunked(`{"x":1}`)).StatusCode)
	require.Len(t, app.commands, 1)
}

func TestABodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	address, app := overTheWire(t)
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "PATCH /v1/preferences/push HTTP/1.1\r\nHost: accord\r\nAuthorization: Bearer ada\r\n"+
		"Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"enabled\":")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	require.Contains(t, string(answer), "malformed-json")
	require.Empty(t, app.commands)
}

func TestAClientThatHangsUpIsNoFailureOfOurs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.err = context.Canceled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := newRequest("GET", "/v1/preferences", "").WithContext(ctx)
	req.Header.Set("Authorization", "Bearer ada")
	rec := &statusOnly{header: http.Header{}}
	a.engine.Handler().ServeHTTP(rec, req)
	require.Equal(t, statusClientGone, rec.status)
	require.NotContains(t, a.logs.String(), "request failed")

	a.app.err = context.Canceled // of something else than the request: that is ours
	a.call("GET", "/v1/preferences", "ada", "").is(500)
}

type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
