// Package postgres keeps Accord's state in PostgreSQL: accounts with their queue and turn, the steps at each target, the
// ledger, and word of what has settled. One DB implements every port of store.go.
//
// GORM is the way in. Statements are written out, because each is chosen for its locks, its plan and its number of round
// trips; GORM's reflection over models would hide all three.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/trace"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"accord/domain/preference"
	"accord/ports"
)

var (
	_ ports.Accounts   = (*DB)(nil)
	_ ports.Operations = (*DB)(nil)
	_ ports.Steps      = (*DB)(nil)
	_ ports.Ledger     = (*DB)(nil)
	_ ports.KeyStore   = (*DB)(nil)
	_ ports.Erasures   = (*DB)(nil)
	_ ports.Outcomes   = (*DB)(nil)
	_ ports.Readiness  = (*DB)(nil)
)

// Config says how to reach the database.
type Config struct {
	URL       string                // postgres://…, with everything libpq understands
	Catalogue *preference.Catalogue // under which stored preferences are read
	Keys      ports.ChainKeys       // what the ledger's data keys are wrapped under; nil for who needs none of them
	Cards     ports.Cards           // encodes messages as they are stored; nil leaves that to whoever reads them
	MaxConns  int                   // connections of this process, one more for LISTEN once somebody watches; 0 for 20
	Timeout   time.Duration         // of one call, waiting for a connection and for locks included; 0 for 10 s
	SlowQuery time.Duration         // statements that take longer are logged, without values; 0 for 500 ms
	Logger    *slog.Logger          // nil for none
	Spans     trace.Tracer          // makes a span of each transaction on an account; nil for none
	Tracer    pgx.QueryTracer       // sees every statement on the wire, values included; nil for none
}

// DB is a pool of connections. Its methods may be called from many goroutines.
type DB struct {
	gorm       *gorm.DB
	pool       *sql.DB
	catalogue  *preference.Catalogue
	timeout    time.Duration
	log        *slog.Logger
	lanes      lanes
	inboxLanes lanes // by inbox.Viewer.Key
	readings   readings
	starts     starts
	outcomes   *outcomes
	conf       *pgx.ConnConfig // of connections beside the pool
	cards      ports.Cards
	keys       ports.ChainKeys
	links      linkCache
	spans      trace.Tracer
	health     *health
	checked    atomic.Int64 // last inbox that CleanUp has counted again
}

// Open makes the pool and tries one connection. It does not look at migrations; see Pending. Errors: fault.Unavailable
// when the database does not answer.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Catalogue == nil {
		return nil, errors.New("postgres: a catalogue is needed")
	}
	c.Timeout = orElse(c.Timeout, 10*time.Second)
	conf, err := connConfig(c.URL, c.Timeout)
	if err != nil {
		return nil, err
	}
	conf.Tracer = c.Tracer
	c.MaxConns = orElse(c.MaxConns, 20)
	c.SlowQuery = orElse(c.SlowQuery, 500*time.Millisecond)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	health := &health{}
	pool := stdlib.OpenDB(*conf, stdlib.OptionShouldPing(health.doubtful))
	pool.SetMaxOpenConns(c.MaxConns)
	pool.SetMaxIdleConns(c.MaxConns)
	pool.SetConnMaxLifetime(time.Hour) // so that load spreads again after a failover
	pool.SetConnMaxIdleTime(5 * time.Minute)

	g, err := gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: pool}), &gorm.Config{
		SkipDefaultTransaction: true,
		TranslateError:         true,
		DisableAutomaticPing:   true,
		Logger:                 slowLog{log: c.Logger, after: c.SlowQuery},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", err), pool.Close())
	}
	db := &DB{gorm: g, pool: pool, catalogue: c.Catalogue, timeout: c.Timeout, log: c.Logger, conf: conf, cards: c.Cards, keys: c.Keys, spans: c.Spans, health: health}
	db.outcomes = newOutcomes(conf, db, c.Logger)
	if err := db.Ready(ctx); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return db, nil
}

// connConfig adds the limits that protect the server, and with it every other customer, from a session that hangs.
func connConfig(url string, timeout time.Duration) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("postgres: the database URL cannot be read") // the cause may quote the password
	}
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":                    "accord",
		"timezone":                            "UTC",
		"statement_timeout":                   millis(timeout),
		"lock_timeout":                        millis(timeout),
		"idle_in_transaction_session_timeout": millis(3 * timeout),
	} {
		if _, given := conf.RuntimeParams[name]; !given {
			conf.RuntimeParams[name] = value
		}
	}
	return conf, nil
}

func millis(d time.Duration) string { return fmt.Sprint(max(1, d.Milliseconds())) }

func orElse[T int | time.Duration](given, otherwise T) T {
	if given == 0 {
		return otherwise
	}
	return given
}

// Close ends the watching, closing every channel that Watch has handed out, and the connections.
func (db *DB) Close() error {
	db.outcomes.close()
	return db.pool.Close()
}

// Ready makes one round trip. Errors: fault.Unavailable.
func (db *DB) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(db.timeout, 3*time.Second))
	defer cancel()
	return translate("ready", db.pool.PingContext(ctx))
}

// Pool is for measuring it; nobody but this package asks the database anything.
func (db *DB) Pool() *sql.DB { return db.pool }

// session is the pool for one call, and the call's time limit.
func (db *DB) session(ctx context.Context) (*gorm.DB, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	return db.gorm.WithContext(ctx), cancel
}
