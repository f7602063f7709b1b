package stream

import (
	"context"
	"time"
)

const (
	// checkEvery so many turns of the wheel each viewer is checked, told or not: word may get lost.
	checkEvery = 2
	// portion streams are woken by one change for everybody, then there is a pace: whoever is told comes back for the
	// news, and ten thousand of them in one millisecond would cost memory and everybody's time.
	portion = 256
	pace    = 5 * time.Millisecond
)

// turnWheel goes round all streams once per heartbeat, a slot at a time: one ticker serves them all.
func (h *Hub) turnWheel(ctx context.Context) {
	tick := time.NewTicker(h.cfg.Heartbeat / slots)
	defer tick.Stop()
	for at := 0; ; at = (at + 1) % (slots * checkEvery) {
		select {
		case <-tick.C:
			h.visit(at%slots, at < slots)
			h.lookAhead()
		case <-ctx.Done():
			return
		}
	}
}

// visit has the streams in a slot show that they are alive, and drops those whose clients are not.
func (h *Hub) visit(slot int, check bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listenOrNot(now)
	if g := h.groups[""]; check && slot == 0 && g != nil {
		h.ask(g) // once for all anonymous viewers
	}
	for i := len(h.wheel[slot]) - 1; i >= 0; i-- { // backwards: what ends is replaced by the last
		s := h.wheel[slot][i]
		if !s.given.IsZero() && now.Sub(s.given) > h.cfg.Patience {
			h.end(s, slow)
			continue
		}
		if check && !s.of.viewer.Anonymous() {
			h.ask(s.of)
		}
		s.beat = true
		s.rouse()
	}
}

// spread tells everybody of a change that concerns everybody.
func (h *Hub) spread(ctx context.Context) {
	for {
		select {
		case <-h.told:
		case <-ctx.Done():
			return
		}
		woken := 0
		for slot := range slots {
			if woken += h.wakeSlot(slot); woken < portion {
				continue
			}
			woken = 0
			if !pause(ctx, pace) {
				return
			}
		}
	}
}

// wakeSlot wakes those in a slot who have not heard the latest, and says how many they are.
func (h *Hub) wakeSlot(slot int) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.wheel[slot] {
		if s.ready && s.told.version.Global != h.global {
			s.rouse()
			n++
		}
	}
	return n
}
