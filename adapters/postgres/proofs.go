package postgres

import (
	"context"
	"database/sql"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

var _ ports.Proofs = (*DB)(nil)

// Proof implements ports.Proofs.
func (db *DB) Proof(ctx context.Context, customer preference.CustomerID, closed func(consent.Entry) bool) (p consent.Proof, err error) {
	err = db.inSnapshot(ctx, func(tx *gorm.DB) error {
		p = consent.Proof{Format: consent.ProofFormat, Entries: []consent.ProofEntry{}}
		var dataKey []byte
		found, err := queryOne(tx, []any{&p.Chain, &dataKey}, `SELECT chain, data_key FROM customers WHERE id = ? AND ledger_seq > 0`, string(customer))
		if err != nil || !found {
			return err
		}
		var key consent.Key
		if dataKey != nil {
			if key, err = db.unwrap(p.Chain, dataKey); err != nil {
				return keyOf(p.Chain, err)
			}
		}
		if p.Seal, err = sealOf(tx, p.Chain); err != nil {
			return err
		}
		return query(tx, func(rows *sql.Rows) error {
			var row linkRow
			if err := rows.Scan(row.dest()...); err != nil {
				return err
			}
			l := consent.Line{Link: row.read()}
			if l.Entry, err = l.Read(key); err != nil {
				return err
			}
			e, err := consent.ProofOf(l, key, p.Seal != nil && l.Seq <= p.Seal.Seq, closed(l.Entry))
			p.Entries = append(p.Entries, e)
			return err
		}, `SELECT `+ledgerColumns+` FROM ledger l WHERE l.chain = ? ORDER BY l.seq`, p.Chain)
	})
	return p, translate("prove a ledger", err)
}

// sealOf is the chain's last leaf, and its way to the last checkpoint; nil when none of it is sealed.
func sealOf(tx *gorm.DB, chain string) (*consent.ProofSeal, error) {
	s := &consent.ProofSeal{Path: []string{}}
	var size int64
	found, err := queryOne(tx, []any{&s.Leaf, &s.Seq, &size, &s.Checkpoint, &s.Verifier}, `SELECT s.index, s.seq, k.size, k.note, k.verifier
		FROM (SELECT index, seq FROM ledger_leaves WHERE chain = ? ORDER BY seq DESC LIMIT 1) s
		CROSS JOIN (SELECT size, note, verifier FROM ledger_checkpoints ORDER BY number DESC LIMIT 1) k WHERE s.index < k.size`, chain)
	if err != nil || !found {
		return nil, err
	}
	path, err := tlog.ProveRecord(size, s.Leaf, &tree{tx: tx, known: map[int64]tlog.Hash{}})
	if err != nil {
		return nil, err
	}
	for _, h := range path {
		s.Path = append(s.Path, fmt.Sprintf("%x", h[:]))
	}
	return s, nil
}
