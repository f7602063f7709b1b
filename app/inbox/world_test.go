package inbox_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	appinbox "accord/app/inbox"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

const (
	ada    preference.CustomerID = "ada"
	grace  preference.CustomerID = "grace"
	inline                       = 2
)

var (
	adasInbox = inbox.CustomerViewer(ada)
	tablet    = inbox.InstallationID("6f1c2a52-6a0c-4b0b-9d8f-0c6c1d6f2a11")
	nobody    = inbox.Viewer{}
)

// world is the database as the ports describe it, without cards of its own that could differ from what is encoded anew.
// What a test does to it directly is what another process does.
type world struct {
	mu       sync.Mutex
	now      func() time.Time
	down     bool
	version  int64
	floor    int64
	changes  []globalChange
	messages map[inbox.MessageID]*kept
	targets  map[inbox.TargetKey]inbox.LinkTarget
	boxes    map[string]*box
	feeds    map[string]ports.FeedState
	refusals map[string]ports.Refusal
	leaving  []inbox.MessageID
	facts    []ports.Fact
	failures []string
	calls    map[string]int
	after    map[string]func() // after a call, outside its transaction
}

type globalChange struct {
	version int64
	message inbox.MessageID
	target  inbox.TargetKey
}

type kept struct {
	inbox.Message
	recipients []preference.CustomerID
	waiting    []preference.CustomerID
}

type box struct {
	version, floor    int64
	items             map[inbox.MessageID]*slot
	receipts          inbox.Receipts
	pulledAt, pulling time.Time
}

type slot struct {
	receipt        inbox.Receipt
	added, changed int64
	gone           bool
}

func newWorld(now func() time.Time) *world {
	return &world{now: now, version: 1, floor: 1, messages: map[inbox.MessageID]*kept{}, targets: map[inbox.TargetKey]inbox.LinkTarget{},
		boxes: map[string]*box{}, feeds: map[string]ports.FeedState{}, refusals: map[string]ports.Refusal{}, calls: map[string]int{}, after: map[string]func(){}}
}

// in runs a statement. What the test wants to happen right after it does.
func (w *world) in(name string, fn func() error) error {
	w.mu.Lock()
	w.calls[name]++
	err := fault.New(fault.Unavailable, "unavailable", "the database is down")
	if !w.down {
		err = fn()
	}
	then := w.after[name]
	delete(w.after, name)
	w.mu.Unlock()
	if then != nil {
		then()
	}
	return err
}

func (w *world) called(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[name]
}

// then makes something happen right after the next call of that name.
func (w *world) then(name string, fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after[name] = fn
}

func (w *world) goDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *world) touch(c globalChange) {
	w.version++
	c.version = w.version
	w.changes = append(w.changes, c)
}

func (w *world) links() *inbox.Links {
	return inbox.NewLinks(slices.Collect(maps.Values(w.targets))...)
}

func (w *world) box(viewer inbox.Viewer) *box {
	b := w.boxes[viewer.Key()]
	if b == nil {
		b = &box{items: map[inbox.MessageID]*slot{}}
		w.boxes[viewer.Key()] = b
	}
	return b
}

func (w *world) shows(id inbox.MessageID, s *slot) bool {
	return !s.gone && w.messages[id].VisibleAt(w.now()) && !slices.Contains(w.leaving, id)
}

func (w *world) head(viewer inbox.Viewer) ports.InboxHead {
	b := w.box(viewer)
	h := ports.InboxHead{Now: w.now(), Version: inbox.Version{Own: b.version, Global: w.version}, Floor: b.floor, Receipts: slices.Clone(b.receipts),
		PulledAt: b.pulledAt, CampaignsAt: w.feeds[ports.CampaignsName].PulledAt}
	for id, s := range b.items {
		if w.shows(id, s) {
			h.Counts = h.Counts.Add(s.receipt, 1)
		}
	}
	return h
}

func (w *world) item(id inbox.MessageID, s *slot) ports.InboxItem {
	m := w.messages[id]
	i := ports.InboxItem{Position: m.Position(), Expiry: m.Expiry, Targets: m.Targets, Localized: len(m.Content.Variants) > 0, Receipt: s.receipt,
		Gone: s.gone || m.RetractedAt.IsZero() && !m.VisibleAt(w.now())} // what is leaving is not marked
	if m.Content.Locale != "old" { // a card of an old format is of no use
		i.Card = plainCards{}.Card(&m.Message, nil, nil)
	}
	return i
}

func (w *world) items(viewer inbox.Viewer, f func(inbox.MessageID, *slot) bool) (out []ports.InboxItem) {
	for id, s := range w.box(viewer).items {
		if f(id, s) {
			out = append(out, w.item(id, s))
		}
	}
	slices.SortFunc(out, func(a, b ports.InboxItem) int { return a.Position.Compare(b.Position) })
	return out
}

func (w *world) ReadInbox(_ context.Context, q ports.InboxQuery) (out ports.InboxRead, err error) {
	name := "ReadInbox"
	if q.Page == nil {
		name = "ReadHead"
	}
	return out, w.in(name, func() error {
		out.InboxHead = w.head(q.Viewer)
		// The caller says what is leaving: what it does not know of is counted.
		for _, id := range w.leaving {
			if s := w.box(q.Viewer).items[id]; s != nil && !s.gone && !slices.Contains(q.Leaving, id) {
				out.Counts = out.Counts.Add(s.receipt, 1)
			}
		}
		if q.Page == nil {
			return nil
		}
		out.Items = w.items(q.Viewer, func(id inbox.MessageID, s *slot) bool {
			m := w.messages[id]
			return !s.gone && m.VisibleAt(w.now()) && !slices.Contains(q.Leaving, id) && q.Page.Filter.Shows(m.Content.Category, s.receipt) &&
				(q.Page.After == nil || m.Position().Compare(*q.Page.After) > 0)
		})
		out.Items = out.Items[:min(len(out.Items), q.Page.Limit)]
		return nil
	})
}

func (w *world) ReadChanges(_ context.Context, viewer inbox.Viewer, since int64, c ports.Concerned, _, limit int) (out ports.InboxChangesRead, err error) {
	return out, w.in("ReadChanges", func() error {
		out.InboxHead = w.head(viewer)
		var steps []int64
		for _, s := range w.box(viewer).items {
			if s.changed > since {
				steps = append(steps, s.changed)
			}
		}
		slices.Sort(steps)
		out.UpTo = out.Version.Own
		if len(steps) > limit {
			out.UpTo = steps[limit-1]
		}
		out.Items = w.items(viewer, func(id inbox.MessageID, s *slot) bool {
			return s.changed > since && s.changed <= out.UpTo || slices.Contains(c.Messages, id) ||
				slices.ContainsFunc(w.messages[id].Targets, func(key inbox.TargetKey) bool { return slices.Contains(c.Targets, key) })
		})
		return nil
	})
}

func (w *world) UpdateInbox(_ context.Context, viewer inbox.Viewer, ids []inbox.MessageID, asOf int64, fn func(ports.InboxEdit) (ports.InboxWrite, error)) (head ports.InboxHead, err error) {
	return head, w.in("UpdateInbox", func() error {
		err := w.edit(viewer, fn, func(id inbox.MessageID, s *slot) bool {
			return w.shows(id, s) && (ids == nil && s.added <= asOf || slices.Contains(ids, id))
		})
		head = w.head(viewer)
		return err
	})
}

func (w *world) edit(viewer inbox.Viewer, fn func(ports.InboxEdit) (ports.InboxWrite, error), which func(inbox.MessageID, *slot) bool) error {
	b := w.box(viewer)
	write, err := fn(ports.InboxEdit{InboxHead: w.head(viewer), Items: w.items(viewer, which), Next: b.version + 1})
	if err != nil || !write.Changed() {
		return err
	}
	b.version++
	for id, r := range write.Receipts {
		b.items[id].receipt, b.items[id].changed = r, b.version
	}
	if write.Globals != nil {
		b.receipts = write.Globals
	}
	w.facts = append(w.facts, write.Facts...)
	return nil
}

func (w *world) TakeReceipts(_ context.Context, from, to inbox.Viewer, fn func(inbox.Receipts, ports.InboxEdit) (ports.InboxWrite, error)) (head ports.InboxHead, err error) {
	return head, w.in("TakeReceipts", func() error {
		taken := w.box(from).receipts
		w.box(from).receipts = nil
		err := w.edit(to, func(e ports.InboxEdit) (ports.InboxWrite, error) { return fn(taken, e) }, func(inbox.MessageID, *slot) bool { return false })
		head = w.head(to)
		return err
	})
}

func (w *world) ClaimPull(_ context.Context, c preference.CustomerID, olderThan, abandoned time.Time) (claimed bool, err error) {
	return claimed, w.in("ClaimPull", func() error {
		b := w.box(inbox.CustomerViewer(c))
		if claimed = b.pulledAt.Before(olderThan) && !b.pulling.After(abandoned); claimed {
			b.pulling = w.now()
		}
		return nil
	})
}

func (w *world) Pulled(_ context.Context, c preference.CustomerID, at time.Time) error {
	return w.in("Pulled", func() error {
		b := w.box(inbox.CustomerViewer(c))
		b.pulledAt, b.pulling = at, time.Time{}
		return nil
	})
}

func (w *world) Globals(context.Context) (g *inbox.Globals, err error) {
	return g, w.in("Globals", func() error {
		now := w.now()
		next := w.links().NextChange(now)
		var shown []*inbox.Message
		for _, m := range w.messages {
			if m.Audience != inbox.Global {
				continue
			}
			if change := m.NextChange(now); !change.IsZero() && (next.IsZero() || change.Before(next)) {
				next = change
			}
			if m.VisibleAt(now) {
				one := m.Message
				shown = append(shown, &one)
			}
		}
		g = inbox.NewGlobals(w.version, w.floor, w.links(), shown, slices.Clone(w.leaving), next)
		return nil
	})
}

func (w *world) GlobalHead(context.Context) (h ports.GlobalHead, err error) {
	return h, w.in("GlobalHead", func() error {
		h = ports.GlobalHead{Now: w.now(), Version: w.version, CampaignsAt: w.feeds[ports.CampaignsName].PulledAt}
		return nil
	})
}

func (w *world) GlobalChanges(_ context.Context, since int64) (c ports.Concerned, err error) {
	return c, w.in("GlobalChanges", func() error {
		for _, change := range w.changes {
			switch {
			case change.version <= since:
			case change.target != "":
				c.Targets = append(c.Targets, change.target)
			default:
				c.Messages = append(c.Messages, change.message)
			}
		}
		return nil
	})
}

// plainCards encode what a test looks at.
type plainCards struct{}

type card struct {
	Title  string `json:"title"`
	Link   string `json:"link"`
	Locale string `json:"locale"`
}

func (plainCards) Format() int { return 7 }

func (plainCards) Card(m *inbox.Message, locales []string, active func(string) bool) []byte {
	text, _, locale := m.Content.In(locales)
	c := card{Title: text.Title, Link: m.Content.Link, Locale: locale}
	if active != nil && c.Link != "" && !active(c.Link) {
		c.Link = "dead"
	}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return raw
}

func cardOf(t require.TestingT, e ports.FeedEntry) (c card) {
	require.NoError(t, json.Unmarshal(e.Card, &c))
	return c
}

func titles(t require.TestingT, entries []ports.FeedEntry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = cardOf(t, e).Title
	}
	return out
}

// serve makes a service over the world. configure may change what it is made with.
func serve(t *testing.T, w *world, configure ...func(*appinbox.Config)) *appinbox.Service {
	t.Helper()
	cfg := appinbox.Config{Inboxes: w, Globals: w, Messages: w, Feeds: w, Deliveries: w, Cards: plainCards{}, Now: w.now,
		Logger: slog.New(slog.DiscardHandler), Limits: appinbox.Limits{Inline: inline}}
	for _, c := range configure {
		c(&cfg)
	}
	s := appinbox.New(cfg)
	t.Cleanup(s.Close)
	return s
}
