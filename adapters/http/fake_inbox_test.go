package httpapi

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// fakeInbox is the inbox in memory, over the real domain: it decides what the domain decides. One counter is the version
// of everybody.
type fakeInbox struct {
	mu       sync.Mutex
	now      time.Time
	clock    int64
	floor    int64
	targets  map[inbox.TargetKey]inbox.LinkTarget
	messages map[inbox.MessageID]*fakeMessage
	receipts map[string]map[inbox.MessageID]inbox.Receipt
	touched  map[string]map[inbox.MessageID]int64 // by viewer, "" for everybody
	feeds    int                                  // calls of Feed that found no held tag

	freshness ports.Freshness
	throttled bool
	err       error
}

type fakeMessage struct {
	inbox.Message
	to []preference.CustomerID
}

func newFakeInbox() *fakeInbox {
	now := time.Now().UTC().Truncate(time.Second)
	return &fakeInbox{now: now, clock: 7, targets: map[inbox.TargetKey]inbox.LinkTarget{}, messages: map[inbox.MessageID]*fakeMessage{},
		receipts: map[string]map[inbox.MessageID]inbox.Receipt{}, touched: map[string]map[inbox.MessageID]int64{},
		freshness: ports.Freshness{AsOf: now, FreshUntil: now.Add(time.Minute)}}
}

func (f *fakeInbox) links() *inbox.Links {
	return inbox.NewLinks(slices.Collect(maps.Values(f.targets))...)
}

func (f *fakeInbox) touch(viewer string, id inbox.MessageID) {
	f.clock++
	if f.touched[viewer] == nil {
		f.touched[viewer] = map[inbox.MessageID]int64{}
	}
	f.touched[viewer][id] = f.clock
}

func (m *fakeMessage) shownTo(v inbox.Viewer, now time.Time) bool {
	return m.VisibleAt(now) && (m.Audience == inbox.Global || slices.Contains(m.to, v.Customer))
}

func (f *fakeInbox) state(v inbox.Viewer) ports.InboxState {
	s := ports.InboxState{Version: inbox.Version{Own: f.clock, Global: f.clock}, Freshness: f.freshness}
	for id, m := range f.messages {
		if m.shownTo(v, f.now) {
			s.Counts = s.Counts.Add(f.receipts[v.Key()][id], 1)
		}
	}
	return s
}

func tagOf(question ...any) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, question...)
	return fmt.Sprintf("%016x", h.Sum64())
}

func (f *fakeInbox) entry(v inbox.Viewer, m *fakeMessage, locales []string) ports.FeedEntry {
	links := f.links()
	card := NewCards().Card(&m.Message, locales, func(link string) bool { return links.Active(link, f.now) })
	return ports.FeedEntry{ID: m.ID, Card: card, Receipt: f.receipts[v.Key()][m.ID]}
}

func (f *fakeInbox) Feed(_ context.Context, q ports.FeedQuery) (page ports.FeedPage, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var after *inbox.Position
	if q.Cursor != "" {
		position, err := inbox.ParseCursor(q.Viewer, q.Filter, q.Cursor)
		if err != nil {
			return page, err
		}
		after = &position
	}
	page.InboxState = f.state(q.Viewer)
	page.Tag = tagOf(q.Viewer, q.Filter, q.Cursor, q.Limit, q.Locales, f.clock, f.freshness.Stale)
	if slices.Contains(q.Held, page.Tag) || f.err != nil {
		page.Unchanged = true
		return page, f.err
	}
	f.feeds++
	for _, m := range slices.SortedFunc(maps.Values(f.messages), func(a, b *fakeMessage) int { return a.Position().Compare(b.Position()) }) {
		shows := m.shownTo(q.Viewer, f.now) && q.Filter.Shows(m.Content.Category, f.receipts[q.Viewer.Key()][m.ID])
		if !shows || after != nil && m.Position().Compare(*after) <= 0 {
			continue
		}
		if len(page.Messages) == q.Limit {
			last := f.messages[page.Messages[q.Limit-1].ID]
			page.Next = inbox.Cursor(q.Viewer, q.Filter, last.Position())
			break
		}
		page.Messages = append(page.Messages, f.entry(q.Viewer, m, q.Locales))
	}
	return page, nil
}

func (f *fakeInbox) Counts(_ context.Context, v inbox.Viewer) (ports.InboxState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state(v)
	s.Tag = tagOf("counts", v, f.clock, f.freshness.Stale)
	return s, f.err
}

func (f *fakeInbox) Changes(_ context.Context, v inbox.Viewer, since inbox.Version, locales []string) (c ports.InboxChanges, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since.Own < f.floor {
		return c, fault.New(fault.Gone, "version-too-old", "start over")
	}
	c.InboxState = f.state(v)
	for _, id := range slices.Sorted(maps.Keys(f.messages)) {
		if max(f.touched[""][id], f.touched[v.Key()][id]) <= since.Own {
			continue
		}
		if m := f.messages[id]; m.shownTo(v, f.now) {
			c.Upserts = append(c.Upserts, f.entry(v, m, locales))
		} else {
			c.Removals = append(c.Removals, id)
		}
	}
	return c, f.err
}

func (f *fakeInbox) Refresh(ctx context.Context, q ports.FeedQuery) (ports.FeedPage, error) {
	if f.throttled {
		return ports.FeedPage{}, fault.New(fault.Throttled, "refresh-limit", "asked too often")
	}
	return f.Feed(ctx, q)
}

func (f *fakeInbox) Acknowledge(_ context.Context, v inbox.Viewer, items []ports.Acknowledgement) (out ports.AcknowledgeResult, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return out, f.err
	}
	for _, it := range items {
		out.Items = append(out.Items, f.acknowledge(v, it))
		if out.Items[len(out.Items)-1].Changed {
			out.Changed++
		}
	}
	out.InboxState = f.state(v)
	return out, nil
}

func (f *fakeInbox) acknowledge(v inbox.Viewer, it ports.Acknowledgement) ports.Acknowledged {
	m := f.messages[it.Message]
	if m == nil || !m.shownTo(v, f.now) {
		return ports.Acknowledged{Message: it.Message}
	}
	before := f.receipts[v.Key()][it.Message]
	after := before.Apply(it.State, inbox.When(it.At, m.PublishedAt, f.now))
	f.keep(v, it.Message, after)
	return ports.Acknowledged{Message: it.Message, Found: true, Changed: after != before, Receipt: after}
}

func (f *fakeInbox) keep(v inbox.Viewer, id inbox.MessageID, r inbox.Receipt) {
	if f.receipts[v.Key()] == nil {
		f.receipts[v.Key()] = map[inbox.MessageID]inbox.Receipt{}
	}
	if f.receipts[v.Key()][id] != r {
		f.receipts[v.Key()][id] = r
		f.touch(v.Key(), id)
	}
}

func (f *fakeInbox) AcknowledgeAll(_ context.Context, v inbox.Viewer, state inbox.State, asOf inbox.Version) (out ports.AcknowledgeResult, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if head := f.state(v).Version; asOf.Own > head.Own || asOf.Global > head.Global {
		return out, fault.New(fault.Gone, "version-too-old", "start over")
	}
	for id := range f.messages {
		if f.touched[""][id] <= asOf.Global && f.acknowledge(v, ports.Acknowledgement{Message: id, State: state}).Changed {
			out.Changed++
		}
	}
	out.InboxState = f.state(v)
	return out, f.err
}

func (f *fakeInbox) Merge(_ context.Context, c preference.CustomerID, i inbox.InstallationID) (out ports.MergeResult, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := inbox.InstallationViewer(i), inbox.CustomerViewer(c)
	for id, r := range f.receipts[from.Key()] {
		mine := f.receipts[to.Key()][id]
		if merged := mine.Merge(r); merged != mine {
			f.keep(to, id, merged)
			out.Merged++
		}
	}
	delete(f.receipts, from.Key())
	out.InboxState = f.state(to)
	return out, f.err
}

func (f *fakeInbox) Publish(_ context.Context, d inbox.Draft) (ports.StoredMessage, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		if m.Source == d.Source && m.ExternalID == d.ExternalID {
			if m.Fingerprint != d.Fingerprint() {
				return ports.StoredMessage{}, false, fault.New(fault.Conflict, "message-exists", "there is another message of this name")
			}
			return ports.StoredMessage{Message: m.Message}, false, f.err
		}
	}
	m, err := d.Publish(f.links(), f.now)
	if err != nil || f.err != nil {
		return ports.StoredMessage{}, false, cmpErr(err, f.err)
	}
	m.ID = inbox.MessageID(len(f.messages) + 1)
	f.messages[m.ID] = &fakeMessage{Message: *m, to: d.Recipients}
	f.touch("", m.ID)
	return ports.StoredMessage{Message: *m}, true, nil
}

func (f *fakeInbox) find(id inbox.MessageID) (*fakeMessage, error) {
	m := f.messages[id]
	if m == nil || f.err != nil {
		return nil, cmpErr(f.err, fault.New(fault.NotFound, "not-found", "there is no such message"))
	}
	return m, nil
}

func (f *fakeInbox) Message(_ context.Context, id inbox.MessageID) (ports.StoredMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.find(id)
	if err != nil {
		return ports.StoredMessage{}, err
	}
	return ports.StoredMessage{Message: m.Message}, nil
}

func (f *fakeInbox) Edit(_ context.Context, id inbox.MessageID, edit func(inbox.Message) (inbox.Edit, error)) (ports.StoredMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.find(id)
	if err != nil {
		return ports.StoredMessage{}, err
	}
	e, err := edit(m.Message)
	if err != nil {
		return ports.StoredMessage{}, err
	}
	edited, err := m.Edited(e, f.links(), f.now)
	if err != nil {
		return ports.StoredMessage{}, err
	}
	m.Message = *edited
	f.touch("", id)
	return ports.StoredMessage{Message: m.Message}, nil
}

func (f *fakeInbox) Retract(_ context.Context, id inbox.MessageID) (ports.StoredMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.find(id)
	if err != nil {
		return ports.StoredMessage{}, err
	}
	if m.RetractedAt.IsZero() {
		m.RetractedAt = f.now
		f.touch("", id)
	}
	return ports.StoredMessage{Message: m.Message}, nil
}

var errNoTarget = fault.New(fault.NotFound, "not-found", "there is no such target")

func (f *fakeInbox) Targets(context.Context) ([]inbox.LinkTarget, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links().All(), f.err
}

func (f *fakeInbox) Target(_ context.Context, key inbox.TargetKey) (inbox.LinkTarget, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, known := f.targets[key]
	if !known {
		return t, cmpErr(f.err, errNoTarget)
	}
	return t, f.err
}

func (f *fakeInbox) PutTarget(_ context.Context, t inbox.LinkTarget) (inbox.LinkTarget, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.targets[t.Key]
	t.UpdatedAt = f.now
	f.targets[t.Key] = t
	f.clock++
	return t, !known, f.err
}

func (f *fakeInbox) DeleteTarget(_ context.Context, key inbox.TargetKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.targets[key]; !known {
		return cmpErr(f.err, errNoTarget)
	}
	delete(f.targets, key)
	f.clock++
	return f.err
}
