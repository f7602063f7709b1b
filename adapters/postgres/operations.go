package postgres

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// progressColumn is the operation's progress at each target as one JSON object, null when there is none yet.
const progressColumn = `(SELECT json_object_agg(t.target, json_build_object('state', t.state, 'attempts', t.attempts, 'code', t.code,
 'at', t.updated_at)) FROM operation_targets t WHERE t.operation_id = o.id)`

type stateRow struct {
	operationRow
	progress []byte
}

func (r *stateRow) dest() []any { return append(r.operationRow.dest(), &r.progress) }

func (r *stateRow) state() (ports.OperationState, error) {
	op, err := r.operation()
	if err != nil {
		return ports.OperationState{}, err
	}
	stored := map[preference.Target]struct {
		State    ports.TargetState `json:"state"`
		Attempts int               `json:"attempts"`
		Code     string            `json:"code"`
		At       time.Time         `json:"at"`
	}{}
	if r.progress != nil {
		if err := json.Unmarshal(r.progress, &stored); err != nil {
			return ports.OperationState{}, fmt.Errorf("decode progress of operation %s: %w", op.ID, err)
		}
	}
	if op.Status == preference.Running && op.StartedAt.IsZero() { // begun ahead of its run
		if len(stored) == 0 {
			op.Status = preference.Accepted
		} else {
			op.StartedAt = op.AcceptedAt
		}
	}
	out := ports.OperationState{Operation: *op, Run: r.run.Int64, Progress: map[preference.Target]ports.TargetProgress{}}
	for _, t := range op.Targets {
		s, begun := stored[t]
		switch {
		case op.Status == preference.Applied: // whatever was marked last: every target has it
			s.State = ports.TargetApplied
		case begun && s.State != ports.TargetPending:
		case op.Status == preference.Compensated:
			s.State = ports.TargetSkipped
		default:
			s.State = ports.TargetPending
		}
		p := ports.TargetProgress{State: s.State, Attempts: s.Attempts, Code: s.Code}
		switch {
		case op.Status == preference.Applied:
			p.At = op.SettledAt
		case begun:
			p.At = s.At.UTC()
		}
		out.Progress[t] = p
	}
	return out, nil
}

// Operation implements ports.Operations.
func (db *DB) Operation(ctx context.Context, id string) (ports.OperationState, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var row stateRow
	found, err := queryOne(tx, row.dest(), `SELECT `+operationColumns+`, `+progressColumn+` FROM operations o WHERE o.id = ?`, id)
	if err != nil {
		return ports.OperationState{}, translate("read operation", err)
	}
	if !found {
		return ports.OperationState{}, errNoOperation
	}
	state, err := row.state()
	return state, translate("read operation", err)
}

// ByStatus implements ports.Operations. A limit below 1 is 1. Errors: fault.Invalid for a cursor that is none of ours.
func (db *DB) ByStatus(ctx context.Context, statuses []preference.Status, cursor string, limit int) ([]ports.OperationState, string, error) {
	condition := withStatus(statuses)
	after, err := parseCursor(cursor)
	if err != nil || condition == "" {
		return nil, "", err
	}
	limit = max(1, limit)
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.OperationState
	err = query(tx, func(rows *sql.Rows) error {
		var row stateRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		state, err := row.state()
		out = append(out, state)
		return err
	}, `SELECT `+operationColumns+`, `+progressColumn+` FROM operations o
		WHERE `+condition+` AND (o.accepted_at, o.id) > (?, ?)
		ORDER BY o.accepted_at, o.id LIMIT ?`, after.at, after.id, limit+1)
	if err != nil {
		return nil, "", translate("list operations", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	last := out[limit-1]
	return out, position{last.AcceptedAt, last.ID}.cursor(), nil
}

// shownStatus is the status that operations tell of themselves; see ports.Operations.
const shownStatus = `CASE WHEN o.status = 'running' AND o.started_at IS NULL
 AND NOT EXISTS (SELECT FROM operation_targets t WHERE t.operation_id = o.id) THEN 'accepted' ELSE o.status END`

// withStatus is the condition for operations AS o that show any of the statuses, empty for none. It is text, and only what
// we know; see openStatuses.
func withStatus(statuses []preference.Status) string {
	var shown []string
	for _, s := range preference.Statuses {
		if slices.Contains(statuses, s) {
			shown = append(shown, `'`+string(s)+`'`)
		}
	}
	accepted, running := slices.Contains(shown, `'accepted'`), slices.Contains(shown, `'running'`)
	in := strings.Join(shown, `, `)
	switch {
	case in == "":
		return ""
	case accepted && !running:
		return `o.status IN (` + in + `, 'running') AND ` + shownStatus + ` IN (` + in + `)`
	case running && !accepted:
		return `o.status IN (` + in + `) AND ` + shownStatus + ` IN (` + in + `)`
	}
	return `o.status IN (` + in + `)`
}

// position of an operation in the order of acceptance.
type position struct {
	at time.Time
	id string
}

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.at.UnixMicro(), 10) + " " + p.id))
}

// parseCursor takes what cursor has made, to the letter, and no more than the database can compare: times that it knows, and
// text without what it can't hold.
func parseCursor(cursor string) (position, error) {
	if cursor == "" {
		return position{}, nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	micros, id, _ := strings.Cut(string(text), " ")
	at, err := strconv.ParseInt(micros, 10, 64)
	p := position{time.UnixMicro(at).UTC(), id}
	if err != nil || p.cursor() != cursor || !operationID.MatchString(id) || p.at.Year() < 1970 || p.at.Year() > 9999 {
		return position{}, fault.OnField("cursor", "invalid_cursor", "is not a cursor of this list")
	}
	return p, nil
}

// operationID is wider than what ids look like today.
var operationID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// OpenCounts implements ports.Operations.
func (db *DB) OpenCounts(ctx context.Context) (map[ports.OpenKind]ports.OpenCount, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	out := map[ports.OpenKind]ports.OpenCount{}
	err := query(tx, func(rows *sql.Rows) error {
		var of ports.OpenKind
		var n ports.OpenCount
		if err := rows.Scan(&of.Status, &of.Kind, &n.Count, &n.Oldest); err != nil {
			return err
		}
		n.Oldest = n.Oldest.UTC()
		out[of] = n
		return nil
	}, `SELECT `+shownStatus+` AS shown, o.kind, count(*), min(o.accepted_at) FROM operations o WHERE o.status IN `+openStatuses+` GROUP BY shown, o.kind`)
	return out, translate("count open operations", err)
}

// Stalled implements ports.Operations. Two sweepers at once get different turns.
func (db *DB) Stalled(ctx context.Context, before time.Time, limit int) ([]ports.StalledTurn, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.StalledTurn
	err := query(tx, func(rows *sql.Rows) error {
		var o operationRow
		var run int64
		if err := rows.Scan(append(o.dest(), &run)...); err != nil {
			return err
		}
		op, err := o.operation()
		if err != nil {
			return err
		}
		out = append(out, ports.StalledTurn{Decided: op.Decision != "", Run: ports.Run{Customer: op.Customer, Number: run,
			Operation: op.ID, Kind: op.Kind, Source: op.Source, Targets: op.Targets, Summary: op.Change.Summary()}})
		return nil
	}, `WITH due AS (
		  SELECT c.id, c.turn, c.run, c.looked_at AS looked_before, c.turn_since
		  FROM operations o JOIN customers c ON c.id = o.customer_id AND c.turn = o.number
		  WHERE o.status IN `+openStatuses+` AND c.turn_since < ?
		  ORDER BY c.looked_at NULLS FIRST, c.turn_since LIMIT ?
		  FOR UPDATE OF c SKIP LOCKED
		), looked AS (
		  UPDATE customers c SET looked_at = clock_timestamp() FROM due WHERE c.id = due.id
		)
		SELECT `+operationColumns+`, due.run FROM due JOIN operations o ON o.customer_id = due.id AND o.number = due.turn
		ORDER BY due.looked_before NULLS FIRST, due.turn_since`, before.UTC(), max(1, limit))
	return out, translate("find stalled turns", err)
}

// Overdue implements ports.Operations.
func (db *DB) Overdue(ctx context.Context, now time.Time, limit int) ([]preference.CustomerID, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []preference.CustomerID
	err := query(tx, func(rows *sql.Rows) error {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		out = append(out, preference.CustomerID(id))
		return nil
	}, `SELECT o.customer_id FROM operations o JOIN customers c ON c.id = o.customer_id
		WHERE o.status = 'accepted' AND o.kind = 'grant' AND o.deadline < ? AND o.number <> c.turn
		GROUP BY o.customer_id ORDER BY min(o.deadline) LIMIT ?`, now.UTC(), max(1, limit))
	return out, translate("find overdue grants", err)
}
