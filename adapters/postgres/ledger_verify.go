package postgres

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/preference"
)

// pageOfChains is how many customers are verified at one moment.
const pageOfChains = 500

// Verify implements ports.Ledger. It takes the customers page by page in the order of their ids, each page with all the
// ledger's rows in its range in one snapshot, so it needs little memory, holds no snapshot for long, and may run beside
// changes. Rows of customers who have no account (any more) lie in some range too.
func (db *DB) Verify(ctx context.Context, customer preference.CustomerID, found func(consent.Finding)) (chains, entries int64, err error) {
	v := &verification{found: found}
	after, last := "", false
	for !last {
		err = db.inSnapshot(ctx, func(tx *gorm.DB) error {
			heads, err := readHeads(tx, string(customer), after)
			if err != nil {
				return err
			}
			last = customer != "" || len(heads) < pageOfChains
			upTo := ""
			if !last {
				upTo = heads[len(heads)-1].customer
			}
			if err := v.page(tx, heads, string(customer), after, upTo); err != nil {
				return err
			}
			if last {
				err = v.outside(tx, string(customer))
			}
			after = upTo
			return err
		})
		if err != nil {
			return v.chains, v.entries, translate("verify ledger", err)
		}
	}
	return v.chains, v.entries, nil
}

// inSnapshot runs fn on one moment of the database, without a limit on how long a statement may take.
func (db *DB) inSnapshot(ctx context.Context, fn func(*gorm.DB) error) error {
	tx := db.gorm.WithContext(ctx).Begin(&sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if tx.Error != nil {
		return tx.Error
	}
	defer tx.Rollback() // nothing was written
	if err := tx.Exec(`SET LOCAL statement_timeout = 0`).Error; err != nil {
		return err
	}
	return fn(tx)
}

type headRow struct {
	customer string
	head     consent.Head
}

func readHeads(tx *gorm.DB, only, after string) (out []headRow, err error) {
	condition, arg := `id > ?`, after
	if only != "" {
		condition, arg = `id = ?`, only
	}
	err = query(tx, func(rows *sql.Rows) error {
		var h headRow
		var hash []byte
		err := rows.Scan(&h.customer, &h.head.Seq, &hash)
		h.head.Hash = toHash(hash)
		out = append(out, h)
		return err
	}, `SELECT id, ledger_seq, ledger_hash FROM customers WHERE `+condition+` ORDER BY id LIMIT ?`, arg, pageOfChains)
	return out, err
}

type verification struct {
	found           func(consent.Finding)
	chains, entries int64
}

// page verifies the chains of these heads and those between after and upTo (empty for the end) that have no head.
func (v *verification) page(tx *gorm.DB, heads []headRow, only, after, upTo string) error {
	condition, args := `l.customer_id > ?`, []any{after}
	switch {
	case only != "":
		condition, args = `l.customer_id = ?`, []any{only}
	case upTo != "":
		condition, args = `l.customer_id > ? AND l.customer_id <= ?`, []any{after, upTo}
	}
	kept := make(map[string]consent.Head, len(heads))
	for _, h := range heads {
		kept[h.customer] = h.head
	}
	var chain *consent.Verifier
	var last consent.Link
	finish := func() {
		if chain == nil {
			return
		}
		head, known := kept[last.Customer]
		if !known {
			v.found(consent.Finding{Customer: last.Customer, Seq: last.Seq, Problem: "the customer's account, and with it the end of the chain, is gone"})
			head = consent.Head{Seq: last.Seq, Hash: last.Hash}
		}
		v.end(chain, head)
		delete(kept, last.Customer)
	}
	err := query(tx, func(rows *sql.Rows) error {
		l, err := scanLink(rows)
		if err != nil {
			return err
		}
		if chain == nil || l.Customer != last.Customer {
			finish()
			chain = consent.NewVerifier(l.Customer)
		}
		chain.Check(l)
		v.entries++
		last = l
		return nil
	}, `SELECT `+ledgerColumns+` FROM ledger l WHERE `+condition+` ORDER BY l.customer_id, l.seq`, args...)
	if err != nil {
		return err
	}
	finish()
	for _, h := range heads { // in order, for a report that reads the same each time
		if _, unseen := kept[h.customer]; unseen && h.head != (consent.Head{}) {
			v.end(consent.NewVerifier(h.customer), h.head)
		}
	}
	return nil
}

// outside compares the ledger with what is kept apart from it: an operation must have the entries that its status
// implies, so that cutting the end off a chain shows even where the chain's head was wound back to match; and the
// database must still refuse changes.
func (v *verification) outside(tx *gorm.DB, only string) error {
	if err := query(tx, func(rows *sql.Rows) error {
		f := consent.Finding{}
		err := rows.Scan(&f.Customer, &f.Seq, &f.Problem)
		v.found(f)
		return err
	}, `SELECT o.customer_id, 0, 'operation ' || o.id || ' is ' || o.status || ', but the ledger has no entry "' || e.event || '" of it'
		FROM operations o CROSS JOIN LATERAL (VALUES ('requested'), (CASE WHEN o.settled_at IS NOT NULL THEN o.status END)) e (event)
		WHERE e.event IS NOT NULL AND (? = '' OR o.customer_id = ?) AND NOT EXISTS (
			SELECT FROM ledger l WHERE l.customer_id = o.customer_id AND l.operation_id = o.id AND l.event = e.event)
		ORDER BY o.customer_id, o.number, e.event DESC`, only, only); err != nil {
		return err
	}
	return query(tx, func(rows *sql.Rows) error {
		f := consent.Finding{}
		err := rows.Scan(&f.Problem)
		v.found(f)
		return err
	}, `SELECT 'the ledger is not protected: trigger ' || tgname || ' is not always on' FROM pg_trigger
		WHERE tgrelid = 'ledger'::regclass AND NOT tgisinternal AND tgenabled <> 'A'
		UNION ALL SELECT 'the ledger is not protected: a trigger is missing' FROM pg_trigger
		WHERE tgrelid = 'ledger'::regclass AND NOT tgisinternal HAVING count(*) < 2`)
}

func (v *verification) end(chain *consent.Verifier, head consent.Head) {
	v.chains++
	for _, f := range chain.Finish(head) {
		v.found(f)
	}
}
