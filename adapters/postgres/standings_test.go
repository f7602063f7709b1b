package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/consent"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

var someTablet = inbox.InstallationViewer("0b8e7f0e-6a51-4a52-9d15-3a4b6f0c9a11")

func TestStandingsOfViewersNothingHasHappenedTo(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	global, got, err := db.Standings(t.Context(), []ports.StandingQuery{{Viewer: adaViewer, Operations: portstest.Noon}, {Viewer: someTablet}, {}})
	require.NoError(t, err)
	require.Positive(t, global.Version)
	require.False(t, global.Due)
	view, err := db.Load(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, []ports.Standing{{Tag: view.Tag()}, {}, {}}, got)
}

func TestStandingsOfInboxes(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	before := theirClock(t, conn)
	passed, later := before.Add(-time.Second), before.Add(time.Hour)
	exec(t, conn, `INSERT INTO inboxes (viewer, version, next_change) VALUES
		('c:ada', 5, 'infinity'), ($1, 7, $2), ('c:grace', 9, $3)`, someTablet.Key(), passed, later)
	exec(t, conn, `UPDATE inbox_globals SET version = 12`)
	asked := []ports.StandingQuery{{Viewer: someTablet}, {Viewer: graceViewer}, {Viewer: adaViewer}, {}}
	global, got, err := db.Standings(t.Context(), asked)
	require.NoError(t, err)
	require.WithinRange(t, global.Now, before, theirClock(t, conn))
	require.Equal(t, ports.GlobalStanding{Version: 12, Now: global.Now}, global)
	require.Equal(t, []ports.Standing{{Own: 7, Due: true, NextChange: passed}, {Own: 9, NextChange: later, Tag: "0"}, {Own: 5, Tag: "0"}, {}}, got)

	exec(t, conn, `UPDATE inbox_globals SET next_change = $1`, later)
	global, _, err = db.Standings(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, ports.GlobalStanding{Version: 12, NextChange: later, Now: global.Now}, global)

	exec(t, conn, `UPDATE inbox_globals SET next_change = $1`, passed)
	global, _, err = db.Standings(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, ports.GlobalStanding{Version: 12, Due: true, NextChange: passed, Now: global.Now}, global)
}

// theirClock is the database's, as it answers times.
func theirClock(t *testing.T, conn *pgx.Conn) (at time.Time) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&at))
	return at.UTC()
}

func TestStandingsOfCustomersWithOperations(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	settled, running, waiting := portstest.Subscribe("ada"), portstest.Unsubscribe("ada"), portstest.Subscribe("ada")
	portstest.Accept(t, db, "ada", settled)
	portstest.Begin(t, db, settled.ID)
	at := portstest.Noon.Add(time.Minute)
	require.NoError(t, db.UpdateOperation(t.Context(), settled.ID, func(a *preference.Account, op *preference.Operation) error {
		if err := a.StartCompensation(op, consent.Reason{Code: "rejected"}, at); err != nil {
			return err
		}
		return a.Compensate(op, nil, at)
	}))
	portstest.Accept(t, db, "ada", running, waiting)
	account, err := db.Load(t.Context(), "ada")
	require.NoError(t, err)

	ask := func(since time.Time) ports.Standing {
		_, got, err := db.Standings(t.Context(), []ports.StandingQuery{{Viewer: graceViewer, Operations: since}, {Viewer: adaViewer, Operations: since}})
		require.NoError(t, err)
		require.Equal(t, ports.Standing{Tag: "0"}, got[0])
		return got[1]
	}
	stillOpen := []ports.OperationStanding{{ID: running.ID, Status: preference.Accepted}, {ID: waiting.ID, Status: preference.Accepted}}
	require.Equal(t, ports.Standing{Tag: account.Tag()}, ask(time.Time{}))
	require.Equal(t, stillOpen, ask(at).Operations, "what was settled then is not later")
	require.Equal(t, append([]ports.OperationStanding{{ID: settled.ID, Status: preference.Compensated}}, stillOpen...),
		ask(at.Add(-time.Microsecond)).Operations)
	require.Contains(t, account.Tag(), "+")
}

func TestStandingsAreBounded(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	portstest.Accept(t, db, "ada", portstest.Unsubscribe("ada"))
	exec(t, conn, `INSERT INTO operations (id, customer_id, number, kind, status, source, actor_type, actor_id, origin, change, targets, accepted_at, settled_at, before, after, run)
		SELECT 'later_' || n, customer_id, n, kind, 'applied', source, actor_type, actor_id, origin, change, targets, accepted_at, now(), before, after, run
		FROM operations, generate_series(2, 200) n`)
	exec(t, conn, `UPDATE operations SET status = 'applied', settled_at = now() WHERE number = 1`)
	_, got, err := db.Standings(t.Context(), []ports.StandingQuery{{Viewer: adaViewer, Operations: portstest.Noon}})
	require.NoError(t, err)
	require.Len(t, got[0].Operations, ports.MaxStandingOperations)
	require.Equal(t, "later_200", got[0].Operations[ports.MaxStandingOperations-1].ID)
}

// One look for hundreds of viewers is one round trip, and must not walk through what it is not about.
func TestStandingsReadByKey(t *testing.T) {
	t.Parallel()
	url, seen := migrated(t), &counter{}
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Tracer: seen})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	conn := connect(t, url)
	exec(t, conn, `INSERT INTO inboxes (viewer, version) SELECT 'c:' || n, n FROM generate_series(1, 20000) n`)
	exec(t, conn, `ANALYZE inboxes`)
	var asked []ports.StandingQuery
	for i := range 500 {
		asked = append(asked, ports.StandingQuery{Viewer: inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i + 1))), Operations: portstest.Noon})
	}
	seen.statements = nil
	_, got, err := db.Standings(t.Context(), asked)
	require.NoError(t, err)
	for i, s := range got {
		require.EqualValues(t, i+1, s.Own)
	}
	require.Len(t, seen.statements, 1)
	exec(t, conn, `PREPARE look (text) AS `+seen.statements[0])
	rows, err := conn.Query(t.Context(), `EXPLAIN EXECUTE look('[{"n": 0, "viewer": "c:1", "customer": "1", "since": "2026-03-01T12:00:00Z"}]')`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	plan := strings.Join(lines, "\n")
	require.Contains(t, plan, "inboxes_viewer_unique")
	require.NotContains(t, plan, "Seq Scan on inboxes")
}

// Nothing is different yet for whoever gets a message that begins later, but time will change it: whoever watches the
// clock for connected clients has to hear of that, with the version that there is.
func TestMessagesThatBeginLaterAreTold(t *testing.T) {
	t.Parallel()
	db, url, _ := openInboxes(t)
	conn := connect(t, url)
	told := func(want ...string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), `DELETE FROM stream_events RETURNING viewers::text || ' ' || kind || ' ' || data::text`)
		require.NoError(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	}
	exec(t, conn, `DELETE FROM stream_events`)
	later := portstest.Mail{To: []preference.CustomerID{"ada"}, Category: "news", In: time.Hour}
	portstest.Send(t, db, later)
	told(`{c:ada} inbox.changed {"own": 0}`)
	later.Many = true
	m := portstest.Send(t, db, later)
	told()
	_, _, err := db.Deliver(t.Context(), m.ID)
	require.NoError(t, err)
	told(`{c:ada} inbox.changed {"own": 0}`)

	global, _, err := db.Standings(t.Context(), []ports.StandingQuery{{}})
	require.NoError(t, err)
	portstest.Send(t, db, portstest.Mail{Category: "all", In: time.Hour})
	told(fmt.Sprintf(`{} inbox.changed {"global": %d}`, global.Version))
}
