package postgres_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"accord/adapters/devstack/stacktest"
	"accord/adapters/postgres"
	"accord/domain/preference"
	"accord/migrations"
	"accord/ports/portstest"
)

func TestMigrationsBringAnEmptyDatabaseUpToDate(t *testing.T) {
	t.Parallel()
	url := stacktest.Postgres(t)
	db := open(t, url)
	pending, err := db.Pending(t.Context())
	require.NoError(t, err)
	require.True(t, pending)

	var said []string
	logf := func(format string, _ ...any) { said = append(said, format) }
	require.NoError(t, postgres.Migrate(t.Context(), url, logf))
	require.NotEmpty(t, said)
	pending, err = db.Pending(t.Context())
	require.NoError(t, err)
	require.False(t, pending)

	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
	said = nil
	require.NoError(t, postgres.Migrate(t.Context(), url, logf), "again")
	require.Empty(t, said)
}

func TestSeveralProcessesMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := stacktest.Postgres(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := postgres.Migrate(t.Context(), url, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	pending, err := open(t, url).Pending(t.Context())
	require.NoError(t, err)
	require.False(t, pending)
}

func TestAMissingMigrationIsPending(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	exec(t, connect(t, url), `DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
	pending, err := open(t, url).Pending(t.Context())
	require.NoError(t, err)
	require.True(t, pending)
}

func TestPendingOnlyReads(t *testing.T) {
	t.Parallel()
	url := stacktest.Postgres(t)
	pending, err := open(t, url).Pending(t.Context())
	require.NoError(t, err)
	require.True(t, pending)
	var tables int
	require.NoError(t, connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`).Scan(&tables))
	require.Zero(t, tables)
}

func TestThereIsNoWayBack(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
	conn := connect(t, url)
	pool := stdlib.OpenDB(*conn.Config())
	defer pool.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, pool, migrations.Files)
	require.NoError(t, err)
	for _, source := range p.ListSources() {
		_, err := p.ApplyVersion(t.Context(), source.Version, false)
		require.ErrorContains(t, err, "no way back", source.Path)
	}
	require.Len(t, chainOf(t, db, "ada"), 2)
	pending, err := db.Pending(t.Context())
	require.NoError(t, err)
	require.False(t, pending)
}

// Every enum of the domain has to fit the schema's checks.
func TestTheSchemaTakesEveryWordOfTheDomain(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	for _, source := range []preference.Source{preference.FromApp, preference.FromOperator, preference.FromTokenMove, preference.FromDefault,
		preference.FromCRM, preference.FromPush, preference.FromCMP, preference.FromEmailLink, preference.FromReconciler} {
		r := portstest.Unsubscribe("ada")
		r.Source = source
		portstest.Accept(t, db, "ada", r)
		op, err := db.Operation(context.Background(), r.ID)
		require.NoError(t, err)
		require.Equal(t, source, op.Source)
	}
}
