package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"

	"accord/domain/fault"
	"accord/domain/webhook"
	"accord/ports"
)

var _ ports.EndpointStore = (*DB)(nil)

var errNoEndpoint = fault.New(fault.NotFound, "not-found", "no such endpoint")

const endpointColumns = `e.id, e.url, e.description, array_to_json(e.event_types)::text, e.secret, CASE WHEN e.old_until > statement_timestamp() THEN e.old_secret END,
	e.disabled, e.failing_since, e.created_at, e.updated_at`

type endpointRow struct {
	ports.Endpoint
	events, secret string
	old, disabled  sql.NullString
	failing        sql.NullTime
}

func (r *endpointRow) dest() []any {
	return []any{&r.ID, &r.URL, &r.Description, &r.events, &r.secret, &r.old, &r.disabled, &r.failing, &r.CreatedAt, &r.UpdatedAt}
}

func (r *endpointRow) endpoint() (ports.Endpoint, error) {
	e := r.Endpoint
	if err := decode(r.events, &e.Events); err != nil {
		return e, err
	}
	for _, text := range []string{r.secret, r.old.String} {
		if text == "" {
			continue
		}
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			return e, fmt.Errorf("a stored secret cannot be read: %w", err)
		}
		e.Secrets = append(e.Secrets, secret)
	}
	e.Disabled, e.FailingSince, e.CreatedAt, e.UpdatedAt = r.disabled.String, moment(r.failing), e.CreatedAt.UTC(), e.UpdatedAt.UTC()
	return e, nil
}

func queryEndpoints(tx *gorm.DB, statement string, args ...any) (out []ports.Endpoint, err error) {
	err = query(tx, func(rows *sql.Rows) error {
		var row endpointRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		e, err := row.endpoint()
		out = append(out, e)
		return err
	}, `SELECT `+endpointColumns+` FROM webhook_endpoints e `+statement, args...)
	return out, err
}

// CreateEndpoint implements ports.EndpointStore. Two at once may make one more than there may be, which does no harm.
func (db *DB) CreateEndpoint(ctx context.Context, e ports.Endpoint, most int) error {
	tx, cancel := db.session(ctx)
	defer cancel()
	events, err := encode(e.Events)
	if err != nil {
		return err
	}
	var id string
	found, err := queryOne(tx, []any{&id}, `INSERT INTO webhook_endpoints (id, url, description, event_types, secret, enabled_at)
		SELECT ?, ?, ?, ARRAY(SELECT jsonb_array_elements_text(?::jsonb)), ?, statement_timestamp()
		WHERE (SELECT count(*) FROM webhook_endpoints) < ? RETURNING id`, e.ID, e.URL, e.Description, events, e.Secrets[0].Reveal(), most)
	if err == nil && !found {
		err = fault.New(fault.Conflict, "too-many-endpoints", "there are %d endpoints; delete one first", most)
	}
	return translate("create endpoint", err)
}

// FindEndpoint implements ports.EndpointStore.
func (db *DB) FindEndpoint(ctx context.Context, id string) (ports.Endpoint, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	found, err := queryEndpoints(tx, `WHERE e.id = ?`, id)
	if err == nil && len(found) == 0 {
		err = errNoEndpoint
	}
	if err != nil {
		return ports.Endpoint{}, translate("find endpoint", err)
	}
	return found[0], nil
}

// ListEndpoints implements ports.EndpointStore.
func (db *DB) ListEndpoints(ctx context.Context) ([]ports.Endpoint, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	out, err := queryEndpoints(tx, `ORDER BY e.created_at, e.id`)
	return out, translate("list endpoints", err)
}

// UpdateEndpoint implements ports.EndpointStore.
func (db *DB) UpdateEndpoint(ctx context.Context, id string, fn func(*ports.Endpoint) error) (e ports.Endpoint, err error) {
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		found, err := queryEndpoints(tx, `WHERE e.id = ? FOR UPDATE`, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return errNoEndpoint
		}
		e = found[0]
		was := e.Disabled
		if err := fn(&e); err != nil {
			return callerError{err}
		}
		events, err := encode(e.Events)
		if err != nil {
			return err
		}
		e.UpdatedAt = time.Now().UTC().Truncate(time.Microsecond)
		return tx.Exec(`UPDATE webhook_endpoints SET url = ?, description = ?, event_types = ARRAY(SELECT jsonb_array_elements_text(?::jsonb)), disabled = ?,
			failing_since = ?, updated_at = ?, enabled_at = CASE WHEN ? THEN statement_timestamp() ELSE enabled_at END WHERE id = ?`,
			e.URL, e.Description, events, orNull(e.Disabled), nullable(e.FailingSince), e.UpdatedAt, was != "" && e.Disabled == "", id).Error
	})
	return e, translate("update endpoint", err)
}

// RotateSecret implements ports.EndpointStore.
func (db *DB) RotateSecret(ctx context.Context, id string, secret webhook.Secret, until time.Time) (ports.Endpoint, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	err := tx.Exec(`UPDATE webhook_endpoints SET old_secret = secret, old_until = ?, secret = ?, updated_at = statement_timestamp() WHERE id = ?`,
		until.UTC(), secret.Reveal(), id).Error
	if err != nil {
		return ports.Endpoint{}, translate("rotate secret", err)
	}
	return db.FindEndpoint(ctx, id)
}

// DeleteEndpoint implements ports.EndpointStore.
func (db *DB) DeleteEndpoint(ctx context.Context, id string) error {
	tx, cancel := db.session(ctx)
	defer cancel()
	return translate("delete endpoint", tx.Exec(`DELETE FROM webhook_endpoints WHERE id = ?`, id).Error)
}

// ListDeliveries implements ports.EndpointStore.
func (db *DB) ListDeliveries(ctx context.Context, id string, below int64, limit int) (out []ports.EventDelivery, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	err = query(tx, func(rows *sql.Rows) error {
		d := ports.EventDelivery{Endpoint: id}
		var status sql.NullInt64
		var code sql.NullString
		var attempted, delivered sql.NullTime
		err := rows.Scan(&d.ID, &d.Operation, &d.State, &d.Attempts, &d.NextAt, &status, &code, &attempted, &delivered)
		d.Status, d.Code, d.AttemptedAt, d.DeliveredAt, d.NextAt = int(status.Int64), code.String, moment(attempted), moment(delivered), d.NextAt.UTC()
		out = append(out, d)
		return err
	}, `SELECT id, operation_id, state, attempts, next_at, status, code, attempted_at, delivered_at FROM webhook_deliveries
		WHERE endpoint_id = ? AND (? = 0 OR id < ?) ORDER BY id DESC LIMIT ?`, id, below, below, limit)
	return out, translate("list deliveries", err)
}
