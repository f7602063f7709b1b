package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

// Feed implements ports.Inbox.
func (s *Service) Feed(ctx context.Context, q ports.FeedQuery) (ports.FeedPage, error) {
	return s.feed(ctx, q, s.readFresh)
}

type reader func(context.Context, inbox.Viewer, *ports.PageQuery) (reading, error)

func (s *Service) feed(ctx context.Context, q ports.FeedQuery, read reader) (ports.FeedPage, error) {
	var after *inbox.Position
	if q.Cursor != "" {
		p, err := inbox.ParseCursor(q.Viewer, q.Filter, q.Cursor)
		if err != nil {
			return ports.FeedPage{}, err
		}
		after = &p
	}
	if q.Viewer.Anonymous() {
		return s.globalFeed(ctx, q, after)
	}
	if len(q.Held) > 0 {
		r, err := read(ctx, q.Viewer, nil)
		if err != nil {
			return ports.FeedPage{}, err
		}
		if state := s.tagged(q, r); slices.Contains(q.Held, state.Tag) {
			return ports.FeedPage{InboxState: state, Unchanged: true}, nil
		}
		read = s.read // whatever was due has been done
	}
	// One more than asked for tells whether there is another page.
	r, err := read(ctx, q.Viewer, &ports.PageQuery{Filter: q.Filter, After: after, Limit: q.Limit + 1, Format: s.cfg.Cards.Format()})
	if err != nil {
		return ports.FeedPage{}, err
	}
	out := ports.FeedPage{InboxState: s.tagged(q, r)}
	global := r.snap.After(after, q.Filter, r.Receipts, q.Limit+1)
	out.Messages, out.Next, err = s.merge(ctx, q, r, global)
	return out, err
}

func (s *Service) tagged(q ports.FeedQuery, r reading) ports.InboxState {
	state := s.state(q.Viewer, r.InboxHead, r.snap)
	state.Tag = s.tag(q, state.Version, state.Freshness.Stale, r.snap)
	return state
}

// globalFeed is the feed without receipts. Its first page is made once for all who ask alike.
func (s *Service) globalFeed(ctx context.Context, q ports.FeedQuery, after *inbox.Position) (ports.FeedPage, error) {
	g, err := s.public(ctx)
	if err != nil {
		return ports.FeedPage{}, err
	}
	var p *page
	if after == nil {
		p = g.snap.page(g.snap.keyOf(q), func() *page { return s.globalPage(q, nil, g) })
	} else {
		p = s.globalPage(q, after, g)
	}
	state := g.state
	state.Tag = p.tags[0]
	if state.Freshness.Stale {
		state.Tag = p.tags[1]
	}
	if slices.Contains(q.Held, state.Tag) {
		return ports.FeedPage{InboxState: state, Unchanged: true}, nil
	}
	return ports.FeedPage{InboxState: state, Messages: p.messages, Next: p.next}, nil
}

func (s *Service) globalPage(q ports.FeedQuery, after *inbox.Position, g public) *page {
	snap := g.snap
	found := snap.After(after, q.Filter, nil, q.Limit+1)
	p := &page{messages: make([]ports.FeedEntry, 0, min(q.Limit, len(found)))}
	for _, m := range found[:min(q.Limit, len(found))] {
		p.messages = append(p.messages, ports.FeedEntry{ID: m.ID, Card: snap.card(s.cfg.Cards, m, q.Locales, g.now)})
	}
	if len(found) > q.Limit {
		p.next = inbox.Cursor(q.Viewer, q.Filter, found[q.Limit-1].Position())
	}
	p.tags = [2]string{s.tag(q, g.state.Version, false, snap), s.tag(q, g.state.Version, true, snap)}
	return p
}

// merge makes one page of two lists that are in the order of a feed, each with one more than the page takes.
func (s *Service) merge(ctx context.Context, q ports.FeedQuery, r reading, global []*inbox.Message) ([]ports.FeedEntry, string, error) {
	own, now := r.Items, r.Now
	out := make([]ports.FeedEntry, 0, min(q.Limit, len(own)+len(global)))
	encode := encoder{s: s, snap: r.snap, now: now, locales: q.Locales}
	var last inbox.Position
	for len(out) < q.Limit && len(own)+len(global) > 0 {
		if len(global) == 0 || len(own) > 0 && own[0].Position.Compare(global[0].Position()) < 0 {
			last = own[0].Position
			out = append(out, encode.item(&own[0], len(out)))
			own = own[1:]
			continue
		}
		m := global[0]
		last = m.Position()
		out = append(out, ports.FeedEntry{ID: m.ID, Card: r.snap.card(s.cfg.Cards, m, q.Locales, now), Receipt: r.Receipts.Of(m.ID)})
		global = global[1:]
	}
	next := ""
	if len(own)+len(global) > 0 {
		next = inbox.Cursor(q.Viewer, q.Filter, last)
	}
	out, err := encode.rest(ctx, out)
	return out, next, err
}

// encoder finds the cards of the inbox's own items: those that are stored, and for the others the messages, all at once.
type encoder struct {
	s       *Service
	snap    *snapshot
	now     time.Time
	locales []string
	missing []int // entries without a card
}

// item is the entry that goes to a place of the list.
func (e *encoder) item(i *ports.InboxItem, place int) ports.FeedEntry {
	card := i.Card
	// A stored card is in the default language and has all its links.
	if card == nil || i.Localized && len(e.locales) > 0 || !e.snap.allCertain(i, e.now) {
		card = nil
		e.missing = append(e.missing, place)
	}
	return ports.FeedEntry{ID: i.Position.ID, Card: card, Receipt: i.Receipt}
}

// rest fills in what has no card yet. A message that was cleaned up in the meantime is left out.
func (e *encoder) rest(ctx context.Context, entries []ports.FeedEntry) ([]ports.FeedEntry, error) {
	if len(e.missing) == 0 {
		return entries, nil
	}
	ids := make([]inbox.MessageID, len(e.missing))
	for i, place := range e.missing {
		ids[i] = entries[place].ID
	}
	messages, err := e.s.cfg.Messages.Messages(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, place := range e.missing {
		if m := messages[entries[place].ID]; m != nil {
			entries[place].Card = e.s.cfg.Cards.Card(m, e.locales, e.snap.active(m, e.now))
		}
	}
	return slices.DeleteFunc(entries, func(f ports.FeedEntry) bool { return f.Card == nil }), nil
}

// Counts implements ports.Inbox.
func (s *Service) Counts(ctx context.Context, viewer inbox.Viewer) (ports.InboxState, error) {
	q := ports.FeedQuery{Viewer: viewer}
	if viewer.Anonymous() {
		g, err := s.public(ctx)
		if err == nil {
			g.state.Tag = s.tag(q, g.state.Version, g.state.Freshness.Stale, g.snap)
		}
		return g.state, err
	}
	r, err := s.readFresh(ctx, viewer, nil)
	if err != nil {
		return ports.InboxState{}, err
	}
	return s.tagged(q, r), nil
}

// tag names an answer: all that it depends on but for the times of its freshness. Who it is for is in it too, so that the
// tag of one viewer's page, left behind in a client, is never taken for another's.
func (s *Service) tag(q ports.FeedQuery, v inbox.Version, stale bool, snap *snapshot) string {
	b := make([]byte, 0, 512)
	part := func(text string) { b = append(append(b, text...), 0) }
	part(q.Viewer.Key())
	part(string(q.Filter.View))
	part(q.Cursor)
	for _, c := range q.Filter.Categories {
		part(c)
	}
	b = append(b, 1)
	if snap.localized || !q.Viewer.Anonymous() { // to an anonymous reader all languages are the same when there is only one
		for _, l := range q.Locales {
			part(l)
		}
	}
	b = append(b, 1)
	b = strconv.AppendInt(b, int64(q.Limit), 10)
	b = strconv.AppendInt(append(b, ' '), int64(s.cfg.Cards.Format()), 10)
	if stale {
		b = append(b, " stale"...)
	}
	if snap.aged {
		b = strconv.AppendInt(append(b, ' '), snap.NextChange.UnixMicro(), 10)
	}
	sum := sha256.Sum256(b)
	out := make([]byte, 0, 64)
	out = strconv.AppendInt(out, v.Own, 10)
	out = strconv.AppendInt(append(out, '.'), v.Global, 10)
	out = base64.RawURLEncoding.AppendEncode(append(out, '-'), sum[:12])
	return string(out)
}
