package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/preference"
)

const customerColumns = `c.id, c.version, c.state, c.last_number, c.turn, c.run, c.chain, c.data_key, c.ledger_seq, c.ledger_hash`

type customerRow struct {
	id                             string
	version, lastNumber, turn, run int64
	state                          []byte
	chain                          string
	dataKey                        []byte // wrapped; null where nothing was sealed yet
	ledgerSeq                      int64
	ledgerHash                     []byte
}

func (r *customerRow) dest() []any {
	return []any{&r.id, &r.version, &r.state, &r.lastNumber, &r.turn, &r.run, &r.chain, &r.dataKey, &r.ledgerSeq, &r.ledgerHash}
}

// standing is the account without its operations, and without the key that writing to the ledger takes.
func (r *customerRow) standing(catalogue *preference.Catalogue) (preference.Standing, error) {
	var snapshot preference.Snapshot
	if err := json.Unmarshal(r.state, &snapshot); err != nil {
		return preference.Standing{}, fmt.Errorf("decode stored preferences: %w", err)
	}
	snapshot.Version = r.version
	return preference.Standing{
		Preferences: preference.Restore(preference.CustomerID(r.id), snapshot, catalogue),
		LastNumber:  r.lastNumber, Turn: r.turn, Run: r.run,
		Chain: consent.Chain{ID: r.chain, Head: consent.Head{Seq: r.ledgerSeq, Hash: toHash(r.ledgerHash)}},
	}, nil
}

// writable is standing for whoever writes to the ledger.
func (db *DB) writable(r *customerRow) (preference.Standing, error) {
	standing, err := r.standing(db.catalogue)
	if err == nil && r.dataKey != nil {
		standing.Chain.Key, err = db.unwrap(r.chain, r.dataKey)
	}
	return standing, err
}

// toHash gives bytes that are no hash a value that no chain agrees with.
func toHash(b []byte) (h consent.Hash) {
	if len(b) != len(h) {
		return sha256.Sum256(b)
	}
	copy(h[:], b)
	return h
}

// Load implements ports.Accounts. A single statement sees a single moment.
func (db *DB) Load(ctx context.Context, customer preference.CustomerID) (*preference.Account, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	standing := preference.Standing{Preferences: preference.Defaults(customer, db.catalogue)}
	first := true
	err := query(tx, func(rows *sql.Rows) error {
		var c customerRow
		var o operationRow
		err := rows.Scan(append(c.dest(), o.dest()...)...)
		if err == nil && first {
			first = false
			standing, err = c.standing(db.catalogue)
		}
		if err != nil || !o.id.Valid {
			return err
		}
		op, err := o.operation()
		standing.Open = append(standing.Open, op)
		return err
	}, `SELECT `+customerColumns+`, `+operationColumns+`
		FROM customers c LEFT JOIN operations o ON o.customer_id = c.id AND o.status IN `+openStatuses+`
		WHERE c.id = ? ORDER BY o.number`, string(customer))
	if err != nil {
		return nil, translate("load account", err)
	}
	return preference.RestoreAccount(standing), nil
}

// readOperation reads an operation's account and the version of the customer's row, in one statement, which sees one
// moment.
func (db *DB) readOperation(tx *gorm.DB, operation string) (*reading, error) {
	r := &reading{}
	err := query(tx, func(rows *sql.Rows) (err error) {
		var c customerRow
		var o operationRow
		if err := rows.Scan(append(append([]any{&r.version}, c.dest()...), o.dest()...)...); err != nil {
			return err
		}
		if r.standing.Preferences.Customer() == "" {
			if r.standing, err = db.writable(&c); err != nil {
				return err
			}
		}
		op, err := o.operation()
		if err != nil {
			return err
		}
		if !op.Status.Settled() {
			r.standing.Open = append(r.standing.Open, op)
		}
		if op.ID == operation {
			r.op = op
		}
		return nil
	}, `SELECT c.xmin::text, `+customerColumns+`, `+operationColumns+`
		FROM customers c CROSS JOIN LATERAL (
		  SELECT o.* FROM operations o WHERE o.customer_id = c.id AND o.status IN `+openStatuses+`
		  UNION ALL SELECT o.* FROM operations o WHERE o.id = ? AND o.status NOT IN `+openStatuses+`
		) o WHERE c.id = (SELECT customer_id FROM operations WHERE id = ?) ORDER BY o.number`, operation, operation)
	if err == nil && r.op == nil {
		err = errNoOperation
	}
	return r, err
}

// lockCustomer locks the customer's row, making it when there is none; it does not look for one where none is likely.
func (db *DB) lockCustomer(tx *gorm.DB, customer preference.CustomerID, unlikely bool) (customerRow, error) {
	var row customerRow
	if !unlikely {
		found, err := queryOne(tx, row.dest(), `SELECT `+customerColumns+` FROM customers c WHERE c.id = ? FOR UPDATE`, string(customer))
		if err != nil {
			return row, err
		}
		if found {
			return row, db.giveKey(tx, &row)
		}
	}
	state, err := encode(preference.Defaults(customer, db.catalogue).Snapshot())
	if err != nil {
		return row, err
	}
	chain, dataKey, err := db.newChain()
	if err != nil {
		return row, err
	}
	// Who comes second waits here for the first to commit. The update changes nothing but takes the lock and reads.
	found, err := queryOne(tx, row.dest(), `INSERT INTO customers AS c
		(id, version, state, last_number, turn, run, chain, data_key, ledger_seq, ledger_hash, created_at, updated_at)
		VALUES (?, 0, ?, 0, 0, 0, ?, ?, 0, ?, statement_timestamp(), statement_timestamp())
		ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING `+customerColumns,
		string(customer), state, chain, dataKey, make([]byte, len(consent.Hash{})))
	if err == nil && !found {
		err = errors.New("the customer's row was neither made nor found")
	}
	if err != nil {
		return row, err
	}
	return row, db.giveKey(tx, &row)
}

// withOperations reads the open operations, and the one that has used key or has the id, when either is asked for. Nobody can
// have added or changed any of them since the customer's row was read, if that is locked, or turns out to have its version still.
func (db *DB) withOperations(tx *gorm.DB, row customerRow, key, id string) (preference.Standing, *preference.Operation, error) {
	standing, err := db.writable(&row)
	if err != nil || row.lastNumber == 0 {
		return standing, nil, err
	}
	var parts []string
	var args []any
	if row.turn != 0 { // somebody has the turn exactly while operations are open
		parts = append(parts, `o.customer_id = ? AND o.status IN `+openStatuses)
		args = append(args, row.id)
	}
	if key != "" {
		parts = append(parts, `o.customer_id = ? AND o.idempotency_key = ? AND o.status NOT IN `+openStatuses)
		args = append(args, row.id, key)
	}
	if id != "" {
		parts = append(parts, `o.id = ? AND o.status NOT IN `+openStatuses)
		args = append(args, id)
	}
	if len(parts) == 0 {
		return standing, nil, nil
	}
	var asked *preference.Operation
	var o operationRow
	err = query(tx, func(rows *sql.Rows) error {
		o = operationRow{}
		if err := rows.Scan(o.dest()...); err != nil {
			return err
		}
		op, err := o.operation()
		if err != nil {
			return err
		}
		if !op.Status.Settled() {
			standing.Open = append(standing.Open, op)
		}
		if key != "" && op.Key == key {
			standing.Prior = op
		}
		if id != "" && op.ID == id {
			asked = op
		}
		return nil
	}, selectOperations(parts), args...)
	return standing, asked, err
}

// selectOperations is one SELECT for each condition: OR over two partial indexes would use neither.
func selectOperations(conditions []string) string {
	statement := ""
	for i, condition := range conditions {
		if i > 0 {
			statement += ` UNION ALL `
		}
		statement += `SELECT ` + operationColumns + ` FROM operations o WHERE ` + condition
	}
	return statement + ` ORDER BY number`
}
