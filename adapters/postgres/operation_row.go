package postgres

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
)

// openStatuses are those that are not settled. It is text and not a parameter, so that the planner can tell that the
// partial indexes apply.
const openStatuses = `('accepted', 'running', 'needs_attention', 'compensating')`

// operationColumns are what operationRow scans, of operations AS o.
const operationColumns = `o.id, o.customer_id, o.number, o.kind, o.status, o.source, o.actor_type, o.actor_id, o.origin,
 o.change, array_to_string(o.targets, ','), o.accepted_at, o.deadline, o.started_at, o.settled_at, o.before, o.after,
 o.reason, o.decision, o.idempotency_key, o.fingerprint, o.run, o.decided_at, o.cause`

// operationRow takes nulls in every column, for outer joins.
type operationRow struct {
	id, customer, kind, status, source, actorType, actorID, targets sql.NullString
	decision, key, fingerprint, cause                               sql.NullString
	number, run                                                     sql.NullInt64
	origin, change, before, after, reason                           []byte
	acceptedAt, deadline, startedAt, settledAt, decidedAt           sql.NullTime
}

func (r *operationRow) dest() []any {
	return []any{&r.id, &r.customer, &r.number, &r.kind, &r.status, &r.source, &r.actorType, &r.actorID, &r.origin,
		&r.change, &r.targets, &r.acceptedAt, &r.deadline, &r.startedAt, &r.settledAt, &r.before, &r.after,
		&r.reason, &r.decision, &r.key, &r.fingerprint, &r.run, &r.decidedAt, &r.cause}
}

func (r *operationRow) operation() (*preference.Operation, error) {
	op := &preference.Operation{
		ID: r.id.String, Customer: preference.CustomerID(r.customer.String), Number: r.number.Int64,
		Kind: preference.Kind(r.kind.String), Status: preference.Status(r.status.String), Source: preference.Source(r.source.String),
		Actor:      consent.Actor{Type: r.actorType.String, ID: r.actorID.String},
		AcceptedAt: moment(r.acceptedAt), Deadline: moment(r.deadline), StartedAt: moment(r.startedAt), SettledAt: moment(r.settledAt),
		DecidedAt: moment(r.decidedAt), Cause: r.cause.String,
		Decision: preference.Decision(r.decision.String), Key: r.key.String, Fingerprint: r.fingerprint.String,
	}
	for t := range strings.SplitSeq(r.targets.String, ",") {
		if t != "" {
			op.Targets = append(op.Targets, preference.Target(t))
		}
	}
	for _, part := range []struct {
		name string
		text []byte
		into any
	}{{"origin", r.origin, &op.Origin}, {"change", r.change, &op.Change}, {"before", r.before, &op.Before},
		{"after", r.after, &op.After}, {"reason", r.reason, &op.Reason}} {
		if part.text == nil {
			continue
		}
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return nil, fmt.Errorf("decode %s of operation %s: %w", part.name, op.ID, err)
		}
	}
	return op, nil
}

// moment is the zero time for null, else UTC.
func moment(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// nullable is null for the zero time.
func nullable(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond)
}

// orNull is null for the empty string.
func orNull[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

// encode is for jsonb parameters. What the domain hands over always encodes.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// encodeAll is encode for several, in their order.
func encodeAll(values ...any) (texts []string, err error) {
	texts = make([]string, len(values))
	for i, v := range values {
		if texts[i], err = encode(v); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// textArray is a text[] literal of words that need no quotes.
func textArray(targets []preference.Target) string {
	words := make([]string, len(targets))
	for i, t := range targets {
		words[i] = string(t)
	}
	return "{" + strings.Join(words, ",") + "}"
}
