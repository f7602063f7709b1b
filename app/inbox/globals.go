package inbox

import (
	"context"
	"sync/atomic"
	"time"

	"accord/domain/fault"
	"accord/ports"
)

// globals keeps the latest snapshot, and knows how far behind it may be. There are two ways to it: a reader of an inbox has
// learnt the version that its answer needs, in the same statement, and takes atLeast that one; an anonymous reader takes the
// current one, which costs the database one small statement per GlobalAge, however many readers there are.
type globals struct {
	source ports.Globals
	now    func() time.Time
	limits Limits
	tasks  *tasks

	snap  atomic.Pointer[snapshot]
	head  atomic.Pointer[head]
	era   atomic.Int64 // heads asked for in an earlier one are not current
	loads flight[*snapshot]
	heads flight[*head]
	// overdue is when a load for a change by time alone did not make one, which only clocks that differ do.
	overdue atomic.Int64
}

// head is what the database said about the globals last.
type head struct {
	ports.GlobalHead
	era       int64
	asked     time.Time // this process's clock, before it was asked
	confirmed time.Time // when it was asked the last time that it answered
	failed    bool      // it did not answer: GlobalHead is what it said before
}

// clock is the database's.
func (h *head) clock(now time.Time) time.Time {
	if h.Now.IsZero() {
		return now
	}
	return h.Now.Add(now.Sub(h.confirmed))
}

const (
	loadTimeout = 10 * time.Second
	// attempts at an answer that is of one version, before we give up: each takes that somebody changes something in the
	// milliseconds between.
	attempts = 8
)

// changed is called after this process has changed something global: whoever reads next asks the database first. The
// snapshot is already on its way then.
func (g *globals) changed(ctx context.Context) {
	g.forget()
	g.startLoad(ctx)
}

// forget makes whoever reads next ask the database what it has to say about the globals.
func (g *globals) forget() { g.era.Add(1) }

func (g *globals) startLoad(ctx context.Context) *call[*snapshot] {
	return g.loads.join(ctx, g.tasks, loadTimeout, g.now(), g.read)
}

// load reads the globals anew.
func (g *globals) load(ctx context.Context) (*snapshot, error) { return g.startLoad(ctx).wait(ctx) }

func (g *globals) read(ctx context.Context) (*snapshot, error) {
	began := g.now()
	found, err := g.source.Globals(ctx)
	if err != nil {
		return nil, err
	}
	fresh := newSnapshot(found, began)
	for {
		old := g.snap.Load()
		if old != nil && old.Version > fresh.Version {
			return old, nil
		}
		if g.snap.CompareAndSwap(old, fresh) {
			return fresh, nil
		}
	}
}

// latest is whichever snapshot there is, or the first one.
func (g *globals) latest(ctx context.Context) (*snapshot, error) {
	if s := g.snap.Load(); s != nil {
		return s, nil
	}
	return g.load(ctx)
}

// atLeast is a snapshot that is not older than a version that the database has answered. A load that was under way before
// may still be older, so it is looked at again.
func (g *globals) atLeast(ctx context.Context, version int64) (*snapshot, error) {
	for range attempts {
		if s := g.snap.Load(); s != nil && s.Version >= version {
			return s, nil
		}
		if _, err := g.load(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errUnavailable()
}

// fitting is the snapshot for an answer of the database: not older, and without what is due by time alone.
func (g *globals) fitting(ctx context.Context, version int64, due bool) (*snapshot, error) {
	if due {
		if err := g.roll(ctx); err != nil {
			return nil, err
		}
	}
	return g.atLeast(ctx, version)
}

// roll loads because time has changed something. When that makes no difference, it is not tried again at once.
func (g *globals) roll(ctx context.Context) error {
	now := g.now()
	if now.UnixNano() < g.overdue.Load() {
		return nil
	}
	before := g.snap.Load()
	after, err := g.load(ctx)
	if err != nil {
		return err
	}
	if before != nil && after.Version == before.Version {
		g.overdue.Store(now.Add(time.Second).UnixNano())
	}
	g.forget()
	return nil
}

// current is the snapshot for somebody who has read nothing yet, and what the database said. While it does not answer,
// that is the last one, as old as head.confirmed says, without what has ended since.
func (g *globals) current(ctx context.Context) (*snapshot, *head, error) {
	h := g.head.Load()
	if h == nil || !g.isCurrent(h) {
		var err error
		if h, err = g.ask(ctx); err != nil {
			return nil, nil, err
		}
	}
	if !h.failed {
		s, err := g.fitting(ctx, h.Version, h.Due)
		if err == nil {
			return s, h, nil
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
	}
	s := g.snap.Load()
	if s == nil {
		return nil, nil, errUnavailable()
	}
	if aged := s.at(h.clock(g.now())); aged != s {
		g.snap.CompareAndSwap(s, aged)
		s = aged
	}
	return s, h.about(s), nil
}

// about is the head for a snapshot that could not be brought up to date: confirmed as long as nothing newer was known.
func (h *head) about(s *snapshot) *head {
	if h.Version <= s.Version && !h.confirmed.Before(s.read) {
		return h
	}
	out := *h
	out.confirmed, out.Now = s.read, h.clock(s.read)
	return &out
}

func (g *globals) isCurrent(h *head) bool {
	age := g.limits.GlobalAge
	if h.failed {
		age = g.limits.GlobalRetry
	}
	return h.era == g.era.Load() && g.now().Sub(h.asked) < age
}

// ask waits for the database; once there is something to answer with, not for long.
func (g *globals) ask(ctx context.Context) (*head, error) {
	for era := g.era.Load(); ; {
		c := g.heads.join(ctx, g.tasks, loadTimeout, g.now(), g.askHead)
		h, err := g.answer(ctx, c)
		if err != nil || h.era >= era {
			return h, err
		}
	}
}

func (g *globals) answer(ctx context.Context, c *call[*head]) (*head, error) {
	if g.snap.Load() == nil {
		return c.wait(ctx)
	}
	if h, ok := c.waitFor(ctx, g.limits.GlobalTimeout); ok {
		return h, nil
	}
	h := g.head.Load().again(g.now(), g.era.Load())
	g.head.Store(h) // so that nobody else waits for as long
	return h, ctx.Err()
}

// again is a head that says what was known before, because the database does not answer.
func (h *head) again(asked time.Time, era int64) *head {
	out := head{failed: true, asked: asked, era: era}
	if h != nil {
		out.GlobalHead, out.confirmed = h.GlobalHead, h.confirmed
	}
	return &out
}

func (g *globals) askHead(ctx context.Context) (*head, error) {
	h := &head{era: g.era.Load(), asked: g.now()}
	var err error
	if h.GlobalHead, err = g.source.GlobalHead(ctx); err != nil {
		if fault.KindOf(err) != fault.Unavailable && ctx.Err() == nil {
			return nil, err
		}
		h = g.head.Load().again(h.asked, h.era)
	} else {
		h.confirmed = h.asked
	}
	g.head.Store(h)
	return h, nil
}
