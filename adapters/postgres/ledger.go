package postgres

import (
	"context"
	"database/sql"
	"math"

	"accord/domain/consent"
	"accord/domain/preference"
)

// A time that is not finite could not be scanned; as null it becomes the zero time, which no hash agrees with.
const ledgerColumns = `l.chain, l.seq, l.form, l.operation_id, l.event, CASE WHEN isfinite(l.at) THEN l.at END, l.body, l.prev_hash, l.hash`

type linkRow struct {
	link       consent.Link
	event      string
	at         sql.NullTime
	prev, hash []byte
}

func (r *linkRow) dest() []any {
	return []any{&r.link.Chain, &r.link.Seq, &r.link.Form, &r.link.Operation, &r.event, &r.at, &r.link.Body, &r.prev, &r.hash}
}

func (r *linkRow) read() consent.Link {
	l := r.link
	l.Event, l.At, l.Prev, l.Hash = consent.Event(r.event), moment(r.at), toHash(r.prev), toHash(r.hash)
	return l
}

// Entries implements ports.Ledger.
func (db *DB) Entries(ctx context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Line, error) {
	if below <= 0 {
		below = math.MaxInt64
	}
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []consent.Line
	var key consent.Key
	err := query(tx, func(rows *sql.Rows) (err error) {
		var row linkRow
		var dataKey []byte
		if err := rows.Scan(append(row.dest(), &dataKey)...); err != nil {
			return err
		}
		line := consent.Line{Link: row.read()}
		if key == (consent.Key{}) && dataKey != nil { // the same for all of them
			if key, err = db.unwrap(line.Chain, dataKey); err != nil {
				return keyOf(line.Chain, err)
			}
		}
		line.Entry, err = line.Read(key)
		out = append(out, line)
		return err
	}, `SELECT `+ledgerColumns+`, c.data_key FROM customers c JOIN ledger l ON l.chain = c.chain
		WHERE c.id = ? AND l.seq < ? ORDER BY l.seq DESC LIMIT ?`, string(customer), below, max(0, limit))
	if err != nil {
		return nil, translate("read ledger", err)
	}
	return out, nil
}
