package stream

import (
	"time"

	"accord/domain/inbox"
)

const (
	// lookAgain is how often what is ahead of a viewer is looked up at most, however often his inbox changes.
	lookAgain = time.Second
	// horizon is how far we look ahead. Whatever is further away, a later check finds: each viewer has many until then.
	horizon = time.Hour
)

// moment is a point in time on a clock that nobody sets: since the hub was made. Zero is never.
type moment time.Duration

func (h *Hub) now() moment { return moment(time.Since(h.made)) }

// clock tells when something is that the database has said: its clock need not be ours.
type clock struct {
	theirs time.Time
	ours   moment // when we had the answer, so that nothing comes to us before it does to the database
}

func (c clock) of(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	until := t.Sub(c.theirs)
	if until > horizon {
		return 0
	}
	return c.ours + moment(max(until, 1))
}

// expect is when the viewer's inbox is to be rolled next; for nobody, what is the same for everybody.
func (h *Hub) expect(viewer inbox.Viewer, due bool, next moment) moment {
	if due {
		h.rollLater(viewer)
		return 0 // it is looked up again after that
	}
	if next != 0 && (h.soonest == 0 || next < h.soonest) {
		h.soonest = next
	}
	return next
}

// again has it looked up what is ahead of a group, because that may have changed. A look that is still to begin finds it.
func (h *Hub) again(g *group) {
	if g.queued || g.stale {
		return
	}
	g.stale = true
	h.stale = append(h.stale, g)
}

// lookAhead is called with each tick: it rolls what is due, and looks up what else is ahead.
func (h *Hub) lookAhead() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.rollDue(now)
	if now-h.looked < moment(lookAgain) || len(h.stale) == 0 && !h.globalStale {
		return
	}
	h.looked = now
	for _, g := range h.stale {
		g.stale = false
		h.ask(g)
	}
	h.stale = nil // or a burst's list would stay for good
	if h.globalStale {
		h.globalStale = false
		h.askAnybody()
	}
}

// rollDue looks at every group, so it waits until one of them may be due.
func (h *Hub) rollDue(now moment) {
	if h.soonest == 0 || h.soonest > now {
		return
	}
	h.soonest = 0
	if h.open == 0 {
		return // whoever comes is looked up
	}
	h.next = h.expect(inbox.Viewer{}, h.next != 0 && h.next <= now, h.next)
	for _, g := range h.groups {
		g.next = h.expect(g.viewer, g.next != 0 && g.next <= now, g.next)
	}
}

// askAnybody looks up what is the same for everybody: each look does.
func (h *Hub) askAnybody() {
	g := h.groups[""]
	if g == nil {
		for _, g = range h.groups {
			break
		}
	}
	if g != nil {
		h.ask(g)
	}
}
