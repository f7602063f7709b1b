package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/devstack/stacktest"
	"accord/adapters/postgres"
	"accord/ports/portstest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

func migrate(url string) error { return postgres.Migrate(context.Background(), url, nil) }

// migrated is the URL of a database of the test's own, with the schema and nothing in it.
func migrated(t testing.TB) string {
	t.Helper()
	return stacktest.PostgresFrom(t, "accord", migrate)
}

// open gives a process's view of a database.
func open(t testing.TB, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func fresh(t *testing.T) portstest.Store { return open(t, migrated(t)) }

// connect is a bare connection, past the adapter.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t testing.TB, conn *pgx.Conn, statement string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), statement, args...)
	require.NoError(t, err, statement)
}

func TestAccounts(t *testing.T)   { t.Parallel(); portstest.Accounts(t, fresh) }
func TestOperations(t *testing.T) { t.Parallel(); portstest.Operations(t, fresh) }
func TestSteps(t *testing.T)      { t.Parallel(); portstest.Steps(t, fresh) }
func TestAhead(t *testing.T)      { t.Parallel(); portstest.Ahead(t, fresh) }
func TestLedger(t *testing.T)     { t.Parallel(); portstest.Ledger(t, fresh) }

func TestOutcomes(t *testing.T) {
	t.Parallel()
	portstest.Outcomes(t, func(t *testing.T) (here, there portstest.Store) {
		url := migrated(t)
		return open(t, url), open(t, url)
	})
}
