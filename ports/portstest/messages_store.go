package portstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// MessageStore is everything about messages that shares one database.
type MessageStore interface {
	ports.MessageStore
	ports.Inboxes
	ports.Globals
	ports.Feeds
}

// InlineRecipients is how many recipients get a message in the transaction that publishes it, in these tests.
const InlineRecipients = 3

// Draft is a message to these customers, or a global one when there are none. Its name was not used before.
func Draft(customers ...preference.CustomerID) inbox.Draft {
	d := inbox.Draft{Source: "tests", ExternalID: NewID(), Audience: inbox.Personal, Recipients: customers,
		Content: inbox.Content{Text: inbox.Text{Title: "Hello", Body: "World"}}}
	if len(customers) == 0 {
		d.Audience = inbox.Global
	}
	return d
}

// Publish stores a message that must be a new one.
func Publish(t testing.TB, s ports.MessageStore, d inbox.Draft) ports.StoredMessage {
	t.Helper()
	m, created, err := TryPublish(t, s, d)
	require.NoError(t, err)
	require.True(t, created)
	return m
}

// TryPublish is what use cases do.
func TryPublish(t testing.TB, s ports.MessageStore, d inbox.Draft) (m ports.StoredMessage, created bool, err error) {
	t.Helper()
	return s.PublishMessage(t.Context(), d.Source, d.ExternalID, d.Recipients, InlineRecipients, d.Publish)
}

// DeliverAll delivers to the end, and says how many inboxes were concerned.
func DeliverAll(t testing.TB, s ports.MessageStore, id inbox.MessageID) (all int) {
	t.Helper()
	for {
		done, left, err := s.Deliver(t.Context(), id)
		require.NoError(t, err)
		all += done
		if left == 0 {
			return all
		}
	}
}

// Target puts a link target that must be valid into the catalogue.
func Target(t testing.TB, s ports.MessageStore, key, pattern string, active bool) inbox.LinkTarget {
	t.Helper()
	p, err := inbox.ParsePattern(pattern)
	require.NoError(t, err)
	stored, _, err := s.PutTarget(t.Context(), inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: active})
	require.NoError(t, err)
	return stored
}

// edit changes content and expiry as the domain does.
func edit(t testing.TB, s ports.MessageStore, id inbox.MessageID, change func(*inbox.Message) inbox.Edit) (ports.StoredMessage, error) {
	t.Helper()
	return s.EditMessage(t.Context(), id, func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
		return m.Edited(change(&m), links, now)
	})
}

func retitled(title string) func(*inbox.Message) inbox.Edit {
	return func(m *inbox.Message) inbox.Edit {
		c := m.Content
		c.Title = title
		return inbox.Edit{Content: &c}
	}
}

func pinned(pin bool) func(*inbox.Message) inbox.Edit {
	return func(m *inbox.Message) inbox.Edit {
		c := m.Content
		c.Pinned = pin
		return inbox.Edit{Content: &c}
	}
}

func expiring(at time.Time) func(*inbox.Message) inbox.Edit {
	return func(*inbox.Message) inbox.Edit { return inbox.Edit{Expiry: &at} }
}

// box reads a customer's own inbox, as somebody who knows what is leaving.
func box(t testing.TB, s MessageStore, customer preference.CustomerID) ports.InboxRead {
	t.Helper()
	g, err := s.Globals(t.Context())
	require.NoError(t, err)
	read, err := s.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer(customer), Leaving: g.Leaving, Page: &ports.PageQuery{Limit: 100}})
	require.NoError(t, err)
	require.Len(t, read.Items, read.Counts.Total, "the count and the list")
	return read
}

// shows are the messages in a customer's own inbox, in its order.
func shows(t testing.TB, s MessageStore, customer preference.CustomerID) []inbox.MessageID {
	t.Helper()
	ids := []inbox.MessageID{}
	for _, item := range box(t, s, customer).Items {
		ids = append(ids, item.Position.ID)
	}
	return ids
}

func globals(t testing.TB, s MessageStore) *inbox.Globals {
	t.Helper()
	g, err := s.Globals(t.Context())
	require.NoError(t, err)
	return g
}

// crowd is more customers than one batch of a delivery takes.
func crowd(n int) []preference.CustomerID {
	out := make([]preference.CustomerID, n)
	for i := range out {
		out[i] = preference.CustomerID(fmt.Sprintf("crowd-%06d", i))
	}
	return out
}

// acknowledge says one thing about one message of a customer's own.
func acknowledge(t testing.TB, s ports.Inboxes, customer preference.CustomerID, id inbox.MessageID, state inbox.State) {
	t.Helper()
	_, err := s.UpdateInbox(t.Context(), inbox.CustomerViewer(customer), []inbox.MessageID{id}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		w := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
		for _, item := range e.Items {
			if r := item.Receipt.Apply(state, inbox.When(e.Now, item.Position.Published, e.Now)); r != item.Receipt {
				w.Receipts[item.Position.ID] = r
			}
		}
		return w, nil
	})
	require.NoError(t, err)
}

// changedSince lists what has changed in a customer's own inbox, and which of that is gone.
func changedSince(t testing.TB, s ports.Inboxes, customer preference.CustomerID, since int64) (changed, gone []inbox.MessageID) {
	t.Helper()
	read, err := s.ReadChanges(t.Context(), inbox.CustomerViewer(customer), since, ports.Concerned{}, 0, 100)
	require.NoError(t, err)
	for _, item := range read.Items {
		changed = append(changed, item.Position.ID)
		if item.Gone {
			gone = append(gone, item.Position.ID)
		}
	}
	slices.Sort(changed)
	return changed, gone
}
