package portstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func editIsStored(t *testing.T, s InboxStore, _ Pass) {
	first := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	second := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	all := inbox.Receipt{}
	for i, at := range []*time.Time{&all.SeenAt, &all.ReadAt, &all.ClickedAt, &all.ArchivedAt, &all.UnreadAt, &all.UnarchivedAt} {
		*at = Noon.Add(time.Duration(i) * time.Microsecond)
	}
	head, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{first, second}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		require.EqualValues(t, 2, e.Version.Own)
		require.EqualValues(t, 3, e.Next)
		require.Equal(t, inbox.Counts{Total: 2, Unseen: 2, Unread: 2}, e.Counts)
		require.ElementsMatch(t, []inbox.MessageID{first, second}, idsOf(e.Items))
		return ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{first: all, second: {SeenAt: Noon.Local()}}}, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 3, head.Version.Own)
	require.Equal(t, inbox.Counts{Total: 1, Unread: 1}, head.Counts)
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, head.Counts, read.Counts)
	require.Equal(t, head.Version, read.Version)
	require.Equal(t, []inbox.MessageID{second}, idsOf(read.Items))
	require.Equal(t, inbox.Receipt{SeenAt: Noon}, read.Items[0].Receipt)
	read, _ = everything(t, s, adas, inbox.Filter{View: inbox.ViewArchived})
	require.Equal(t, all, read.Items[0].Receipt)
	head = say(t, s, adas, inbox.Unarchived, first)
	require.Equal(t, inbox.Counts{Total: 2, Unread: 1}, head.Counts)
	read, _ = everything(t, s, adas, inbox.Filter{})
	require.Equal(t, head.Counts, read.Counts)
}

func editOfWhatShows(t *testing.T, s InboxStore, _ Pass) {
	shows := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	waits := Send(t, s, Mail{To: []preference.CustomerID{ada}, In: time.Hour}).ID
	graces := Send(t, s, Mail{To: []preference.CustomerID{grace}}).ID
	retracted := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	Retract(t, s, retracted)
	_, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{shows, waits, graces, retracted, 1 << 40}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		require.Equal(t, []inbox.MessageID{shows}, idsOf(e.Items))
		return ports.InboxWrite{}, nil
	})
	require.NoError(t, err)
	_, err = s.UpdateInbox(t.Context(), adas, []inbox.MessageID{}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		require.Empty(t, e.Items)
		return ports.InboxWrite{}, nil
	})
	require.NoError(t, err)
}

func editOfAll(t *testing.T, s InboxStore, pass Pass) {
	first := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	scheduled := Send(t, s, Mail{To: []preference.CustomerID{ada}, In: time.Hour}).ID
	second := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	read, _ := everything(t, s, adas, inbox.Filter{})
	third := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	say(t, s, adas, inbox.Seen, first, third)
	pass(2 * time.Hour)
	head, err := s.UpdateInbox(t.Context(), adas, nil, read.Version.Own, saying(inbox.Read))
	require.NoError(t, err)
	require.Equal(t, inbox.Counts{Total: 4, Unseen: 1, Unread: 2}, head.Counts)
	read, _ = everything(t, s, adas, inbox.Filter{View: inbox.ViewUnread})
	require.ElementsMatch(t, []inbox.MessageID{third, scheduled}, idsOf(read.Items), "what came later is not concerned, whenever it was sent")
	require.NotContains(t, idsOf(read.Items), first)
	require.NotContains(t, idsOf(read.Items), second)
}

func editStoresNothing(t *testing.T, s InboxStore, _ Pass) {
	id := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	before, _ := everything(t, s, adas, inbox.Filter{})
	ours := errors.New("ours")
	_, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{id}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		w, _ := saying(inbox.Read)(e)
		return w, ours
	})
	require.ErrorIs(t, err, ours)
	require.PanicsWithValue(t, "ours", func() {
		_, _ = s.UpdateInbox(t.Context(), adas, []inbox.MessageID{id}, 0, func(ports.InboxEdit) (ports.InboxWrite, error) { panic("ours") })
	})
	for _, w := range []ports.InboxWrite{{}, {Receipts: map[inbox.MessageID]inbox.Receipt{id: {}}}, {Globals: inbox.Receipts{}}} {
		head, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{id}, 0, func(ports.InboxEdit) (ports.InboxWrite, error) { return w, nil })
		require.NoError(t, err)
		require.Equal(t, before.Version, head.Version)
	}
	after, _ := everything(t, s, adas, inbox.Filter{})
	before.Now, after.Now = time.Time{}, time.Time{}
	require.Equal(t, before, after)
}

func editIsRefused(t *testing.T, s InboxStore, _ Pass) {
	id := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	foreign := Send(t, s, Mail{To: []preference.CustomerID{grace}}).ID
	for _, w := range []ports.InboxWrite{
		{Receipts: map[inbox.MessageID]inbox.Receipt{id: {SeenAt: Noon}, foreign: {SeenAt: Noon}}},
		{Globals: inbox.Receipts{{ID: 5, Receipt: inbox.Receipt{SeenAt: Noon}}, {ID: 4, Receipt: inbox.Receipt{SeenAt: Noon}}}},
	} {
		_, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{id, foreign}, 0, func(ports.InboxEdit) (ports.InboxWrite, error) { return w, nil })
		require.Equal(t, fault.Internal, fault.KindOf(err))
	}
	_, err := s.UpdateInbox(t.Context(), inbox.Viewer{}, nil, 0, saying(inbox.Seen))
	require.Equal(t, fault.Internal, fault.KindOf(err), "nothing is kept for nobody")
	for _, viewer := range []inbox.Viewer{adas, graces} {
		read, _ := everything(t, s, viewer, inbox.Filter{})
		require.EqualValues(t, 1, read.Version.Own)
		require.Equal(t, 1, read.Counts.Unseen)
	}
}

func globalReceipts(t *testing.T, s InboxStore, _ Pass) {
	first, second := Send(t, s, Mail{}).ID, Send(t, s, Mail{}).ID
	sayGlobal(t, s, install, inbox.Archived, second)
	head := sayGlobal(t, s, install, inbox.Clicked, first)
	require.EqualValues(t, 2, head.Version.Own)
	read, g := everything(t, s, install, inbox.Filter{})
	require.Equal(t, head.Receipts, read.Receipts)
	require.Equal(t, head.Version, read.Version)
	require.Zero(t, read.Counts, "they are of the inbox's own items")
	require.Equal(t, []int64{2, 1}, []int64{read.Receipts[0].Changed, read.Receipts[1].Changed})
	require.False(t, read.Receipts.Of(first).ClickedAt.IsZero())
	require.Equal(t, inbox.Counts{Total: 1}, g.Counts(read.Receipts))
	head, err := s.UpdateInbox(t.Context(), install, []inbox.MessageID{}, 0, func(ports.InboxEdit) (ports.InboxWrite, error) {
		return ports.InboxWrite{Globals: inbox.Receipts{}}, nil
	})
	require.NoError(t, err)
	require.Empty(t, head.Receipts)
	read, _ = everything(t, s, install, inbox.Filter{})
	require.Empty(t, read.Receipts)
	require.EqualValues(t, 3, read.Version.Own)
}

func merging(taken inbox.Receipts, into ports.InboxEdit) (ports.InboxWrite, error) {
	merged, changed := into.Receipts.Merge(taken, into.Next)
	if len(changed) == 0 {
		return ports.InboxWrite{}, nil
	}
	return ports.InboxWrite{Globals: merged}, nil
}

func takenOnce(t *testing.T, s InboxStore, _ Pass) {
	global, own := Send(t, s, Mail{}).ID, Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	sayGlobal(t, s, install, inbox.Read, global)
	before, _ := everything(t, s, install, inbox.Filter{})
	head, err := s.TakeReceipts(t.Context(), install, adas, merging)
	require.NoError(t, err)
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, head.Version, read.Version)
	require.EqualValues(t, 2, read.Version.Own)
	require.Equal(t, before.Receipts.Of(global), read.Receipts.Of(global))
	require.EqualValues(t, 2, read.Receipts[0].Changed)
	require.Equal(t, []inbox.MessageID{own}, idsOf(read.Items))

	empty, _ := everything(t, s, install, inbox.Filter{})
	require.Empty(t, empty.Receipts)
	require.Greater(t, empty.Version.Own, before.Version.Own)
	require.Greater(t, empty.Floor, before.Version.Own, "who knows the receipts cannot be told what has become of them")

	for range 2 { // again, into the same inbox and into another
		for _, viewer := range []inbox.Viewer{adas, graces} {
			_, err := s.TakeReceipts(t.Context(), install, viewer, func(taken inbox.Receipts, into ports.InboxEdit) (ports.InboxWrite, error) {
				require.Empty(t, taken)
				return merging(taken, into)
			})
			require.NoError(t, err)
		}
	}
	again, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, read.Version, again.Version)
	hers, _ := everything(t, s, graces, inbox.Filter{})
	require.Empty(t, hers.Receipts)

	// What the customer has done already changes nothing there, but is taken all the same.
	sayGlobal(t, s, install, inbox.Seen, global)
	_, err = s.TakeReceipts(t.Context(), install, adas, func(inbox.Receipts, ports.InboxEdit) (ports.InboxWrite, error) { return ports.InboxWrite{}, nil })
	require.NoError(t, err)
	empty, _ = everything(t, s, install, inbox.Filter{})
	require.Empty(t, empty.Receipts)

	// Two sign-ins at once.
	sayGlobal(t, s, install, inbox.Archived, global)
	var got atomic.Int32
	var both sync.WaitGroup
	for _, viewer := range []inbox.Viewer{adas, graces, inbox.CustomerViewer("zoe")} {
		both.Go(func() {
			_, err := s.TakeReceipts(context.Background(), install, viewer, func(taken inbox.Receipts, into ports.InboxEdit) (ports.InboxWrite, error) {
				return merging(taken, into)
			})
			if err != nil {
				t.Error(err)
			}
			read, _ := everything(t, s, viewer, inbox.Filter{})
			if !read.Receipts.Of(global).ArchivedAt.IsZero() {
				got.Add(1)
			}
		})
	}
	both.Wait()
	require.EqualValues(t, 1, got.Load(), "one customer has them")
}

func takingFails(t *testing.T, s InboxStore, _ Pass) {
	global := Send(t, s, Mail{}).ID
	sayGlobal(t, s, install, inbox.Read, global)
	before, _ := everything(t, s, install, inbox.Filter{})
	ours := errors.New("ours")
	_, err := s.TakeReceipts(t.Context(), install, adas, func(inbox.Receipts, ports.InboxEdit) (ports.InboxWrite, error) {
		return ports.InboxWrite{}, ours
	})
	require.ErrorIs(t, err, ours)
	after, _ := everything(t, s, install, inbox.Filter{})
	require.Equal(t, before.Receipts, after.Receipts)
	require.Equal(t, before.Version, after.Version)
}

func oneClaims(t *testing.T, s InboxStore, _ Pass) {
	claim := func(olderThan, abandoned time.Time) bool {
		t.Helper()
		claimed, err := s.ClaimPull(t.Context(), ada, olderThan, abandoned)
		require.NoError(t, err)
		return claimed
	}
	now := time.Now()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	var claimed atomic.Int32
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			got, err := s.ClaimPull(context.Background(), ada, now, past)
			if err != nil {
				t.Error(err)
			}
			if got {
				claimed.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, claimed.Load())
	require.True(t, claim(now, future), "whoever had it is taken for lost")
	require.False(t, claim(now, past))
	at := now.UTC().Truncate(time.Microsecond)
	require.NoError(t, s.Pulled(t.Context(), ada, at))
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, at, read.PulledAt)
	require.Zero(t, read.Version.Own, "nothing of it is in the inbox")
	require.False(t, claim(at, past), "it is not older than that")
	require.True(t, claim(at.Add(time.Microsecond), past), "nobody is at it any more")
	require.NoError(t, s.Pulled(t.Context(), ada, at.Add(-time.Minute)))
	read, _ = everything(t, s, adas, inbox.Filter{})
	require.Equal(t, at, read.PulledAt, "an older pull that ends late does not count")
	require.NoError(t, s.Pulled(t.Context(), grace, at))
	read, _ = everything(t, s, graces, inbox.Filter{})
	require.Equal(t, at, read.PulledAt)
}

func madeAtOnce(t *testing.T, s InboxStore, _ Pass) {
	global := Send(t, s, Mail{}).ID
	for n := range 10 {
		viewer := inbox.CustomerViewer(preference.CustomerID(fmt.Sprintf("new-%d", n)))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { sayGlobal(t, s, viewer, inbox.Seen, global) })
			all.Go(func() { Send(t, s, Mail{To: []preference.CustomerID{viewer.Customer}}) })
		}
		all.Wait()
		read, _ := everything(t, s, viewer, inbox.Filter{})
		require.Len(t, read.Items, 3)
		require.Len(t, read.Receipts, 1)
		require.Equal(t, inbox.Counts{Total: 3, Unseen: 3, Unread: 3}, read.Counts)
	}
}
