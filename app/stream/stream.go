package stream

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

// stream is one connection. All but the first three are guarded by the hub's lock.
type stream struct {
	hub  *Hub
	of   *group
	wake chan struct{} // holds one: look whether there is something

	told  mark
	fresh bool // nothing was told yet
	ready bool // where the viewer stands is known
	beat  bool // a sign of life is due
	over  ending

	operations []ports.OperationStanding // to be told, one of a kind, the oldest first
	given      time.Time                 // when Next handed out what its caller is still busy with; zero for nothing

	slot, place int // in the wheel
}

// ending is why a stream is over.
type ending uint8

const (
	open ending = iota
	closed
	drained
	replaced
	slow
)

func (e ending) String() string {
	return [...]string{"open", "closed", "drained", "replaced", "slow"}[e]
}

// rouse never blocks: one who is to look already need not be told twice.
func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next implements ports.Stream.
func (s *stream) Next(ctx context.Context) ([]ports.Word, bool) {
	for {
		n, ok := s.look()
		if !ok {
			return nil, false
		}
		if n.some() {
			words := n.words(s.of.name)
			s.hub.measure(words)
			return words, true
		}
		if n.beat {
			return nil, true
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// look takes what there is to tell.
func (s *stream) look() (news, bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.given = time.Time{}
	if s.over != open {
		return news{}, false
	}
	n := news{from: s.told, to: s.told, beat: s.beat}
	s.beat = false
	if s.ready {
		n.to.version = inbox.Version{Own: s.of.own, Global: h.global}
		n.to.tag = s.of.tag
		n.inbox = s.fresh || n.to.version != n.from.version
		n.preferences = s.of.viewer.Customer != "" && (s.fresh || n.to.tag != n.from.tag)
		n.operations, s.operations = s.operations, nil
	}
	if n.some() {
		n.to.at = time.Now()
		s.told, s.fresh = n.to, false
	}
	if n.some() || n.beat {
		s.given = time.Now()
	}
	return n, true
}

// Retry implements ports.Stream. Clients of a process that stops must not all come back at once; a client that holds
// more streams than it may would otherwise take turns with itself for ever.
func (s *stream) Retry() time.Duration {
	s.hub.mu.Lock()
	why := s.over
	s.hub.mu.Unlock()
	switch why {
	case drained:
		return between(time.Second, 5*time.Second)
	case replaced:
		return between(time.Minute, 2*time.Minute)
	case slow:
		return between(5*time.Second, 10*time.Second)
	case open, closed:
	}
	return between(2*time.Second, 4*time.Second)
}

func between(from, to time.Duration) time.Duration {
	return from + rand.N(to-from) //nolint:gosec // spreads clients over time; need not be unguessable
}

// Slow implements ports.Stream.
func (s *stream) Slow() { s.leave(slow) }

// Close implements ports.Stream.
func (s *stream) Close() { s.leave(closed) }

func (s *stream) leave(why ending) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(s, why)
}

// add has an operation told. Of each the last status counts, and of too many the last ones.
func (s *stream) add(op ports.OperationStanding) {
	s.operations = slices.DeleteFunc(s.operations, func(o ports.OperationStanding) bool { return o.ID == op.ID })
	if len(s.operations) == ports.MaxStandingOperations {
		s.operations = slices.Delete(s.operations, 0, 1)
	}
	s.operations = append(s.operations, op)
}

// news is what one look found: the stream's mark before and after, and what there is to say.
type news struct {
	from, to           mark
	inbox, preferences bool
	operations         []ports.OperationStanding
	beat               bool
}

func (n news) some() bool { return n.inbox || n.preferences || len(n.operations) > 0 }

// words puts it into words, each with the mark up to which the client has been told when it has it.
func (n news) words(viewer string) []ports.Word {
	at := n.from
	var out []ports.Word
	say := func(kind string, data []byte) {
		out = append(out, ports.Word{ID: at.id(viewer), Kind: kind, Data: data})
	}
	if n.inbox {
		at.version = n.to.version
		say(ports.InboxChanged, object("version", at.version.String()))
	}
	if n.preferences {
		at.tag = n.to.tag
		say(ports.PreferencesChanged, object("version", at.tag))
	}
	for _, op := range n.operations {
		say(ports.OperationUpdated, object("operation", op.ID, "status", string(op.Status)))
	}
	out[len(out)-1].ID = n.to.id(viewer)
	return out
}

// object is a JSON object of strings that are plain.
func object(pairs ...string) []byte {
	b := make([]byte, 0, 96)
	for i, p := range pairs {
		switch {
		case i == 0:
			b = append(b, '{')
		case i%2 == 0:
			b = append(b, ',')
		default:
			b = append(b, ':')
		}
		b = strconv.AppendQuote(b, p)
	}
	return append(b, '}')
}

func (h *Hub) measure(words []ports.Word) {
	for i := 0; i < len(words); {
		n := i
		for n < len(words) && words[n].Kind == words[i].Kind {
			n++
		}
		h.cfg.Measures.Told(words[i].Kind, n-i)
		i = n
	}
}
