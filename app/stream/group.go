package stream

import (
	"slices"
	"time"

	"accord/ports"
)

// settling is how much later than its own time an operation may be heard of: clocks differ, and a transaction takes a
// while to end. What was settled in this time is told again to whoever resumes; that is harmless.
const settling = time.Minute

// from asks for operations since a client's mark.
func (g *group) from(at time.Time) {
	at = at.Add(-settling)
	if g.since.IsZero() || at.Before(g.since) {
		g.since = at
	}
}

// drop forgets a stream.
func (g *group) drop(s *stream) {
	same := func(o *stream) bool { return o == s }
	g.streams = slices.DeleteFunc(g.streams, same)
	g.size--
}

// rouse has all streams look.
func (g *group) rouse() {
	for _, s := range g.streams {
		s.rouse()
	}
}

// hears takes note of something that a check under way may not know of yet.
func (g *group) hears(what string) {
	if g.asking {
		g.heard = append(g.heard, what)
	}
}

// learn takes over where the viewer stands. Word that came meanwhile is newer.
func (g *group) learn(s ports.Standing) {
	g.own, g.checked = max(g.own, s.Own), true
	if !slices.Contains(g.heard, ports.PreferencesChanged) {
		g.tag = s.Tag
	}
	for _, op := range s.Operations {
		if slices.Contains(g.heard, op.ID) {
			continue
		}
		for _, to := range g.streams {
			to.add(op)
		}
	}
	g.asking, g.heard = false, nil
}
