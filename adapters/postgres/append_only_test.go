package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/devstack"
	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

func chainOf(t testing.TB, l ports.Ledger, customer preference.CustomerID) []consent.Line {
	t.Helper()
	links, err := l.Entries(t.Context(), customer, 0, 1000)
	require.NoError(t, err)
	return links
}

var forbidden = []string{
	`UPDATE ledger SET body = body`,
	`UPDATE ledger SET hash = prev_hash WHERE seq = 2`,
	`DELETE FROM ledger`,
	`DELETE FROM ledger WHERE seq = 1`,
	`TRUNCATE ledger`,
	`INSERT INTO ledger SELECT * FROM ledger ON CONFLICT (chain, seq) DO UPDATE SET body = excluded.body`,
}

func refuses(t *testing.T, conn *pgx.Conn, setting string) {
	t.Helper()
	for _, statement := range forbidden {
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		if setting != "" {
			_, err = tx.Exec(t.Context(), setting)
			require.NoError(t, err)
		}
		_, err = tx.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "append-only", statement)
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

func TestTheDatabaseRefusesToChangeTheLedger(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"), portstest.Unsubscribe("ada"))
	refuses(t, connect(t, url), "")
	require.Len(t, chainOf(t, db, "ada"), 4)
}

// session_replication_role = replica skips ordinary triggers. Only a superuser may set it, so this test has a cluster of
// its own, where it is one.
func TestNotEvenAReplicaSessionChangesTheLedger(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "accord-replica-") // t.TempDir is closed to the server's user
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	data := filepath.Join(dir, "postgres")
	server, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{DataDir: data})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
		require.NoError(t, devstack.RemovePostgres(data))
		require.NoError(t, os.RemoveAll(dir))
	})
	require.NoError(t, migrate(server.URL()))
	db := open(t, server.URL())
	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"), portstest.Unsubscribe("ada"))
	admin := connect(t, server.AdminURL())
	refuses(t, admin, "")
	refuses(t, admin, `SET LOCAL session_replication_role = replica`)
	require.Len(t, chainOf(t, db, "ada"), 4)
}

// What the owner can do is switch a trigger off; this notices a migration that leaves one so.
func TestEveryTriggerOfTheLedgerFiresAlways(t *testing.T) {
	t.Parallel()
	conn := connect(t, migrated(t))
	var triggers, always int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE tgenabled = 'A') FROM pg_trigger
		WHERE tgrelid = 'ledger'::regclass AND NOT tgisinternal`).Scan(&triggers, &always))
	require.Equal(t, 2, triggers)
	require.Equal(t, triggers, always)
}
