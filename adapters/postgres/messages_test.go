package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

func freshMessages(t *testing.T) portstest.MessageStore { return open(t, migrated(t)) }

func TestMessages(t *testing.T) { t.Parallel(); portstest.Messages(t, freshMessages) }
func TestFeeds(t *testing.T)    { t.Parallel(); portstest.Feeds(t, freshMessages) }

func TestEvents(t *testing.T) {
	t.Parallel()
	portstest.Events(t, func(t *testing.T) (here, there portstest.EventStore) {
		url := migrated(t)
		return open(t, url), open(t, url)
	})
}

// Round trips are what publishing costs, however many there are to get it at once.
func TestStatementsOfPublishing(t *testing.T) {
	t.Parallel()
	seen := &counter{}
	db, err := postgres.Open(t.Context(), postgres.Config{URL: migrated(t), Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Tracer: seen})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	portstest.Target(t, db, "orders", "app://orders/{order_id}", true)
	portstest.Publish(t, db, linkedDraft("ada")) // reads the catalogue
	for name, d := range map[string]inbox.Draft{"one": linkedDraft("ada"), "three": linkedDraft("ada", "grace", "b"), "all": linkedDraft()} {
		seen.statements = nil
		portstest.Publish(t, db, d)
		require.Len(t, seen.statements, 2, "to %s:\n%s", name, strings.Join(seen.statements, "\n"))
		seen.statements = nil
		_, created, err := portstest.TryPublish(t, db, d)
		require.NoError(t, err)
		require.False(t, created)
		require.Len(t, seen.statements, 2, "again, to %s:\n%s", name, strings.Join(seen.statements, "\n"))
	}
}

// titles is a card that says what it was made of.
type titles struct{ format int }

func (c titles) Format() int { return c.format }
func (c titles) Card(m *inbox.Message, _ []string, _ func(string) bool) []byte {
	return fmt.Appendf(nil, `"title":%q`, m.Content.Title)
}

func TestCardsAreStoredWithTheirMessage(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Cards: titles{7}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	card := func(format int) string {
		t.Helper()
		read, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer("ada"), Page: &ports.PageQuery{Limit: 1, Format: format}})
		require.NoError(t, err)
		return string(read.Items[0].Card)
	}
	m := portstest.Publish(t, db, portstest.Draft("ada"))
	require.Equal(t, `"title":"Hello"`, card(7))
	require.Empty(t, card(8), "another format is of no use")
	_, err = db.EditMessage(t.Context(), m.ID, func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
		m.Content.Title = "Another"
		return m.Edited(inbox.Edit{Content: &m.Content}, links, now)
	})
	require.NoError(t, err)
	require.Equal(t, `"title":"Another"`, card(7))
	portstest.Publish(t, open(t, url), portstest.Draft("ada"))
	require.Empty(t, card(7), "nobody has encoded this one")
}

// A large audience is stored within seconds, in one transaction.
func TestPublishingToVeryMany(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	customers := make([]preference.CustomerID, 100_000)
	for i := range customers {
		customers[i] = preference.CustomerID(fmt.Sprintf("customer-%07d", i))
	}
	began := time.Now()
	m := portstest.Publish(t, db, portstest.Draft(customers...))
	t.Logf("%d recipients in %v", len(customers), time.Since(began))
	require.Equal(t, len(customers), m.Undelivered)
	_, err := db.RetractMessage(t.Context(), m.ID)
	require.NoError(t, err)
}
