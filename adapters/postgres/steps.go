package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

var errNotRunning = fault.New(fault.Conflict, "not-running", "the operation is not running any more")

const stepColumns = `t.target, t.state, t.assignment, t.moved, t.maybe_done, t.attempts`

// stepRow takes nulls in every column, for outer joins.
type stepRow struct {
	target, state     sql.NullString
	assignment, moved []byte
	maybeDone         sql.NullBool
	attempts          sql.NullInt64
}

func (r *stepRow) dest() []any {
	return []any{&r.target, &r.state, &r.assignment, &r.moved, &r.maybeDone, &r.attempts}
}

// step is nil while nothing has been stored to be written to the target.
func (r *stepRow) step() (*ports.TargetStep, error) {
	if r.assignment == nil {
		return nil, nil
	}
	s := &ports.TargetStep{Target: preference.Target(r.target.String), State: ports.TargetState(r.state.String),
		MaybeDone: r.maybeDone.Bool, Attempts: int(r.attempts.Int64)}
	if err := json.Unmarshal(r.assignment, &s.Assignment); err != nil {
		return nil, fmt.Errorf("decode assignment: %w", err)
	}
	if r.moved != nil {
		if err := json.Unmarshal(r.moved, &s.Moved); err != nil {
			return nil, fmt.Errorf("decode moved tokens: %w", err)
		}
	}
	return s, nil
}

// Step implements ports.Steps.
func (db *DB) Step(ctx context.Context, operation string, t preference.Target) (preference.Operation, *ports.TargetStep, error) {
	op, step, err := db.readStep(ctx, operation, t)
	return op, step, translate("read step", err)
}

// Begun implements ports.Steps. The account comes with it, for whoever settles the operation here.
func (db *DB) Begun(ctx context.Context, operation string) (preference.Operation, error) {
	op, err := db.readings.operation(operation, func() (*reading, error) {
		tx, cancel := db.session(ctx)
		defer cancel()
		return db.readOperation(tx, operation)
	})
	return op, translate("read step", err)
}

// ShowBegun implements ports.Steps. The commit need not wait for the disk: nothing rests on it but what is shown, and the
// steps that follow are waited for.
func (db *DB) ShowBegun(ctx context.Context, operation string) error {
	tx, cancel := db.session(ctx)
	defer cancel()
	var quick string
	_, err := queryOne(tx, []any{&quick}, `WITH begun AS (UPDATE operations SET started_at = statement_timestamp()
		WHERE id = ? AND status = 'running' AND started_at IS NULL)
		SELECT set_config('synchronous_commit', 'off', true)`, operation)
	return translate("show that an operation runs", err)
}

func (db *DB) readStep(ctx context.Context, operation string, t preference.Target) (preference.Operation, *ports.TargetStep, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var o operationRow
	var s stepRow
	found, err := queryOne(tx, append(o.dest(), s.dest()...), `SELECT `+operationColumns+`, `+stepColumns+`
		FROM operations o LEFT JOIN operation_targets t ON t.operation_id = o.id AND t.target = ?
		WHERE o.id = ?`, string(t), operation)
	if err != nil {
		return preference.Operation{}, nil, err
	}
	if !found {
		return preference.Operation{}, nil, errNoOperation
	}
	op, err := o.operation()
	if err != nil {
		return preference.Operation{}, nil, err
	}
	step, err := s.step()
	return *op, step, err
}

// MarkStep implements ports.Steps. A code stays until the next failure, and maybe-done once said stays said. Once the
// operation is settled nothing is recorded any more: whoever still calls then woke up late.
func (db *DB) MarkStep(ctx context.Context, operation string, t preference.Target, s ports.TargetState, code string, maybeDone bool) error {
	failures := 0
	if code != "" {
		failures = 1
	}
	tx, cancel := db.session(ctx)
	defer cancel()
	var known bool
	found, err := queryOne(tx, []any{&known}, `WITH op AS (SELECT id, status FROM operations WHERE id = ? FOR SHARE), mark AS (
		  INSERT INTO operation_targets AS t (operation_id, target, state, maybe_done, attempts, code, updated_at)
		  SELECT op.id, ?, ?, ?, ?, ?, statement_timestamp() FROM op WHERE op.status IN `+openStatuses+`
		  ON CONFLICT (operation_id, target) DO UPDATE SET state = excluded.state,
		    maybe_done = t.maybe_done OR excluded.maybe_done, attempts = t.attempts + excluded.attempts,
		    code = CASE WHEN excluded.code = '' THEN t.code ELSE excluded.code END, updated_at = excluded.updated_at
		) SELECT true FROM op`, operation, string(t), string(s), maybeDone, failures, code)
	if err == nil && !found {
		err = errNoOperation
	}
	return translate("mark step", err)
}

// Holders implements ports.Steps.
func (db *DB) Holders(ctx context.Context, token string, except preference.CustomerID) ([]ports.Holder, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.Holder
	err := query(tx, func(rows *sql.Rows) error {
		var c customerRow
		var device string
		if err := rows.Scan(append(c.dest(), &device)...); err != nil {
			return err
		}
		standing, err := c.standing(db.catalogue)
		if err != nil {
			return err
		}
		// The hash only finds; the device itself decides.
		if d, known := standing.Preferences.Device(preference.DeviceID(device)); known && d.Token == token {
			out = append(out, ports.Holder{Customer: preference.CustomerID(c.id), Device: d})
		}
		return nil
	}, `SELECT `+customerColumns+`, d.device_id FROM device_tokens d JOIN customers c ON c.id = d.customer_id
		WHERE d.token_hash = ? AND d.customer_id <> ? ORDER BY d.updated_at DESC, d.customer_id`, tokenHash(token), string(except))
	return out, translate("find holders of a token", err)
}
