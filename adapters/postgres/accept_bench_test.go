package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports/portstest"
)

var benchCustomer atomic.Int64

// BenchmarkAccept compares accepting a change with the same statements run bare: what the domain and this adapter cost on
// top of the database. Every change is of another customer who is known already.
func BenchmarkAccept(b *testing.B) {
	url := migrated(b)
	db := open(b, url)
	pool, err := pgxpool.New(b.Context(), url)
	require.NoError(b, err)
	b.Cleanup(pool.Close)

	b.Run("adapter", func(b *testing.B) {
		known(b, pool, "a")
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				customer := preference.CustomerID(fmt.Sprintf("a%d", benchCustomer.Add(1)))
				portstest.Accept(b, db, customer, portstest.Unsubscribe(customer))
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		known(b, pool, "b")
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				acceptBare(b, pool, fmt.Sprintf("b%d", benchCustomer.Add(1)))
			}
		})
	})
}

// known makes the customers of the next b.N changes.
func known(b *testing.B, pool *pgxpool.Pool, prefix string) {
	b.Helper()
	state, err := json.Marshal(preference.Defaults("", portstest.Catalogue()).Snapshot())
	require.NoError(b, err)
	from := benchCustomer.Load() + 1
	keys := make([][]byte, b.N)
	for i := range keys {
		keys[i], err = portstest.Keys("a").Wrap(fmt.Sprint("ch_", prefix, from+int64(i)), consent.Key{1})
		require.NoError(b, err)
	}
	_, err = pool.Exec(b.Context(), `INSERT INTO customers (id, version, state, last_number, turn, run, chain, data_key, ledger_seq, ledger_hash, created_at, updated_at)
		SELECT $1::text || ($3::bigint + n - 1), 0, $2, 0, 0, 0, 'ch_' || $1::text || ($3::bigint + n - 1), k, 0, decode(repeat('00', 32), 'hex'), now(), now()
		FROM unnest($4::bytea[]) WITH ORDINALITY AS keys (k, n)`,
		prefix, string(state), from, keys)
	require.NoError(b, err)
	b.ResetTimer()
}

func acceptBare(b *testing.B, pool *pgxpool.Pool, customer string) {
	ctx := context.Background()
	state, _ := json.Marshal(preference.Defaults(preference.CustomerID(customer), portstest.Catalogue()).Snapshot())
	entry, _, _ := consent.Chain{ID: "ch_" + customer, Key: consent.Key{1}}.Append(consent.Entry{Event: consent.Requested, At: portstest.Noon})
	tx, err := pool.Begin(ctx)
	require.NoError(b, err)
	defer func() { _ = tx.Rollback(ctx) }()
	steps := []struct {
		statement string
		args      []any
	}{
		{`SELECT id, version, state, last_number, turn, run, chain, data_key, ledger_seq, ledger_hash FROM customers WHERE id = $1 FOR UPDATE`, []any{customer}},
		{`INSERT INTO operations (id, customer_id, number, kind, status, source, actor_type, actor_id, origin, change, targets, accepted_at, before, after, run)
			VALUES ($1, $2, 1, 'withdrawal', 'accepted', 'app', 'customer', $2, '{}', '{"email":"unsubscribed"}', '{crm,cmp}', now(), $3, $3, 1)`,
			[]any{portstest.NewID(), customer, string(state)}},
		{`INSERT INTO ledger (chain, seq, form, operation_id, event, at, body, prev_hash, hash) VALUES ($1, 1, 2, $2, 'requested', $3, $4, $5, $6)`,
			[]any{"ch_" + customer, entry.Operation, entry.At, entry.Body, entry.Prev[:], entry.Hash[:]}},
		{`UPDATE customers SET last_number = 1, turn = 1, run = 1, turn_since = now(), ledger_seq = 1, ledger_hash = $2, updated_at = now() WHERE id = $1`,
			[]any{customer, entry.Hash[:]}},
	}
	for _, step := range steps {
		_, err := tx.Exec(ctx, step.statement, step.args...)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit(ctx))
}
