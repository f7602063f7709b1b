package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// Nothing makes counts drift; if something did, it would be noticed, said and put right.
func TestCleanUpRepairsCounts(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	for range 3 {
		portstest.Publish(t, db, portstest.Draft("ada", "grace"))
	}
	read := func() ports.InboxHead {
		t.Helper()
		r, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer("ada")})
		require.NoError(t, err)
		return r.InboxHead
	}
	cleanUp := func() ports.CleanedUp {
		t.Helper()
		done, err := db.CleanUp(t.Context(), time.Now().Add(-time.Hour), 100)
		require.NoError(t, err)
		return done
	}
	require.Zero(t, cleanUp())
	before := read()
	exec(t, conn, `UPDATE inboxes SET total = 17, unseen = 4, unread = 0 WHERE viewer = 'c:ada'`)
	require.Zero(t, cleanUp(), "it went through all before, and begins anew")
	require.Equal(t, ports.CleanedUp{Repaired: 1}, cleanUp())
	after := read()
	require.Equal(t, before.Counts, after.Counts)
	require.Equal(t, before.Version.Own+1, after.Version.Own, "clients have to learn of it")
	cleanUp()
	require.Zero(t, cleanUp())
}

// All inboxes are looked at in turn, however small the batches.
func TestCleanUpGoesThroughAllInboxes(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	for i := range 10 {
		portstest.Publish(t, db, portstest.Draft(preference.CustomerID(fmt.Sprint("customer-", i))))
	}
	exec(t, conn, `UPDATE inboxes SET total = 2, unseen = 2`)
	var repaired int64
	for range 10 {
		done, err := db.CleanUp(t.Context(), time.Now().Add(-time.Hour), 3)
		require.NoError(t, err)
		repaired += done.Repaired
	}
	require.EqualValues(t, 10, repaired)
}

func TestCleanUpForgetsReceiptsForWhatIsGone(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	gone, stays := portstest.Publish(t, db, portstest.Draft()), portstest.Publish(t, db, portstest.Draft())
	seen := inbox.Receipt{SeenAt: portstest.Noon}
	_, err := db.UpdateInbox(t.Context(), inbox.CustomerViewer("ada"), []inbox.MessageID{}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		return ports.InboxWrite{Globals: inbox.Receipts{{ID: gone.ID, Receipt: seen, Changed: e.Next}, {ID: stays.ID, Receipt: seen, Changed: e.Next}}}, nil
	})
	require.NoError(t, err)
	_, err = db.RetractMessage(t.Context(), gone.ID)
	require.NoError(t, err)
	for range 3 {
		_, err = db.CleanUp(t.Context(), time.Now().Add(time.Hour), 100)
		require.NoError(t, err)
	}
	read, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer("ada")})
	require.NoError(t, err)
	require.Equal(t, inbox.Receipts{{ID: stays.ID, Receipt: seen, Changed: 1}}, read.Receipts)
	require.EqualValues(t, 1, read.Version.Own)
}

func TestCleanUpForgetsWordAndClientEvents(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	exec(t, conn, `INSERT INTO stream_events (viewers, kind, data, at) SELECT '{}', 'inbox.changed', '{}', now() - make_interval(secs => 65 - n) FROM generate_series(1, 10) n`)
	exec(t, conn, `INSERT INTO client_events (viewer, event_id, at) SELECT 'c:ada', n::text, now() - make_interval(days => n) FROM generate_series(1, 10) n`)
	for more, n := true, 0; more; n++ {
		require.Less(t, n, 10)
		done, err := db.CleanUp(t.Context(), time.Now().AddDate(0, 0, -4).Add(-time.Hour), 2)
		require.NoError(t, err)
		more = done.More
	}
	var words, events int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM stream_events), (SELECT count(*) FROM client_events)`).Scan(&words, &events))
	require.InDelta(t, 6, words, 2, "about a minute")
	require.Equal(t, 4, events)
}

// What is run on ten million rows must find its rows by an index.
func TestPlansOfCleanUpAndDelivery(t *testing.T) {
	t.Parallel()
	conn := connect(t, migrated(t))
	exec(t, conn, `INSERT INTO messages (source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets, published_at,
		expires_at, leaving, undelivered, fingerprint, card, card_format, added, created_at, updated_at)
		SELECT 's', n::text, 'personal', 1, '', '{}', 'c', false, false, '{}', now(), now() + make_interval(days => 1 + n % 300), false, 0, '', '', 0, 0, now(), now()
		FROM generate_series(1, 5000) n`)
	exec(t, conn, `INSERT INTO inboxes (viewer) SELECT 'c:' || n FROM generate_series(1, 5000) n`)
	exec(t, conn, `INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed)
		SELECT n, m.id, 1, false, m.published_at, m.expires_at, 1, 1 FROM generate_series(1, 5000) n JOIN messages m ON m.id % 5000 = n % 5000`)
	exec(t, conn, `ANALYZE messages, inboxes, inbox_items`)
	for statement, index := range map[string]string{
		`SELECT m.id FROM messages m WHERE LEAST(m.expires_at, m.retracted_at) < now() AND m.audience <> 'global' ORDER BY LEAST(m.expires_at, m.retracted_at) LIMIT 10`: "messages_by_end",
		`SELECT id FROM messages WHERE (undelivered > 0 OR leaving OR spreading) AND updated_at < now() ORDER BY updated_at, id LIMIT 10`:                                "messages_under_way",
		`SELECT inbox_id FROM inbox_items WHERE message_id = 17 AND inbox_id > 5 ORDER BY inbox_id LIMIT 500`:                                                            "inbox_items_by_message",
		`SELECT id FROM client_events WHERE at < now() ORDER BY at LIMIT 10`:                                                                                             "client_events_by_age",
	} {
		statement = strings.Replace(statement, "SELECT id FROM client_events", "SELECT event_id FROM client_events", 1)
		rows, err := conn.Query(t.Context(), "EXPLAIN "+statement)
		require.NoError(t, err)
		var plan []string
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			plan = append(plan, line)
		}
		require.NoError(t, rows.Err())
		require.Contains(t, strings.Join(plan, "\n"), index, fmt.Sprintf("%s\n%s", statement, strings.Join(plan, "\n")))
	}
}
