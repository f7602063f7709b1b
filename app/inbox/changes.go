package inbox

import (
	"context"
	"slices"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// maxChanges is how many of an inbox's own changes are answered at once.
const maxChanges = 200

func errTooOld() error {
	return fault.New(fault.Gone, "version-too-old", "what has changed since is not known any more; read the feed again")
}

// Changes implements ports.Inbox.
func (s *Service) Changes(ctx context.Context, viewer inbox.Viewer, since inbox.Version, locales []string) (ports.InboxChanges, error) {
	g, err := s.public(ctx)
	if err != nil {
		return ports.InboxChanges{}, err
	}
	if viewer.Anonymous() {
		return s.globalChanges(ctx, since, locales, g)
	}
	snap := g.snap
	for range attempts {
		if since.Global < snap.Floor {
			return ports.InboxChanges{}, errTooOld()
		}
		// Asked for after the snapshot was read, so nothing that the snapshot has is missing from it.
		concerned, err := s.concerned(ctx, since.Global, snap)
		if err != nil {
			return ports.InboxChanges{}, err
		}
		got, err := s.cfg.Inboxes.ReadChanges(ctx, viewer, since.Own, concerned, s.cfg.Cards.Format(), maxChanges)
		if err != nil {
			return ports.InboxChanges{}, err
		}
		if got.Version.Global <= snap.Version {
			return s.changes(ctx, changed{viewer: viewer, since: since, locales: locales, snap: snap, concerned: concerned, read: got})
		}
		if snap, err = s.globals.atLeast(ctx, got.Version.Global); err != nil {
			return ports.InboxChanges{}, err
		}
	}
	return ports.InboxChanges{}, errUnavailable()
}

// concerned is what was different with the globals, with every target whose links may lead elsewhere because of it.
func (s *Service) concerned(ctx context.Context, since int64, snap *snapshot) (ports.Concerned, error) {
	if since >= snap.Version {
		return ports.Concerned{}, nil
	}
	c, err := s.cfg.Globals.GlobalChanges(ctx, since)
	if err != nil {
		return c, err
	}
	var targets []inbox.TargetKey
	for _, key := range c.Targets {
		targets = append(targets, snap.Links.Related(key)...)
	}
	slices.Sort(targets)
	c.Targets = slices.Compact(targets)
	return c, nil
}

// globalChanges is for somebody without an inbox.
func (s *Service) globalChanges(ctx context.Context, since inbox.Version, locales []string, g public) (ports.InboxChanges, error) {
	if since.Global > g.snap.Version { // another process may have told it a moment ago
		s.globals.forget()
		var err error
		if g, err = s.public(ctx); err != nil {
			return ports.InboxChanges{}, err
		}
	}
	if since.Own != 0 || since.Global < g.snap.Floor || since.Global > g.snap.Version {
		return ports.InboxChanges{}, errTooOld()
	}
	concerned, err := s.concerned(ctx, since.Global, g.snap)
	if err != nil {
		return ports.InboxChanges{}, err
	}
	list := newList(s, g.snap, g.now, locales)
	if err := list.global(ctx, concerned, nil); err != nil {
		return ports.InboxChanges{}, err
	}
	return list.answer(ctx, ports.InboxChanges{InboxState: g.state})
}

// changed is all that an answer is made of.
type changed struct {
	viewer    inbox.Viewer
	since     inbox.Version
	locales   []string
	snap      *snapshot
	concerned ports.Concerned
	read      ports.InboxChangesRead
}

// changes answers the inbox's own first. Only who has all of them gets the global ones too, so that no part is left behind
// when there is more.
func (s *Service) changes(ctx context.Context, c changed) (ports.InboxChanges, error) {
	if c.since.Own < c.read.Floor || c.since.Own > c.read.Version.Own || c.since.Global > c.snap.Version {
		return ports.InboxChanges{}, errTooOld()
	}
	out := ports.InboxChanges{InboxState: s.state(c.viewer, c.read.InboxHead, c.snap), More: c.read.UpTo < c.read.Version.Own}
	out.Version.Own = c.read.UpTo
	list := newList(s, c.snap, c.read.Now, c.locales)
	for i := range c.read.Items {
		list.item(&c.read.Items[i])
	}
	for _, r := range c.read.Receipts {
		if m, shows := c.snap.Message(r.ID); shows && r.Changed > c.since.Own && r.Changed <= c.read.UpTo {
			list.upsert(m, r.Receipt)
		}
	}
	if out.More {
		out.Version.Global = c.since.Global
	} else if err := list.global(ctx, c.concerned, c.read.Receipts); err != nil {
		return ports.InboxChanges{}, err
	}
	return list.answer(ctx, out)
}

// list gathers upserts and removals, each message once.
type list struct {
	s        *Service
	snap     *snapshot
	encode   encoder
	seen     map[inbox.MessageID]bool
	places   []inbox.Position
	entries  []ports.FeedEntry
	removals []inbox.MessageID
}

func newList(s *Service, snap *snapshot, now time.Time, locales []string) *list {
	return &list{s: s, snap: snap, encode: encoder{s: s, snap: snap, now: now, locales: locales}, seen: map[inbox.MessageID]bool{}}
}

func (l *list) first(id inbox.MessageID) bool {
	if l.seen[id] {
		return false
	}
	l.seen[id] = true
	return true
}

func (l *list) item(i *ports.InboxItem) {
	switch id := i.Position.ID; {
	case !l.first(id):
	case i.Gone || l.snap.isLeaving(id):
		l.removals = append(l.removals, id)
	default:
		l.entries = append(l.entries, l.encode.item(i, len(l.entries)))
		l.places = append(l.places, i.Position)
	}
}

func (l *list) upsert(m *inbox.Message, r inbox.Receipt) {
	if l.first(m.ID) {
		l.entries = append(l.entries, ports.FeedEntry{ID: m.ID, Card: l.snap.card(l.s.cfg.Cards, m, l.encode.locales, l.encode.now), Receipt: r})
		l.places = append(l.places, m.Position())
	}
}

// global adds what was different with the globals: messages that show, messages that do not any more, and messages with a
// link to a target that changed.
func (l *list) global(ctx context.Context, c ports.Concerned, receipts inbox.Receipts) error {
	var unknown []inbox.MessageID
	for _, id := range c.Messages {
		if m, shows := l.snap.Message(id); shows {
			l.upsert(m, receipts.Of(id))
		} else if !l.seen[id] {
			unknown = append(unknown, id)
		}
	}
	if len(c.Targets) > 0 {
		for _, m := range l.snap.Messages {
			if slices.ContainsFunc(m.Targets, func(key inbox.TargetKey) bool { return slices.Contains(c.Targets, key) }) {
				l.upsert(m, receipts.Of(m.ID))
			}
		}
	}
	return l.ended(ctx, unknown)
}

// ended removes the global ones among the messages that do not show. Messages to other customers are nobody's business;
// what is not known at all has been forgotten, and whoever still has it shall drop it.
func (l *list) ended(ctx context.Context, ids []inbox.MessageID) error {
	if len(ids) == 0 {
		return nil
	}
	known, err := l.s.cfg.Messages.Messages(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if m := known[id]; (m == nil || m.Audience == inbox.Global) && l.first(id) {
			l.removals = append(l.removals, id)
		}
	}
	return nil
}

// answer puts the upserts in the order of a feed.
func (l *list) answer(ctx context.Context, out ports.InboxChanges) (ports.InboxChanges, error) {
	order := make(map[inbox.MessageID]inbox.Position, len(l.places))
	for i, p := range l.places {
		order[l.entries[i].ID] = p
	}
	entries, err := l.encode.rest(ctx, l.entries)
	if err != nil {
		return ports.InboxChanges{}, err
	}
	slices.SortFunc(entries, func(a, b ports.FeedEntry) int { return order[a.ID].Compare(order[b.ID]) })
	out.Upserts, out.Removals = entries, l.removals
	return out, nil
}
