package stream

import (
	"context"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

const (
	// checkBatch viewers are looked up in one round trip.
	checkBatch = 500
	// checkAgain is how long we wait after a failure: the database is down, or has too much to do.
	checkAgain = time.Second
	// rollAfter bounds how long bringing one inbox up to date may take.
	rollAfter = 5 * time.Second
)

// ask puts a viewer on the list of those to be checked.
func (h *Hub) ask(g *group) {
	if g.queued {
		return
	}
	g.queued = true
	h.unheard = append(h.unheard, g)
	signal(h.look)
}

// check looks up where viewers stand: those with new streams, and those of whom we may have missed something.
func (h *Hub) check(ctx context.Context) {
	for {
		select {
		case <-h.look:
		case <-ctx.Done():
			return
		}
		for batch := h.batch(); len(batch.asked) > 0; batch = h.batch() {
			global, found, err := h.cfg.Standings.Standings(ctx, batch.asked)
			if err == nil {
				h.settle(batch, global, found)
				continue
			}
			if ctx.Err() != nil {
				return
			}
			h.cfg.Logger.WarnContext(ctx, "streams not checked; trying again", "viewers", len(batch.asked), "error", err)
			h.putBack(batch)
			if !pause(ctx, checkAgain) {
				return
			}
		}
	}
}

// checking is one batch: what is asked, of whom, and who waits for the answer.
type checking struct {
	asked   []ports.StandingQuery
	groups  []*group
	waiting [][]*stream
}

func (h *Hub) batch() (c checking) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for ; n < len(h.unheard) && len(c.asked) < checkBatch; n++ {
		g := h.unheard[n]
		h.unheard[n] = nil
		g.queued = false
		if g.size == 0 {
			continue // all have left
		}
		c.asked = append(c.asked, ports.StandingQuery{Viewer: g.viewer, Operations: g.since})
		c.groups, c.waiting = append(c.groups, g), append(c.waiting, g.waiting)
		g.waiting, g.since, g.asking = nil, time.Time{}, true
	}
	if h.unheard = h.unheard[n:]; len(h.unheard) == 0 {
		h.unheard = nil // or a burst's list would stay for good
	}
	return c
}

// putBack asks again for what a batch has asked.
func (h *Hub) putBack(c checking) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, g := range c.groups {
		g.waiting = append(g.waiting, c.waiting[i]...)
		if since := c.asked[i].Operations; !since.IsZero() && (g.since.IsZero() || since.Before(g.since)) {
			g.since = since
		}
		g.asking, g.heard = false, nil
		h.ask(g)
	}
}

// settle takes over the answers and wakes those whom they concern.
func (h *Hub) settle(c checking, global ports.GlobalStanding, found []ports.Standing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if global.Version > h.global {
		h.global = global.Version
		signal(h.told)
	}
	answered := clock{theirs: global.Now, ours: h.now()}
	h.next = h.expect(inbox.Viewer{}, global.Due, answered.of(global.NextChange))
	for i, g := range c.groups {
		g.learn(found[i])
		g.next = h.expect(g.viewer, found[i].Due, answered.of(found[i].NextChange))
		for _, s := range c.waiting[i] {
			s.ready = true
			s.rouse()
		}
		g.rouse()
	}
}

func (h *Hub) rollLater(viewer inbox.Viewer) {
	h.rolls[viewer] = struct{}{}
	signal(h.due)
}

// roll brings inboxes up to date that time has changed: nobody else does until somebody reads them, and a connected
// client reads when it is told to.
func (h *Hub) roll(ctx context.Context) {
	for {
		select {
		case <-h.due:
		case <-ctx.Done():
			return
		}
		for viewer, some := h.nextRoll(); some && ctx.Err() == nil; viewer, some = h.nextRoll() {
			state, err := h.rolled(ctx, viewer)
			h.takeRolled(viewer, state, err == nil)
		}
	}
}

// takeRolled takes over what came of a roll. What is ahead now, or is still due, the next look tells.
func (h *Hub) takeRolled(viewer inbox.Viewer, state ports.InboxState, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok && state.Version.Global > h.global {
		h.global = state.Version.Global
		signal(h.told)
	}
	if viewer.Anonymous() {
		h.globalStale = true
		return
	}
	if g := h.groups[viewer.Key()]; g != nil {
		if ok {
			g.own = max(g.own, state.Version.Own)
			g.rouse()
		}
		h.again(g)
	}
}

func (h *Hub) rolled(ctx context.Context, viewer inbox.Viewer) (ports.InboxState, error) {
	ctx, cancel := context.WithTimeout(ctx, rollAfter)
	defer cancel()
	return h.cfg.Inbox.Counts(ctx, viewer)
}

func (h *Hub) nextRoll() (inbox.Viewer, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for viewer := range h.rolls {
		delete(h.rolls, viewer)
		return viewer, true
	}
	return inbox.Viewer{}, false
}
