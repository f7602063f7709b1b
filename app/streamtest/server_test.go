package streamtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	httpapi "accord/adapters/http"
	"accord/app/stream"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

// asServer makes this test program be the server that is measured.
const asServer = "ACCORD_STREAMTEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// state is what the server says of itself.
type state struct {
	Address    string
	Goroutines int
	Heap       uint64 // in use, after a collection
	Conns      int64
	Streams    int64
}

// serve is the HTTP adapter over the hub as they are shipped, with every time-out and middleware, over a database that
// knows nothing. It obeys lines on its standard input and answers each with a line, until the input ends.
func serve() error {
	w := &world{}
	w.global.Store(1)
	hub := stream.New(stream.Config{Events: w, Standings: w, Inbox: w, Measures: w, Logger: slog.New(slog.DiscardHandler)})
	catalogue, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	if err != nil {
		return err
	}
	handler, err := httpapi.New(httpapi.Config{
		Preferences: struct{ ports.Preferences }{}, Operators: struct{ ports.Operators }{}, Inbox: struct{ ports.Inbox }{},
		Messages: struct{ ports.Messages }{}, LinkTargets: struct{ ports.LinkTargets }{}, EmailLinks: struct{ ports.EmailLinks }{}, Engagement: unmeasured{},
		Auditing: struct{ ports.Auditing }{}, Rights: struct{ ports.Rights }{}, Reconciliation: struct{ ports.Reconciliation }{}, Streams: hub, Endpoints: mocks.NewMockEndpoints(nil), Verifier: anybody{}, Catalogue: catalogue, Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := httpapi.NewServer(handler, listener.Addr().String())
	srv.ConnState = w.count
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()

	lines, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		switch lines.Text() {
		case "publish":
			w.publish()
		case "stop":
			hub.StopAccepting()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			err := srv.Shutdown(ctx)
			cancel()
			hub.Close()
			if err = errors.Join(err, <-served); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
		case "state":
		}
		runtime.GC()
		runtime.GC() // what is in a pool outlives one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if err := answers.Encode(state{Address: listener.Addr().String(), Goroutines: runtime.NumGoroutine(), Heap: m.HeapInuse,
			Conns: w.conns.Load(), Streams: w.streams.Load()}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// world is a database that knows nothing of anybody, and one place to publish to everybody.
type world struct {
	global         atomic.Int64
	conns, streams atomic.Int64
	mu             sync.Mutex
	each           func([]ports.StreamEvent)
}

func (w *world) Listen(ctx context.Context, each func([]ports.StreamEvent), missed func()) error {
	w.mu.Lock()
	w.each = each
	w.mu.Unlock()
	missed()
	<-ctx.Done()
	return ctx.Err()
}

func (w *world) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.each([]ports.StreamEvent{{Kind: ports.InboxChanged, Data: fmt.Appendf(nil, `{"global": %d}`, w.global.Add(1))}})
}

func (w *world) Standings(_ context.Context, asked []ports.StandingQuery) (ports.GlobalStanding, []ports.Standing, error) {
	out := make([]ports.Standing, len(asked))
	for i, a := range asked {
		if a.Viewer.Customer != "" {
			out[i].Tag = "0"
		}
	}
	return ports.GlobalStanding{Version: w.global.Load()}, out, nil
}

func (w *world) Counts(context.Context, inbox.Viewer) (ports.InboxState, error) {
	return ports.InboxState{}, errors.New("nothing is due here")
}

func (w *world) Opened()          { w.streams.Add(1) }
func (w *world) Ended(string)     { w.streams.Add(-1) }
func (w *world) Told(string, int) {}

func (w *world) count(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		w.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.conns.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

type unmeasured struct{ ports.Metrics }

func (unmeasured) Present(inbox.Viewer) {}

// anybody is whom the token names.
type anybody struct{}

func (anybody) Verify(_ context.Context, token string) (ports.Principal, error) {
	return ports.Principal{Subject: strings.Clone(token), ClientID: "app", Expires: time.Now().Add(time.Hour)}, nil
}
