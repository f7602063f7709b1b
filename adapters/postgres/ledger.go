package postgres

import (
	"context"
	"database/sql"
	"math"

	"accord/domain/consent"
	"accord/domain/preference"
)

// A time that is not finite could not be scanned; as null it becomes the zero time, which no hash agrees with.
const ledgerColumns = `l.customer_id, l.seq, l.operation_id, l.event, CASE WHEN isfinite(l.at) THEN l.at END, l.body, l.prev_hash, l.hash`

func scanLink(rows *sql.Rows) (consent.Link, error) {
	var l consent.Link
	var event string
	var at sql.NullTime
	var prev, hash []byte
	err := rows.Scan(&l.Customer, &l.Seq, &l.Operation, &event, &at, &l.Body, &prev, &hash)
	l.Event, l.At, l.Prev, l.Hash = consent.Event(event), moment(at), toHash(prev), toHash(hash)
	return l, err
}

// Entries implements ports.Ledger.
func (db *DB) Entries(ctx context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Link, error) {
	if below <= 0 {
		below = math.MaxInt64
	}
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []consent.Link
	err := query(tx, func(rows *sql.Rows) error {
		l, err := scanLink(rows)
		out = append(out, l)
		return err
	}, `SELECT `+ledgerColumns+` FROM ledger l WHERE l.customer_id = ? AND l.seq < ? ORDER BY l.seq DESC LIMIT ?`,
		string(customer), below, max(0, limit))
	if err != nil {
		return nil, translate("read ledger", err)
	}
	return out, nil
}
