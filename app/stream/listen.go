package stream

import (
	"context"
	"encoding/json"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

const (
	// listenAgain is how long we wait before we listen again after a failure.
	listenAgain = time.Second
	// listenOn is how long we go on listening with nobody to tell: most clients come back.
	listenOn = time.Minute
)

// listen hears what happens while there is anybody to tell: it costs the database something. Between the first stream
// and the first word nothing is lost, as whoever listens is told when that has begun (missed), and looks.
func (h *Hub) listen(ctx context.Context) {
	for {
		select {
		case <-h.wanted:
		case <-ctx.Done():
			return
		}
		for heard, ok := h.listening(ctx); ok; heard, ok = h.listening(ctx) {
			err := h.cfg.Events.Listen(heard, h.hear, h.missed)
			if heard.Err() != nil {
				continue
			}
			h.cfg.Logger.WarnContext(ctx, "no word of changes; listening again", "error", err)
			pause(heard, listenAgain)
		}
	}
}

// listening is the context to listen under, once more: it ends with the hub, or when there has been nobody to tell. ok is
// false when that is so already.
func (h *Hub) listening(ctx context.Context) (heard context.Context, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deafen() // frees what an earlier one held
	if ctx.Err() != nil || !h.listens {
		return nil, false
	}
	heard, h.deafen = context.WithCancel(ctx)
	return heard, true
}

// listenOrNot begins to listen with the first stream, and ends some time after the last. Called with the lock, now and then.
func (h *Hub) listenOrNot(now time.Time) {
	switch {
	case h.open > 0:
		h.idle = time.Time{}
		if !h.listens {
			h.listens = true
			signal(h.wanted)
		}
	case !h.listens:
	case h.idle.IsZero():
		h.idle = now
	case now.Sub(h.idle) > listenOn:
		h.listens, h.idle = false, time.Time{}
		h.deafen()
	}
}

// hear takes note of what has changed, and wakes whom it concerns. It never waits for a client.
func (h *Hub) hear(events []ports.StreamEvent) {
	for _, e := range events {
		var data struct {
			Own, Global       int64
			Version           string
			Operation, Status string
		}
		// What cannot be read is looked up: the event still says who is to look at what.
		_ = json.Unmarshal(e.Data, &data)
		switch e.Kind {
		case ports.InboxChanged:
			h.hearInbox(e.Viewers, inbox.Version{Own: data.Own, Global: data.Global})
		case ports.PreferencesChanged:
			h.hearPreferences(e.Viewers, data.Version)
		case ports.OperationUpdated:
			h.hearOperation(e.Viewers, ports.OperationStanding{ID: data.Operation, Status: preference.Status(data.Status)})
		}
	}
}

func (h *Hub) hearInbox(viewers []string, v inbox.Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Global > h.global {
		h.global = v.Global
		signal(h.told)
	}
	if len(viewers) == 0 && v.Global == 0 {
		h.askEverybody(false)
		return
	}
	if v.Global > 0 {
		h.globalStale = true
	}
	for _, key := range viewers {
		switch g := h.groups[key]; {
		case g == nil:
		case v.Own > 0 && len(viewers) == 1: // one number cannot be that of several inboxes
			g.own = max(g.own, v.Own)
			g.rouse()
			h.again(g)
		default:
			h.ask(g)
		}
	}
}

func (h *Hub) hearPreferences(viewers []string, tag string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range viewers {
		switch g := h.groups[key]; {
		case g == nil:
		case tag != "" && plain(tag):
			g.tag = tag
			g.hears(ports.PreferencesChanged)
			g.rouse()
		default:
			h.ask(g)
		}
	}
}

func (h *Hub) hearOperation(viewers []string, op ports.OperationStanding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range viewers {
		switch g := h.groups[key]; {
		case g == nil:
		case op.ID != "" && op.Status != "" && plain(op.ID) && plain(string(op.Status)):
			g.hears(op.ID)
			for _, s := range g.streams {
				s.add(op)
			}
			g.rouse()
		default:
			g.from(time.Now())
			h.ask(g)
		}
	}
}

// missed has everybody checked, in portions, since events may have been lost.
func (h *Hub) missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.askEverybody(true)
}

func (h *Hub) askEverybody(operations bool) {
	for _, g := range h.groups {
		for _, s := range g.streams {
			if operations && g.viewer.Customer != "" {
				g.from(s.told.at)
			}
		}
		h.ask(g)
	}
}

// signal leaves one word in a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause is false when the hub has been closed meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
