package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

func retractPersonal(t *testing.T, s MessageStore) {
	m, other := Publish(t, s, Draft(ada, grace)), Publish(t, s, Draft(ada))
	acknowledge(t, s, ada, m.ID, inbox.Read)
	acknowledge(t, s, grace, m.ID, inbox.Archived)
	before := box(t, s, ada)
	require.Equal(t, inbox.Counts{Total: 2, Unseen: 1, Unread: 1}, before.Counts)
	gone, err := s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	require.False(t, gone.RetractedAt.IsZero())
	require.Equal(t, []inbox.MessageID{other.ID}, shows(t, s, ada))
	after := box(t, s, ada)
	require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, after.Counts)
	require.Equal(t, before.Version.Own+1, after.Version.Own)
	_, removed := changedSince(t, s, ada, before.Version.Own)
	require.Equal(t, []inbox.MessageID{m.ID}, removed)
	require.Zero(t, box(t, s, grace).Counts)

	again, err := s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, gone, again)
	require.Equal(t, after.Version, box(t, s, ada).Version)
	_, err = edit(t, s, m.ID, retitled("x"))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
}

func retractGlobal(t *testing.T, s MessageStore) {
	m := Publish(t, s, Draft())
	before := globals(t, s)
	_, err := s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	after := globals(t, s)
	require.Empty(t, after.Messages)
	require.Empty(t, after.Leaving)
	require.Equal(t, before.Version+1, after.Version)
	concerned, err := s.GlobalChanges(t.Context(), before.Version)
	require.NoError(t, err)
	require.Equal(t, ports.Concerned{Messages: []inbox.MessageID{m.ID}}, concerned)
	_, err = s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, after.Version, globals(t, s).Version)
}

func retractMany(t *testing.T, s MessageStore) {
	customers := crowd(1203)
	m := Publish(t, s, Draft(customers...))
	other := Publish(t, s, Draft(customers[7]))
	DeliverAll(t, s, m.ID)
	acknowledge(t, s, customers[7], m.ID, inbox.Seen)
	before := globals(t, s).Version
	_, err := s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID}, globals(t, s).Leaving)
	require.Equal(t, before+1, globals(t, s).Version)
	concerned, err := s.GlobalChanges(t.Context(), before)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID}, concerned.Messages)
	require.Equal(t, []inbox.MessageID{other.ID}, shows(t, s, customers[7]), "at once, though nothing has left")
	require.Empty(t, shows(t, s, customers[1202]))

	waiting, err := s.Undelivered(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID}, waiting)
	done, left, err := s.Deliver(t.Context(), m.ID)
	require.NoError(t, err)
	require.Positive(t, left)
	require.Equal(t, []inbox.MessageID{m.ID}, globals(t, s).Leaving)
	require.Equal(t, len(customers), done+DeliverAll(t, s, m.ID))
	require.Empty(t, globals(t, s).Leaving)
	require.Equal(t, []inbox.MessageID{other.ID}, shows(t, s, customers[7]))
	require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, box(t, s, customers[7]).Counts)
	_, removed := changedSince(t, s, customers[1202], 1)
	require.Equal(t, []inbox.MessageID{m.ID}, removed)
}

func retractHalfway(t *testing.T, s MessageStore) {
	customers := crowd(1203)
	m := Publish(t, s, Draft(customers...))
	done, _, err := s.Deliver(t.Context(), m.ID)
	require.NoError(t, err)
	gone, err := s.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
	require.Zero(t, gone.Undelivered, "nobody is waiting for it any more")
	require.Equal(t, done, DeliverAll(t, s, m.ID))
	for _, c := range customers {
		require.Empty(t, shows(t, s, c))
	}
	unsent := Publish(t, s, Draft(customers...))
	_, err = s.RetractMessage(t.Context(), unsent.ID)
	require.NoError(t, err)
	require.Empty(t, globals(t, s).Leaving, "it is nowhere")
	require.Zero(t, DeliverAll(t, s, unsent.ID))
}

func editPersonal(t *testing.T, s MessageStore) {
	m, newer := Publish(t, s, Draft(ada, grace)), Publish(t, s, Draft(ada))
	acknowledge(t, s, ada, m.ID, inbox.Read)
	before := box(t, s, ada)
	after, err := edit(t, s, m.ID, retitled("Another"))
	require.NoError(t, err)
	require.Equal(t, "Another", after.Content.Title)
	stored, err := s.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, after, stored)
	changed, gone := changedSince(t, s, ada, before.Version.Own)
	require.Equal(t, []inbox.MessageID{m.ID}, changed)
	require.Empty(t, gone)
	require.Equal(t, before.Counts, box(t, s, ada).Counts, "what was done with it stays")

	_, err = edit(t, s, m.ID, pinned(true))
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID, newer.ID}, shows(t, s, ada))
	ends := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	_, err = edit(t, s, m.ID, expiring(ends))
	require.NoError(t, err)
	item := box(t, s, ada).Items[0]
	require.Equal(t, ends, item.Expiry)
	require.False(t, item.Receipt.ReadAt.IsZero())
	require.Equal(t, before.Version.Own+3, box(t, s, ada).Version.Own)

	soonest := time.Now().Add(300 * time.Millisecond)
	_, err = edit(t, s, m.ID, expiring(soonest))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(shows(t, s, grace)) == 0 }, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, []inbox.MessageID{newer.ID}, shows(t, s, ada))
}

func editNothing(t *testing.T, s MessageStore) {
	d := Draft(ada)
	d.Content.Actions = []inbox.Action{}
	personal, global := Publish(t, s, d), Publish(t, s, Draft())
	own, all := box(t, s, ada).Version, globals(t, s).Version
	for _, m := range []ports.StoredMessage{personal, global} {
		same, err := edit(t, s, m.ID, func(m *inbox.Message) inbox.Edit {
			c := m.Content
			c.Actions = []inbox.Action{}
			return inbox.Edit{Content: &c, Expiry: &m.Expiry}
		})
		require.NoError(t, err)
		require.Equal(t, m.UpdatedAt, same.UpdatedAt)
	}
	require.Equal(t, own, box(t, s, ada).Version)
	require.Equal(t, all, globals(t, s).Version)
}

func editGlobal(t *testing.T, s MessageStore) {
	m := Publish(t, s, Draft())
	before := globals(t, s).Version
	_, err := edit(t, s, m.ID, retitled("Another"))
	require.NoError(t, err)
	after := globals(t, s)
	require.Equal(t, before+1, after.Version)
	stored, ok := after.Message(m.ID)
	require.True(t, ok)
	require.Equal(t, "Another", stored.Content.Title)
	require.Equal(t, m.Added, stored.Added)
	_, err = edit(t, s, m.ID, expiring(time.Now().Add(300*time.Millisecond)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(globals(t, s).Messages) == 0 }, 20*time.Second, 20*time.Millisecond)
}

func editMany(t *testing.T, s MessageStore) {
	customers := crowd(1203)
	m := Publish(t, s, Draft(customers...))
	first, last := customers[0], customers[1202]
	_, _, err := s.Deliver(t.Context(), m.ID) // first has it, last has not
	require.NoError(t, err)
	newer := Publish(t, s, Draft(first, last))
	before := globals(t, s).Version
	_, err = edit(t, s, m.ID, pinned(true))
	require.NoError(t, err)
	require.Equal(t, before+1, globals(t, s).Version)
	DeliverAll(t, s, m.ID)
	for _, c := range []([]inbox.MessageID){shows(t, s, first), shows(t, s, last)} {
		require.Equal(t, []inbox.MessageID{m.ID, newer.ID}, c)
	}
	own := box(t, s, first).Version.Own
	_, err = edit(t, s, m.ID, retitled("Another"))
	require.NoError(t, err)
	require.Zero(t, DeliverAll(t, s, m.ID), "the text is in no inbox")
	require.Equal(t, before+2, globals(t, s).Version)
	require.Equal(t, own, box(t, s, first).Version.Own)
	waiting, err := s.Undelivered(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, waiting)
}

func editRevives(t *testing.T, s MessageStore) {
	soonest := time.Now().Add(500 * time.Millisecond)
	mine, all := Draft(ada), Draft()
	mine.Expiry, all.Expiry = soonest, soonest
	personal, global := Publish(t, s, mine), Publish(t, s, all)
	require.Eventually(t, func() bool { return len(shows(t, s, ada)) == 0 && len(globals(t, s).Messages) == 0 }, 20*time.Second, 20*time.Millisecond)
	later := time.Now().Add(time.Hour)
	_, err := edit(t, s, personal.ID, expiring(later))
	require.NoError(t, err)
	revived, err := edit(t, s, global.ID, expiring(later))
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{personal.ID}, shows(t, s, ada))
	g := globals(t, s)
	require.Equal(t, g.Version, revived.Added)
	stored, ok := g.Message(global.ID)
	require.True(t, ok)
	require.Equal(t, revived.Message, *stored)
}

func editRefused(t *testing.T, s MessageStore) {
	m := Publish(t, s, Draft())
	before := globals(t, s).Version
	refusal := errors.New("no")
	_, err := s.EditMessage(t.Context(), m.ID, func(inbox.Message, *inbox.Links, time.Time) (*inbox.Message, error) { return nil, refusal })
	require.ErrorIs(t, err, refusal)
	_, err = edit(t, s, m.ID, func(m *inbox.Message) inbox.Edit {
		c := m.Content
		c.Link = "app://nowhere"
		return inbox.Edit{Content: &c}
	})
	require.ErrorIs(t, err, fault.New(fault.Invalid, "deeplink-inactive", ""))
	stored, err := s.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, m, stored)
	require.Equal(t, before, globals(t, s).Version)
}
