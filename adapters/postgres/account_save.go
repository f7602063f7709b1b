package postgres

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// changes are the writes that store what was done to an account since it was loaded: none when nothing was done. The
// customer's row is always among them, and first, so that whoever has read the account can tell that it was changed by
// the row's version alone. With a version, as `xmin` shows it, that row must still have it.
func changes(was preference.Standing, account *preference.Account, version string) (writes, error) {
	touched, links := account.Pending()
	if len(touched) == 0 && len(links) == 0 {
		return nil, nil
	}
	is := account.Standing()
	var w writes
	if err := saveCustomer(&w, was, is, version); err != nil {
		return nil, err
	}
	given := false // the operation that has the turn now is among those that are stored anyway
	for _, op := range touched {
		run := int64(0)
		if op.Number == is.Turn {
			run, given = is.Run, true
		}
		if err := saveOperation(&w, op, run, op.Number > was.LastNumber); err != nil {
			return nil, err
		}
	}
	if is.Turn != was.Turn && is.Turn != 0 && !given {
		w.one(`UPDATE operations SET run = ? WHERE customer_id = ? AND number = ?`, is.Run, string(is.Preferences.Customer()), is.Turn)
	}
	for _, l := range links {
		appendLink(&w, l)
	}
	saveTokens(&w, was.Preferences, is.Preferences)
	return w, tellOfAccount(&w, was, account, touched)
}

// tellOfAccount leaves word for the customer's connected clients, of exactly what is stored with it.
func tellOfAccount(w *writes, was preference.Standing, account *preference.Account, touched []*preference.Operation) error {
	viewer := inbox.CustomerViewer(account.Standing().Preferences.Customer()).Key()
	tell := func(kind string, data map[string]string) error {
		text, err := encode(data)
		if err == nil {
			w.one(`INSERT INTO stream_events (viewers, kind, data) VALUES (ARRAY[?::text], ?, ?::jsonb)`, viewer, kind, text)
		}
		return err
	}
	seen := false // what a reader of the preferences sees is different: an operation has come, or has ended
	for _, op := range touched {
		if err := tell(ports.OperationUpdated, map[string]string{"operation": op.ID, "status": string(op.Status)}); err != nil {
			return err
		}
		seen = seen || op.Number > was.LastNumber || op.Status.Settled()
	}
	if !seen {
		return nil
	}
	return tell(ports.PreferencesChanged, map[string]string{"version": account.Tag()})
}

// save stores the changes inside a transaction that holds the customer's lock, usually in one round trip.
func save(tx *gorm.DB, was preference.Standing, account *preference.Account) error {
	w, err := changes(was, account, "")
	if err != nil {
		return err
	}
	if len(w) == 0 {
		return errNothing
	}
	return w.run(tx)
}

func saveOperation(w *writes, op *preference.Operation, run int64, isNew bool) error {
	states, err := encodeAll(op.Before, op.After)
	if err != nil {
		return err
	}
	var reason any
	if op.Reason != nil {
		text, err := encode(op.Reason)
		if err != nil {
			return err
		}
		reason = text
	}
	if isNew {
		asked, err := encodeAll(op.Origin, op.Change)
		if err != nil {
			return err
		}
		w.one(`INSERT INTO operations (id, customer_id, number, kind, status, source, actor_type, actor_id, origin, change, targets,
			accepted_at, deadline, started_at, settled_at, before, after, reason, decision, idempotency_key, fingerprint, run,
			decided_at, cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			op.ID, string(op.Customer), op.Number, string(op.Kind), string(op.Status), string(op.Source), op.Actor.Type, op.Actor.ID,
			asked[0], asked[1], textArray(op.Targets), nullable(op.AcceptedAt), nullable(op.Deadline), nullable(op.StartedAt),
			nullable(op.SettledAt), states[0], states[1], reason, orNull(op.Decision), orNull(op.Key), orNull(op.Fingerprint), run,
			nullable(op.DecidedAt), orNull(op.Cause))
		return nil
	}
	w.one(`UPDATE operations SET status = ?, before = ?, after = ?, reason = ?, decision = ?, idempotency_key = ?, fingerprint = ?,
		started_at = coalesce(started_at, ?), settled_at = ?, run = greatest(run, ?) WHERE id = ?`,
		string(op.Status), states[0], states[1], reason, orNull(op.Decision), orNull(op.Key), orNull(op.Fingerprint),
		nullable(op.StartedAt), nullable(op.SettledAt), run, op.ID)
	return nil
}

func appendLink(w *writes, l consent.Link) {
	w.one(`INSERT INTO ledger (chain, seq, form, operation_id, event, at, body, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		l.Chain, l.Seq, int16(l.Form), l.Operation, string(l.Event), l.At, l.Body, l.Prev[:], l.Hash[:])
	w.one(`INSERT INTO ledger_growth (chain, seq) VALUES (?, ?)`, l.Chain, l.Seq)
}

func saveCustomer(w *writes, was, is preference.Standing, version string) error {
	prefs := is.Preferences
	var state any
	if prefs.Version() != was.Preferences.Version() {
		text, err := json.Marshal(prefs.Snapshot())
		if err != nil {
			return err
		}
		state = string(text)
	}
	turn := ``
	args := []any{prefs.Version(), state, is.LastNumber, is.Run, is.Chain.Head.Seq, is.Chain.Head.Hash[:]}
	if is.Turn != was.Turn {
		turn = `, turn = ?, looked_at = NULL, turn_since = ` + map[bool]string{true: `statement_timestamp()`, false: `NULL`}[is.Turn != 0]
		args = append(args, is.Turn)
	}
	condition := ` WHERE id = ?`
	args = append(args, string(prefs.Customer()))
	if version != "" {
		condition += ` AND xmin::text = ?`
		args = append(args, version)
	}
	w.one(`UPDATE customers SET version = ?, state = coalesce(?::jsonb, state), last_number = ?, run = ?, ledger_seq = ?,
		ledger_hash = ?, updated_at = statement_timestamp()`+turn+condition, args...)
	return nil
}

// saveTokens keeps the index of tokens in step with the devices.
func saveTokens(w *writes, was, is preference.Preferences) {
	if was.Version() == is.Version() {
		return
	}
	type holding struct {
		device preference.DeviceID
		at     time.Time
	}
	had := map[string]holding{}
	for _, d := range was.Devices() {
		had[d.Token] = holding{d.ID, d.UpdatedAt}
	}
	for _, d := range is.Devices() {
		if h, known := had[d.Token]; !known || h.device != d.ID || !h.at.Equal(d.UpdatedAt) {
			w.one(`INSERT INTO device_tokens (token_hash, customer_id, device_id, updated_at) VALUES (?, ?, ?, ?)
				ON CONFLICT (token_hash, customer_id) DO UPDATE SET device_id = excluded.device_id, updated_at = excluded.updated_at`,
				tokenHash(d.Token), string(is.Customer()), string(d.ID), nullable(d.UpdatedAt))
		}
		delete(had, d.Token)
	}
	for token := range had {
		w.one(`DELETE FROM device_tokens WHERE token_hash = ? AND customer_id = ?`, tokenHash(token), string(is.Customer()))
	}
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
