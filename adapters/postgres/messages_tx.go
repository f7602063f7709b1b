package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/fault"
	"accord/ports"
)

var _ ports.MessageStore = (*DB)(nil)

var errNoMessage = fault.New(fault.NotFound, "not-found", "there is no such message")

// Locks are taken in this order, so that nobody waits for somebody who waits for him: link targets by key, the globals,
// messages by id, inboxes by viewer.

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, statement string, args ...any) pgx.Row
}

// wireTx runs fn in a transaction, again when that makes sense; see again.
func (db *DB) wireTx(ctx context.Context, doing string, fn func(context.Context, pgx.Tx) error) error {
	return db.wireTxWithin(ctx, db.timeout, doing, fn)
}

func (db *DB) wireTxWithin(ctx context.Context, limit time.Duration, doing string, fn func(context.Context, pgx.Tx) error) error {
	return db.againWithin(ctx, limit, func(ctx context.Context) (committing bool, err error) {
		err = db.onWire(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
			tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
			if err != nil {
				return err
			}
			if err := fn(ctx, tx); err != nil { // onWire rolls back
				return err
			}
			committing = true
			return tx.Commit(ctx)
		})
		return committing, err
	})
}

// wireRead runs statements that change nothing, or of which each is whole by itself and can be repeated.
func (db *DB) wireRead(ctx context.Context, doing string, fn func(context.Context, *pgx.Conn) error) error {
	return db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		return false, db.onWire(ctx, doing, fn)
	})
}

// readMessage finds one message; rest is what comes after FROM.
func readMessage(ctx context.Context, q querier, rest string, args ...any) (messageRow, error) {
	var row messageRow
	err := q.QueryRow(ctx, `SELECT `+messageColumns+` FROM messages m `+rest, args...).Scan(row.dest()...)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNoMessage
	}
	return row, err
}
