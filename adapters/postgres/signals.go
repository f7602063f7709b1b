package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/preference"
	"accord/ports"
)

var _ ports.SignalStore = (*DB)(nil)

// SignalStands implements ports.SignalStore. One statement, which writes nothing when the signal stands already.
func (db *DB) SignalStands(ctx context.Context, customer preference.CustomerID, installation string) (s ports.PrivacySignal, err error) {
	const doing = "note a privacy signal"
	err = db.wireExec(ctx, doing, `INSERT INTO gpc_signals (customer_id, installation) SELECT $1, $2
		WHERE NOT EXISTS (SELECT FROM gpc_signals WHERE customer_id = $1 AND installation = $2) ON CONFLICT DO NOTHING`, string(customer), installation)
	if err != nil {
		return s, err
	}
	err = db.wireRead(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT since, honoured FROM gpc_signals WHERE customer_id = $1 AND installation = $2`, string(customer), installation).
			Scan(&s.Since, &s.Honoured)
	})
	s.Since = s.Since.UTC()
	return s, translate(doing, err)
}

// SignalHonoured implements ports.SignalStore.
func (db *DB) SignalHonoured(ctx context.Context, customer preference.CustomerID, installation string, since time.Time) error {
	return db.wireExec(ctx, "note that a privacy signal was honoured",
		`UPDATE gpc_signals SET honoured = true WHERE customer_id = $1 AND installation = $2 AND since = $3`, string(customer), installation, since)
}

// SignalGone implements ports.SignalStore.
func (db *DB) SignalGone(ctx context.Context, customer preference.CustomerID, installation string) error {
	return db.wireExec(ctx, "note that a privacy signal is gone", `DELETE FROM gpc_signals WHERE customer_id = $1 AND installation = $2`, string(customer), installation)
}
