package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// blockedBy waits until somebody waits for what conn has locked, or done has something.
func blockedBy(t *testing.T, url string, conn *pgx.Conn, done func() bool) {
	t.Helper()
	looking := connect(t, url)
	require.Eventually(t, func() bool {
		var waiting bool
		require.NoError(t, looking.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND $1::int = ANY(pg_blocking_pids(pid)))`, int(conn.PgConn().PID())).Scan(&waiting))
		return waiting || done()
	}, 20*time.Second, 5*time.Millisecond)
}

// noDeadlocks makes sure that nothing has worked only because it was tried again.
func noDeadlocks(t *testing.T, url string) {
	t.Helper()
	conn := connect(t, url)
	exec(t, conn, `SELECT pg_stat_clear_snapshot()`)
	var deadlocks int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks))
	require.Zero(t, deadlocks)
}

func linkedDraft(customers ...preference.CustomerID) inbox.Draft {
	d := portstest.Draft(customers...)
	d.Content.Link = "app://orders/42"
	return d
}

// Whoever publishes while the target of a link is being switched off (or shadowed, or taken away) waits for that, and is
// refused when it is committed.
func TestPublishingWaitsForAChangeOfTheCatalogue(t *testing.T) {
	t.Parallel()
	off := `UPDATE deeplink_targets SET active = key <> 'orders', catalogue = $1`
	shadow := `WITH others AS (UPDATE deeplink_targets SET catalogue = $1)
		INSERT INTO deeplink_targets (key, pattern, active, pattern_at, updated_at, catalogue) VALUES ('one', 'app://orders/42', false, now(), now(), $1)`
	gone := `WITH others AS (UPDATE deeplink_targets SET catalogue = $1 WHERE key <> 'orders') DELETE FROM deeplink_targets WHERE key = 'orders' AND $1 > 0`
	for name, test := range map[string]struct {
		change  string
		commit  bool
		refused bool
	}{
		"switched off":           {off, true, true},
		"shadowed":               {shadow, true, true},
		"taken away":             {gone, true, true},
		"switched off after all": {off, false, false},
	} {
		for _, to := range [][]preference.CustomerID{{"ada"}, {}, {"a", "b", "c", "d"}} {
			t.Run(fmt.Sprintf("%s, to %d", name, len(to)), func(t *testing.T) {
				t.Parallel()
				url := migrated(t)
				db, changing := open(t, url), connect(t, url)
				portstest.Target(t, db, "orders", "app://orders/{order_id}", true)
				portstest.Target(t, db, "home", "app://home", true)
				portstest.Publish(t, db, linkedDraft("ada")) // so that the catalogue is known

				tx, err := changing.Begin(t.Context())
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), `LOCK TABLE deeplink_targets IN SHARE ROW EXCLUSIVE MODE`)
				require.NoError(t, err)
				var version int64
				_, err = tx.Exec(t.Context(), test.change, 1000)
				require.NoError(t, err)
				require.NoError(t, tx.QueryRow(t.Context(), `UPDATE inbox_globals SET version = 1000, catalogue = 1000 RETURNING version`).Scan(&version))

				result := make(chan error, 1)
				go func() {
					_, _, err := portstest.TryPublish(t, db, linkedDraft(to...))
					result <- err
				}()
				blockedBy(t, url, changing, func() bool { return len(result) > 0 })
				if test.commit {
					require.NoError(t, tx.Commit(t.Context()))
				} else {
					require.NoError(t, tx.Rollback(t.Context()))
				}
				if test.refused {
					require.ErrorIs(t, <-result, fault.New(fault.Invalid, "deeplink-inactive", ""))
				} else {
					require.NoError(t, <-result)
				}
			})
		}
	}
}

// A switch-off waits for those who are publishing, so that nothing is published with the link afterwards.
func TestASwitchOffWaitsForWhoIsPublishing(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, publishing := open(t, url), connect(t, url)
	portstest.Target(t, db, "orders", "app://orders/{order_id}", true)
	tx, err := publishing.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM deeplink_targets WHERE key = 'orders' FOR SHARE`)
	require.NoError(t, err)
	pattern, err := inbox.ParsePattern("app://orders/{order_id}")
	require.NoError(t, err)
	off := make(chan error, 1)
	go func() {
		_, _, err := db.PutTarget(t.Context(), inbox.LinkTarget{Key: "orders", Pattern: pattern})
		off <- err
	}()
	blockedBy(t, url, publishing, func() bool { return len(off) > 0 })
	require.Empty(t, off)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-off)
}

// An edit decides under the catalogue that holds when it is stored.
func TestAnEditWaitsForAChangeOfTheCatalogue(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, changing := open(t, url), connect(t, url)
	portstest.Target(t, db, "orders", "app://orders/{order_id}", true)
	m := portstest.Publish(t, db, portstest.Draft("ada"))
	tx, err := changing.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE deeplink_targets SET active = false, catalogue = 1000`)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE inbox_globals SET version = 1000, catalogue = 1000`)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := db.EditMessage(t.Context(), m.ID, func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
			content := m.Content
			content.Link = "app://orders/42"
			return m.Edited(inbox.Edit{Content: &content}, links, now)
		})
		result <- err
	}()
	blockedBy(t, url, changing, func() bool { return len(result) > 0 })
	require.NoError(t, tx.Commit(t.Context()))
	require.ErrorIs(t, <-result, fault.New(fault.Invalid, "deeplink-inactive", ""))
}

// together runs fn at once as often as asked for, each time with another process's view.
func together(t *testing.T, url string, times int, fn func(db *postgres.DB, n int) error) {
	t.Helper()
	processes := []*postgres.DB{open(t, url), open(t, url)}
	var all sync.WaitGroup
	for n := range times {
		all.Go(func() {
			if err := fn(processes[n%len(processes)], n); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestANameIsTakenOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	for _, d := range []inbox.Draft{portstest.Draft("ada", "grace"), portstest.Draft(), portstest.Draft("a", "b", "c", "d")} {
		before, err := db.GlobalHead(t.Context())
		require.NoError(t, err)
		ids, createds := make([]inbox.MessageID, 8), make([]bool, 8)
		together(t, url, len(ids), func(db *postgres.DB, n int) (err error) {
			var m ports.StoredMessage
			m, createds[n], err = portstest.TryPublish(t, db, d)
			ids[n] = m.ID
			return err
		})
		created := 0
		for n := range ids {
			require.Equal(t, ids[0], ids[n])
			if createds[n] {
				created++
			}
		}
		require.Equal(t, 1, created)
		portstest.DeliverAll(t, db, ids[0])
		for _, c := range d.Recipients {
			read, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer(c)})
			require.NoError(t, err)
			require.Equal(t, 1, read.Counts.Total)
			require.EqualValues(t, 1, read.Version.Own)
		}
		after, err := db.GlobalHead(t.Context())
		require.NoError(t, err)
		require.Equal(t, d.Audience == inbox.Global, after.Version == before.Version+1)
	}
}

// Several deliver the same message while it is retracted: nobody has it twice, nobody keeps it.
func TestRetractingWhileSeveralDeliver(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	var customers []preference.CustomerID
	for i := range 1800 {
		customers = append(customers, preference.CustomerID(fmt.Sprintf("customer-%d", i)))
	}
	for _, halfway := range []bool{false, true} {
		m := portstest.Publish(t, db, portstest.Draft(customers...))
		if !halfway {
			portstest.DeliverAll(t, db, m.ID)
		}
		together(t, url, 5, func(db *postgres.DB, n int) error {
			if n == 0 {
				_, err := db.RetractMessage(t.Context(), m.ID)
				return err
			}
			for {
				if _, left, err := db.Deliver(t.Context(), m.ID); err != nil || left == 0 {
					return err
				}
			}
		})
		portstest.DeliverAll(t, db, m.ID)
		var state struct{ total, showing, leaving int }
		require.NoError(t, connect(t, url).QueryRow(t.Context(), `SELECT (SELECT coalesce(sum(total), 0) FROM inboxes),
			(SELECT count(*) FROM inbox_items WHERE state <> 2), (SELECT count(*) FROM messages WHERE leaving OR undelivered > 0)`).
			Scan(&state.total, &state.showing, &state.leaving))
		require.Zero(t, state)
	}
	noDeadlocks(t, url)
}

// Whoever needs several inboxes takes them in one order: while it waits for one it has those before and none after.
func TestInboxesAreLockedInOrder(t *testing.T) {
	t.Parallel()
	some, many := []preference.CustomerID{"c", "a", "b"}, []preference.CustomerID{"d", "c", "a", "b"}
	for name, prepare := range map[string]func(*testing.T, *postgres.DB) func() error{
		"publish": func(t *testing.T, db *postgres.DB) func() error {
			return func() error { _, _, err := portstest.TryPublish(t, db, portstest.Draft(some...)); return err }
		},
		"deliver": func(t *testing.T, db *postgres.DB) func() error {
			m := portstest.Publish(t, db, portstest.Draft(many...))
			return func() error { _, _, err := db.Deliver(t.Context(), m.ID); return err }
		},
		"retract": func(t *testing.T, db *postgres.DB) func() error {
			m := portstest.Publish(t, db, portstest.Draft(some...))
			return func() error { _, err := db.RetractMessage(t.Context(), m.ID); return err }
		},
		"clean up": func(t *testing.T, db *postgres.DB) func() error {
			m := portstest.Publish(t, db, portstest.Draft(some...))
			_, err := db.RetractMessage(t.Context(), m.ID)
			require.NoError(t, err)
			return func() error { _, err := db.CleanUp(t.Context(), time.Now().Add(time.Hour), 100); return err }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated(t)
			db, holding, trying := open(t, url), connect(t, url), connect(t, url)
			for _, c := range []preference.CustomerID{"d", "b", "c", "a"} { // ids are in another order
				portstest.Publish(t, db, portstest.Draft(c))
			}
			work := prepare(t, db)
			tx, err := holding.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), `SELECT FROM inboxes WHERE viewer = 'c:b' FOR UPDATE`)
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- work() }()
			blockedBy(t, url, holding, func() bool { return len(done) > 0 })
			free := func(viewer string) bool {
				_, err := trying.Exec(t.Context(), `SELECT FROM inboxes WHERE viewer = $1 FOR UPDATE NOWAIT`, viewer)
				return err == nil
			}
			require.Equal(t, []bool{false, true}, []bool{free("c:a"), free("c:c")})
			require.NoError(t, tx.Rollback(t.Context()))
			require.NoError(t, <-done)
		})
	}
}

// Everything at once on the same few inboxes: nobody waits in a circle, and the counts are those of the lists.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	portstest.Target(t, db, "orders", "app://orders/{order_id}", true)
	customers := []preference.CustomerID{"a", "b", "c", "d", "e", "f"}
	some := func(n int) []preference.CustomerID {
		picked := append([]preference.CustomerID{}, customers...)
		rand.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
		return picked[:n]
	}
	var mu sync.Mutex
	var published []inbox.MessageID
	anyOf := func() inbox.MessageID {
		mu.Lock()
		defer mu.Unlock()
		if len(published) == 0 {
			return 1
		}
		return published[rand.N(len(published))]
	}
	steps := []func(*postgres.DB) error{
		func(db *postgres.DB) error { // to some, to many, to all
			m, _, err := portstest.TryPublish(t, db, linkedDraft(some([]int{0, 1, 2, 3, 6}[rand.N(5)])...))
			mu.Lock()
			published = append(published, m.ID)
			mu.Unlock()
			return err
		},
		func(db *postgres.DB) error { _, err := db.RetractMessage(t.Context(), anyOf()); return err },
		func(db *postgres.DB) error { _, _, err := db.Deliver(t.Context(), anyOf()); return err },
		func(db *postgres.DB) error {
			_, err := db.EditMessage(t.Context(), anyOf(), func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
				m.Content.Pinned = !m.Content.Pinned
				return m.Edited(inbox.Edit{Content: &m.Content}, links, now)
			})
			return err
		},
		func(db *postgres.DB) error {
			until := time.Now().Add(time.Duration(1+rand.N(1000)) * time.Hour)
			pattern, err := inbox.ParsePattern("app://orders/{order_id}")
			if err == nil {
				_, _, err = db.PutTarget(t.Context(), inbox.LinkTarget{Key: "orders", Pattern: pattern, Active: true, Until: until})
			}
			return err
		},
		func(db *postgres.DB) error {
			_, err := db.UpdateInbox(t.Context(), inbox.CustomerViewer(some(1)[0]), nil, 1<<40, func(e ports.InboxEdit) (ports.InboxWrite, error) {
				w := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
				for _, item := range e.Items {
					if rand.N(2) == 0 {
						w.Receipts[item.Position.ID] = item.Receipt.Apply([]inbox.State{inbox.Seen, inbox.Read, inbox.Archived, inbox.Unarchived}[rand.N(4)], e.Now)
					}
				}
				return w, nil
			})
			return err
		},
		func(db *postgres.DB) error { _, err := db.Globals(t.Context()); return err },
		func(db *postgres.DB) error {
			_, err := db.CleanUp(t.Context(), time.Now().Add(-50*time.Millisecond), 50)
			return err
		},
	}
	together(t, url, 8, func(db *postgres.DB, n int) error {
		for i := range 40 {
			err := steps[(n+i)%len(steps)](db)
			if kind := fault.KindOf(err); err != nil && !errors.Is(err, fault.New(kind, "message-retracted", "")) && kind != fault.NotFound {
				return err
			}
		}
		return nil
	})
	for _, id := range published {
		portstest.DeliverAll(t, db, id)
	}
	noDeadlocks(t, url)
	done, err := db.CleanUp(t.Context(), time.Now().Add(-time.Hour), 1000)
	require.NoError(t, err)
	require.Zero(t, done.Repaired)
	var showing int
	require.NoError(t, connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM inbox_items i JOIN messages m ON m.id = i.message_id
		WHERE i.state = 1 AND (m.retracted_at IS NOT NULL OR m.pinned <> i.pinned)`).Scan(&showing))
	require.Zero(t, showing)
}
