package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// chainPrefix begins the names of chains, which are random: 128 bits that say nothing about anybody.
const chainPrefix = "ch_"

// newChain makes the name and the wrapped data key of a chain.
func (db *DB) newChain() (id string, dataKey []byte, err error) {
	id = chainPrefix + strings.ToLower(rand.Text())
	dataKey, err = db.newKey(id)
	return id, dataKey, err
}

func (db *DB) newKey(chain string) ([]byte, error) {
	if db.keys == nil {
		return nil, ports.ErrKeyMissing
	}
	var key consent.Key
	_, _ = rand.Read(key[:]) // never fails
	return db.keys.Wrap(chain, key)
}

// giveKey gives a key to a chain from before entries were sealed. The caller holds the customer's lock.
func (db *DB) giveKey(tx *gorm.DB, row *customerRow) (err error) {
	if row.dataKey != nil {
		return nil
	}
	if row.dataKey, err = db.newKey(row.chain); err != nil {
		return err
	}
	return tx.Exec(`UPDATE customers SET data_key = ? WHERE id = ?`, blob(row.dataKey), row.id).Error
}

func (db *DB) unwrap(chain string, dataKey []byte) (consent.Key, error) {
	if db.keys == nil {
		return consent.Key{}, ports.ErrKeyMissing
	}
	return db.keys.Unwrap(chain, dataKey)
}

// reader opens the entries of a chain. closed reports that its key is not at hand, which is no fault of the chain's.
func (db *DB) reader(chain string, dataKey []byte) (read func(consent.Link) (consent.Entry, error), closed bool, err error) {
	if dataKey == nil {
		return nil, true, nil
	}
	key, err := db.unwrap(chain, dataKey)
	if err != nil {
		return nil, errors.Is(err, ports.ErrKeyMissing), err
	}
	return func(l consent.Link) (consent.Entry, error) { return l.Read(key) }, false, nil
}

// Rewrap implements ports.KeyStore. Each customer's lock is held until the batch is stored: a key made meanwhile, or one
// that is destroyed, is never overwritten.
func (db *DB) Rewrap(ctx context.Context, after preference.CustomerID, limit int) (last preference.CustomerID, rewrapped int, err error) {
	if db.keys == nil {
		return "", 0, ports.ErrKeyMissing
	}
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		last, rewrapped = "", 0
		type kept struct {
			id, chain string
			dataKey   []byte
		}
		var page []kept
		err := query(tx, func(rows *sql.Rows) error {
			var k kept
			err := rows.Scan(&k.id, &k.chain, &k.dataKey)
			page = append(page, k)
			return err
		}, `SELECT id, chain, data_key FROM customers WHERE id > ? ORDER BY id LIMIT ? FOR NO KEY UPDATE`, string(after), limit)
		if err != nil {
			return err
		}
		for _, k := range page {
			if k.dataKey == nil || db.keys.Current(k.dataKey) {
				continue
			}
			key, err := db.keys.Unwrap(k.chain, k.dataKey)
			if err != nil {
				return keyOf(k.chain, err)
			}
			anew, err := db.keys.Wrap(k.chain, key)
			if err != nil {
				return err
			}
			if err := tx.Exec(`UPDATE customers SET data_key = ? WHERE id = ?`, blob(anew), k.id).Error; err != nil {
				return err
			}
			rewrapped++
		}
		if len(page) == limit {
			last = preference.CustomerID(page[len(page)-1].id)
		}
		return nil
	})
	return last, rewrapped, translate("rewrap keys", err)
}

// keyOf names the chain, and nobody, in an error about its key.
func keyOf(chain string, err error) error {
	if f, is := fault.As(err); is {
		return fault.New(f.Kind, f.Code, "%s (chain %s)", f.Message, chain)
	}
	return fmt.Errorf("chain %s: %w", chain, err)
}
