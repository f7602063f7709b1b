package inbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

func said(id inbox.MessageID, state inbox.State) ports.Acknowledgement {
	return ports.Acknowledgement{Message: id, State: state}
}

func TestEachItemIsAnsweredByItself(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	global, own, foreign := w.elsewhere(t, "global"), w.elsewhere(t, "own", ada), w.elsewhere(t, "foreign", grace)
	pass(time.Hour)
	out, err := s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{
		said(global, inbox.Seen), {Message: own, State: inbox.Clicked, At: now().Add(-10 * time.Minute)}, said(foreign, inbox.Read), said(99, inbox.Read), said(global, inbox.Seen)})
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, false, false, true}, []bool{out.Items[0].Found, out.Items[1].Found, out.Items[2].Found, out.Items[3].Found, out.Items[4].Found})
	require.Equal(t, []bool{true, true, false, false, false}, []bool{out.Items[0].Changed, out.Items[1].Changed, out.Items[2].Changed, out.Items[3].Changed, out.Items[4].Changed})
	require.Equal(t, now(), out.Items[0].Receipt.SeenAt)
	require.Equal(t, now().Add(-10*time.Minute), out.Items[1].Receipt.ClickedAt, "an offline client says when")
	require.Equal(t, 2, out.Changed)
	require.Equal(t, inbox.Counts{Total: 2, Unread: 1}, out.Counts)
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	require.ElementsMatch(t, []ports.Fact{{Day: day, Kind: ports.FactSeen, Message: global, Count: 1}, {Day: day, Kind: ports.FactSeen, Message: own, Count: 1},
		{Day: day, Kind: ports.FactRead, Message: own, Count: 1}, {Day: day, Kind: ports.FactClicked, Message: own, Count: 1}}, w.facts)

	again, err := s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(global, inbox.Seen), said(own, inbox.Clicked)})
	require.NoError(t, err)
	require.Zero(t, again.Changed)
	require.Equal(t, out.Version, again.Version)
	require.Len(t, w.facts, 4)
}

func TestReadingAgainIsNotCountedTwice(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	id := w.elsewhere(t, "global")
	for _, state := range []inbox.State{inbox.Read, inbox.Unread, inbox.Read} {
		pass(time.Minute)
		out, err := s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(id, state)})
		require.NoError(t, err)
		require.Equal(t, 1, out.Changed, state)
	}
	require.Len(t, w.facts, 2, "seen and read")
}

func TestAMessageIsFoundAsSoonAsAnotherProcessHasPublishedIt(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	_, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	id := w.elsewhere(t, "global")
	out, err := s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(id, inbox.Read)})
	require.NoError(t, err)
	require.True(t, out.Items[0].Found)
	require.Equal(t, inbox.Version{Own: 1, Global: w.version}, out.Version)
	loads := w.called("Globals")
	_, err = s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(99, inbox.Read)})
	require.NoError(t, err)
	require.Equal(t, loads, w.called("Globals"), "what nobody knows is not looked for again and again")
}

func TestWhatIsLeavingOrRetractedIsNotThere(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	many, global := w.elsewhere(t, "many", ada, grace, "eve"), w.elsewhere(t, "global")
	for range 3 {
		_, _, err := w.Deliver(t.Context(), many)
		require.NoError(t, err)
	}
	for _, id := range []inbox.MessageID{many, global} {
		_, err := s.Retract(t.Context(), id)
		require.NoError(t, err)
	}
	_, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	out, err := s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(many, inbox.Read), said(global, inbox.Read)})
	require.NoError(t, err)
	require.False(t, out.Items[0].Found || out.Items[1].Found)
}

func TestAllAsOfAVersionLeavesOutWhatCameLater(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	oldGlobal := w.elsewhere(t, "old global")
	w.elsewhere(t, "old own", ada)
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	w.elsewhere(t, "new global")
	w.elsewhere(t, "new own", ada)
	_, err = s.Edit(t.Context(), oldGlobal, func(m inbox.Message) (inbox.Edit, error) { // an edit does not make it new
		c := m.Content
		c.Title = "edited"
		return inbox.Edit{Content: &c}, nil
	})
	require.NoError(t, err)
	_, err = s.Feed(t.Context(), first(adasInbox)) // so that this process knows all of it
	require.NoError(t, err)
	for _, state := range []inbox.State{inbox.Unread, inbox.Clicked} {
		_, err := s.AcknowledgeAll(t.Context(), adasInbox, state, page.Version)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	out, err := s.AcknowledgeAll(t.Context(), adasInbox, inbox.Read, page.Version)
	require.NoError(t, err)
	require.Equal(t, 2, out.Changed)
	require.Equal(t, inbox.Counts{Total: 4, Unseen: 2, Unread: 2}, out.Counts)
	q := first(adasInbox)
	q.Filter.View = inbox.ViewUnread
	page, err = s.Feed(t.Context(), q)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"new global", "new own"}, titles(t, page.Messages))
	out, err = s.AcknowledgeAll(t.Context(), adasInbox, inbox.Archived, page.Version)
	require.NoError(t, err)
	require.Equal(t, inbox.Counts{}, out.Counts)
}

func TestAllAsOfAVersionThatWasNeverHandedOutIsRefused(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "global")
	w.elsewhere(t, "own", ada)
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	for _, change := range []inbox.Version{{Own: 1}, {Global: 1}, {Own: 999_999, Global: 999_999}} {
		unknown := inbox.Version{Own: page.Version.Own + change.Own, Global: page.Version.Global + change.Global}
		_, err := s.AcknowledgeAll(t.Context(), adasInbox, inbox.Read, unknown)
		require.ErrorIs(t, err, fault.New(fault.Gone, "version-too-old", ""), "%v", unknown)
	}
	again, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, page.Counts, again.Counts)
	require.Equal(t, page.Version, again.Version)
	require.Empty(t, w.facts)

	// What another process has handed out is known, whatever this one knew.
	w.elsewhere(t, "another global")
	_, err = s.AcknowledgeAll(t.Context(), adasInbox, inbox.Read, inbox.Version{Own: page.Version.Own, Global: page.Version.Global + 1})
	require.NoError(t, err)
	require.Len(t, w.facts, 6, "three are seen and read")
}

func TestNobodyLeavesATrace(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	s := serve(t, newWorld(now))
	_, err := s.Acknowledge(t.Context(), nobody, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = s.AcknowledgeAll(t.Context(), nobody, inbox.Read, inbox.Version{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestWhatAnInstallationDidIsTakenOverOnce(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	read, gone, seen := w.elsewhere(t, "read"), w.elsewhere(t, "gone"), w.elsewhere(t, "seen")
	device := inbox.InstallationViewer(tablet)
	_, err := s.Acknowledge(t.Context(), device, []ports.Acknowledgement{said(read, inbox.Read), said(gone, inbox.Read), said(seen, inbox.Seen)})
	require.NoError(t, err)
	_, err = s.Acknowledge(t.Context(), adasInbox, []ports.Acknowledgement{said(seen, inbox.Read)})
	require.NoError(t, err)
	_, err = s.Retract(t.Context(), gone)
	require.NoError(t, err)
	_, err = s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	facts := len(w.facts)

	out, err := s.Merge(t.Context(), ada, tablet)
	require.NoError(t, err)
	require.Equal(t, 1, out.Merged)
	require.Equal(t, inbox.Counts{Total: 2}, out.Counts)
	require.Len(t, w.facts, facts, "it was counted when it was done")
	again, err := s.Merge(t.Context(), ada, tablet)
	require.NoError(t, err)
	require.Zero(t, again.Merged)
	require.Equal(t, out.Version, again.Version)
	left, err := s.Counts(t.Context(), device)
	require.NoError(t, err)
	require.Equal(t, 2, left.Counts.Unread, "the installation is as new")
}

// TestChangesLeadToTheFeed: whoever follows the changes has, at every version, exactly what whoever reads the feed has.
func TestChangesLeadToTheFeed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now, pass := clock()
		w := newWorld(now)
		s, elsewhere := serve(t, w), serve(t, w)
		_, _, err := s.PutTarget(t.Context(), target(rt, "orders", "app://orders/{id}", true))
		require.NoError(rt, err)
		viewer := rapid.SampledFrom([]inbox.Viewer{adasInbox, inbox.InstallationViewer(tablet), nobody}).Draw(rt, "viewer")
		has, version := map[inbox.MessageID]ports.FeedEntry{}, inbox.Version{Global: 1}
		published := 0
		anyOf := func() inbox.MessageID { return inbox.MessageID(rapid.IntRange(1, published).Draw(rt, "message")) }
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(rt *rapid.T) {
				d := draft(fmt.Sprint("m", published))
				if n := rapid.IntRange(0, 3).Draw(rt, "recipients"); n > 0 {
					d = draft(d.ExternalID, preferenceIDs[:n]...)
				}
				if rapid.Bool().Draw(rt, "linked") && w.links().Active("app://orders/42", now()) {
					d = linked("app://orders/42", d)
				}
				m, _, err := elsewhere.Publish(t.Context(), d)
				require.NoError(rt, err)
				for left := m.Undelivered; left > 0; {
					_, left, err = w.Deliver(t.Context(), m.ID)
					require.NoError(rt, err)
				}
				published++
			},
			"retract": func(rt *rapid.T) {
				if published > 0 {
					id := anyOf()
					_, err := elsewhere.Retract(t.Context(), id)
					require.NoError(rt, err)
					if rapid.Bool().Draw(rt, "leaves") {
						_, _, err = w.Deliver(t.Context(), id)
						require.NoError(rt, err)
					}
				}
			},
			"edit": func(rt *rapid.T) {
				if published > 0 {
					_, err := elsewhere.Edit(t.Context(), anyOf(), func(m inbox.Message) (inbox.Edit, error) {
						m.Content.Title += "'"
						return inbox.Edit{Content: &m.Content}, nil
					})
					if f, is := fault.As(err); err != nil && (!is || f.Code != "message-retracted" && f.Code != "deeplink-inactive") {
						rt.Fatal(err)
					}
				}
			},
			"target": func(rt *rapid.T) {
				key, pattern := "orders", "app://orders/{id}"
				if rapid.Bool().Draw(rt, "specific") {
					key, pattern = "42", "app://orders/42"
				}
				if rapid.IntRange(0, 4).Draw(rt, "removed") == 0 {
					err := elsewhere.DeleteTarget(t.Context(), inbox.TargetKey(key))
					require.True(rt, err == nil || fault.KindOf(err) == fault.NotFound)
					return
				}
				if rapid.IntRange(0, 4).Draw(rt, "moved") == 0 {
					pattern = "app://elsewhere"
				}
				_, _, err := elsewhere.PutTarget(t.Context(), target(rt, key, pattern, rapid.Bool().Draw(rt, "active")))
				require.NoError(rt, err)
			},
			"acknowledge": func(rt *rapid.T) {
				if published > 0 && !viewer.Anonymous() {
					state := rapid.SampledFrom([]inbox.State{inbox.Seen, inbox.Read, inbox.Archived, inbox.Unread, inbox.Unarchived}).Draw(rt, "state")
					_, err := elsewhere.Acknowledge(t.Context(), viewer, []ports.Acknowledgement{said(anyOf(), state)})
					require.NoError(rt, err)
				}
			},
			"": func(rt *rapid.T) {
				pass(time.Second)
				changes, err := s.Changes(t.Context(), viewer, version, nil)
				require.NoError(rt, err)
				require.False(rt, changes.More)
				for _, e := range changes.Upserts {
					has[e.ID] = e
				}
				for _, id := range changes.Removals {
					delete(has, id)
				}
				require.True(rt, changes.Version.Covers(version))
				version = changes.Version
				page, err := s.Feed(t.Context(), ports.FeedQuery{Viewer: viewer, Limit: 1000})
				require.NoError(rt, err)
				archive, err := s.Feed(t.Context(), ports.FeedQuery{Viewer: viewer, Limit: 1000, Filter: inbox.Filter{View: inbox.ViewArchived}})
				require.NoError(rt, err)
				require.Equal(rt, page.Version, version)
				require.Equal(rt, page.Counts, changes.Counts)
				require.Len(rt, page.Messages, page.Counts.Total, "the counts are the list's")
				require.Len(rt, has, len(page.Messages)+len(archive.Messages))
				for _, e := range append(page.Messages, archive.Messages...) {
					require.Equal(rt, string(e.Card), string(has[e.ID].Card))
					require.Equal(rt, e.Receipt, has[e.ID].Receipt)
				}
			},
		})
	})
}

func TestWhoIsTooFarBehindStartsOver(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	w.elsewhere(t, "own", ada)
	w.floor = 2
	for viewer, versions := range map[inbox.Viewer][]inbox.Version{
		nobody: {{Global: 1}, {Global: 99}, {Own: 1, Global: 2}}, adasInbox: {{Global: 1}, {Own: 9, Global: 2}, {Global: 99}}} {
		for _, since := range versions {
			_, err := s.Changes(t.Context(), viewer, since, nil)
			require.Equal(t, fault.Gone, fault.KindOf(err), "%v since %v", viewer, since)
		}
		_, err := s.Changes(t.Context(), viewer, inbox.Version{Global: 2}, nil)
		require.NoError(t, err)
	}
	w.boxes["c:ada"].floor = 1
	_, err := s.Changes(t.Context(), adasInbox, inbox.Version{Global: 2}, nil)
	require.Equal(t, fault.Gone, fault.KindOf(err))
}

func TestChangesAreCompleteToTheVersionTheySay(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	w.elsewhere(t, "one")
	w.then("GlobalChanges", func() { w.elsewhere(t, "two") }) // before the inbox is read, and after the globals were
	changes, err := s.Changes(t.Context(), adasInbox, inbox.Version{Global: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, w.version, changes.Version.Global)
	require.Len(t, changes.Upserts, 2)
	require.Equal(t, 2, changes.Counts.Total)
}

func TestALinkThatDiesWithAMoreSpecificTargetsTimeIsAChange(t *testing.T) {
	t.Parallel()
	now, pass := clock()
	w := newWorld(now)
	s := serve(t, w)
	_, _, err := s.PutTarget(t.Context(), target(t, "orders", "app://orders/{id}", true))
	require.NoError(t, err)
	for _, d := range []inbox.Draft{linked("app://orders/42", draft("global")), linked("app://orders/42", draft("own", ada))} {
		_, _, err := s.Publish(t.Context(), d)
		require.NoError(t, err)
	}
	specific := target(t, "42", "app://orders/42", true)
	specific.Until = now().Add(time.Hour)
	_, _, err = s.PutTarget(t.Context(), specific)
	require.NoError(t, err)
	page, err := s.Feed(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.Equal(t, "app://orders/42", cardOf(t, page.Messages[0]).Link)
	pass(time.Hour)
	w.touch(globalChange{target: "42"}) // what whoever looks first makes of it
	changes, err := s.Changes(t.Context(), adasInbox, page.Version, nil)
	require.NoError(t, err)
	require.Len(t, changes.Upserts, 2)
	require.Equal(t, "dead", cardOf(t, changes.Upserts[0]).Link)
}

func TestChangesToOtherPeoplesMessagesAreNotTold(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	since := inbox.Version{Global: w.version}
	id := w.elsewhere(t, "many", grace, "eve", "mallory")
	_, err := s.Retract(t.Context(), id)
	require.NoError(t, err)
	for _, viewer := range []inbox.Viewer{adasInbox, nobody} {
		changes, err := s.Changes(t.Context(), viewer, since, nil)
		require.NoError(t, err)
		require.Empty(t, changes.Upserts)
		require.Empty(t, changes.Removals)
		require.Equal(t, w.version, changes.Version.Global)
	}
}

func TestManyChangesComeInParts(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	const own = 450
	for i := range own {
		w.elsewhere(t, fmt.Sprint("m", i), ada)
	}
	w.elsewhere(t, "global")
	got, version := map[inbox.MessageID]bool{}, inbox.Version{Global: 1}
	for parts := 1; ; parts++ {
		changes, err := s.Changes(t.Context(), adasInbox, version, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, len(changes.Upserts), 201)
		for _, e := range changes.Upserts {
			got[e.ID] = true
		}
		version = changes.Version
		if !changes.More {
			require.Equal(t, 3, parts)
			break
		}
		require.Equal(t, int64(1), version.Global)
	}
	require.Len(t, got, own+1)
	require.Equal(t, inbox.Version{Own: own, Global: w.version}, version)
}
