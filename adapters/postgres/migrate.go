package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"accord/migrations"
)

// Migrate brings the schema up to date. Repeating it changes nothing; of several at once, one works and the others wait
// for it (up to five minutes). Every migration is a transaction of its own. logf is told what is done; nil for silence.
func Migrate(ctx context.Context, url string, logf func(format string, args ...any)) (err error) {
	conf, err := connConfig(url, time.Minute)
	if err != nil {
		return err
	}
	conf.RuntimeParams["statement_timeout"] = "0" // a backfill takes as long as it takes
	pool := stdlib.OpenDB(*conf)
	defer func() { err = errors.Join(err, pool.Close()) }()
	if err := pool.PingContext(ctx); err != nil {
		return translate("migrate", err)
	}
	// Asks once a second, for five minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return fmt.Errorf("postgres: migrate: %w", err)
	}
	p, err := provider(pool, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	results, err := p.Up(ctx)
	for _, r := range results {
		if logf != nil {
			logf("migrated %s (%s)", r.Source.Path, r.Duration.Round(time.Millisecond))
		}
	}
	return translate("migrate", err)
}

// Pending reports whether the database lacks a migration that this program comes with. It only reads, so that a role
// that may not change the schema can ask. A database that is ahead of the program is fine: migrations only add what the
// release before can live with.
func (db *DB) Pending(ctx context.Context) (bool, error) {
	p, err := provider(db.pool)
	if err != nil {
		return false, err
	}
	tx, cancel := db.session(ctx)
	defer cancel()
	var begun bool
	if _, err := queryOne(tx, []any{&begun}, `SELECT to_regclass(?) IS NOT NULL`, goose.DefaultTablename); err != nil {
		return false, translate("pending migrations", err)
	}
	if !begun {
		return true, nil
	}
	applied := map[int64]bool{}
	err = query(tx, func(rows *sql.Rows) error {
		var version int64
		defer func() { applied[version] = true }()
		return rows.Scan(&version)
	}, `SELECT version_id FROM `+goose.DefaultTablename+` WHERE is_applied`)
	if err != nil {
		return false, translate("pending migrations", err)
	}
	for _, source := range p.ListSources() {
		if !applied[source.Version] {
			return true, nil
		}
	}
	return false, nil
}

func provider(pool *sql.DB, options ...goose.ProviderOption) (*goose.Provider, error) {
	options = append(options, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	p, err := goose.NewProvider(goose.DialectPostgres, pool, migrations.Files, options...)
	if err != nil {
		return nil, fmt.Errorf("postgres: read the migrations: %w", err)
	}
	return p, nil
}
