package portstest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func changesInParts(t *testing.T, s InboxStore, _ Pass) {
	var ids []inbox.MessageID
	for range 6 {
		ids = append(ids, Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID)
	}
	Send(t, s, Mail{To: []preference.CustomerID{ada}, In: time.Hour})
	say(t, s, adas, inbox.Seen, ids[1], ids[3], ids[4]) // version 7
	say(t, s, adas, inbox.Archived, ids[0])             // version 8
	Retract(t, s, ids[5])                               // version 9
	part := func(since int64, limit int) ports.InboxChangesRead {
		t.Helper()
		read, err := s.ReadChanges(t.Context(), adas, since, ports.Concerned{}, CardFormat, limit)
		require.NoError(t, err)
		require.EqualValues(t, 9, read.Version.Own)
		return read
	}
	all := part(0, 100)
	require.Equal(t, []inbox.MessageID{ids[2], ids[0], ids[5]}, slices.DeleteFunc(idsOf(all.Items), func(id inbox.MessageID) bool {
		return id == ids[1] || id == ids[3] || id == ids[4]
	}), "the oldest change first")
	require.Len(t, all.Items, 6, "what waits has not changed")
	require.EqualValues(t, 9, all.UpTo)
	require.True(t, all.Items[5].Gone)
	require.False(t, all.Items[4].Gone)
	require.True(t, all.Items[4].Receipt.Archived())
	require.Equal(t, inbox.Counts{Total: 4, Unseen: 1, Unread: 4}, all.Counts)

	first := part(0, 2)
	require.Len(t, first.Items, 4, "what changed with the last of them is not cut in two")
	require.EqualValues(t, 7, first.UpTo)
	second := part(first.UpTo, 1)
	require.Equal(t, []inbox.MessageID{ids[0]}, idsOf(second.Items))
	require.EqualValues(t, 8, second.UpTo)
	last := part(second.UpTo, 1)
	require.Equal(t, []inbox.MessageID{ids[5]}, idsOf(last.Items))
	require.EqualValues(t, 9, last.UpTo)
	require.Empty(t, part(9, 1).Items)
	require.EqualValues(t, 9, part(9, 1).UpTo)
}

func changesConcerned(t *testing.T, s InboxStore, _ Pass) {
	target := activeTarget(t, s, "orders", "app://orders/{id}")
	linked := Send(t, s, Mail{To: []preference.CustomerID{ada}, Link: "app://orders/1"}).ID
	plain := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	other := Send(t, s, Mail{To: []preference.CustomerID{grace}, Link: "app://orders/2"}).ID
	late := Send(t, s, Mail{To: []preference.CustomerID{ada}, Link: "app://orders/3"}).ID
	read := func(since int64, c ports.Concerned) ports.InboxChangesRead {
		t.Helper()
		changes, err := s.ReadChanges(t.Context(), adas, since, c, CardFormat, 1)
		require.NoError(t, err)
		return changes
	}
	require.Empty(t, read(3, ports.Concerned{}).Items)
	require.Equal(t, []inbox.MessageID{linked, late}, sorted(read(3, ports.Concerned{Targets: []inbox.TargetKey{target.Key}})))
	require.Equal(t, []inbox.MessageID{plain}, sorted(read(3, ports.Concerned{Messages: []inbox.MessageID{plain, other}})))
	require.Equal(t, []inbox.MessageID{plain, late}, idsOf(read(2, ports.Concerned{Messages: []inbox.MessageID{plain, late}}).Items), "each once, and none is counted against the limit")
	both := read(0, ports.Concerned{Messages: []inbox.MessageID{plain}, Targets: []inbox.TargetKey{target.Key}})
	require.Equal(t, []inbox.MessageID{linked}, idsOf(both.Items), "the rest comes with the changes that follow")
	require.EqualValues(t, 1, both.UpTo)
	require.Equal(t, []inbox.TargetKey{target.Key}, both.Items[0].Targets)
}

func sorted(read ports.InboxChangesRead) []inbox.MessageID {
	return slices.Sorted(slices.Values(idsOf(read.Items)))
}

func activeTarget(t *testing.T, s ports.MessageStore, key inbox.TargetKey, pattern string) inbox.LinkTarget {
	t.Helper()
	return putTarget(t, s, key, pattern, true, time.Time{}, time.Time{})
}

func putTarget(t *testing.T, s ports.MessageStore, key inbox.TargetKey, pattern string, active bool, from, until time.Time) inbox.LinkTarget {
	t.Helper()
	p, err := inbox.ParsePattern(pattern)
	require.NoError(t, err)
	target, err := inbox.NewLinkTarget(key, p, active, from, until)
	require.NoError(t, err)
	stored, _, err := s.PutTarget(t.Context(), target)
	require.NoError(t, err)
	return stored
}

func globalsNow(t *testing.T, s ports.Globals) *inbox.Globals {
	t.Helper()
	g, err := s.Globals(t.Context())
	require.NoError(t, err)
	head, err := s.GlobalHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, g.Version, head.Version)
	require.False(t, head.Due)
	require.WithinDuration(t, time.Now(), head.Now, time.Minute)
	return g
}

func shown(g *inbox.Globals) []inbox.MessageID {
	ids := make([]inbox.MessageID, 0, len(g.Messages))
	for _, m := range g.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func concernedSince(t *testing.T, s ports.Globals, since int64) ports.Concerned {
	t.Helper()
	c, err := s.GlobalChanges(t.Context(), since)
	require.NoError(t, err)
	return c
}

func globalsOfOneVersion(t *testing.T, s InboxStore, pass Pass) {
	start := globalsNow(t, s)
	require.Empty(t, start.Messages)
	require.True(t, start.NextChange.IsZero())
	_, err := s.GlobalChanges(t.Context(), start.Floor-1)
	require.ErrorIs(t, err, fault.New(fault.Gone, "version-too-old", ""))
	now := Send(t, s, Mail{Title: "now", Category: "news", Life: 5 * time.Hour})
	later := Send(t, s, Mail{Pinned: true, In: time.Hour, Life: time.Hour})
	Send(t, s, Mail{To: []preference.CustomerID{ada}})

	g := globalsNow(t, s)
	require.Equal(t, []inbox.MessageID{now.ID}, shown(g))
	require.Equal(t, now, *g.Messages[0])
	require.Equal(t, start.Version+1, g.Version)
	require.Equal(t, g.Version, now.Added)
	require.Equal(t, later.PublishedAt, g.NextChange)
	require.Equal(t, ports.Concerned{Messages: []inbox.MessageID{now.ID}}, concernedSince(t, s, start.Version))
	require.Empty(t, concernedSince(t, s, g.Version))

	pass(time.Hour + time.Minute)
	head, err := s.GlobalHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, g.Version, head.Version, "nobody has made it so yet")
	require.True(t, head.Due)
	read, err := s.ReadInbox(t.Context(), ports.InboxQuery{Viewer: adas})
	require.NoError(t, err)
	require.True(t, read.GlobalsDue)
	begun := globalsNow(t, s)
	require.Equal(t, []inbox.MessageID{later.ID, now.ID}, shown(begun))
	require.Equal(t, g.Version+1, begun.Version)
	require.Equal(t, begun.Version, begun.Messages[0].Added)
	require.Equal(t, begun.Messages[0].Expiry, begun.NextChange)
	require.Equal(t, []inbox.MessageID{later.ID}, concernedSince(t, s, g.Version).Messages)

	pass(time.Hour)
	ended := globalsNow(t, s)
	require.Equal(t, []inbox.MessageID{now.ID}, shown(ended))
	require.Equal(t, begun.Version+1, ended.Version)
	require.Equal(t, []inbox.MessageID{later.ID}, concernedSince(t, s, begun.Version).Messages)
	require.Equal(t, []inbox.MessageID{now.ID, later.ID}, concernedSince(t, s, start.Version).Messages, "each once")
	pass(4 * time.Hour)
	last := globalsNow(t, s)
	require.Empty(t, last.Messages)
	require.True(t, last.NextChange.IsZero())
	require.Equal(t, last.Version, globalsNow(t, s).Version)
	require.Equal(t, ended.Version+1, last.Version)
}

func targetsBeginAndEnd(t *testing.T, s InboxStore, pass Pass) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	target := putTarget(t, s, "sale", "app://sale", true, now.Add(time.Hour), now.Add(2*time.Hour))
	off := putTarget(t, s, "off", "app://off", false, now.Add(time.Hour), now.Add(2*time.Hour))
	g := globalsNow(t, s)
	require.Equal(t, []inbox.LinkTarget{off, target}, g.Links.All())
	require.Equal(t, target.From, g.NextChange)
	for range 2 {
		before := g
		pass(time.Hour + time.Minute)
		g = globalsNow(t, s)
		require.Equal(t, before.Version+1, g.Version)
		require.Equal(t, ports.Concerned{Targets: []inbox.TargetKey{"sale"}}, concernedSince(t, s, before.Version))
	}
	require.True(t, g.NextChange.IsZero())
}

func leavesAtOnce(t *testing.T, s InboxStore, _ Pass) {
	stays := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	many := Send(t, s, Mail{To: []preference.CustomerID{ada, grace}, Many: true}).ID
	deliver(t, s, many)
	archived := Send(t, s, Mail{To: []preference.CustomerID{ada}, Many: true}).ID
	deliver(t, s, archived)
	say(t, s, adas, inbox.Seen, many)
	say(t, s, adas, inbox.Archived, archived)
	before, g := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, inbox.Counts{Total: 2, Unseen: 1, Unread: 2}, before.Counts)
	require.Empty(t, g.Leaving)
	Retract(t, s, many)
	Retract(t, s, archived)
	check := func() {
		t.Helper()
		read, _ := everything(t, s, adas, inbox.Filter{})
		require.Equal(t, []inbox.MessageID{stays}, idsOf(read.Items))
		require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, read.Counts)
		read, _ = everything(t, s, adas, inbox.Filter{View: inbox.ViewArchived})
		require.Empty(t, read.Items)
		head, err := s.UpdateInbox(t.Context(), adas, []inbox.MessageID{many, stays}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
			require.Equal(t, []inbox.MessageID{stays}, idsOf(e.Items))
			require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, e.Counts)
			return ports.InboxWrite{}, nil
		})
		require.NoError(t, err)
		require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, head.Counts)
		changes, err := s.ReadChanges(t.Context(), adas, before.Version.Own, concernedSince(t, s, before.Version.Global), CardFormat, 10)
		require.NoError(t, err)
		require.Equal(t, []inbox.MessageID{many, archived}, sorted(changes))
		require.True(t, changes.Items[0].Gone && changes.Items[1].Gone)
		require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, changes.Counts)
	}
	require.Equal(t, []inbox.MessageID{many, archived}, globalsNow(t, s).Leaving)
	check()
	deliver(t, s, many)
	deliver(t, s, archived)
	require.Empty(t, globalsNow(t, s).Leaving)
	check()
}

func deliver(t require.TestingT, s ports.MessageStore, id inbox.MessageID) {
	for range 100 {
		_, left, err := s.Deliver(context.Background(), id)
		require.NoError(t, err)
		if left == 0 {
			return
		}
	}
	require.Fail(t, "it is never delivered")
}

func endedEdit(t *testing.T, s InboxStore, _ Pass) {
	id := Send(t, s, Mail{To: []preference.CustomerID{ada}}).ID
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.UpdateInbox(ctx, adas, []inbox.MessageID{id}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		cancel()
		return saying(inbox.Read)(e)
	})
	require.Error(t, err)
	_, known := fault.As(err)
	require.False(t, known, "it is the caller who has ended it")
	_, err = s.ReadInbox(ctx, ports.InboxQuery{Viewer: adas})
	require.ErrorIs(t, err, context.Canceled)
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, read.Counts)
}
