package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/ports/portstest"
)

// openInboxes gives a process's view of a database of the test's own, and a way to let time go by in it.
func openInboxes(t testing.TB) (*postgres.DB, string, portstest.Pass) {
	t.Helper()
	url := migrated(t)
	return openInboxesAt(t, url, 0, nil), url, passIn(t, url)
}

func openInboxesAt(t testing.TB, url string, conns int, tracer pgx.QueryTracer) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Cards: portstest.Encoder{}, MaxConns: conns, Tracer: tracer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// passIn moves what is not over yet into the past, with the locks of whoever changes it, in their order.
func passIn(t testing.TB, url string) portstest.Pass {
	t.Helper()
	conn := connect(t, url)
	var one sync.Mutex
	return func(d time.Duration) {
		t.Helper()
		one.Lock()
		defer one.Unlock()
		var b pgx.Batch
		for _, statement := range []string{
			`begin`,
			`SELECT FROM deeplink_targets ORDER BY key FOR UPDATE`,
			`SELECT FROM inbox_globals FOR UPDATE`,
			`SELECT FROM messages ORDER BY id FOR UPDATE`,
			`LOCK TABLE inboxes IN EXCLUSIVE MODE`, // those that are only just being made, too
		} {
			b.Queue(statement)
		}
		for _, statement := range []string{
			`UPDATE messages SET published_at = published_at - $1::interval, expires_at = expires_at - $1::interval WHERE expires_at > now() AND retracted_at IS NULL`,
			`UPDATE inbox_items SET published_at = published_at - $1::interval, expires_at = expires_at - $1::interval WHERE expires_at > now() AND state < 2`,
			`UPDATE inboxes SET next_change = next_change - $1::interval WHERE next_change < 'infinity'`,
			`UPDATE deeplink_targets SET active_from = active_from - $1::interval, active_until = active_until - $1::interval`,
			`UPDATE inbox_globals SET next_change = next_change - $1::interval WHERE next_change < 'infinity'`,
		} {
			b.Queue(statement, d)
		}
		b.Queue(`commit`)
		require.NoError(t, conn.SendBatch(context.Background(), &b).Close())
	}
}

func TestInboxes(t *testing.T) {
	t.Parallel()
	portstest.Inboxes(t, func(t *testing.T) (portstest.InboxStore, portstest.Pass) {
		db, _, pass := openInboxes(t)
		return db, pass
	})
}

func TestInboxModel(t *testing.T) {
	t.Parallel()
	portstest.InboxModel(t, func(t *testing.T) (portstest.InboxStore, portstest.Pass) {
		db, _, pass := openInboxes(t)
		return db, pass
	})
}

func TestInboxTogether(t *testing.T) {
	t.Parallel()
	portstest.InboxTogether(t, func(t *testing.T) (portstest.InboxStore, portstest.Pass) {
		db, _, pass := openInboxes(t)
		return db, pass
	})
}
