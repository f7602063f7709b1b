package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// tomorrow makes everything that has ended old.
func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// cleanAll cleans up to the end.
func cleanAll(t testing.TB, s ports.MessageStore, before time.Time, batch int) (all ports.CleanedUp) {
	t.Helper()
	for {
		done, err := s.CleanUp(t.Context(), before, batch)
		require.NoError(t, err)
		all.Messages, all.Items, all.Repaired = all.Messages+done.Messages, all.Items+done.Items, all.Repaired+done.Repaired
		if !done.More {
			return all
		}
	}
}

func retract(t testing.TB, s ports.MessageStore, ids ...inbox.MessageID) {
	t.Helper()
	for _, id := range ids {
		_, err := s.RetractMessage(t.Context(), id)
		require.NoError(t, err)
	}
}

func cleanUp(t *testing.T, s MessageStore) {
	personal, global, stays := Publish(t, s, Draft(ada, grace)), Publish(t, s, Draft()), Publish(t, s, Draft(ada))
	many := Publish(t, s, Draft(crowd(10)...))
	DeliverAll(t, s, many.ID)
	retract(t, s, personal.ID, global.ID, many.ID)
	DeliverAll(t, s, many.ID)
	before := box(t, s, ada)
	require.Equal(t, ports.CleanedUp{Messages: 3, Items: 12}, cleanAll(t, s, time.Now().Add(time.Hour), 100))
	after := box(t, s, ada)
	require.Equal(t, before.Version.Own, after.Version.Own, "nobody can see a difference")
	require.Equal(t, before.Version.Own, after.Floor, "but what has changed before is no longer known")
	require.Equal(t, before.Items, after.Items)
	for _, id := range []inbox.MessageID{personal.ID, global.ID, many.ID} {
		_, err := s.Message(t.Context(), id)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	}
	_, err := s.Message(t.Context(), stays.ID)
	require.NoError(t, err)
	require.Zero(t, cleanAll(t, s, time.Now().Add(time.Hour), 100))
}

func cleanUpLeaves(t *testing.T, s MessageStore) {
	m, global := Publish(t, s, Draft(ada)), Publish(t, s, Draft())
	before := box(t, s, ada)
	require.Zero(t, cleanAll(t, s, tomorrow(), 100), "they have not ended")
	retract(t, s, m.ID, global.ID)
	require.Zero(t, cleanAll(t, s, time.Now().Add(-time.Hour), 100), "they have ended just now")
	_, gone := changedSince(t, s, ada, before.Version.Own)
	require.Equal(t, []inbox.MessageID{m.ID}, gone)
	require.Zero(t, box(t, s, ada).Floor)
}

func cleanUpChanges(t *testing.T, s MessageStore) {
	for range 5 {
		Publish(t, s, Draft())
	}
	before := globals(t, s)
	cleanAll(t, s, time.Now().Add(-time.Hour), 2)
	require.Equal(t, before.Floor, globals(t, s).Floor)
	cleanAll(t, s, tomorrow(), 2)
	after := globals(t, s)
	require.Equal(t, before.Version, after.Version)
	require.Equal(t, before.Version, after.Floor)
	require.Len(t, after.Messages, 5)
}

func cleanUpUnseen(t *testing.T, s MessageStore) {
	d := Draft(ada)
	d.Expiry = time.Now().Add(300 * time.Millisecond)
	m, stays := Publish(t, s, d), Publish(t, s, Draft(ada))
	before := m.Expiry
	require.Eventually(t, func() bool { // nobody reads ada's inbox meanwhile
		now, err := s.GlobalHead(t.Context())
		require.NoError(t, err)
		return now.Now.After(before)
	}, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, ports.CleanedUp{Messages: 1, Items: 1}, cleanAll(t, s, tomorrow(), 100))
	after := box(t, s, ada)
	require.Equal(t, []inbox.MessageID{stays.ID}, shows(t, s, ada))
	require.EqualValues(t, 3, after.Version.Own)
	require.EqualValues(t, 3, after.Floor)
}

func cleanUpInBatches(t *testing.T, s MessageStore) {
	var customers []preference.CustomerID
	for _, c := range crowd(7) {
		customers = append(customers, c)
		m := Publish(t, s, Draft(customers[max(0, len(customers)-InlineRecipients):]...))
		retract(t, s, m.ID)
	}
	require.Equal(t, ports.CleanedUp{Messages: 7, Items: 1 + 2 + 5*InlineRecipients}, cleanAll(t, s, tomorrow(), 2))
	for _, c := range customers {
		require.Empty(t, shows(t, s, c))
	}
}
