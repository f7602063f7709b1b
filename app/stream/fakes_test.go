package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/stream"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

var (
	ada     = inbox.CustomerViewer("ada")
	grace   = inbox.CustomerViewer("grace")
	tablet  = inbox.InstallationViewer("0b8e7f0e-6a51-4a52-9d15-3a4b6f0c9a11")
	nobody  = inbox.Viewer{}
	errDown = errors.New("the database is down")
)

// world is what is so, whoever has heard of it: a fake of ports.Standings, ports.Events and the inbox.
type world struct {
	mu       sync.Mutex
	global   ports.GlobalStanding
	viewers  map[inbox.Viewer]*ports.Standing
	settled  map[string]time.Time // of operations
	asked    []int                // viewers in each look
	down     bool
	hold     chan struct{} // a look reads, and answers when this is closed
	rolled   []inbox.Viewer
	fails    int                          // so many rolls to come
	ahead    map[inbox.Viewer][]time.Time // what time changes, the soonest first; of everybody under nobody
	listener map[int]listener
	next     int
}

type listener struct {
	each   func([]ports.StreamEvent)
	missed func()
	broken chan struct{}
}

func newWorld() *world {
	return &world{global: ports.GlobalStanding{Version: 1}, viewers: map[inbox.Viewer]*ports.Standing{}, settled: map[string]time.Time{},
		ahead: map[inbox.Viewer][]time.Time{}, listener: map[int]listener{}}
}

func (w *world) of(v inbox.Viewer) *ports.Standing {
	if w.viewers[v] == nil {
		w.viewers[v] = &ports.Standing{}
		if v.Customer != "" {
			w.viewers[v].Tag = "0"
		}
	}
	return w.viewers[v]
}

// set changes what is so without telling anybody.
func (w *world) set(v inbox.Viewer, change func(*ports.Standing)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.of(v))
}

// skew is how far the database's clock is from ours.
const skew = -42 * time.Minute

// changesIn has time change a viewer's inbox, without telling anybody; nobody's is what is the same for everybody.
func (w *world) changesIn(v inbox.Viewer, in ...time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range in {
		w.ahead[v] = append(w.ahead[v], time.Now().Add(skew+d))
	}
	slices.SortFunc(w.ahead[v], time.Time.Compare)
}

func (w *world) nextChange(v inbox.Viewer) (next time.Time, due bool) {
	if len(w.ahead[v]) == 0 {
		return time.Time{}, false
	}
	next = w.ahead[v][0]
	return next, !next.After(time.Now().Add(skew))
}

// passed makes so what time has changed.
func (w *world) passed(v inbox.Viewer) (some bool) {
	for _, due := w.nextChange(v); due; _, due = w.nextChange(v) {
		w.ahead[v], some = w.ahead[v][1:], true
	}
	return some
}

func (w *world) Standings(ctx context.Context, asked []ports.StandingQuery) (ports.GlobalStanding, []ports.Standing, error) {
	global, out, hold, err := w.stand(asked)
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return global, nil, ctx.Err()
		}
	}
	return global, out, err
}

func (w *world) stand(asked []ports.StandingQuery) (ports.GlobalStanding, []ports.Standing, chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, len(asked))
	if w.down {
		return ports.GlobalStanding{}, nil, nil, errDown
	}
	var out []ports.Standing
	for _, a := range asked {
		s := *w.of(a.Viewer)
		if !a.Viewer.Anonymous() {
			next, due := w.nextChange(a.Viewer)
			s.NextChange, s.Due = next, s.Due || due
		}
		s.Operations = slices.Clone(s.Operations)
		s.Operations = slices.DeleteFunc(s.Operations, func(o ports.OperationStanding) bool {
			return a.Operations.IsZero() || o.Status.Settled() && !w.settled[o.ID].After(a.Operations)
		})
		out = append(out, s)
	}
	global := w.global
	next, due := w.nextChange(nobody)
	global.NextChange, global.Due, global.Now = next, global.Due || due, time.Now().Add(skew)
	return global, out, w.hold, nil
}

func (w *world) Counts(_ context.Context, v inbox.Viewer) (ports.InboxState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.of(v)
	w.rolled = append(w.rolled, v)
	if w.fails > 0 {
		w.fails--
		return ports.InboxState{}, errDown
	}
	if !v.Anonymous() && w.passed(v) || s.Due {
		s.Due = false
		s.Own++
	}
	if w.passed(nobody) || w.global.Due {
		w.global.Due = false
		w.global.Version++
	}
	return ports.InboxState{Version: inbox.Version{Own: s.Own, Global: w.global.Version}}, nil
}

func (w *world) Listen(ctx context.Context, each func([]ports.StreamEvent), missed func()) error {
	w.mu.Lock()
	n, broken := w.next, make(chan struct{})
	w.next++
	w.listener[n] = listener{each, missed, broken}
	w.mu.Unlock()
	missed()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.listener, n)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-broken:
		return errDown
	}
}

func (w *world) listeners() (out []listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.listener {
		out = append(out, l)
	}
	return out
}

// say gives every hub one event.
func (w *world) say(kind string, data any, viewers ...inbox.Viewer) {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	e := ports.StreamEvent{Kind: kind, Data: body}
	for _, v := range viewers {
		e.Viewers = append(e.Viewers, v.Key())
	}
	for _, l := range w.listeners() {
		l.each([]ports.StreamEvent{e})
	}
}

type fields = map[string]any

func (w *world) changeInbox(v inbox.Viewer) {
	var own int64
	w.set(v, func(s *ports.Standing) { s.Own++; own = s.Own })
	w.say(ports.InboxChanged, fields{"own": own}, v)
}

func (w *world) changeGlobals() {
	w.mu.Lock()
	w.global.Version++
	now := w.global.Version
	w.mu.Unlock()
	w.say(ports.InboxChanged, fields{"global": now})
}

func (w *world) changePreferences(v inbox.Viewer, tag string) {
	w.set(v, func(s *ports.Standing) { s.Tag = tag })
	w.say(ports.PreferencesChanged, fields{"version": tag}, v)
}

// operate brings an operation to a status, and tells.
func (w *world) operate(v inbox.Viewer, id string, status preference.Status) {
	w.put(v, id, status)
	w.say(ports.OperationUpdated, fields{"operation": id, "status": status}, v)
}

func (w *world) put(v inbox.Viewer, id string, status preference.Status) {
	w.set(v, func(s *ports.Standing) {
		s.Operations = slices.DeleteFunc(s.Operations, func(o ports.OperationStanding) bool { return o.ID == id })
		s.Operations = append(s.Operations, ports.OperationStanding{ID: id, Status: status})
		if status.Settled() {
			w.settled[id] = time.Now()
		}
	})
}

// rig is a world with one hub, in a bubble with a time of its own.
type rig struct {
	*world
	t     *testing.T
	hub   *stream.Hub
	tally *tally
}

// inBubble runs a test against a hub that has begun to listen. Goroutines that outlive the hub fail it.
func inBubble(t *testing.T, test func(*testing.T, *rig), options ...func(*stream.Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{world: newWorld(), t: t, tally: &tally{ended: map[string]int{}, told: map[string]int{}}}
		r.hub = r.another(options...)
		test(t, r)
	})
}

// another is a second process on the same database.
func (r *rig) another(options ...func(*stream.Config)) *stream.Hub {
	cfg := stream.Config{Events: r.world, Standings: r.world, Inbox: r.world, Measures: r.tally, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(&cfg)
	}
	h := stream.New(cfg)
	r.t.Cleanup(h.Close)
	synctest.Wait()
	return h
}

// client is an app with an open stream.
type client struct {
	r    *rig
	s    ports.Stream
	last string // id
}

func (r *rig) open(v inbox.Viewer, lastID string) *client {
	r.t.Helper()
	return r.openAt(r.hub, v, lastID)
}

func (r *rig) openAt(h *stream.Hub, v inbox.Viewer, lastID string) *client {
	r.t.Helper()
	s, err := h.Open(v, lastID)
	require.NoError(r.t, err)
	return &client{r: r, s: s, last: lastID}
}

var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// hears is all that there is to hear now, as "kind data", without signs of life.
func (c *client) hears() (out []string) {
	c.r.t.Helper()
	for {
		synctest.Wait()
		words, ok := c.s.Next(atOnce)
		if !ok {
			return out
		}
		for _, w := range words {
			require.True(c.r.t, json.Valid(w.Data))
			require.NotEmpty(c.r.t, w.ID)
			require.NotContains(c.r.t, w.ID, "\n")
			out, c.last = append(out, w.Kind+" "+string(w.Data)), w.ID
		}
	}
}

// over reports that the stream was ended from our side.
func (c *client) over() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	for {
		if _, ok := c.s.Next(ctx); !ok {
			return ctx.Err() == nil
		}
	}
}

type tally struct {
	mu     sync.Mutex
	opened int
	ended  map[string]int
	told   map[string]int
}

func (m *tally) Opened() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened++
}

func (m *tally) Ended(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[why]++
}

func (m *tally) Told(kind string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told[kind] += n
}

// pass lets time pass, of which a bubble has its own: it takes none of ours.
func pass(d time.Duration) { <-time.After(d) }
