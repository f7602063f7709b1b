package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/ports"
)

// VerifySeals implements ports.Seals. It sees one moment, and works every root out of the leaves: what the tree's table
// says is not asked.
func (db *DB) VerifySeals(ctx context.Context, claims []ports.Claim, found func(consent.Finding)) (leaves int64, err error) {
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b ports.Claim) int { return cmp.Compare(a.Size, b.Size) })
	err = db.inSnapshot(ctx, func(tx *gorm.DB) error {
		if leaves, err = verifyRoots(tx, claims, found); err != nil {
			return err
		}
		for _, check := range sealChecks {
			if err := query(tx, func(rows *sql.Rows) error {
				var f consent.Finding
				err := rows.Scan(&f.Chain, &f.Seq, &f.Problem)
				found(f)
				return err
			}, check); err != nil {
				return err
			}
		}
		return nil
	})
	return leaves, translate("verify checkpoints", err)
}

// verifyRoots reads the leaves in their order, and compares each claim at its size.
func verifyRoots(tx *gorm.DB, claims []ports.Claim, found func(consent.Finding)) (size int64, err error) {
	var edge []subtree
	next := 0
	compare := func() {
		for ; next < len(claims) && claims[next].Size == size; next++ {
			if claims[next].Root != rootOf(edge) {
				found(consent.Finding{Problem: fmt.Sprintf("%s does not fit the log: its first %d leaves have another root", claims[next].Where, size)})
			}
		}
	}
	compare()
	err = query(tx, func(rows *sql.Rows) error {
		var l consent.Leaf
		var hash []byte
		if err := rows.Scan(&l.Index, &l.Chain, &l.Seq, &hash); err != nil {
			return err
		}
		l.Hash = toHash(hash)
		if l.Index != size {
			found(consent.Finding{Chain: l.Chain, Seq: l.Seq, Problem: fmt.Sprintf("is leaf %d of the log, where leaf %d should be", l.Index, size)})
		}
		edge = add(edge, tlog.RecordHash(l.Record()))
		size++
		compare()
		return nil
	}, `SELECT index, chain, seq, hash FROM ledger_leaves ORDER BY index`)
	for ; next < len(claims); next++ {
		found(consent.Finding{Problem: fmt.Sprintf("%s is of a log with %d leaves, but this one has %d: its end was cut off", claims[next].Where, claims[next].Size, size)})
	}
	return size, err
}

// subtree is a full one at the right edge of a tree.
type subtree struct {
	leaves int64
	hash   tlog.Hash
}

// add puts a leaf at the right edge, joining what is full.
func add(edge []subtree, leaf tlog.Hash) []subtree {
	edge = append(edge, subtree{1, leaf})
	for n := len(edge); n > 1 && edge[n-2].leaves == edge[n-1].leaves; n = len(edge) {
		edge = append(edge[:n-2], subtree{2 * edge[n-1].leaves, tlog.NodeHash(edge[n-2].hash, edge[n-1].hash)})
	}
	return edge
}

func rootOf(edge []subtree) (root consent.Hash) {
	for i, t := range slices.Backward(edge) {
		if i == len(edge)-1 {
			root = consent.Hash(t.hash)
			continue
		}
		root = consent.Hash(tlog.NodeHash(t.hash, tlog.Hash(root)))
	}
	return root
}

// sealChecks find what the leaves and the rest of the database do not agree on, as chain, seq and problem.
var sealChecks = []string{
	`SELECT s.chain, s.seq, CASE WHEN l.hash IS NULL THEN 'was sealed, and is in the ledger no more'
		ELSE 'was sealed with another hash: it was replaced since' END
		FROM ledger_leaves s LEFT JOIN ledger l USING (chain, seq) WHERE l.hash IS DISTINCT FROM s.hash ORDER BY 1, 2`,
	`SELECT h.chain, h.seq, 'is not sealed, and does not wait to be' FROM (
		  SELECT chain, ledger_seq AS seq FROM customers WHERE ledger_seq > 0 UNION ALL SELECT chain, ledger_seq FROM erased_chains) h
		WHERE NOT EXISTS (SELECT FROM ledger_leaves s WHERE s.chain = h.chain AND s.seq >= h.seq)
		  AND NOT EXISTS (SELECT FROM ledger_growth g WHERE g.chain = h.chain AND g.seq = h.seq) ORDER BY 1`,
	`SELECT s.chain, max(s.seq), 'was sealed, but the chain ends before it' FROM ledger_leaves s
		LEFT JOIN (SELECT chain, ledger_seq AS seq FROM customers UNION ALL SELECT chain, ledger_seq FROM erased_chains) h ON h.chain = s.chain
		GROUP BY s.chain HAVING max(s.seq) > coalesce(max(h.seq), 0) ORDER BY 1`,
	`SELECT '', 0, 'checkpoint ' || number || ' is missing: number ' || after || ' comes after number ' || (number - 1) FROM (
		  SELECT number AS after, coalesce(lag(number) OVER (ORDER BY number), 0) + 1 AS number FROM ledger_checkpoints) k WHERE number <> after`,
	`SELECT '', 0, 'the log has ' || n || ' leaves, but the last checkpoint is of ' || size FROM (
		  SELECT (SELECT count(*) FROM ledger_leaves) AS n, coalesce((SELECT max(size) FROM ledger_checkpoints), 0) AS size) k WHERE n <> size`,
}
