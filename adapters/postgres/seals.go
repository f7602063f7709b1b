package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/ports"
)

var _ ports.Seals = (*DB)(nil)

// Seal implements ports.Seals. Growth of a transaction that has not committed is not seen, and not taken either: it is
// the next checkpoint's, so nothing is ever passed over.
func (db *DB) Seal(ctx context.Context, limit int, now time.Time,
	sign func(size int64, root consent.Hash, at time.Time) (note, verifier string, err error)) (sealed *ports.SealedCheckpoint, more bool, err error) {
	now = now.UTC().Truncate(time.Microsecond)
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		sealed, more = nil, false
		// Readers go on; whoever seals at the same time waits, and sees what was sealed.
		if err := tx.Exec(`LOCK TABLE ledger_checkpoints IN SHARE ROW EXCLUSIVE MODE`).Error; err != nil {
			return err
		}
		c := ports.SealedCheckpoint{SealedAt: now}
		if _, err := queryOne(tx, []any{&c.Number, &c.Size}, `SELECT number, size FROM ledger_checkpoints ORDER BY number DESC LIMIT 1`); err != nil {
			return err
		}
		leaves, taken, err := takeGrowth(tx, c.Size, limit)
		if err != nil {
			return err
		}
		if taken == 0 {
			return errNothing
		}
		more = taken == int64(limit)
		if len(leaves) == 0 { // all of it is sealed already
			return nil
		}
		tree, err := grow(tx, c.Size, leaves)
		if err != nil {
			return err
		}
		c.Number, c.Size, c.Root = c.Number+1, c.Size+int64(len(leaves)), tree.root
		if c.Note, c.Verifier, err = sign(c.Size, c.Root, c.SealedAt); err != nil {
			return callerError{err}
		}
		if err := storeSeal(tx, c, leaves, tree.added); err != nil {
			return err
		}
		sealed = &c
		return nil
	})
	if err != nil {
		return nil, false, translate("seal the ledger", err)
	}
	return sealed, more, nil
}

// takeGrowth takes what has grown and answers the ends of those chains, as the ledger has them.
func takeGrowth(tx *gorm.DB, size int64, limit int) (leaves []consent.Leaf, taken int64, err error) {
	err = query(tx, func(rows *sql.Rows) error {
		var chain sql.NullString
		var seq sql.NullInt64
		var hash []byte
		if err := rows.Scan(&taken, &chain, &seq, &hash); err != nil || !chain.Valid {
			return err
		}
		leaves = append(leaves, consent.Leaf{Index: size + int64(len(leaves)), Chain: chain.String, Seq: seq.Int64, Hash: toHash(hash)})
		return nil
	}, `WITH taken AS (DELETE FROM ledger_growth WHERE ctid = ANY(ARRAY(SELECT ctid FROM ledger_growth LIMIT ?)) RETURNING chain, seq),
		ends AS (SELECT chain, max(seq) AS seq FROM taken GROUP BY chain)
		SELECT t.n, l.chain, l.seq, l.hash FROM (SELECT count(*) AS n FROM taken) t LEFT JOIN (
		  ends e JOIN ledger l USING (chain, seq)) ON NOT EXISTS (SELECT FROM ledger_leaves s WHERE s.chain = e.chain AND s.seq >= e.seq)
		ORDER BY l.chain`, limit)
	return leaves, taken, err
}

// tree is the log's, as far as somebody has looked at it: what is not known is read.
type tree struct {
	tx    *gorm.DB
	known map[int64]tlog.Hash
	added []storedHash
	root  consent.Hash
}

type storedHash struct {
	Index int64
	Hash  tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var missing []int64
	for _, i := range indexes {
		if _, known := t.known[i]; !known {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		wanted, err := encode(missing)
		if err != nil {
			return nil, err
		}
		err = query(t.tx, func(rows *sql.Rows) error {
			var index int64
			var hash []byte
			err := rows.Scan(&index, &hash)
			t.known[index] = tlog.Hash(toHash(hash))
			return err
		}, `SELECT index, hash FROM ledger_tree WHERE index IN (SELECT value::bigint FROM jsonb_array_elements_text(?::jsonb))`, wanted)
		if err != nil {
			return nil, err
		}
	}
	out := make([]tlog.Hash, len(indexes))
	for n, i := range indexes {
		hash, known := t.known[i]
		if !known {
			return nil, fmt.Errorf("hash %d of the log's tree is missing", i)
		}
		out[n] = hash
	}
	return out, nil
}

// grow works out the hashes that the leaves add to the tree, and its root.
func grow(tx *gorm.DB, size int64, leaves []consent.Leaf) (*tree, error) {
	t := &tree{tx: tx, known: map[int64]tlog.Hash{}}
	for _, l := range leaves {
		hashes, err := tlog.StoredHashes(l.Index, l.Record(), t)
		if err != nil {
			return nil, err
		}
		first := tlog.StoredHashIndex(0, l.Index)
		for n, h := range hashes {
			t.known[first+int64(n)] = h
			t.added = append(t.added, storedHash{first + int64(n), h})
		}
	}
	root, err := tlog.TreeHash(size+int64(len(leaves)), t)
	t.root = consent.Hash(root)
	return t, err
}

func storeSeal(tx *gorm.DB, c ports.SealedCheckpoint, leaves []consent.Leaf, hashes []storedHash) error {
	type row struct {
		Index int64  `json:"index"`
		Chain string `json:"chain,omitempty"`
		Seq   int64  `json:"seq,omitempty"`
		Hash  string `json:"hash"`
	}
	var leafRows, hashRows []row
	for _, l := range leaves {
		leafRows = append(leafRows, row{l.Index, l.Chain, l.Seq, fmt.Sprintf("%x", l.Hash)})
	}
	for _, h := range hashes {
		hashRows = append(hashRows, row{Index: h.Index, Hash: fmt.Sprintf("%x", h.Hash[:])})
	}
	leafText, err := encode(leafRows)
	if err != nil {
		return err
	}
	hashText, err := encode(hashRows)
	if err != nil {
		return err
	}
	return tx.Exec(`WITH leaves AS (
		  INSERT INTO ledger_leaves (index, chain, seq, hash)
		  SELECT index, chain, seq, decode(hash, 'hex') FROM jsonb_to_recordset(?::jsonb) AS l (index bigint, chain text, seq bigint, hash text)
		), tree AS (
		  INSERT INTO ledger_tree (index, hash)
		  SELECT index, decode(hash, 'hex') FROM jsonb_to_recordset(?::jsonb) AS h (index bigint, hash text)
		)
		INSERT INTO ledger_checkpoints (number, size, root, sealed_at, note, verifier) VALUES (?, ?, ?, ?, ?, ?)`,
		leafText, hashText, c.Number, c.Size, blob(c.Root[:]), c.SealedAt, c.Note, c.Verifier).Error
}

const checkpointColumns = `k.number, k.size, k.root, k.sealed_at, k.note, k.verifier`

func scanCheckpoint(rows *sql.Rows) (c ports.SealedCheckpoint, err error) {
	var root []byte
	err = rows.Scan(&c.Number, &c.Size, &root, &c.SealedAt, &c.Note, &c.Verifier)
	c.Root, c.SealedAt = toHash(root), c.SealedAt.UTC()
	return c, err
}

// Checkpoints implements ports.Seals.
func (db *DB) Checkpoints(ctx context.Context, after int64, limit int) (out []ports.SealedCheckpoint, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	err = query(tx, func(rows *sql.Rows) error {
		c, err := scanCheckpoint(rows)
		out = append(out, c)
		return err
	}, `SELECT `+checkpointColumns+` FROM ledger_checkpoints k WHERE k.number > ? ORDER BY k.number LIMIT ?`, after, limit)
	return out, translate("list checkpoints", err)
}

// SealState implements ports.Seals.
func (db *DB) SealState(ctx context.Context) (s ports.SealState, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var last sql.NullTime
	_, err = queryOne(tx, []any{&s.Unsealed, &last}, `SELECT (SELECT count(*) FROM ledger_growth), (SELECT sealed_at FROM ledger_checkpoints ORDER BY number DESC LIMIT 1)`)
	s.Last = moment(last)
	return s, translate("read how far the ledger is sealed", err)
}
