package postgres

import (
	"context"
	"time"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// forgetTimeout is what forgetting one person may take: some of what names people has no index by them.
const forgetTimeout = time.Minute

// Forget implements ports.Erasures; see Update about fault.Unavailable: repeating it is always right.
func (db *DB) Forget(ctx context.Context, operation string, now time.Time) (proof ports.ErasureProof, err error) {
	err = db.againWithin(ctx, forgetTimeout, func(ctx context.Context) (committing bool, err error) {
		return db.tryTx(ctx, func(tx *gorm.DB) error {
			if err := tx.Exec(`SELECT set_config('statement_timeout', ?, true)`, millis(forgetTimeout)).Error; err != nil {
				return err
			}
			proof, err = db.letGo(tx, operation, now)
			return err
		})
	})
	return proof, translate("forget a customer", err)
}

// Erasure implements ports.Erasures.
func (db *DB) Erasure(ctx context.Context, operation string) (ports.ErasureProof, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	proof, found, err := readProof(tx, operation)
	if err == nil && !found {
		err = errNoOperation
	}
	return proof, translate("read an erasure", err)
}

// letGo begins with the customer's lock, as whoever changes anything about a customer does. Links targets and globals it
// does not touch; messages are locked before the inbox, as everywhere.
func (db *DB) letGo(tx *gorm.DB, operation string, now time.Time) (ports.ErasureProof, error) {
	var row customerRow
	found, err := queryOne(tx, row.dest(), `SELECT `+customerColumns+` FROM customers c
		WHERE c.id = (SELECT customer_id FROM operations WHERE id = ?) FOR UPDATE`, operation)
	if err != nil {
		return ports.ErasureProof{}, err
	}
	if !found {
		proof, done, err := readProof(tx, operation)
		if err == nil && !done {
			err = errNoOperation
		}
		return proof, err
	}
	standing, err := row.standing(db.catalogue)
	if err != nil {
		return ports.ErasureProof{}, err
	}
	_, op, err := db.withOperations(tx, row, "", operation)
	if err != nil {
		return ports.ErasureProof{}, err
	}
	if op == nil || !op.Change.Erases() || op.Status != preference.Running {
		return ports.ErasureProof{}, fault.New(fault.Conflict, "not-running", "only an erasure that is running can take the customer along")
	}
	if err := closeChain(tx, standing.Chain, op, now); err != nil {
		return ports.ErasureProof{}, err
	}
	if err := db.forgetPerson(tx, op.Customer); err != nil {
		return ports.ErasureProof{}, err
	}
	proof, _, err := readProof(tx, operation)
	return proof, err
}

// closeChain writes the last entry, which says that every target of the operation has forgotten the person.
func closeChain(tx *gorm.DB, chain consent.Chain, op *preference.Operation, now time.Time) error {
	e := consent.Erasure{ID: op.ID, By: op.Actor, Cause: op.Cause, RequestedAt: op.AcceptedAt, At: now, Outcomes: map[string]string{}}
	for _, t := range op.Targets {
		e.Outcomes[string(t)] = forgotten
	}
	link, chain, err := chain.Erase(e)
	if err != nil {
		return err
	}
	var w writes
	appendLink(&w, link)
	w.one(`INSERT INTO erased_chains (chain, erasure, ledger_seq, ledger_hash, erased_at) VALUES (?, ?, ?, ?, ?)`,
		chain.ID, op.ID, chain.Head.Seq, chain.Head.Hash[:], link.At)
	return w.run(tx)
}

const forgotten = "forgotten"

// readProof reads what the last entry of the erased chain says.
func readProof(tx *gorm.DB, operation string) (proof ports.ErasureProof, found bool, err error) {
	var row linkRow
	found, err = queryOne(tx, append(row.dest(), &proof.InClear), `SELECT `+ledgerColumns+`,
		(SELECT count(*) FROM ledger p WHERE p.chain = e.chain AND p.form = 1)
		FROM erased_chains e JOIN ledger l ON l.chain = e.chain AND l.seq = e.ledger_seq WHERE e.erasure = ?`, operation)
	if err != nil || !found {
		return proof, found, err
	}
	l := row.read()
	e, err := l.Read(consent.Key{})
	if err != nil {
		return proof, true, err
	}
	proof.Operation, proof.Chain, proof.Entries, proof.Head, proof.By, proof.ErasedAt = l.Operation, l.Chain, l.Seq, l.Hash, e.Actor, l.At
	if e.RequestedAt != nil {
		proof.RequestedAt = *e.RequestedAt
	}
	for _, t := range preference.Targets {
		if e.Outcomes[string(t)] == forgotten {
			proof.Targets = append(proof.Targets, t)
		}
	}
	return proof, true, nil
}

// forgetPerson deletes everything that names a customer, and with the account the chain's key.
func (db *DB) forgetPerson(tx *gorm.DB, customer preference.CustomerID) error {
	id, viewer := string(customer), inbox.CustomerViewer(customer).Key()
	if err := forgetInbox(tx, viewer); err != nil {
		return err
	}
	// What the measures have not counted yet is counted, before and after: the person is one less who can be reached.
	if err := tx.Exec(`SELECT FROM engagement_progress FOR UPDATE`).Error; err != nil {
		return err
	}
	if _, err := db.countCustomers(tx, []string{id}); err != nil {
		return err
	}
	statements := writes{
		{`DELETE FROM operation_targets WHERE operation_id IN (SELECT id FROM operations WHERE customer_id = ?)`, []any{id}},
		{`DELETE FROM operations WHERE customer_id = ?`, []any{id}},
		{`DELETE FROM device_tokens WHERE customer_id = ?`, []any{id}},
		{`DELETE FROM gpc_signals WHERE customer_id = ?`, []any{id}},
		{`DELETE FROM webhook_deliveries WHERE customer_id = ?`, []any{id}},
		// That an event was received stays, or its repeat would bring the person back.
		{`UPDATE webhook_events SET customer_id = NULL, operation_id = NULL WHERE customer_id = ?`, []any{id}},
		{`DELETE FROM reconciliation_due WHERE customer_id = ?`, []any{id}},
		{`DELETE FROM customers WHERE id = ?`, []any{id}},
		// Who has taken a token over remembers who had it.
		{`UPDATE operation_targets SET moved = (SELECT jsonb_agg(m) FROM jsonb_array_elements(moved) m WHERE m->>'owner' <> ?)
			WHERE moved IS NOT NULL AND EXISTS (SELECT FROM jsonb_array_elements(moved) m WHERE m->>'owner' = ?)`, []any{id, id}},
		{`DELETE FROM client_events WHERE viewer = ?`, []any{viewer}},
		{`SELECT pg_advisory_xact_lock(` + presenceLock + `)`, nil},
		{`INSERT INTO erased_viewers (digest, at) VALUES (sha256(convert_to(?, 'UTF8')), clock_timestamp()) ON CONFLICT (digest) DO UPDATE SET at = excluded.at`, []any{viewer}},
		{`DELETE FROM engagement_presence WHERE viewer = ?`, []any{viewer}},
		{`DELETE FROM link_conversions WHERE viewer = ?`, []any{viewer}},
		{`UPDATE engagement_progress SET checked_until = '' WHERE checked_until = ?`, []any{id}}, // the round begins anew
		{`UPDATE reconciliation_progress SET round_after = coalesce((SELECT max(id) FROM customers WHERE id < round_after), '') WHERE round_after = ?`, []any{id}},
		{`DELETE FROM stream_events WHERE viewers = ARRAY[?]`, []any{viewer}},
		{`UPDATE stream_events SET viewers = array_remove(viewers, ?) WHERE ? = ANY(viewers)`, []any{viewer, viewer}},
		// The next reading of the feed finds the message again, if it is still there.
		{`DELETE FROM upstream_refusals WHERE position(to_json(?::text)::text IN document::text) > 0`, []any{id}},
	}
	if err := statements.inTurn(tx); err != nil {
		return err
	}
	_, err := db.countCustomers(tx, []string{id})
	return err
}

// forgetInbox deletes the inbox, the messages that nobody else got, and the place in the line of those still on their way.
func forgetInbox(tx *gorm.DB, viewer string) error {
	statements := writes{
		{`SELECT FROM messages WHERE id IN (SELECT message_id FROM message_batches WHERE ? = ANY(viewers)
			UNION SELECT i.message_id FROM inboxes b JOIN inbox_items i ON i.inbox_id = b.id WHERE b.viewer = ?)
			ORDER BY id FOR UPDATE`, []any{viewer, viewer}},
		{`WITH waiting AS (UPDATE message_batches SET viewers = array_remove(viewers, ?) WHERE ? = ANY(viewers) RETURNING message_id)
			UPDATE messages m SET undelivered = undelivered - w.n FROM (SELECT message_id, count(*) AS n FROM waiting GROUP BY 1) w WHERE m.id = w.message_id`, []any{viewer, viewer}},
		{`DELETE FROM message_batches WHERE viewers = '{}'`, nil},
		{`SELECT FROM inboxes WHERE viewer = ? FOR UPDATE`, []any{viewer}},
		{`WITH mine AS (DELETE FROM inbox_items i USING inboxes b WHERE b.viewer = ? AND i.inbox_id = b.id RETURNING i.message_id)
			DELETE FROM messages m USING mine WHERE m.id = mine.message_id AND m.recipients = 1`, []any{viewer}},
		{`DELETE FROM inboxes WHERE viewer = ?`, []any{viewer}},
	}
	return statements.inTurn(tx)
}

// inTurn runs one after the other, each seeing what those before have done, however many rows it touches.
func (w writes) inTurn(tx *gorm.DB) error {
	for _, one := range w {
		if err := tx.Exec(one.statement, one.args...).Error; err != nil {
			return err
		}
	}
	return nil
}
