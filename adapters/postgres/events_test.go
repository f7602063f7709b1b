package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/ports"
	"accord/ports/portstest"
)

const say = `INSERT INTO stream_events (viewers, kind, data) VALUES ('{}', 'inbox.changed', '{}') RETURNING id`

func begin(t *testing.T, conn *pgx.Conn) (tx pgx.Tx, id int64) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.QueryRow(t.Context(), say).Scan(&id))
	return tx, id
}

func idsOf(events []ports.StreamEvent) (ids []int64) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// atLeast is enough when so many were heard.
func atLeast(n int) func([]ports.StreamEvent, int) bool {
	return func(events []ports.StreamEvent, _ int) bool { return len(events) >= n }
}

// Ids are given out before the commit. What is committed after something with a greater id is told all the same, also when
// its id was given out before anybody listened; what is rolled back holds nothing up.
func TestEventsThatAreCommittedOutOfOrder(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	early, rolledBack, late, bystander := connect(t, url), connect(t, url), connect(t, url), connect(t, url)
	before, first := begin(t, early)
	h, _ := portstest.Listen(t, db)
	never, _ := begin(t, rolledBack)
	slow, second := begin(t, late)
	var third int64
	require.NoError(t, bystander.QueryRow(t.Context(), say).Scan(&third))
	h.Until(t, "the one that was committed first", atLeast(1))
	require.NoError(t, never.Rollback(t.Context()))
	require.NoError(t, slow.Commit(t.Context()))
	h.Until(t, "the one with the smaller id", atLeast(2))
	require.NoError(t, before.Commit(t.Context()))
	h.Until(t, "the one from before", atLeast(3))
	var fourth int64
	require.NoError(t, bystander.QueryRow(t.Context(), say).Scan(&fourth))
	events := h.Until(t, "the last", atLeast(4))
	require.Equal(t, []int64{third, second, first, fourth}, idsOf(events), "each once")
}

func TestEventsCommittedInAnyOrderAreEachToldOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	h, _ := portstest.Listen(t, open(t, url))
	const writers, each = 6, 40
	var all sync.WaitGroup
	var mu sync.Mutex
	committed := map[int64]bool{}
	for range writers {
		conn := connect(t, url)
		all.Go(func() {
			for range each {
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				var ids []int64
				for range 1 + rand.N(3) {
					var id int64
					if err := tx.QueryRow(t.Context(), say).Scan(&id); err != nil {
						t.Error(err)
					}
					ids = append(ids, id)
				}
				if rand.N(4) == 0 {
					_ = tx.Rollback(t.Context())
					continue
				}
				mu.Lock()
				for _, id := range ids {
					committed[id] = true
				}
				mu.Unlock()
				if err := tx.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	events := h.Until(t, "all of them", atLeast(len(committed)))
	require.Len(t, events, len(committed))
	for _, id := range idsOf(events) {
		require.True(t, committed[id], "told once, and committed")
		delete(committed, id)
	}
}

// A connection that is lost may mean that the server has crashed: it has forgotten the events then, and counts anew.
func TestALostConnectionIsTold(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	for range 5 {
		exec(t, conn, say)
	}
	h, _ := portstest.Listen(t, open(t, url))
	exec(t, conn, `TRUNCATE stream_events RESTART IDENTITY`)
	exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'accord-events'`)
	h.Until(t, "that something may be lost", func(_ []ports.StreamEvent, missed int) bool { return missed == 2 })
	var id int64
	require.NoError(t, conn.QueryRow(t.Context(), say).Scan(&id))
	require.EqualValues(t, 1, id)
	require.Equal(t, []int64{id}, idsOf(h.Until(t, "what comes after", atLeast(1))))
}

// So many ids are missing that something has gone wrong: whoever is connected looks again, and nothing is held up.
func TestTooManyGapsAreTold(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	h, _ := portstest.Listen(t, open(t, url))
	exec(t, conn, `SELECT setval('stream_events_id_seq', 100000)`)
	exec(t, conn, say)
	h.Until(t, "that something may be lost", func(_ []ports.StreamEvent, missed int) bool { return missed == 2 })
	exec(t, conn, say)
	events := h.Until(t, "what comes after", atLeast(1))
	require.Equal(t, []int64{100002}, idsOf(events))
}

func TestMoreEventsThanOneReadTakes(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	h, _ := portstest.Listen(t, open(t, url))
	exec(t, connect(t, url), fmt.Sprintf(`INSERT INTO stream_events (viewers, kind, data) SELECT ARRAY['c:' || n], 'inbox.changed', '{}' FROM generate_series(1, %d) n`, 3500))
	events := h.Until(t, "all", atLeast(3500))
	require.Len(t, events, 3500)
	for i, e := range events {
		require.EqualValues(t, i+1, e.ID)
		require.Equal(t, []string{fmt.Sprintf("c:%d", i+1)}, e.Viewers)
	}
}
