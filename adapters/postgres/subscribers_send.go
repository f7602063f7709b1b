package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"time"

	"gorm.io/gorm"

	"accord/ports"
)

// An operation's commit may show a little later than its settled_at says. The last minute is looked at again each time, and
// the last day once an hour, for a process that stood still in between.
const (
	handOutSlack = time.Minute
	lookBack     = 24 * time.Hour
	lookBackEach = time.Hour
	// While there is nothing to hand out, how far we are is noted so often.
	noteEach = 30 * time.Second
)

// tellable are operations of which others are told: those that have changed what holds.
const tellable = `o.status = 'applied' AND (o.after->>'version')::bigint > (o.before->>'version')::bigint`

// HandOut implements ports.EndpointStore. Whoever does it holds a lock that is nowhere stored, as a row's would be; the others go
// away. What somebody else has noted in the very moment may be missed: then a little is looked through again.
func (db *DB) HandOut(ctx context.Context, limit int) (more bool, err error) {
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		var until, looked, now time.Time
		mine, err := queryOne(tx, []any{&until, &looked, &now}, `SELECT settled_until, looked_back, clock_timestamp() FROM webhook_progress
			WHERE pg_try_advisory_xact_lock(hashtextextended('webhook_progress', 0))`)
		if err != nil || !mine {
			return err
		}
		from, lookedNow := until.Add(-handOutSlack), now.Sub(looked) > lookBackEach
		if lookedNow {
			from, looked = until.Add(-lookBack), now
		}
		var made int64
		var last sql.NullTime
		if _, err := queryOne(tx, []any{&made, &last}, `WITH made AS (
			  INSERT INTO webhook_deliveries (endpoint_id, operation_id, customer_id, settled_at)
			  SELECT e.id, o.id, o.customer_id, o.settled_at FROM operations o JOIN webhook_endpoints e ON e.disabled IS NULL AND o.settled_at >= e.enabled_at
			    AND (e.event_types = '{}' OR 'preferences.changed' = ANY (e.event_types))
			  WHERE `+tellable+` AND o.settled_at >= ?
			    AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.operation_id = o.id)
			  ORDER BY o.settled_at LIMIT ? ON CONFLICT DO NOTHING RETURNING settled_at)
			SELECT count(*), max(settled_at) FROM made`, from.UTC(), limit); err != nil {
			return err
		}
		if made == 0 && !lookedNow && now.Sub(until) < noteEach {
			return nil
		}
		if more = made >= int64(limit); more {
			now = last.Time
		}
		return tx.Exec(`UPDATE webhook_progress SET settled_until = greatest(settled_until, ?), looked_back = ?`, now.UTC(), looked.UTC()).Error
	})
	return more, translate("hand out changes", err)
}

// Due implements ports.EndpointStore.
func (db *DB) Due(ctx context.Context) ([]ports.Endpoint, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	out, err := queryEndpoints(tx, `WHERE e.disabled IS NULL AND EXISTS (SELECT FROM webhook_deliveries d
		WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_at <= statement_timestamp())`)
	return out, translate("list due endpoints", err)
}

// Claim implements ports.EndpointStore. A claim is a name that nobody else has, and that is asked for when it is closed.
func (db *DB) Claim(ctx context.Context, endpoint string, limit int, lease time.Duration) (out []ports.DueDelivery, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	name := rand.Text()
	operations := map[string][]int{}
	err = query(tx, func(rows *sql.Rows) error {
		d := ports.DueDelivery{Lease: name}
		var operation string
		err := rows.Scan(&d.ID, &operation, &d.Attempts)
		d.Event = "evt_" + operation
		operations[operation] = append(operations[operation], len(out))
		out = append(out, d)
		return err
	}, `UPDATE webhook_deliveries SET lease = ?, next_at = statement_timestamp() + make_interval(secs => ?) WHERE id IN (
		  SELECT d.id FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id AND e.disabled IS NULL
		  WHERE d.endpoint_id = ? AND d.state = 'pending' AND d.next_at <= statement_timestamp() ORDER BY d.next_at, d.id LIMIT ? FOR UPDATE OF d SKIP LOCKED)
		RETURNING id, operation_id, attempts`, name, lease.Seconds(), endpoint, limit)
	if err != nil || len(out) == 0 {
		return nil, translate("claim deliveries", err)
	}
	ids := make([]string, 0, len(operations))
	for id := range operations {
		ids = append(ids, id)
	}
	asked, err := encode(ids)
	if err != nil {
		return nil, err
	}
	err = query(tx, func(rows *sql.Rows) error {
		var row operationRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		op, err := row.operation()
		if err != nil {
			return err
		}
		for _, i := range operations[op.ID] {
			out[i].Operation = op
		}
		return nil
	}, `SELECT `+operationColumns+` FROM operations o WHERE o.id IN (SELECT jsonb_array_elements_text(?::jsonb))`, asked)
	return out, translate("read what is to be sent", err)
}

// CloseDelivery implements ports.EndpointStore.
func (db *DB) CloseDelivery(ctx context.Context, d ports.DueDelivery, r ports.DeliveryResult, next time.Time) error {
	tx, cancel := db.session(ctx)
	defer cancel()
	state := "delivered"
	switch {
	case d.Operation == nil:
		state = "gone"
	case !next.IsZero():
		state = "pending"
	}
	return translate("close delivery", tx.Exec(`UPDATE webhook_deliveries SET state = ?, attempts = attempts + 1, next_at = coalesce(?::timestamptz, next_at), lease = NULL,
		status = nullif(?, 0), code = nullif(?, ''), attempted_at = statement_timestamp(),
		delivered_at = CASE WHEN ? = 'delivered' THEN statement_timestamp() END WHERE id = ? AND lease = ?`,
		state, nullable(next), r.Status, r.Code, state, d.ID, d.Lease).Error)
}

// ReplayFrom implements ports.EndpointStore.
func (db *DB) ReplayFrom(ctx context.Context, id string, from time.Time) (again int64, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	_, err = queryOne(tx, []any{&again}, `WITH made AS (
		  INSERT INTO webhook_deliveries AS d (endpoint_id, operation_id, customer_id, settled_at)
		  SELECT e.id, o.id, o.customer_id, o.settled_at FROM webhook_endpoints e, operations o WHERE e.id = ? AND o.settled_at >= ? AND `+tellable+`
		  ON CONFLICT (endpoint_id, operation_id) DO UPDATE SET state = 'pending', attempts = 0, next_at = statement_timestamp(), lease = NULL, delivered_at = NULL
		  RETURNING 1)
		SELECT count(*) FROM made`, id, from.UTC())
	return again, translate("replay", err)
}

// Backlog implements ports.EndpointStore.
func (db *DB) Backlog(ctx context.Context) (n int64, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	_, err = queryOne(tx, []any{&n}, `SELECT count(*) FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id AND e.disabled IS NULL WHERE d.state = 'pending'`)
	return n, translate("count deliveries", err)
}

func decode(text string, dst any) error { return json.Unmarshal([]byte(text), dst) }

// forgetDeliveries forgets what was delivered long ago. It is kept for longer than HandOut looks back.
func (db *DB) forgetDeliveries(ctx context.Context, _ time.Time, batch int) (int64, error) {
	return db.forget(ctx, "forget old deliveries", `DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM webhook_deliveries WHERE state <> 'pending' AND settled_at < statement_timestamp() - make_interval(secs => $1) ORDER BY settled_at LIMIT $2))`,
		eventsKept.Seconds(), batch)
}
