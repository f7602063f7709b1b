package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports/portstest"
)

var benchMessage atomic.Int64

// BenchmarkPublish compares publishing a message to one customer with the database's commit rate: one row added by one
// statement in a transaction of its own, over bare pgx.
func BenchmarkPublish(b *testing.B) {
	url := migrated(b)
	db := open(b, url)
	portstest.Target(b, db, "orders", "app://orders/{order_id}", true)
	config, err := pgxpool.ParseConfig(url)
	require.NoError(b, err)
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	_, err = pool.Exec(b.Context(), `CREATE TABLE commits (id bigint PRIMARY KEY, said text NOT NULL)`)
	require.NoError(b, err)

	publish := func(link string, to func(n int64) []preference.CustomerID) func(*testing.B) {
		return func(b *testing.B) {
			b.SetParallelism(8)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					n := benchMessage.Add(1)
					d := inbox.Draft{Source: "bench", ExternalID: fmt.Sprint(n), Audience: inbox.Personal, Recipients: to(n),
						Content: inbox.Content{Text: inbox.Text{Title: "Your order is on its way", Body: "It will be there tomorrow."}, Link: link}}
					if _, _, err := db.PublishMessage(b.Context(), d.Source, d.ExternalID, d.Recipients, 1000, d.Publish); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-s")
		}
	}
	one := func(n int64) []preference.CustomerID {
		return []preference.CustomerID{preference.CustomerID(fmt.Sprint("customer-", n*7919%1000))}
	}
	b.Run("commit", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := pool.Exec(b.Context(), `INSERT INTO commits VALUES ($1, 'Your order is on its way')`, benchMessage.Add(1)); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-s")
	})
	b.Run("one", publish("", one))
	b.Run("linked", publish("app://orders/42", one))
	b.Run("hundred", publish("", func(n int64) (to []preference.CustomerID) {
		for i := range int64(100) {
			to = append(to, preference.CustomerID(fmt.Sprint("customer-", (n*7919+i)%1000)))
		}
		return to
	}))
}
