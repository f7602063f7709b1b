package postgres

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/ports"
)

// pageOfChains is how many chains are verified at one moment.
const pageOfChains = 500

// Verify implements ports.Ledger. It takes the chains page by page in the order of their names, each page with all the
// ledger's rows in its range in one snapshot, so it needs little memory, holds no snapshot for long, and may run beside
// changes. Rows of chains whose end is kept nowhere (any more) lie in some range too.
func (db *DB) Verify(ctx context.Context, only string, found func(consent.Finding)) (ports.Verified, error) {
	v := &verification{db: db, found: found}
	after, last := "", false
	for !last {
		err := db.inSnapshot(ctx, func(tx *gorm.DB) error {
			chain := ""
			if only != "" {
				var err error
				if chain, err = chainNamed(tx, only); err != nil {
					return err
				}
			}
			heads, err := readHeads(tx, chain, after)
			if err != nil {
				return err
			}
			last = chain != "" || len(heads) < pageOfChains
			upTo := ""
			if !last {
				upTo = heads[len(heads)-1].chain
			}
			if err := v.page(tx, heads, chain, after, upTo); err != nil {
				return err
			}
			if last {
				err = v.outside(tx, chain)
			}
			after = upTo
			return err
		})
		if err != nil {
			return v.Verified, translate("verify ledger", err)
		}
	}
	return v.Verified, nil
}

// chainNamed is the chain of a customer, or the name itself: a chain whose customer is gone has no other.
func chainNamed(tx *gorm.DB, name string) (chain string, err error) {
	found, err := queryOne(tx, []any{&chain}, `SELECT chain FROM customers WHERE id = ?`, name)
	if !found {
		chain = name
	}
	return chain, err
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

// headRow is what is kept of a chain apart from it.
type headRow struct {
	chain   string
	head    consent.Head
	dataKey []byte
	erased  bool
}

// readHeads answers a page of the ends that are kept. A chain that is both somebody's and erased is there twice.
func readHeads(tx *gorm.DB, only, after string) (out []headRow, err error) {
	condition, arg := `chain > ?`, after
	if only != "" {
		condition, arg = `chain = ?`, only
	}
	err = query(tx, func(rows *sql.Rows) error {
		var h headRow
		var hash []byte
		err := rows.Scan(&h.chain, &h.head.Seq, &hash, &h.dataKey, &h.erased)
		h.head.Hash = toHash(hash)
		out = append(out, h)
		return err
	}, `(SELECT chain, ledger_seq, ledger_hash, data_key, false FROM customers WHERE `+condition+` ORDER BY chain LIMIT ?)
		UNION ALL (SELECT chain, ledger_seq, ledger_hash, NULL, true FROM erased_chains WHERE `+condition+` ORDER BY chain LIMIT ?)
		ORDER BY 1, 5 LIMIT ?`, arg, pageOfChains, arg, pageOfChains, pageOfChains)
	return out, err
}

type verification struct {
	ports.Verified
	db    *DB
	found func(consent.Finding)
}

func (v *verification) find(chain string, seq int64, problem string) {
	v.found(consent.Finding{Chain: chain, Seq: seq, Problem: problem})
}

// page verifies the chains of these heads and those between after and upTo (empty for the end) that have no head.
func (v *verification) page(tx *gorm.DB, heads []headRow, only, after, upTo string) error {
	condition, args := `l.chain > ?`, []any{after}
	switch {
	case only != "":
		condition, args = `l.chain = ?`, []any{only}
	case upTo != "":
		condition, args = `l.chain > ? AND l.chain <= ?`, []any{after, upTo}
	}
	kept := make(map[string]headRow, len(heads))
	for _, h := range heads {
		if _, twice := kept[h.chain]; twice {
			v.find(h.chain, 0, "is a customer's, and among the erased as well")
		}
		kept[h.chain] = h
	}
	var chain *checked
	finish := func() {
		if chain != nil {
			chain.finish(v)
			delete(kept, chain.last.Chain)
		}
	}
	err := query(tx, func(rows *sql.Rows) error {
		var row linkRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		l := row.read()
		if chain == nil || l.Chain != chain.last.Chain {
			finish()
			head, known := kept[l.Chain]
			chain = v.begin(l.Chain, head, known)
		}
		chain.check(v, l)
		return nil
	}, `SELECT `+ledgerColumns+` FROM ledger l WHERE `+condition+` ORDER BY l.chain, l.seq`, args...)
	if err != nil {
		return err
	}
	finish()
	for _, h := range heads { // in order, for a report that reads the same each time
		if _, unseen := kept[h.chain]; unseen && h.head != (consent.Head{}) {
			v.Chains++
			for _, f := range consent.NewVerifier(h.chain, nil).Finish(h.head) {
				v.found(f)
			}
			delete(kept, h.chain)
		}
	}
	return nil
}

// checked is a chain that is being read.
type checked struct {
	*consent.Verifier
	head   headRow
	known  bool
	closed bool // its key is not at hand
	last   consent.Link
}

func (v *verification) begin(chain string, head headRow, known bool) *checked {
	read, closed, err := v.db.reader(chain, head.dataKey)
	if err != nil && !errors.Is(err, ports.ErrKeyMissing) {
		v.find(chain, 0, "the key that is kept of it does not open: it was changed, or is of another chain")
	}
	v.Chains++
	return &checked{Verifier: consent.NewVerifier(chain, read), head: head, known: known, closed: closed && !head.erased}
}

func (c *checked) check(v *verification, l consent.Link) {
	c.Check(l)
	v.Entries++
	if c.closed && l.Form == consent.Sealed {
		v.Closed++
	}
	c.last = l
}

func (c *checked) finish(v *verification) {
	if !c.known {
		v.find(c.last.Chain, c.last.Seq, "the customer's account, and with it the end of the chain, is gone")
		c.head.head = c.Head()
	}
	for _, f := range c.Finish(c.head.head) {
		v.found(f)
	}
	switch {
	case c.head.erased && !c.Erased():
		v.find(c.last.Chain, c.last.Seq, "is the last entry of a chain among the erased, but tells of no erasure")
	case c.known && !c.head.erased && c.Erased():
		v.find(c.last.Chain, c.last.Seq, "tells of an erasure, but the customer is still there")
	case c.head.erased:
		v.Erased++
	}
}

// outside compares the ledger with what is kept apart from it: an operation must have the entries that its status
// implies, so that cutting the end off a chain shows even where the chain's head was wound back to match; and the
// database must still refuse changes.
func (v *verification) outside(tx *gorm.DB, only string) error {
	if err := query(tx, func(rows *sql.Rows) error {
		f := consent.Finding{}
		err := rows.Scan(&f.Chain, &f.Seq, &f.Problem)
		v.found(f)
		return err
	}, `SELECT c.chain, 0, 'operation ' || o.id || ' is ' || o.status || ', but the ledger has no entry "' || e.event || '" of it'
		FROM operations o JOIN customers c ON c.id = o.customer_id
		CROSS JOIN LATERAL (VALUES ('requested'), (CASE WHEN o.settled_at IS NOT NULL THEN o.status END)) e (event)
		WHERE e.event IS NOT NULL AND (? = '' OR c.chain = ?) AND NOT EXISTS (
			SELECT FROM ledger l WHERE l.chain = c.chain AND l.operation_id = o.id AND l.event = e.event)
		ORDER BY c.chain, o.number, e.event DESC`, only, only); err != nil {
		return err
	}
	return query(tx, func(rows *sql.Rows) error {
		f := consent.Finding{}
		err := rows.Scan(&f.Problem)
		v.found(f)
		return err
	}, `WITH guarded AS (SELECT t.name, g.tgname, g.tgenabled FROM unnest(ARRAY['ledger', 'erased_chains', 'ledger_leaves', 'ledger_tree', 'ledger_checkpoints']) t(name)
			LEFT JOIN pg_trigger g ON g.tgrelid = t.name::regclass AND NOT g.tgisinternal)
		SELECT 'the ledger is not protected: trigger ' || tgname || ' is not always on' FROM guarded WHERE tgenabled <> 'A'
		UNION ALL SELECT 'the ledger is not protected: a trigger of ' || name || ' is missing' FROM guarded GROUP BY name HAVING count(tgname) < 2`)
}
