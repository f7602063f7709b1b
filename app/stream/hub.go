// Package stream tells connected clients what has changed for them.
//
// A client is told hints with versions, not content, so all there is to keep of a stream is what it was told last. What it
// is to be told is the difference to where its viewer stands now. Hence nothing is queued: telling never blocks, ten
// changes while a client is busy are one word, and a client that comes back (here, to another process, after a restart)
// names in its last event's id what it knows and is told the difference.
package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// Config of a Hub. Events, Standings, Inbox and Logger are required; for the numbers zero stands for what is said.
type Config struct {
	Events    ports.Events
	Standings ports.Standings
	Inbox     Roller
	Measures  Measures // nil for none
	Logger    *slog.Logger

	MaxStreams int           // at once; 20,000
	PerViewer  int           // of one viewer at once, the oldest goes; 20
	Heartbeat  time.Duration // between signs of life; 15 s
	Patience   time.Duration // for a client that has not taken what it was given; 20 s
}

// Roller brings an inbox up to date that time has changed. ports.Inbox is one.
type Roller interface {
	Counts(ctx context.Context, viewer inbox.Viewer) (ports.InboxState, error)
}

// Measures are told what happens. They must not block.
type Measures interface {
	Opened()
	// Ended: closed (the client went, or its token expired), drained, replaced (too many of one viewer) or slow.
	Ended(why string)
	// Told n words of a kind.
	Told(kind string, n int)
}

const (
	defaultMaxStreams = 20_000
	defaultPerViewer  = 20
	defaultHeartbeat  = 15 * time.Second
	defaultPatience   = 20 * time.Second

	// unsignedShare of all streams may be of people who are not signed in: they need no token to fill the rest up.
	unsignedShare = 0.75

	// slots of the wheel, which turns once per heartbeat: so much of all streams is looked at in one go.
	slots = 60
)

// Hub implements ports.Streams.
type Hub struct {
	cfg  Config
	made time.Time
	stop context.CancelFunc
	work sync.WaitGroup
	// Each holds one: there is something to do.
	wanted chan struct{} // somebody wants to be told
	look   chan struct{} // somebody is to be checked
	told   chan struct{} // the globals are different
	due    chan struct{} // time has changed an inbox

	mu       sync.Mutex
	groups   map[string]*group // by inbox.Viewer.Key
	wheel    [slots][]*stream  // every stream is in one of them
	turn     int               // slot of the next stream
	open     int
	unsigned int // of open
	global   int64
	unheard  []*group // to be checked
	rolls    map[inbox.Viewer]struct{}

	next        moment   // when time changes the globals
	soonest     moment   // no group is to be rolled before, nor the globals
	stale       []*group // what is ahead of them may have changed
	globalStale bool
	looked      moment // when that was looked up last

	draining bool
	listens  bool
	deafen   context.CancelFunc // ends the listening
	idle     time.Time          // since when there is nobody to tell; zero while there is, or nobody has looked
}

var _ ports.Streams = (*Hub)(nil)

// group is one viewer with its streams. All anonymous viewers are one group; its streams are in the wheel only.
type group struct {
	viewer  inbox.Viewer
	name    string    // whose
	size    int       // streams
	streams []*stream // the oldest first; none of the anonymous group
	own     int64
	tag     string
	next    moment // when time changes the inbox, as far as is known
	checked bool   // own and tag are known

	queued  bool      // in unheard
	stale   bool      // in the hub's stale
	waiting []*stream // are told nothing before the check
	since   time.Time // operations settled since then are of interest; zero for none
	asking  bool      // a check is under way,
	heard   []string  // and what was heard meanwhile is newer: operations, or PreferencesChanged
}

// New makes a hub and starts it. Close it to end its goroutines.
func New(cfg Config) *Hub {
	cfg.MaxStreams = orElse(cfg.MaxStreams, defaultMaxStreams)
	cfg.PerViewer = orElse(cfg.PerViewer, defaultPerViewer)
	cfg.Heartbeat = orElse(cfg.Heartbeat, defaultHeartbeat)
	cfg.Patience = orElse(cfg.Patience, defaultPatience)
	if cfg.Measures == nil {
		cfg.Measures = unmeasured{}
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &Hub{cfg: cfg, made: time.Now(), stop: stop, groups: map[string]*group{}, rolls: map[inbox.Viewer]struct{}{},
		wanted: make(chan struct{}, 1), look: make(chan struct{}, 1), told: make(chan struct{}, 1), due: make(chan struct{}, 1),
		deafen: func() {}}
	for _, run := range []func(context.Context){h.listen, h.check, h.spread, h.roll, h.turnWheel} {
		h.work.Go(func() { run(ctx) })
	}
	return h
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Open implements ports.Streams.
func (h *Hub) Open(viewer inbox.Viewer, lastID string) (ports.Stream, error) {
	s := &stream{hub: h, wake: make(chan struct{}, 1), told: mark{at: time.Now()}, fresh: true}
	if lastID != "" {
		known, by, err := parseMark(lastID)
		if err != nil {
			return nil, err
		}
		if by == whose(viewer) {
			s.told, s.fresh = known, false
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return nil, fault.New(fault.Unavailable, "unavailable", "this process is stopping; open the stream again")
	}
	if h.full(viewer) {
		return nil, fault.New(fault.Unavailable, "unavailable", "there are too many streams")
	}
	h.admit(s, viewer)
	h.cfg.Measures.Opened()
	return s, nil
}

func (h *Hub) full(viewer inbox.Viewer) bool {
	return h.open >= h.cfg.MaxStreams || viewer.Customer == "" && h.unsigned >= max(1, int(unsignedShare*float64(h.cfg.MaxStreams)))
}

// admit makes the stream known before anything is read for it: what happens from here on is heard.
func (h *Hub) admit(s *stream, viewer inbox.Viewer) {
	key := viewer.Key()
	g := h.groups[key]
	if g == nil {
		g = &group{viewer: viewer, name: whose(viewer)}
		h.groups[key] = g
	}
	s.of = g
	if !viewer.Anonymous() {
		if len(g.streams) >= h.cfg.PerViewer {
			h.end(g.streams[0], replaced)
		}
		g.streams = append(g.streams, s)
		h.groups[key] = g // it may have left with its last stream
	}
	s.slot, h.turn = h.turn, (h.turn+1)%slots
	s.place = len(h.wheel[s.slot])
	h.wheel[s.slot] = append(h.wheel[s.slot], s)
	g.size++
	h.open++
	if viewer.Customer == "" {
		h.unsigned++
	}
	h.listenOrNot(time.Now())
	resumes := !s.fresh && viewer.Customer != ""
	if g.checked && !resumes {
		s.ready = true
		s.rouse()
		return
	}
	g.waiting = append(g.waiting, s)
	if resumes {
		g.from(s.told.at)
	}
	h.ask(g)
}

// end takes the stream out. Its goroutine finds out when it looks for words.
func (h *Hub) end(s *stream, why ending) {
	if s.over != open {
		return
	}
	s.over = why
	s.rouse()
	in := h.wheel[s.slot]
	last := in[len(in)-1]
	in[s.place], last.place = last, s.place
	in[len(in)-1] = nil
	h.wheel[s.slot] = in[:len(in)-1]
	g := s.of
	g.drop(s)
	h.open--
	if g.viewer.Customer == "" {
		h.unsigned--
	}
	if g.size == 0 {
		delete(h.groups, g.viewer.Key())
	}
	h.cfg.Measures.Ended(why.String())
}

// StopAccepting ends every stream, and opens no more.
func (h *Hub) StopAccepting() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	for i := range h.wheel {
		for len(h.wheel[i]) > 0 {
			h.end(h.wheel[i][0], drained)
		}
	}
}

// Close is StopAccepting, and ends the hub's goroutines.
func (h *Hub) Close() {
	h.StopAccepting()
	h.stop()
	h.work.Wait()
}

type unmeasured struct{}

func (unmeasured) Opened()          {}
func (unmeasured) Ended(string)     {}
func (unmeasured) Told(string, int) {}
