package inbox_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

func TestPagesAreInTheOrderOfAFeedAndNoneIsRepeatedOrMissing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now, pass := clock()
		w := newWorld(now)
		s := serve(t, w)
		var want []inbox.Position
		for i := range rapid.IntRange(0, 12).Draw(rt, "messages") {
			d := draft(fmt.Sprint("m", i))
			if rapid.Bool().Draw(rt, "own") {
				d = draft(fmt.Sprint("m", i), ada)
			}
			d.Content.Pinned = rapid.Bool().Draw(rt, "pinned")
			m, _, err := s.Publish(t.Context(), d)
			require.NoError(rt, err)
			want = append(want, m.Position())
			pass(time.Duration(rapid.IntRange(0, 1).Draw(rt, "later")) * time.Second) // some at the same time
		}
		slices.SortFunc(want, inbox.Position.Compare)
		q := ports.FeedQuery{Viewer: adasInbox, Limit: rapid.IntRange(1, 5).Draw(rt, "limit")}
		var got []inbox.MessageID
		originals := len(want)
		for {
			page, err := s.Feed(t.Context(), q)
			require.NoError(rt, err)
			require.Equal(rt, inbox.Counts{Total: len(want), Unseen: len(want), Unread: len(want)}, page.Counts)
			for _, e := range page.Messages {
				got = append(got, e.ID)
			}
			if page.Next == "" {
				break
			}
			require.Len(rt, page.Messages, q.Limit, "a page that is not the last is full")
			q.Cursor = page.Next
			pass(time.Minute)
			w.elsewhere(rt, fmt.Sprint("newer ", len(want))) // and is on no later page unless there are pinned ones before it
			want = slices.Insert(want, firstUnpinned(want), inbox.Position{Published: now(), ID: inbox.MessageID(len(want) + 1)})
		}
		for _, id := range got {
			require.Equal(rt, 1, count(got, id))
		}
		for id := range originals {
			require.Contains(rt, got, inbox.MessageID(id+1))
		}
		require.True(rt, slices.IsSortedFunc(got, func(a, b inbox.MessageID) int {
			return slices.IndexFunc(want, func(p inbox.Position) bool { return p.ID == a }) - slices.IndexFunc(want, func(p inbox.Position) bool { return p.ID == b })
		}), "%v is not in the order of %v", got, want)
	})
}

func firstUnpinned(in []inbox.Position) int {
	i := slices.IndexFunc(in, func(p inbox.Position) bool { return !p.Pinned })
	if i < 0 {
		return len(in)
	}
	return i
}

func count(ids []inbox.MessageID, id inbox.MessageID) (n int) {
	for _, other := range ids {
		if other == id {
			n++
		}
	}
	return n
}

func TestACursorIsForItsInboxAlone(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	for i := range 3 {
		w.elsewhere(t, fmt.Sprint("m", i))
	}
	page, err := s.Feed(t.Context(), ports.FeedQuery{Viewer: adasInbox, Limit: 1})
	require.NoError(t, err)
	_, err = s.Feed(t.Context(), ports.FeedQuery{Viewer: inbox.CustomerViewer(grace), Limit: 1, Cursor: page.Next})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestWhatAnotherProcessPublishesIsInTheNextAnswerWithoutAskingTwice(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, []string{"one"}, titles(t, page.Messages))
	reads, loads := w.called("ReadInbox"), w.called("Globals")

	pass(time.Second)
	w.elsewhere(t, "two")
	page, err = s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, []string{"two", "one"}, titles(t, page.Messages))
	require.Equal(t, inbox.Version{Global: w.version}, page.Version)
	require.Equal(t, reads+1, w.called("ReadInbox"), "the globals alone were read anew")
	require.Equal(t, loads+1, w.called("Globals"))
}

func TestWhatIsPublishedAfterTheReadIsShownButNotClaimed(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	_, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	w.then("ReadInbox", func() {
		w.elsewhere(t, "two")
		_, err := s.Feed(t.Context(), first(nobody)) // brings the newer globals into this process
		require.NoError(t, err)
	})
	before := w.version
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Len(t, page.Messages, 2)
	require.Equal(t, before, page.Version.Global, "whoever asks for changes since then is told of it again")
	next, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Len(t, next.Messages, 2)
	require.NotEqual(t, page.Tag, next.Tag)
}

func TestAMessageToManyLeavesEveryInboxAtOnce(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	id := w.elsewhere(t, "many", ada, grace, "eve")
	for left := 1; left > 0; {
		var err error
		_, left, err = s.Deliver(t.Context(), id)
		require.NoError(t, err)
	}
	w.elsewhere(t, "own", ada)
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Len(t, page.Messages, 2)

	_, err = w.RetractMessage(t.Context(), id)
	require.NoError(t, err)
	reads := w.called("ReadInbox")
	page, err = s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, []string{"own"}, titles(t, page.Messages), "though its copy is still in the inbox")
	require.Equal(t, 1, page.Counts.Total)
	require.Equal(t, reads+2, w.called("ReadInbox"), "the counts had to be asked for again")

	_, _, err = w.Deliver(t.Context(), id)
	require.NoError(t, err)
	page, err = s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, 1, page.Counts.Total)
}

func TestALinkIsNotHandedOutOnceItsTargetIsSwitchedOff(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	for name, off := range map[string]func(t *testing.T, w *world){
		"switched off": func(t *testing.T, w *world) {
			t.Helper()
			_, _, err := w.PutTarget(t.Context(), target(t, "orders", "app://orders/{id}", false))
			require.NoError(t, err)
		},
		"removed": func(t *testing.T, w *world) { t.Helper(); require.NoError(t, w.DeleteTarget(t.Context(), "orders")) },
		"a more specific one": func(t *testing.T, w *world) {
			t.Helper()
			_, _, err := w.PutTarget(t.Context(), target(t, "42", "app://orders/42", false))
			require.NoError(t, err)
		},
		"another pattern": func(t *testing.T, w *world) {
			t.Helper()
			pass(time.Second)
			_, _, err := w.PutTarget(t.Context(), target(t, "orders", "app://bestellungen/{id}", true))
			require.NoError(t, err)
		},
		"its time is over": func(*testing.T, *world) { pass(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(now)
			s := serve(t, w)
			orders := target(t, "orders", "app://orders/{id}", true)
			orders.Until = now().Add(time.Hour)
			_, _, err := s.PutTarget(t.Context(), orders)
			require.NoError(t, err)
			for _, d := range []inbox.Draft{linked("app://orders/42", draft("global")), linked("app://orders/42", draft("own", ada))} {
				_, _, err := s.Publish(t.Context(), d)
				require.NoError(t, err)
			}
			page, err := s.Feed(t.Context(), first(adasInbox))
			require.NoError(t, err)
			require.Equal(t, []string{"app://orders/42", "app://orders/42"}, []string{cardOf(t, page.Messages[0]).Link, cardOf(t, page.Messages[1]).Link})
			since := page.Version

			off(t, w)
			if name == "its time is over" { // what the next reader of the globals makes of it
				w.touch(globalChange{target: "orders"})
			}
			page, err = s.Feed(t.Context(), first(adasInbox))
			require.NoError(t, err)
			require.Equal(t, []string{"dead", "dead"}, []string{cardOf(t, page.Messages[0]).Link, cardOf(t, page.Messages[1]).Link})
			changes, err := s.Changes(t.Context(), adasInbox, since, nil)
			require.NoError(t, err)
			require.Len(t, changes.Upserts, 2, "and whoever asks for changes is told")
			public, err := s.Feed(t.Context(), first(nobody))
			require.NoError(t, err)
			require.Equal(t, "dead", cardOf(t, public.Messages[0]).Link)
		})
	}
}

func TestTheReadersLanguageAndCurrentCards(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	for _, d := range []inbox.Draft{draft("Hello", ada), draft("Hi")} {
		d.Content.Variants = map[string]inbox.Text{"de": {Title: "Hallo"}}
		_, _, err := s.Publish(t.Context(), d)
		require.NoError(t, err)
	}
	old := draft("Old", ada)
	old.Content.Locale = "old"
	_, _, err := s.Publish(t.Context(), old)
	require.NoError(t, err)
	for wanted, want := range map[string][]string{"de-AT": {"Old", "Hallo", "Hallo"}, "fr": {"Old", "Hi", "Hello"}} {
		q := first(adasInbox)
		q.Locales = []string{wanted}
		page, err := s.Feed(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, want, titles(t, page.Messages))
		q.Viewer = nobody
		page, err = s.Feed(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, want[1:2], titles(t, page.Messages))
	}
}

func TestATagNamesTheAnswer(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s, other := serve(t, w), serve(t, w)
	w.elsewhere(t, "one")
	questions := map[string]ports.FeedQuery{
		"ada": {Viewer: adasInbox, Limit: 20}, "grace": {Viewer: inbox.CustomerViewer(grace), Limit: 20}, "nobody": {Limit: 20},
		"less": {Viewer: adasInbox, Limit: 19}, "german": {Viewer: adasInbox, Limit: 20, Locales: []string{"de"}},
		"unread": {Viewer: adasInbox, Limit: 20, Filter: inbox.Filter{View: inbox.ViewUnread}}, "news": {Viewer: adasInbox, Limit: 20, Filter: inbox.Filter{Categories: []string{"news"}}},
	}
	tags, pages := map[string]string{}, map[string]ports.FeedPage{}
	for name, q := range questions {
		page, err := s.Feed(t.Context(), q)
		require.NoError(t, err)
		require.Regexp(t, `^[A-Za-z0-9._-]+$`, page.Tag)
		require.NotContains(t, tags, page.Tag, "%s has the tag of %s", name, tags[page.Tag])
		tags[page.Tag], pages[name] = name, page
		elsewhere, err := other.Feed(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, page.Tag, elsewhere.Tag, "in every process")
	}
	pass(time.Second)
	reads := w.called("ReadInbox")
	for name, q := range questions {
		q.Held = []string{"something", pages[name].Tag}
		again, err := s.Feed(t.Context(), q)
		require.NoError(t, err)
		require.True(t, again.Unchanged)
		require.Empty(t, again.Messages)
		require.Equal(t, pages[name].Counts, again.Counts)
	}
	require.Equal(t, reads, w.called("ReadInbox"), "the heads alone were read")
	w.elsewhere(t, "more")
	pass(time.Second)
	for name, q := range questions {
		q.Held = []string{pages[name].Tag}
		again, err := s.Feed(t.Context(), q)
		require.NoError(t, err)
		require.False(t, again.Unchanged)
		require.NotEqual(t, pages[name].Tag, again.Tag)
	}
}

func TestWhatCouldNotBeBroughtUpToDateDoesNotPassForFresh(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	page, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	pass(2 * time.Minute)
	w.elsewhere(t, "new")
	w.then("GlobalHead", func() { w.goDown(true) }) // it is known that there is something, but not what
	stale, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Equal(t, page.Version, stale.Version)
	require.Equal(t, page.Freshness.AsOf, stale.Freshness.AsOf)
	require.True(t, stale.Freshness.Stale)
}

func TestCountsAreTheFeedsWithItsOwnTag(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	w.elsewhere(t, "two", ada)
	for _, viewer := range []inbox.Viewer{adasInbox, inbox.InstallationViewer(tablet), nobody} {
		page, err := s.Feed(t.Context(), first(viewer))
		require.NoError(t, err)
		state, err := s.Counts(t.Context(), viewer)
		require.NoError(t, err)
		require.Equal(t, page.Counts, state.Counts)
		require.Len(t, page.Messages, state.Counts.Total)
		require.Equal(t, page.Version, state.Version)
		require.NotEqual(t, page.Tag, state.Tag)
	}
}

func TestManyAnonymousReadersAreOneStatement(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	for range 50 {
		_, err := s.Feed(t.Context(), first(nobody))
		require.NoError(t, err)
	}
	require.Equal(t, 1, w.called("GlobalHead"))
	require.Zero(t, w.called("ReadInbox"))
	w.elsewhere(t, "two")
	pass(10 * time.Millisecond)
	page, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Len(t, page.Messages, 2, "what another process published shows after GlobalAge")
	_, _, err = s.Publish(t.Context(), draft("three"))
	require.NoError(t, err)
	page, err = s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Len(t, page.Messages, 3, "and what this one published at once")
}

func TestWithoutTheDatabaseAnonymousReadersGetWhatWasThereLast(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "stays")
	short := draft("ends")
	short.Expiry = now().Add(30 * time.Second)
	_, _, err := s.Publish(t.Context(), short)
	require.NoError(t, err)
	page, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Equal(t, []string{"ends", "stays"}, titles(t, page.Messages))

	w.goDown(true)
	pass(20 * time.Second)
	again, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Equal(t, page.Tag, again.Tag)
	require.False(t, again.Freshness.Stale)
	require.Equal(t, page.Freshness, again.Freshness, "as of when the database answered last")
	pass(20 * time.Second)
	again, err = s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Equal(t, []string{"stays"}, titles(t, again.Messages), "what has expired does not show")
	require.Equal(t, 1, again.Counts.Total)
	require.NotEqual(t, page.Tag, again.Tag)
	pass(time.Minute)
	stale, err := s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.True(t, stale.Freshness.Stale)
	require.NotEqual(t, again.Tag, stale.Tag)
	_, err = s.Feed(t.Context(), first(adasInbox))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "an inbox can't be guessed")
	_, err = serve(t, w).Feed(t.Context(), first(nobody))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "a process that has seen nothing has nothing to show")

	w.goDown(false)
	pass(time.Second)
	w.elsewhere(t, "new")
	page, err = s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	require.Equal(t, []string{"new", "stays"}, titles(t, page.Messages))
	require.False(t, page.Freshness.Stale)
}

func TestAReaderWhoGoesAwayIsNotAnsweredAndEndsNothingForOthers(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	w.then("GlobalHead", cancel)
	_, err := s.Feed(ctx, first(nobody))
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = s.Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	s.Close()
	_, err = serve(t, w).Feed(t.Context(), first(nobody))
	require.NoError(t, err)
	w.version++
	_, err = s.Feed(t.Context(), first(adasInbox))
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "a closed one starts nothing")
}
