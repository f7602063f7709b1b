package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// ClaimPull implements ports.Inboxes.
func (db *DB) ClaimPull(ctx context.Context, customer preference.CustomerID, olderThan, abandoned time.Time) (claimed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	// Not tried again: a claim that was stored, and whose answer was lost, would be found taken.
	err = db.onWire(ctx, "claim pull", func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, `INSERT INTO inboxes AS b (viewer, pulling_at) VALUES ($1, clock_timestamp())
			ON CONFLICT (viewer) DO UPDATE SET pulling_at = clock_timestamp()
			WHERE (b.pulled_at IS NULL OR b.pulled_at < $2) AND (b.pulling_at IS NULL OR b.pulling_at < $3)`,
			inbox.CustomerViewer(customer).Key(), olderThan, abandoned)
		claimed = tag.RowsAffected() == 1
		return err
	})
	return claimed && err == nil, translate("claim pull", err)
}

// Pulled implements ports.Inboxes. Somebody else's later word stays.
func (db *DB) Pulled(ctx context.Context, customer preference.CustomerID, at time.Time) error {
	return translate("pulled", db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		return false, db.onWire(ctx, "pulled", func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, `INSERT INTO inboxes AS b (viewer, pulled_at) VALUES ($1, $2)
				ON CONFLICT (viewer) DO UPDATE SET pulled_at = greatest(b.pulled_at, excluded.pulled_at), pulling_at = NULL`,
				inbox.CustomerViewer(customer).Key(), at)
			return err
		})
	}))
}
