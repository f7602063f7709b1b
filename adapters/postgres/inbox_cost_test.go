package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// trips sees every round trip: a statement, or several that are sent as one batch.
type trips struct {
	mu   sync.Mutex
	sent []string
	last pgx.TraceQueryStartData
}

func (c *trips) add(statements ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range statements {
		statements[i] = strings.Join(strings.Fields(s), " ")
	}
	c.sent = append(c.sent, strings.Join(statements, "; "))
}

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	c.add(q.SQL)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = q
	return ctx
}

func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	var statements []string
	for _, q := range b.Batch.QueuedQueries {
		statements = append(statements, q.SQL)
	}
	c.add(statements...)
	return ctx
}

func (c *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func readState(e ports.InboxEdit) (ports.InboxWrite, error) {
	w := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
	for _, item := range e.Items {
		w.Receipts[item.Position.ID] = item.Receipt.Apply(inbox.Read, e.Now)
	}
	return w, nil
}

// Round trips are what a read and an acknowledgement cost. Whoever adds one has to say so here.
func TestRoundTripsPerInboxCall(t *testing.T) {
	t.Parallel()
	seen := &trips{}
	url := migrated(t)
	db, pass := openInboxesAt(t, url, 1, seen), passIn(t, url)
	ada := inbox.CustomerViewer("ada")
	mail := portstest.Mail{To: []preference.CustomerID{"ada"}, Life: time.Hour}
	first, second := portstest.Send(t, db, mail).ID, portstest.Send(t, db, mail).ID
	count := func(want int, what string, fn func() error) {
		t.Helper()
		seen.sent = nil
		require.NoError(t, fn())
		require.Len(t, seen.sent, want, "%s:\n%s", what, strings.Join(seen.sent, "\n"))
	}
	read := func(q ports.InboxQuery) func() error {
		return func() error {
			_, err := db.ReadInbox(t.Context(), q)
			return err
		}
	}
	update := func(viewer inbox.Viewer, ids ...inbox.MessageID) func() error {
		return func() error {
			_, err := db.UpdateInbox(t.Context(), viewer, append([]inbox.MessageID{}, ids...), 0, readState)
			return err
		}
	}
	page := ports.PageQuery{Limit: 20, Filter: inbox.Filter{Categories: []string{"a"}}, After: &inbox.Position{Published: time.Now()}}
	count(1, "a page", read(ports.InboxQuery{Viewer: ada, Page: &page}))
	count(1, "a page without what leaves", read(ports.InboxQuery{Viewer: ada, Page: &page, Leaving: []inbox.MessageID{first}}))
	count(1, "the state alone", read(ports.InboxQuery{Viewer: ada}))
	count(1, "changes", func() error {
		_, err := db.ReadChanges(t.Context(), ada, 0, ports.Concerned{Targets: []inbox.TargetKey{"x"}}, 1, 10)
		return err
	})
	count(2, "an acknowledgement: begin, lock and read; store and commit", update(ada, first, second))
	count(2, "one that changes nothing: begin, lock and read; rollback", update(ada, first, second))
	count(3, "in an inbox that is not there yet: make it", update(inbox.CustomerViewer("grace"), first))
	count(1, "globals, with messages, targets and what leaves", func() error {
		_, err := db.Globals(t.Context())
		return err
	})
	count(1, "the head of the globals", func() error {
		_, err := db.GlobalHead(t.Context())
		return err
	})
	count(1, "a claim", func() error {
		_, err := db.ClaimPull(t.Context(), "ada", time.Now(), time.Now())
		return err
	})
	pass(30 * time.Minute)
	count(1, "a page while nothing has begun or ended", read(ports.InboxQuery{Viewer: ada, Page: &page}))
	pass(time.Hour)
	count(3, "a page when something has: read, make it so, read", read(ports.InboxQuery{Viewer: ada, Page: &page}))
}

// Whoever stores an edit also counts it, and tells connected clients, or none of it happens.
func TestAnEditIsCountedAndTold(t *testing.T) {
	t.Parallel()
	db, url, _ := openInboxes(t)
	conn := connect(t, url)
	m := portstest.Send(t, db, portstest.Mail{To: []preference.CustomerID{"ada"}, Category: "news"})
	global := portstest.Send(t, db, portstest.Mail{Category: "all"})
	exec(t, conn, `DELETE FROM stream_events`)
	exec(t, conn, `UPDATE messages SET campaign = 'spring' WHERE id = $1`, int64(m.ID))
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	_, err := db.UpdateInbox(t.Context(), inbox.CustomerViewer("ada"), []inbox.MessageID{m.ID}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		w, err := readState(e)
		w.Facts = []ports.Fact{{Day: day, Kind: ports.FactRead, Message: m.ID, Channel: "push", Count: 2}, {Day: day, Kind: ports.FactSeen, Message: global.ID, Count: 1},
			{Day: day, Kind: ports.FactSeen, Message: 1 << 40, Count: 3}}
		return w, err
	})
	require.NoError(t, err)
	text := func(statement string) (out []string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), statement)
		require.NoError(t, err)
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return out
	}
	const facts = `SELECT concat_ws('|', day, kind, campaign, category, channel, count) FROM engagement_facts ORDER BY 1`
	want := []string{
		"2026-03-01|message_read|spring|news|push|2",
		"2026-03-01|message_seen|" + global.Campaign + "|all||1",
		"2026-03-01|message_seen||||3",
	}
	require.ElementsMatch(t, want, text(facts))
	const events = `SELECT viewers::text || ' ' || kind || ' ' || data::text FROM stream_events ORDER BY id`
	require.Equal(t, []string{`{c:ada} inbox.changed {"own": 2}`}, text(events))

	_, err = db.UpdateInbox(t.Context(), inbox.CustomerViewer("ada"), []inbox.MessageID{}, 0, func(ports.InboxEdit) (ports.InboxWrite, error) {
		return ports.InboxWrite{Facts: []ports.Fact{{Day: day, Kind: ports.FactConverted, Count: 1}}}, nil
	})
	require.NoError(t, err)
	require.Len(t, text(facts), 4)
	require.Len(t, text(events), 1, "the inbox is what it was")
}

// Whoever takes an item away without the inbox's lock breaks a rule. The edit that has read it stores nothing then, or the
// counts would be those of another list.
func TestAnEditOfWhatHasVanishedIsRefused(t *testing.T) {
	t.Parallel()
	db, url, _ := openInboxes(t)
	conn := connect(t, url)
	ada, mail := inbox.CustomerViewer("ada"), portstest.Mail{To: []preference.CustomerID{"ada"}}
	for _, others := range []int{0, 1} {
		ids := []inbox.MessageID{portstest.Send(t, db, mail).ID}
		for range others {
			ids = append(ids, portstest.Send(t, db, mail).ID)
		}
		before, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: ada})
		require.NoError(t, err)
		exec(t, conn, `DELETE FROM stream_events`)
		_, err = db.UpdateInbox(t.Context(), ada, ids, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
			require.Len(t, e.Items, len(ids))
			exec(t, conn, `DELETE FROM inbox_items WHERE message_id = $1`, int64(ids[0]))
			w, err := readState(e)
			w.Facts = []ports.Fact{{Day: e.Now, Kind: ports.FactRead, Message: ids[0], Count: 1}}
			return w, err
		})
		require.Equal(t, fault.Internal, fault.KindOf(err), "%v", err)
		after, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: ada})
		require.NoError(t, err)
		before.Now, after.Now = time.Time{}, time.Time{}
		require.Equal(t, before, after)
		var left int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM stream_events) + (SELECT count(*) FROM engagement_facts) +
			(SELECT count(*) FROM inbox_items WHERE read_at IS NOT NULL)`).Scan(&left))
		require.Zero(t, left)
	}
}

// plan is what EXPLAIN (FORMAT JSON) says of a node.
type plan struct {
	Type     string  `json:"Node Type"`
	Index    string  `json:"Index Name"`
	Relation string  `json:"Relation Name"`
	Hit      int     `json:"Shared Hit Blocks"`
	Read     int     `json:"Shared Read Blocks"`
	Rows     float64 `json:"Actual Rows"`
	Plans    []plan
}

func (p plan) walk(each func(plan)) {
	each(p)
	for _, child := range p.Plans {
		child.walk(each)
	}
}

// seedInbox fills one large inbox among others, past the adapter, which would take too long.
func seedInbox(t *testing.T, conn *pgx.Conn, items, inboxes int) {
	t.Helper()
	for i, statement := range []string{
		`INSERT INTO messages (source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets, published_at,
		   expires_at, many, undelivered, leaving, fingerprint, card, card_format, added, created_at, updated_at)
		 SELECT 'seed', n, 'personal', 1, '', '{"title":"x"}', 'general', n % 100 = 0, false, '{}', now() - n * interval '1 second',
		   now() + interval '30 days', false, 0, false, decode(repeat('00', 32), 'hex'), repeat('x', 300), 7, 0, now(), now()
		 FROM generate_series(1, $1::integer) n`,
		`INSERT INTO inboxes (viewer, version, total, unseen, unread, next_change)
		 SELECT 'c:' || n, 1, 1, 1, 1, now() + interval '30 days' FROM generate_series(1, $1::integer) n`,
		// Half of the messages are in the inbox of 1, the others spread over all.
		`INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed)
		 SELECT (SELECT b.id FROM inboxes b WHERE b.viewer = 'c:' || CASE WHEN m.id % 2 = 0 THEN 1 ELSE 1 + m.id % $1::integer END),
		   m.id, 1, m.pinned, m.published_at, m.expires_at, 1, 1 FROM messages m`,
	} {
		exec(t, conn, statement, []int{items, inboxes, inboxes}[i])
	}
	exec(t, conn, `VACUUM ANALYZE messages, inboxes, inbox_items, inbox_globals, upstream_feeds`)
}

// A page costs what it shows, wherever it is and however much there is: it comes from the index in the right order. It is
// so where the usual inbox is small, and where it is large.
func TestAPageCostsTheSameAnywhere(t *testing.T) {
	t.Parallel()
	for name, inboxes := range map[string]int{"many inboxes": 500, "large inboxes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pagesCostTheSame(t, inboxes)
		})
	}
}

func pagesCostTheSame(t *testing.T, inboxes int) {
	url := migrated(t)
	conn := connect(t, url)
	seedInbox(t, conn, 20000, inboxes)
	seen := &trips{}
	db := openInboxesAt(t, url, 1, seen)
	viewer := inbox.CustomerViewer("1")

	var deep *inbox.Position
	for range 80 {
		read, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: viewer, Page: &ports.PageQuery{After: deep, Limit: 100, Format: 7}})
		require.NoError(t, err)
		require.Len(t, read.Items, 100)
		deep = &read.Items[99].Position
	}
	buffers := map[string]int{}
	for name, q := range map[string]ports.InboxQuery{
		"first":            {Page: &ports.PageQuery{Limit: 20, Format: 7}},
		"deep":             {Page: &ports.PageQuery{Limit: 20, Format: 7, After: deep}},
		"deep and leaving": {Page: &ports.PageQuery{Limit: 20, Format: 7, After: deep}, Leaving: []inbox.MessageID{1, 2, 3}},
		"unseen":           {Page: &ports.PageQuery{Limit: 20, Format: 7, After: deep, Filter: inbox.Filter{View: inbox.ViewUnseen}}},
		"hundred":          {Page: &ports.PageQuery{Limit: 101, Format: 7, After: deep}},
	} {
		q.Viewer = viewer
		read, err := db.ReadInbox(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, read.Items, q.Page.Limit)
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			exec(t, conn, `SET plan_cache_mode = `+mode)
			p := explain(t, conn, name, seen.last)
			index := false
			p.walk(func(n plan) {
				require.NotContains(t, n.Type, "Sort", "%s: %s", name, mode)
				require.NotContains(t, n.Type, "Seq Scan on messages", "%s: %s", name, mode)
				require.False(t, n.Type == "Seq Scan" && (n.Relation == "inbox_items" || n.Relation == "messages"), "%s: %s: %+v", name, mode, n)
				index = index || n.Index == "inbox_items_feed"
			})
			require.True(t, index, "%s: %s", name, mode)
			buffers[name] = p.Hit + p.Read
			if q.Page.Limit == 20 {
				require.Less(t, p.Hit+p.Read, 20*5+30, "%s: %s: buffers for a page of 20", name, mode)
			}
		}
	}
	require.InDelta(t, buffers["first"], buffers["deep"], 25, "%v", buffers)
}

// explain runs a statement with the arguments that the adapter has sent, as a prepared one.
func explain(t *testing.T, conn *pgx.Conn, name string, q pgx.TraceQueryStartData) plan {
	t.Helper()
	statement := strings.ReplaceAll(name, " ", "_")
	exec(t, conn, `DEALLOCATE ALL`)
	_, err := conn.PgConn().Exec(t.Context(), "PREPARE "+statement+" AS "+q.SQL).ReadAll()
	require.NoError(t, err)
	var args []string
	for _, a := range q.Args {
		args = append(args, literal(t, conn, a))
	}
	results, err := conn.PgConn().Exec(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE "+statement+"("+strings.Join(args, ", ")+")").ReadAll()
	require.NoError(t, err)
	var plans []struct{ Plan plan }
	require.NoError(t, json.Unmarshal(results[0].Rows[0][0], &plans))
	return plans[0].Plan
}

func literal(t *testing.T, conn *pgx.Conn, a any) string {
	t.Helper()
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	switch v := a.(type) {
	case string:
		return quoted(v)
	case time.Time:
		return quoted(v.Format(time.RFC3339Nano))
	case []int64:
		return quoted(strings.NewReplacer("[", "{", "]", "}", " ", ",").Replace(fmt.Sprint(v)))
	}
	return fmt.Sprint(a)
}

// The server keeps one plan for a page instead of making one for each.
func TestAPageIsPlannedOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	seedInbox(t, conn, 20000, 3)
	seen := &trips{}
	db := openInboxesAt(t, url, 1, seen)
	_, err := db.ReadInbox(t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer("1"), Page: &ports.PageQuery{Limit: 20, Format: 7, After: &inbox.Position{Published: time.Now()}}})
	require.NoError(t, err)
	for range 20 {
		rows, err := conn.Query(t.Context(), seen.last.SQL, seen.last.Args...)
		require.NoError(t, err)
		rows.Close()
		require.NoError(t, rows.Err())
	}
	var generic, custom int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1`, seen.last.SQL).Scan(&generic, &custom))
	require.Equal(t, 5, custom)
	require.Equal(t, 15, generic)
}
