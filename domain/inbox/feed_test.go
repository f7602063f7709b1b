package inbox_test

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
)

func positions() *rapid.Generator[inbox.Position] {
	return rapid.Custom(func(t *rapid.T) inbox.Position {
		return inbox.Position{Pinned: rapid.Bool().Draw(t, "pinned"), Published: moments().Draw(t, "published"), ID: inbox.MessageID(rapid.Int64Range(1, 50).Draw(t, "id"))}
	})
}

func TestTheOrderIsTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := positions().Draw(t, "a"), positions().Draw(t, "b"), positions().Draw(t, "c")
		require.Equal(t, -a.Compare(b), b.Compare(a))
		require.Equal(t, a == b, a.Compare(b) == 0)
		if a.Compare(b) < 0 && b.Compare(c) < 0 {
			require.Negative(t, a.Compare(c))
		}
	})
	old := inbox.Position{Published: noon, ID: 9}
	require.Negative(t, inbox.Position{Pinned: true, Published: noon.Add(-time.Hour), ID: 1}.Compare(old), "pinned first")
	require.Negative(t, inbox.Position{Published: noon.Add(time.Microsecond), ID: 1}.Compare(old), "then the newest")
	require.Negative(t, inbox.Position{Published: noon, ID: 10}.Compare(old), "then the greater id")
}

func TestACursorIsGoodForItsQuestionAlone(t *testing.T) {
	t.Parallel()
	ada, grace := inbox.CustomerViewer("ada"), inbox.CustomerViewer("grace")
	rapid.Check(t, func(t *rapid.T) {
		p := positions().Draw(t, "position")
		f := inbox.Filter{View: inbox.ViewUnread, Categories: []string{"news", "offers"}}
		c := inbox.Cursor(ada, f, p)
		back, err := inbox.ParseCursor(ada, inbox.Filter{View: inbox.ViewUnread, Categories: []string{"offers", "news", "news"}}, c)
		require.NoError(t, err)
		require.Equal(t, p, back)
		for _, other := range []struct {
			viewer inbox.Viewer
			filter inbox.Filter
		}{{grace, f}, {inbox.Viewer{}, f}, {ada, inbox.Filter{}}, {ada, inbox.Filter{View: inbox.ViewUnread}}, {ada, inbox.Filter{View: inbox.ViewAll, Categories: f.Categories}}} {
			_, err := inbox.ParseCursor(other.viewer, other.filter, c)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		}
	})
	all, none := inbox.Cursor(ada, inbox.Filter{View: inbox.ViewAll}, inbox.Position{}), inbox.Cursor(ada, inbox.Filter{}, inbox.Position{})
	require.Equal(t, all, none, "not saying which is saying all")
}

func FuzzCursor(f *testing.F) {
	v := inbox.CustomerViewer("ada")
	f.Add(inbox.Cursor(v, inbox.Filter{}, inbox.Position{Pinned: true, Published: noon, ID: 3}))
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 26)))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := inbox.ParseCursor(v, inbox.Filter{}, s)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, "cursor", broken.Fields[0].Path)
			return
		}
		if inbox.Cursor(v, inbox.Filter{}, p) != s {
			t.Fatalf("%q is not what it says", s)
		}
		_, err = inbox.ParseCursor(inbox.CustomerViewer("grace"), inbox.Filter{}, s)
		require.Error(t, err, "somebody else's")
	})
}

// box is what one viewer has, by the plainest means: the oracle for a feed made of global messages.
type box struct {
	messages []*inbox.Message
	receipts inbox.Receipts
	now      time.Time
	next     inbox.MessageID
	version  int64
}

func (b *box) globals() *inbox.Globals {
	var visible []*inbox.Message
	var change time.Time
	for _, m := range b.messages {
		if m.VisibleAt(b.now) {
			visible = append(visible, m)
		}
		if n := m.NextChange(b.now); !n.IsZero() && (change.IsZero() || n.Before(change)) {
			change = n
		}
	}
	return inbox.NewGlobals(b.version, 0, inbox.NewLinks(), visible, nil, change)
}

func (b *box) publish(t *rapid.T) {
	b.next++
	b.version++
	category := rapid.SampledFrom([]string{"news", "offers"}).Draw(t, "category")
	m := &inbox.Message{ID: b.next, Audience: inbox.Global, PublishedAt: b.now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "ahead")) * time.Minute),
		Content: inbox.Content{Category: category, Pinned: rapid.IntRange(0, 4).Draw(t, "pin") == 0}}
	m.Expiry = m.PublishedAt.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "life")) * time.Minute)
	b.messages = append(b.messages, m)
}

func (b *box) acknowledge(t *rapid.T) {
	if len(b.messages) == 0 {
		return
	}
	id := rapid.SampledFrom(b.messages).Draw(t, "message").ID
	state := rapid.SampledFrom([]inbox.State{inbox.Seen, inbox.Read, inbox.Clicked, inbox.Archived, inbox.Unread, inbox.Unarchived}).Draw(t, "state")
	b.version++
	b.receipts = b.receipts.With(inbox.GlobalReceipt{ID: id, Receipt: b.receipts.Of(id).Apply(state, b.now), Changed: b.version})
}

func (b *box) anything(t *rapid.T) {
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0, 1:
		b.publish(t)
	case 2:
		b.acknowledge(t)
	case 3:
		if len(b.messages) > 0 {
			rapid.SampledFrom(b.messages).Draw(t, "retracted").RetractedAt = b.now
			b.version++
		}
	case 4:
		b.now = b.now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "passes")) * time.Minute)
	}
}

// shown lists what the filter shows now, by the plainest means.
func (b *box) shown(f inbox.Filter) []inbox.MessageID {
	var out []*inbox.Message
	for _, m := range b.messages {
		if m.VisibleAt(b.now) && f.Shows(m.Content.Category, b.receipts.Of(m.ID)) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(x, y *inbox.Message) int { return x.Position().Compare(y.Position()) })
	return ids(out)
}

func ids(messages []*inbox.Message) []inbox.MessageID {
	out := make([]inbox.MessageID, len(messages))
	for i, m := range messages {
		out[i] = m.ID
	}
	return out
}

func filters() *rapid.Generator[inbox.Filter] {
	return rapid.Custom(func(t *rapid.T) inbox.Filter {
		f := inbox.Filter{View: rapid.SampledFrom([]inbox.View{inbox.ViewAll, inbox.ViewUnseen, inbox.ViewUnread, inbox.ViewArchived}).Draw(t, "view")}
		if rapid.Bool().Draw(t, "by category") {
			f.Categories = []string{"news"}
		}
		return f
	})
}

// Whatever happens between two pages: no message comes twice, and what was there all the time comes once.
func TestPagingNeitherRepeatsNorSkips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := &box{now: noon}
		for range rapid.IntRange(0, 25).Draw(t, "before") {
			b.anything(t)
		}
		f := filters().Draw(t, "filter")
		always := b.shown(f)
		var got []inbox.MessageID
		var after *inbox.Position
		for {
			page := b.globals().After(after, f, b.receipts, rapid.IntRange(1, 4).Draw(t, "limit"))
			got = append(got, ids(page)...)
			if len(page) == 0 {
				break
			}
			cursor := inbox.Cursor(inbox.Viewer{}, f, page[len(page)-1].Position())
			p, err := inbox.ParseCursor(inbox.Viewer{}, f, cursor)
			require.NoError(t, err)
			after = &p
			for range rapid.IntRange(0, 3).Draw(t, "meanwhile") {
				b.anything(t)
				now := b.shown(f)
				always = slices.DeleteFunc(always, func(id inbox.MessageID) bool { return !slices.Contains(now, id) })
			}
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(got)))
		require.Len(t, distinct, len(got), "a message came twice")
		for _, id := range always {
			require.Contains(t, got, id, "a message that was there all the time did not come")
		}
	})
}

func TestCountsEqualTheList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := &box{now: noon}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			b.anything(t)
			require.Equal(t, inbox.Counts{
				Total:  len(b.shown(inbox.Filter{})),
				Unseen: len(b.shown(inbox.Filter{View: inbox.ViewUnseen})),
				Unread: len(b.shown(inbox.Filter{View: inbox.ViewUnread})),
			}, b.globals().Counts(b.receipts))
		}
	})
}

func TestAPageIsTheListFromThere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := &box{now: noon}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			b.anything(t)
		}
		f, n := filters().Draw(t, "filter"), rapid.IntRange(1, 10).Draw(t, "limit")
		all := b.shown(f)
		require.Equal(t, all[:min(n, len(all))], ids(b.globals().After(nil, f, b.receipts, n)))
	})
}

func TestMergedReceiptsKeepTheirOrderAndVersion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mine, theirs := &box{now: noon}, &box{now: noon}
		for range 6 {
			mine.publish(t)
		}
		theirs.messages = mine.messages
		for range rapid.IntRange(0, 10).Draw(t, "acts") {
			mine.acknowledge(t)
			theirs.acknowledge(t)
		}
		merged, changed := mine.receipts.Merge(theirs.receipts, 1000)
		require.True(t, slices.IsSortedFunc(merged, func(a, b inbox.GlobalReceipt) int { return int(a.ID - b.ID) }))
		for _, r := range merged {
			require.Equal(t, mine.receipts.Of(r.ID).Merge(theirs.receipts.Of(r.ID)), r.Receipt)
			require.Equal(t, slices.Contains(changed, r.ID), r.Changed == 1000)
		}
		again, none := merged.Merge(theirs.receipts, 2000)
		require.Equal(t, merged, again)
		require.Empty(t, none)
		kept := merged.Keep(func(id inbox.MessageID) bool { return id%2 == 0 })
		require.False(t, slices.ContainsFunc(kept, func(r inbox.GlobalReceipt) bool { return r.ID%2 != 0 }))
	})
}
