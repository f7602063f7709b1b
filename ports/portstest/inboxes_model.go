package portstest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// InboxModel holds a store against a simple model over random courses of events: publishing, retracting, delivering,
// acknowledging, taking over and time, while pages are turned and clients follow the changes.
func InboxModel(t *testing.T, open func(*testing.T) (InboxStore, Pass)) {
	s, pass := open(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newInboxWorld(t, s, pass)
		for range rapid.IntRange(0, 12).Draw(t, "messages") {
			w.publishes(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"publishes":        w.publishes,
			"publishes more":   w.publishes,
			"retracts":         w.retracts,
			"delivers":         w.delivers,
			"lets time pass":   w.letsTimePass,
			"acknowledges":     w.acknowledges,
			"acknowledges all": w.acknowledgesAll,
			"takes over":       w.takesOver,
			"turns a page":     w.turnsAPage,
			"turns on":         w.turnsAPage,
			"follows":          w.follows,
			"":                 w.check,
		})
		for _, m := range w.mail { // the store is shared with the courses to come
			Retract(t, s, m.id)
			deliver(t, s, m.id)
		}
	})
}

// worldMail is a message. Its times are those of the world, in which nothing moves into the past.
type worldMail struct {
	inbox.Position
	id          inbox.MessageID
	expiry      time.Time
	category    string
	to          []preference.CustomerID // nil for everybody
	undelivered bool
	retracted   bool
}

type inboxWorld struct {
	s        InboxStore
	pass     Pass
	start    int64 // version of the globals when the world began
	passed   time.Duration
	viewers  []inbox.Viewer // two customers and an installation
	mail     []*worldMail
	receipts map[inbox.Viewer]map[inbox.MessageID]inbox.Receipt
	known    map[inbox.Viewer][]*worldView // in the course of time
	walks    []*worldWalk
	clients  map[inbox.Viewer]*worldClient
}

// worldView is what a viewer was last seen to have.
type worldView struct {
	version inbox.Version
	state   string
	held    []inbox.MessageID // own items, archived ones too
}

// worldWalk is somebody who turns pages.
type worldWalk struct {
	viewer inbox.Viewer
	filter inbox.Filter
	after  *inbox.Position
	seen   map[inbox.MessageID]bool
	stays  map[inbox.MessageID]bool // what was there from the start and all along
}

// worldClient keeps a copy by the changes alone.
type worldClient struct {
	version  inbox.Version
	items    map[inbox.MessageID]inbox.Receipt
	globals  map[inbox.MessageID]bool
	receipts inbox.Receipts
}

var worlds atomic.Int64

func newInboxWorld(t *rapid.T, s InboxStore, pass Pass) *inboxWorld {
	n := worlds.Add(1)
	start, err := s.Globals(context.Background())
	require.NoError(t, err)
	w := &inboxWorld{s: s, pass: pass, start: start.Version, receipts: map[inbox.Viewer]map[inbox.MessageID]inbox.Receipt{}, known: map[inbox.Viewer][]*worldView{},
		clients: map[inbox.Viewer]*worldClient{}}
	for _, name := range []string{"x", "y"} {
		w.viewers = append(w.viewers, inbox.CustomerViewer(preference.CustomerID(fmt.Sprintf("%s-%d", name, n))))
	}
	w.viewers = append(w.viewers, inbox.InstallationViewer(inbox.InstallationID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))))
	for _, v := range w.viewers {
		w.receipts[v] = map[inbox.MessageID]inbox.Receipt{}
	}
	return w
}

func (w *inboxWorld) now() time.Time { return time.Now().Add(w.passed) }

func (w *inboxWorld) shows(m *worldMail) bool {
	return !m.retracted && !m.undelivered && !w.now().Before(m.Published) && w.now().Before(m.expiry)
}

// own lists what a viewer has of personal messages, archived ones too, in the order of a feed; global what everybody has.
func (w *inboxWorld) own(v inbox.Viewer) (out []*worldMail) {
	for _, m := range w.mail {
		if w.shows(m) && m.to != nil && slices.Contains(m.to, v.Customer) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *worldMail) int { return a.Compare(b.Position) })
	return out
}

func (w *inboxWorld) global() (out []*worldMail) {
	for _, m := range w.mail {
		if w.shows(m) && m.to == nil {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *worldMail) int { return a.Compare(b.Position) })
	return out
}

// filtered is own with a filter.
func (w *inboxWorld) filtered(v inbox.Viewer, f inbox.Filter) []inbox.MessageID {
	out := []inbox.MessageID{}
	for _, m := range w.own(v) {
		if f.Shows(m.category, w.receipts[v][m.id]) {
			out = append(out, m.id)
		}
	}
	return out
}

func mailIDs(mail []*worldMail) []inbox.MessageID {
	out := make([]inbox.MessageID, len(mail))
	for i, m := range mail {
		out[i] = m.id
	}
	return out
}

// What happens in the world. Everything begins and ends half an hour off a whole hour from its start, and time passes in
// whole hours, so that it does not matter how long the test takes.

func (w *inboxWorld) publishes(t *rapid.T) {
	mail := Mail{Category: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "category"), Pinned: rapid.IntRange(0, 2).Draw(t, "pinned") == 0,
		Life: time.Duration(rapid.IntRange(1, 6).Draw(t, "life")) * time.Hour}
	if rapid.IntRange(0, 2).Draw(t, "ahead") == 0 {
		mail.In = time.Duration(rapid.IntRange(0, 3).Draw(t, "in"))*time.Hour + 30*time.Minute
	} else {
		mail.Life += 30 * time.Minute
	}
	switch rapid.IntRange(0, 4).Draw(t, "to") {
	case 0:
	case 1:
		mail.To = []preference.CustomerID{w.viewers[1].Customer}
	case 2:
		mail.To = []preference.CustomerID{w.viewers[0].Customer, w.viewers[1].Customer}
	default:
		mail.To = []preference.CustomerID{w.viewers[0].Customer}
	}
	mail.Many = mail.To != nil && rapid.IntRange(0, 3).Draw(t, "many") == 0
	m := Send(t, w.s, mail)
	at := m.Position()
	at.Published = at.Published.Add(w.passed)
	w.mail = append(w.mail, &worldMail{Position: at, id: m.ID, expiry: m.Expiry.Add(w.passed), category: mail.Category, to: mail.To, undelivered: mail.Many})
}

func (w *inboxWorld) draw(t *rapid.T, which func(*worldMail) bool) *worldMail {
	var some []*worldMail
	for _, m := range w.mail {
		if which(m) {
			some = append(some, m)
		}
	}
	if len(some) == 0 {
		t.Skip("there is none")
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(t, "message")]
}

func (w *inboxWorld) retracts(t *rapid.T) {
	m := w.draw(t, func(m *worldMail) bool { return !m.retracted })
	Retract(t, w.s, m.id)
	m.retracted = true
}

func (w *inboxWorld) delivers(t *rapid.T) {
	m := w.draw(t, func(m *worldMail) bool { return m.to != nil })
	deliver(t, w.s, m.id)
	m.undelivered = false
}

func (w *inboxWorld) letsTimePass(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 3).Draw(t, "hours")) * time.Hour
	w.pass(d)
	w.passed += d
}

func (w *inboxWorld) viewer(t *rapid.T) inbox.Viewer {
	return rapid.SampledFrom(w.viewers).Draw(t, "viewer")
}

func (w *inboxWorld) acknowledges(t *rapid.T) {
	v := w.viewer(t)
	known := slices.Concat(mailIDs(w.own(v)), mailIDs(w.global()))
	if len(known) == 0 || rapid.IntRange(0, 3).Draw(t, "any") == 0 {
		known = append(mailIDs(w.mail), 1<<40)
	}
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom(known), 1, min(4, len(known)), rapid.ID).Draw(t, "ids")
	state := rapid.SampledFrom([]inbox.State{inbox.Seen, inbox.Read, inbox.Clicked, inbox.Archived, inbox.Unread, inbox.Unarchived}).Draw(t, "state")
	ago := time.Duration(rapid.IntRange(0, 2).Draw(t, "ago")) * time.Minute
	global := mailIDs(w.global())
	var after map[inbox.MessageID]inbox.Receipt
	_, err := w.s.UpdateInbox(context.Background(), v, ids, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		after = maps.Clone(w.receipts[v])
		write := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
		for _, item := range e.Items {
			write.Receipts[item.Position.ID] = item.Receipt.Apply(state, e.Now.Add(-ago))
			after[item.Position.ID] = w.receipts[v][item.Position.ID].Apply(state, e.Now.Add(-ago))
		}
		for _, id := range ids {
			if slices.Contains(global, id) {
				after[id] = after[id].Apply(state, e.Now.Add(-ago))
				if write.Globals == nil {
					write.Globals = e.Receipts
				}
				write.Globals = write.Globals.With(inbox.GlobalReceipt{ID: id, Receipt: after[id], Changed: e.Next})
			}
		}
		own := slices.DeleteFunc(mailIDs(w.own(v)), func(id inbox.MessageID) bool { return !slices.Contains(ids, id) })
		require.ElementsMatch(t, own, idsOf(e.Items))
		return write, nil
	})
	require.NoError(t, err)
	w.receipts[v] = after
}

func (w *inboxWorld) acknowledgesAll(t *rapid.T) {
	v := w.viewer(t)
	known := w.known[v][rapid.IntRange(0, len(w.known[v])-1).Draw(t, "as of")]
	state := rapid.SampledFrom([]inbox.State{inbox.Seen, inbox.Read, inbox.Archived}).Draw(t, "state")
	var after map[inbox.MessageID]inbox.Receipt
	_, err := w.s.UpdateInbox(context.Background(), v, nil, known.version.Own, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		now := mailIDs(w.own(v))
		held := slices.DeleteFunc(slices.Clone(known.held), func(id inbox.MessageID) bool { return !slices.Contains(now, id) })
		require.ElementsMatch(t, held, idsOf(e.Items), "what was there as of the version")
		after = maps.Clone(w.receipts[v])
		for _, id := range held {
			after[id] = after[id].Apply(state, e.Now)
		}
		return saying(state)(e)
	})
	require.NoError(t, err)
	w.receipts[v] = after
}

func (w *inboxWorld) takesOver(t *rapid.T) {
	from, to := w.viewers[2], w.viewers[rapid.IntRange(0, 1).Draw(t, "customer")]
	_, err := w.s.TakeReceipts(context.Background(), from, to, merging)
	require.NoError(t, err)
	for id, r := range w.receipts[from] {
		w.receipts[to][id] = w.receipts[to][id].Merge(r)
	}
	w.receipts[from] = map[inbox.MessageID]inbox.Receipt{}
}

func (w *inboxWorld) turnsAPage(t *rapid.T) {
	n := rapid.IntRange(0, min(len(w.walks), 2)).Draw(t, "walk")
	if n == len(w.walks) {
		walk := &worldWalk{viewer: w.viewer(t), seen: map[inbox.MessageID]bool{}, stays: map[inbox.MessageID]bool{}}
		walk.filter.View = rapid.SampledFrom([]inbox.View{"", "", inbox.ViewAll, inbox.ViewUnseen, inbox.ViewUnread, inbox.ViewArchived}).Draw(t, "view")
		walk.filter.Categories = rapid.SampledFrom([][]string{nil, nil, nil, {"a"}, {"b", "a"}}).Draw(t, "categories")
		for _, id := range w.filtered(walk.viewer, walk.filter) {
			walk.stays[id] = true
		}
		w.walks = append(w.walks, walk)
	}
	walk := w.walks[n]
	page := ports.PageQuery{Filter: walk.filter, Limit: rapid.IntRange(1, 2).Draw(t, "limit")}
	if walk.after != nil {
		after := *walk.after
		after.Published = after.Published.Add(-w.passed)
		page.After = &after
	}
	read, _ := readPage(t, w.s, walk.viewer, page)
	for _, item := range read.Items {
		at := item.Position
		at.Published = at.Published.Add(w.passed)
		require.False(t, walk.seen[at.ID], "a message is there twice")
		require.True(t, walk.after == nil || walk.after.Compare(at) < 0, "a message is before the one before it")
		walk.seen[at.ID], walk.after = true, &at
	}
	if len(read.Items) == page.Limit {
		return
	}
	for id := range walk.stays {
		require.True(t, walk.seen[id], "a message was left out")
	}
	w.walks = slices.Delete(w.walks, n, n+1)
}

// follows brings a client up to date by the changes alone.
func (w *inboxWorld) follows(t *rapid.T) {
	v := w.viewer(t)
	c := w.clients[v]
	if c == nil {
		c = &worldClient{version: inbox.Version{Global: w.start}, items: map[inbox.MessageID]inbox.Receipt{}, globals: map[inbox.MessageID]bool{}}
		w.clients[v] = c
	}
	g, err := w.s.Globals(context.Background())
	require.NoError(t, err)
	concerned, err := w.s.GlobalChanges(context.Background(), c.version.Global)
	require.NoError(t, err)
	for _, id := range concerned.Messages {
		if _, shows := g.Message(id); shows {
			c.globals[id] = true
		} else {
			delete(c.globals, id)
		}
	}
	for more := true; more; {
		read, err := w.s.ReadChanges(context.Background(), v, c.version.Own, concerned, CardFormat, rapid.IntRange(1, 3).Draw(t, "limit"))
		require.NoError(t, err)
		require.Equal(t, g.Version, read.Version.Global)
		require.GreaterOrEqual(t, read.UpTo, c.version.Own)
		for _, item := range read.Items {
			if delete(c.items, item.Position.ID); !item.Gone {
				c.items[item.Position.ID] = item.Receipt
			}
		}
		if c.version.Own < read.Floor {
			c.receipts = nil // the client is told to start over
		}
		for _, r := range read.Receipts {
			if r.Changed > c.version.Own {
				c.receipts = c.receipts.With(r)
			}
		}
		require.Equal(t, len(read.Receipts), len(c.receipts))
		for _, r := range read.Receipts {
			require.Equal(t, r.Receipt, c.receipts.Of(r.ID))
		}
		more = read.UpTo < read.Version.Own
		c.version = inbox.Version{Own: read.UpTo, Global: read.Version.Global}
		concerned = ports.Concerned{}
	}
	want := map[inbox.MessageID]inbox.Receipt{}
	for _, m := range w.own(v) {
		want[m.id] = w.receipts[v][m.id]
	}
	require.Equal(t, want, c.items, "the changes lead to what is there")
	for _, m := range w.mail {
		if m.to == nil {
			require.Equal(t, w.shows(m), c.globals[m.id], "the global changes lead to what is there")
		}
	}
}

// check holds the store against the world.
func (w *inboxWorld) check(t *rapid.T) {
	g, err := w.s.Globals(context.Background())
	require.NoError(t, err)
	for _, v := range w.viewers {
		read, archive := w.reads(t, g, v, inbox.ViewAll), w.reads(t, g, v, inbox.ViewArchived)
		require.Equal(t, w.filtered(v, inbox.Filter{}), idsOf(read.Items))
		require.Equal(t, w.filtered(v, inbox.Filter{View: inbox.ViewArchived}), idsOf(archive.Items))
		require.Equal(t, counted(read.Items), read.Counts, "the counts are those of the list")
		require.Equal(t, read.Version, archive.Version)
		held := slices.Concat(read.Items, archive.Items)
		for _, item := range held {
			require.Equal(t, w.receipts[v][item.Position.ID], item.Receipt)
		}
		global := mailIDs(w.global())
		require.Equal(t, global, slices.DeleteFunc(shown(g), func(id inbox.MessageID) bool {
			return !slices.ContainsFunc(w.mail, func(m *worldMail) bool { return m.id == id })
		}))
		for _, m := range w.mail {
			if m.to == nil {
				require.Equal(t, w.receipts[v][m.id], read.Receipts.Of(m.id))
			}
		}
		w.versionTells(t, v, read, held, global)
	}
	for _, walk := range w.walks {
		now := w.filtered(walk.viewer, walk.filter)
		maps.DeleteFunc(walk.stays, func(id inbox.MessageID, _ bool) bool { return !slices.Contains(now, id) })
	}
}

// reads is everything with globals that nobody else changes meanwhile.
func (w *inboxWorld) reads(t *rapid.T, g *inbox.Globals, v inbox.Viewer, view inbox.View) ports.InboxRead {
	read, err := w.s.ReadInbox(context.Background(), ports.InboxQuery{Viewer: v, Leaving: g.Leaving,
		Page: &ports.PageQuery{Filter: inbox.Filter{View: view}, Limit: 100, Format: CardFormat}})
	require.NoError(t, err)
	require.Equal(t, g.Version, read.Version.Global)
	require.False(t, read.GlobalsDue)
	return read
}

// versionTells checks that a version never goes back, and is another one when anything is different.
func (w *inboxWorld) versionTells(t *rapid.T, v inbox.Viewer, read ports.InboxRead, held []ports.InboxItem, global []inbox.MessageID) {
	state := fmt.Sprint(read.Counts, read.Receipts, global)
	for _, item := range held {
		state += fmt.Sprint(item.Position.ID, item.Receipt)
	}
	if n := len(w.known[v]); n > 0 {
		known := w.known[v][n-1]
		require.True(t, read.Version.Covers(known.version), "a version goes back")
		if state != known.state {
			require.NotEqual(t, known.version, read.Version, "one version for two states")
		}
	}
	w.known[v] = append(w.known[v], &worldView{version: read.Version, state: state, held: idsOf(held)})
}
