package inbox

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

// snapshot is the globals of one version, with what was made of them so far. Nothing of it depends on the moment: which
// messages show and which links are active stays the same until NextChange, and then there is another version.
type snapshot struct {
	*inbox.Globals
	read      time.Time // this process's clock, before it was read
	aged      bool      // made from an older one without the database, because its time was over
	localized bool      // some message has other languages

	// certain is what Links.CertainSince says, of the targets that were asked for. It is replaced, never changed.
	certain atomic.Pointer[map[inbox.TargetKey]certainty]
	cards   map[inbox.MessageID]*cardSlot

	mu    sync.RWMutex
	pages map[pageKey]*page
}

// certainty says for which messages the links to a target need not be looked at.
type certainty struct {
	since time.Time
	ok    bool
}

// cardSlot has the cards of one message.
type cardSlot struct {
	plain  atomic.Pointer[[]byte] // in its default language
	mu     sync.Mutex
	others map[string][]byte // by locale
}

func newSnapshot(g *inbox.Globals, read time.Time) *snapshot {
	s := &snapshot{Globals: g, read: read, pages: map[pageKey]*page{}, cards: make(map[inbox.MessageID]*cardSlot, len(g.Messages))}
	s.certain.Store(&map[inbox.TargetKey]certainty{})
	for _, m := range g.Messages {
		s.cards[m.ID] = &cardSlot{}
		s.localized = s.localized || len(m.Content.Variants) > 0
	}
	return s
}

// at is the snapshot for a moment: itself, or, when its time is over, without what has ended since. What would begin to
// show meanwhile is not known.
func (s *snapshot) at(now time.Time) *snapshot {
	if s.NextChange.IsZero() || now.Before(s.NextChange) {
		return s
	}
	next := s.Links.NextChange(now)
	shows := make([]*inbox.Message, 0, len(s.Messages))
	for _, m := range s.Messages {
		if m.VisibleAt(now) {
			shows = append(shows, m)
			if next.IsZero() || m.Expiry.Before(next) {
				next = m.Expiry
			}
		}
	}
	aged := newSnapshot(inbox.NewGlobals(s.Version, s.Floor, s.Links, shows, s.Leaving, next), s.read)
	aged.aged = true
	return aged
}

// active says which of the message's links may be handed out.
func (s *snapshot) active(m *inbox.Message, now time.Time) func(string) bool {
	return func(link string) bool { return s.Links.StillActive(link, m.Targets, now) }
}

// allCertain reports whether a card that was encoded with all its links still stands.
func (s *snapshot) allCertain(i *ports.InboxItem, now time.Time) bool {
	for _, key := range i.Targets {
		c, known := (*s.certain.Load())[key]
		if !known {
			c.since, c.ok = s.Links.CertainSince(key, now)
			more := maps.Clone(*s.certain.Load())
			more[key] = c
			s.certain.Store(&more) // what another has added meanwhile is found out again
		}
		if !c.ok || i.Position.Published.Before(c.since) {
			return false
		}
	}
	return true
}

// card of a global message in the reader's language, encoded once.
func (s *snapshot) card(cards ports.Cards, m *inbox.Message, locales []string, now time.Time) []byte {
	slot := s.cards[m.ID]
	if len(m.Content.Variants) > 0 && len(locales) > 0 {
		if _, _, locale := m.Content.In(locales); locale != m.Content.Locale {
			return slot.other(locale, func() []byte { return cards.Card(m, locales, s.active(m, now)) })
		}
	}
	if card := slot.plain.Load(); card != nil {
		return *card
	}
	card := cards.Card(m, nil, s.active(m, now))
	slot.plain.Store(&card)
	return card
}

func (c *cardSlot) other(locale string, encode func() []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	card, known := c.others[locale]
	if !known {
		if c.others == nil {
			c.others = map[string][]byte{}
		}
		card = encode()
		c.others[locale] = card
	}
	return card
}

// isLeaving reports whether a message to many is retracted though copies are still there.
func (s *snapshot) isLeaving(id inbox.MessageID) bool { return slices.Contains(s.Leaving, id) }

// pageKey names a first page for somebody who has done nothing yet.
type pageKey struct {
	view                inbox.View
	categories, locales string
	limit               int
}

// page is what all who ask for it get. tags are for a fresh and for a stale one.
type page struct {
	messages []ports.FeedEntry
	next     string
	tags     [2]string
}

// maxPages bounds the pages that are kept: there are as many as ways to ask.
const maxPages = 256

func (s *snapshot) keyOf(q ports.FeedQuery) pageKey {
	key := pageKey{view: q.Filter.View, categories: strings.Join(q.Filter.Categories, "\x00"), limit: q.Limit}
	if s.localized {
		key.locales = strings.Join(q.Locales, "\x00")
	}
	return key
}

func (s *snapshot) page(key pageKey, build func() *page) *page {
	s.mu.RLock()
	p := s.pages[key]
	s.mu.RUnlock()
	if p != nil {
		return p
	}
	p = build()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pages) < maxPages {
		s.pages[key] = p
	}
	return p
}
