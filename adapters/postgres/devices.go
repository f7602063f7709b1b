package postgres

import (
	"context"
	"database/sql"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

var _ ports.Devices = (*DB)(nil)

// openRegistrations find who is about to register a token, by an index of its own (migration 7).
const openRegistrations = `FROM operations o WHERE o.status IN ` + openStatuses + ` AND o.change->'register' IS NOT NULL
	AND md5(o.change->'register'->>'token') = md5(?) AND o.customer_id <> ?`

// Contested implements ports.Devices.
func (db *DB) Contested(ctx context.Context, token string, customer preference.CustomerID) (contested bool, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	_, err = queryOne(tx, []any{&contested}, `SELECT EXISTS (SELECT FROM device_tokens WHERE token_hash = ? AND customer_id <> ?)
		OR EXISTS (SELECT `+openRegistrations+`)`, tokenHash(token), string(customer), token, string(customer))
	return contested, translate("look for a token", err)
}

// Claimants implements ports.Steps.
func (db *DB) Claimants(ctx context.Context, token string, except preference.CustomerID) ([]ports.Holder, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.Holder
	err := query(tx, func(rows *sql.Rows) error {
		var row operationRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		op, err := row.operation()
		if err != nil {
			return err
		}
		out = append(out, ports.Holder{Customer: op.Customer, Device: preference.Device{ID: op.Change.Registered(), Token: token, TokenAt: op.AcceptedAt}})
		return nil
	}, `SELECT `+operationColumns+` `+openRegistrations+` AND o.change->'register'->>'token' = ? ORDER BY o.accepted_at, o.id`, token, string(except), token)
	return out, translate("find claimants of a token", err)
}

// Unseen implements ports.Devices.
func (db *DB) Unseen(ctx context.Context, before time.Time, after ports.UnseenDevice, limit int) ([]ports.UnseenDevice, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.UnseenDevice
	err := query(tx, func(rows *sql.Rows) error {
		var d ports.UnseenDevice
		if err := rows.Scan(&d.Customer, &d.Device, &d.SeenAt); err != nil {
			return err
		}
		out = append(out, d)
		return nil
	}, `SELECT customer_id, device_id, updated_at FROM device_tokens WHERE updated_at < ? AND (updated_at, customer_id, device_id) > (?, ?, ?)
		ORDER BY updated_at, customer_id, device_id LIMIT ?`, before, after.SeenAt, string(after.Customer), string(after.Device), limit)
	return out, translate("find devices not heard of", err)
}
