package metrics

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Bounds of what a process keeps in mind. What does not fit costs a little more, and nothing is counted twice for it:
// the store knows who was there already.
const (
	shards       = 16
	maxNoted     = 16_384 // viewers that each shard knows to be stored or waiting; then it starts over
	maxWaiting   = 50_000 // viewers who wait to be stored; whoever comes then is noted with the next request
	presentBatch = 1000
	flushEvery   = time.Second
)

// presence notes who is there, and stores it behind the requests: once for a viewer and day, many at once.
type presence struct {
	store func(context.Context, []ports.Presence) error
	now   func() time.Time
	log   *slog.Logger
	seed  maphash.Seed
	noted [shards]noted

	mu      sync.Mutex
	waiting []ports.Presence
	full    chan struct{} // a batch waits

	flushing chan struct{} // held by who stores: one at a time, so that flush answers when everything noted before is stored
	closed   atomic.Bool
	stop     context.CancelFunc
	done     chan struct{}
	failing  atomic.Bool
}

type noted struct {
	mu      sync.Mutex
	day     int64
	viewers map[inbox.Viewer]struct{}
}

func newPresence(store func(context.Context, []ports.Presence) error, now func() time.Time, log *slog.Logger) *presence {
	ctx, stop := context.WithCancel(context.Background())
	p := &presence{store: store, now: now, log: log, seed: maphash.MakeSeed(), full: make(chan struct{}, 1), flushing: make(chan struct{}, 1),
		stop: stop, done: make(chan struct{})}
	go p.run(ctx)
	return p
}

const secondsOfDay = 24 * 60 * 60

// Present implements ports.Metrics.
func (s *Service) Present(viewer inbox.Viewer) { s.presence.note(viewer) }

func (p *presence) note(viewer inbox.Viewer) {
	if viewer.Anonymous() || p.closed.Load() {
		return
	}
	day := p.now().Unix() / secondsOfDay
	n := &p.noted[maphash.Comparable(p.seed, viewer)%shards]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.day != day || len(n.viewers) >= maxNoted {
		n.day, n.viewers = day, map[inbox.Viewer]struct{}{}
	}
	if _, known := n.viewers[viewer]; known {
		return
	}
	// The ids may be parts of a whole request, which must not be kept for a day.
	viewer.Customer = preference.CustomerID(strings.Clone(string(viewer.Customer)))
	viewer.Installation = inbox.InstallationID(strings.Clone(string(viewer.Installation)))
	if p.wait(ports.Presence{Day: time.Unix(day*secondsOfDay, 0).UTC(), Viewer: viewer}) {
		n.viewers[viewer] = struct{}{}
	}
}

// wait puts a viewer into the queue; false when it is full.
func (p *presence) wait(who ports.Presence) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= maxWaiting {
		return false
	}
	if p.waiting = append(p.waiting, who); len(p.waiting) == presentBatch {
		select {
		case p.full <- struct{}{}:
		default:
		}
	}
	return true
}

func (p *presence) run(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.full:
		}
		p.report(ctx, p.flush(ctx))
	}
}

// report tells when storing begins to fail and when it works again, not each time.
func (p *presence) report(ctx context.Context, err error) {
	switch failed := err != nil; {
	case ctx.Err() != nil || p.failing.Swap(failed) == failed:
	case failed:
		p.log.WarnContext(ctx, "who is there could not be stored; it is kept and tried again", "error", err)
	default:
		p.log.InfoContext(ctx, "who is there is stored again")
	}
}

// flush stores everybody who waits. On failure they go on waiting.
func (p *presence) flush(ctx context.Context) error {
	select {
	case p.flushing <- struct{}{}:
		defer func() { <-p.flushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		batch := p.take()
		if len(batch) == 0 {
			return nil
		}
		if err := p.store(ctx, batch); err != nil {
			p.putBack(batch)
			return err
		}
	}
}

func (p *presence) take() []ports.Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(p.waiting), presentBatch)
	batch := p.waiting[:n:n]
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil // the array that is handed out is not written to again
	}
	return batch
}

func (p *presence) putBack(batch []ports.Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(batch, p.waiting...)
}

func (p *presence) close(ctx context.Context) error {
	p.closed.Store(true)
	p.stop()
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.flush(ctx)
}
