package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

var _ ports.DecisionStore = (*DB)(nil)

// eventsKept is how long a received event is known: no sender repeats one for longer.
const eventsKept = 30 * 24 * time.Hour

// Received implements ports.DecisionStore.
func (db *DB) Received(ctx context.Context, source string, ids []string) (map[string]bool, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	byHash, hashes := map[string]string{}, make([]string, len(ids))
	for i, id := range ids {
		hashes[i] = eventHash(id)
		byHash[hashes[i]] = id
	}
	asked, err := encode(hashes)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	err = query(tx, func(rows *sql.Rows) error {
		var hash string
		err := rows.Scan(&hash)
		out[byHash[hash]] = true
		return err
	}, `SELECT event_id FROM webhook_events WHERE source = ? AND event_id IN (SELECT jsonb_array_elements_text(?::jsonb))`, source, asked)
	return out, translate("find received events", err)
}

// Record implements ports.DecisionStore.
func (db *DB) Record(ctx context.Context, events []ports.ReceivedEvent) error {
	tx, cancel := db.session(ctx)
	defer cancel()
	hashed := slices.Clone(events)
	for i, e := range hashed {
		hashed[i].ID = eventHash(e.ID)
	}
	rows, err := encode(hashed)
	if err != nil {
		return err
	}
	return translate("record events", tx.Exec(`INSERT INTO webhook_events (source, event_id, customer_id, outcome, reason, operation_id)
		SELECT "Source", "ID", nullif("Customer", ''), "Outcome", "Reason", nullif("Operation", '')
		FROM jsonb_to_recordset(?::jsonb) AS e ("Source" text, "ID" text, "Customer" text, "Outcome" text, "Reason" text, "Operation" text)
		ON CONFLICT DO NOTHING`, rows).Error)
}

// eventHash stands for the id of an event, as senders like to put a person's id into it.
func eventHash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// WrittenTo implements ports.DecisionStore. A step is stored before the target is first written to, and marked after each
// attempt that failed or is doubtful; of one that went well the operation's end is the mark. So what was written was written
// between the operation's acceptance and its end, or its last mark where that is later.
func (db *DB) WrittenTo(ctx context.Context, customer preference.CustomerID, t preference.Target, from, to time.Time) ([]preference.Written, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []preference.Written
	err := query(tx, func(rows *sql.Rows) error {
		var assignment []byte
		var undone, open bool
		var w preference.Written
		if err := rows.Scan(&assignment, &undone, &open, &w.From, &w.Until); err != nil {
			return err
		}
		var a preference.Assignment
		if err := json.Unmarshal(assignment, &a); err != nil {
			return fmt.Errorf("decode assignment: %w", err)
		}
		w.Write = a.Write
		if undone {
			w.Restore = a.Restore
		}
		if open {
			w.Until = time.Time{}
		}
		out = append(out, w)
		return nil
	}, `SELECT t.assignment, o.status IN ('compensating', 'compensated'),
			o.settled_at IS NULL AND (t.state IN ('pending', 'applying', 'undoing') OR o.status = 'compensating' AND t.state <> 'restored'),
			o.accepted_at, CASE WHEN t.state IN ('pending', 'applying', 'undoing') THEN greatest(t.updated_at, o.settled_at) ELSE t.updated_at END
		FROM operations o JOIN operation_targets t ON t.operation_id = o.id AND t.target = ?
		WHERE o.customer_id = ? AND o.accepted_at <= ? AND (o.settled_at IS NULL OR o.settled_at >= ? OR t.updated_at >= ?) AND t.assignment IS NOT NULL
		ORDER BY o.number DESC LIMIT 200`, string(t), string(customer), to.UTC(), from.UTC(), from.UTC())
	return out, translate("list what was written", err)
}

func (db *DB) forgetWebhookEvents(ctx context.Context, _ time.Time, batch int) (int64, error) {
	return db.forget(ctx, "forget old events", `DELETE FROM webhook_events WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM webhook_events WHERE received_at < statement_timestamp() - make_interval(secs => $1) ORDER BY received_at LIMIT $2))`,
		eventsKept.Seconds(), batch)
}
