package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// fakeStreams gives every client the same stream: what words say, then it is over.
type fakeStreams struct {
	mu      sync.Mutex
	refuse  error
	next    func(context.Context) ([]ports.Word, bool) // nil for one word and the end
	viewers []inbox.Viewer
	lastIDs []string
	slow    int
	closed  int
}

var someWord = ports.Word{ID: "1-5.9-kx-a-3+1", Kind: ports.InboxChanged, Data: []byte(`{"version":"5.9"}`)}

func (f *fakeStreams) Open(viewer inbox.Viewer, lastID string) (ports.Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.viewers, f.lastIDs = append(f.viewers, viewer), append(f.lastIDs, lastID)
	next := f.next
	if next == nil {
		words := []ports.Word{someWord}
		next = func(context.Context) ([]ports.Word, bool) {
			given := words
			words = nil
			return given, len(given) > 0
		}
	}
	return &fakeStream{f: f, next: next}, nil
}

func (f *fakeStreams) counts() (slow, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slow, f.closed
}

type fakeStream struct {
	f    *fakeStreams
	next func(context.Context) ([]ports.Word, bool)
	over bool
}

func (s *fakeStream) Next(ctx context.Context) ([]ports.Word, bool) {
	words, ok := s.next(ctx)
	s.over = !ok
	return words, ok
}

func (s *fakeStream) Retry() time.Duration {
	if s.over {
		return 1234 * time.Millisecond
	}
	return 3 * time.Second
}

func (s *fakeStream) Slow() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.slow++
}

func (s *fakeStream) Close() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.closed++
}

const fromTablet = "Accord-Installation-Id: 0B8E7F0E-6A51-4A52-9D15-3A4B6F0C9A11"

func TestStreamIsServerSentEvents(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.call("GET", "/v1/inbox/stream", "ada", "", "Last-Event-ID: 1-4.9-kx-a-3", fromTablet).is(200)
	require.Equal(t, "text/event-stream", got.header.Get("Content-Type"))
	require.Equal(t, "no-store, no-transform", got.header.Get("Cache-Control"))
	require.Equal(t, "no", got.header.Get("X-Accel-Buffering"))
	require.Equal(t, "retry: 3000\n\nid: 1-5.9-kx-a-3+1\nevent: inbox.changed\ndata: {\"version\":\"5.9\"}\n\nretry: 1234\n\n", string(got.body))
	a.call("GET", "/v1/inbox/stream", "", "", fromTablet).is(200)
	a.call("GET", "/v1/inbox/stream", "", "").is(200)
	require.Equal(t, []inbox.Viewer{inbox.CustomerViewer("ada"), inbox.InstallationViewer("0b8e7f0e-6a51-4a52-9d15-3a4b6f0c9a11"), {}}, a.streams.viewers)
	require.Equal(t, []string{"1-4.9-kx-a-3", "", ""}, a.streams.lastIDs)
	slow, closed := a.streams.counts()
	require.Equal(t, [2]int{0, 3}, [2]int{slow, closed})
}

func TestStreamIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.streams.refuse = fault.New(fault.Unavailable, "unavailable", "there are too many streams")
	got := a.call("GET", "/v1/inbox/stream", "ada", "").is(503)
	require.Equal(t, "unavailable", got.problem().Code)
	require.NotEmpty(t, got.header.Get("Retry-After"))
	a.streams.refuse = fault.OnField("Last-Event-ID", "invalid_event_id", "must be the id of an event of this stream")
	require.Equal(t, "invalid-request", a.call("GET", "/v1/inbox/stream", "ada", "", "Last-Event-ID: x").is(400).problem().Code)
	a.streams.refuse = nil
	a.call("GET", "/v1/inbox/stream", "broken", "").is(403)
	a.call("GET", "/v1/inbox/stream", "expired", "").is(401)
	require.Empty(t, a.streams.viewers)
}

// pipes is a listener in memory. Its connections have deadlines and no buffer, so in a bubble it is known exactly when a
// write waits for the client, and an hour takes no time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// served is the whole server as it runs, with all its time-outs, in a bubble.
type served struct {
	*api
	t     *testing.T
	pipes *pipes
	srv   *http.Server
}

func inBubble(t *testing.T, next func(context.Context) ([]ports.Word, bool), test func(*testing.T, *served)) {
	t.Helper()
	t.Parallel()
	_, err := ownContract() // read once for all tests, so not in a bubble
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		verifier := newFakeVerifier()
		verifier.tokens["short"] = ports.Principal{Subject: "ada", ClientID: "app", Expires: time.Now().Add(time.Minute)}
		s := &served{t: t, pipes: &pipes{conns: make(chan net.Conn), done: make(chan struct{})}}
		s.api = newAPI(t, func(c *Config) { c.Verifier = verifier })
		s.api.streams.next = next
		s.srv = NewServer(headAsGet(s.api.engine.Handler()), "")
		stopped := make(chan error, 1)
		go func() { stopped <- s.srv.Serve(s.pipes) }()
		test(t, s)
		require.NoError(t, s.srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-stopped, http.ErrServerClosed)
	})
}

// ask sends a request and hands over the client's end.
func (s *served) ask(method, token string) net.Conn {
	s.t.Helper()
	client, server := net.Pipe()
	s.pipes.conns <- server
	authorization := ""
	if token != "" {
		authorization = "Authorization: Bearer " + token + "\r\n"
	}
	_, err := io.WriteString(client, method+" /v1/inbox/stream HTTP/1.1\r\nHost: accord\r\n"+authorization+"\r\n")
	require.NoError(s.t, err)
	return client
}

// until waits for a sign of life, or ctx's end.
func signsOfLife(ctx context.Context) ([]ports.Word, bool) {
	select {
	case <-time.After(15 * time.Second):
		return nil, true
	case <-ctx.Done():
		return nil, false
	}
}

func TestStreamOutlivesTheServersTimeOuts(t *testing.T) {
	inBubble(t, signsOfLife, func(t *testing.T, s *served) {
		c := s.ask("GET", "ada")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		defer res.Body.Close()
		lines, signs := bufio.NewScanner(res.Body), 0
		for began := time.Now(); time.Since(began) < time.Hour; {
			require.True(t, lines.Scan(), "it ended after %s: %v", time.Since(began), lines.Err())
			if lines.Text() == ":" {
				signs++
			}
		}
		require.GreaterOrEqual(t, signs, 239)
		require.NoError(t, c.Close())
		synctest.Wait()
		slow, closed := s.api.streams.counts()
		require.Equal(t, [2]int{0, 1}, [2]int{slow, closed}, "a client that goes is noticed at once")
	})
}

func TestStreamEndsWithItsToken(t *testing.T) {
	inBubble(t, signsOfLife, func(t *testing.T, s *served) {
		began := time.Now()
		res, err := http.ReadResponse(bufio.NewReader(s.ask("GET", "short")), nil)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(body), ": the token has expired\n\n"), "%s", body)
		require.LessOrEqual(t, time.Since(began), 75*time.Second)
		require.GreaterOrEqual(t, time.Since(began), time.Minute)
	})
}

func TestAClientThatTakesNothingIsGivenUp(t *testing.T) {
	talks := func(context.Context) ([]ports.Word, bool) { return []ports.Word{someWord}, true }
	inBubble(t, talks, func(t *testing.T, s *served) {
		c := s.ask("GET", "ada")
		_, err := io.ReadAtLeast(c, make([]byte, 100), 100)
		require.NoError(t, err)
		began := time.Now()
		pass(takeWithin - time.Millisecond)
		synctest.Wait()
		slow, closed := s.api.streams.counts()
		require.Equal(t, [2]int{0, 0}, [2]int{slow, closed})
		pass(2 * time.Millisecond)
		synctest.Wait()
		slow, closed = s.api.streams.counts()
		require.Equal(t, [2]int{1, 1}, [2]int{slow, closed})
		rest, err := io.ReadAll(c)
		require.True(t, err == nil || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
		require.Empty(t, rest)
		require.LessOrEqual(t, time.Since(began), takeWithin+time.Second)
	})
}

func TestAStreamHasNoHead(t *testing.T) {
	inBubble(t, signsOfLife, func(t *testing.T, s *served) {
		res, err := http.ReadResponse(bufio.NewReader(s.ask("HEAD", "")), &http.Request{Method: http.MethodHead})
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
		require.NoError(t, res.Body.Close())
		synctest.Wait()
		_, closed := s.api.streams.counts()
		require.Equal(t, 1, closed, "nobody would ever read it")
	})
}

func TestHowLongAStreamWasOpenIsNoLatency(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.call("GET", "/v1/inbox/stream", "ada", "").is(200)
	require.NotContains(t, string(a.call("GET", "/metrics", "", "").is(200).body), "/v1/inbox/stream")
}

// pass lets time pass, of which a bubble has its own: it takes none of ours.
func pass(d time.Duration) { <-time.After(d) }
