package postgres_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// traces names every column of every table in which one of the texts, or its SHA-256, is found, in whatever form it may be there.
func traces(t *testing.T, conn *pgx.Conn, texts ...string) (found []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY')`)
	require.NoError(t, err)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Name, Type string }])
	require.NoError(t, err)
	require.Greater(t, len(columns), 60)
	for _, c := range columns {
		for _, text := range texts {
			sum := sha256.Sum256([]byte(text))
			for _, sought := range []string{text, string(sum[:]), fmt.Sprintf("%x", sum)} {
				condition := `position($1 IN encode(convert_to(` + c.Name + `::text, 'UTF8'), 'hex')) > 0`
				if c.Type == "bytea" {
					condition = `position($1 IN encode(` + c.Name + `, 'hex')) > 0`
				}
				var n int
				require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM `+c.Table+` WHERE `+condition, fmt.Sprintf("%x", sought)).Scan(&n))
				if n > 0 {
					found = append(found, c.Table+"."+c.Name)
				}
			}
		}
	}
	return found
}

const (
	leaver      preference.CustomerID = "leaver-7f3a@example.org"
	leaverToken string                = "token-of-the-leaver-51c9"
)

// aLife leaves traces of a customer wherever there can be any.
func aLife(t *testing.T, db *postgres.DB, conn *pgx.Conn, customer preference.CustomerID, token string) {
	t.Helper()
	portstest.Apply(t, db, customer, portstest.Register(customer, "phone", token), portstest.Subscribe(customer))
	parked := portstest.Unsubscribe(customer)
	portstest.Accept(t, db, customer, parked)
	portstest.Begin(t, db, parked.ID)
	_, _, err := db.StartStep(t.Context(), parked.ID, ports.TargetStep{Target: preference.Push, State: ports.TargetApplying,
		Assignment: preference.Assignment{Write: preference.Holding{{Kind: preference.DeviceItem, Key: token}: preference.Off}}})
	require.NoError(t, err)
	portstest.Commit(t, db, parked.ID)
	viewer := "c:" + string(customer)
	for _, statement := range []string{
		`INSERT INTO messages (id, source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets, published_at, expires_at,
			many, undelivered, leaving, fingerprint, card, card_format, added, created_at, updated_at)
			SELECT n, 'test', $1 || n, 'personal', CASE n WHEN 1 THEN 1 ELSE 2 END, '', CASE n WHEN 1 THEN jsonb_build_object('title', 'For ' || $2) ELSE '{}' END, '', false, false, '{}', now(), now() + interval '1 day',
			n = 3, CASE n WHEN 3 THEN 2 ELSE 0 END, false, '', '', 0, 0, now(), now() FROM generate_series(1, 3) n`,
		`INSERT INTO message_batches VALUES (3, 1, ARRAY['c:another', $1 || $2])`,
		`INSERT INTO inboxes (id, viewer) VALUES (1, $1 || $2)`,
		`INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed)
			SELECT 1, n, 1, false, now(), now(), 1, 1 FROM generate_series(1, 2) n WHERE $1 || $2 <> ''`,
		`INSERT INTO client_events VALUES ($1 || $2, 'e', now())`,
		`INSERT INTO engagement_presence VALUES (current_date, 'inbox_opened', $1 || $2)`,
		`INSERT INTO link_conversions VALUES (2, $1 || $2)`,
		`INSERT INTO stream_events (viewers, kind, data) VALUES (ARRAY[$1 || $2, 'c:another'], 'inbox.changed', '{}')`,
		`INSERT INTO upstream_refusals VALUES ('campaigns', $1 || 'refused', 'broken', '', jsonb_build_object('audience', jsonb_build_array($2::text)), now(), now())`,
		`INSERT INTO gpc_signals VALUES (right($1 || $2, -2), '')`,
		`WITH e AS (INSERT INTO webhook_endpoints (id, url, description, event_types, secret, enabled_at) VALUES ('we_1', 'https://x.example', '', '{}', 's', now()) RETURNING id)
			INSERT INTO webhook_deliveries (endpoint_id, operation_id, customer_id, settled_at) SELECT id, 'op', right($1 || $2, -2), now() FROM e`,
		`INSERT INTO webhook_events (source, event_id, customer_id, outcome, reason) VALUES ('braze', 'e1', right($1 || $2, -2), 'accepted', '')`,
		`INSERT INTO reconciliation_due VALUES (right($1 || $2, -2), now())`,
		`UPDATE reconciliation_progress SET round_after = right($1 || $2, -2)`,
		`UPDATE engagement_progress SET checked_until = right($1 || $2, -2)`,
	} {
		exec(t, conn, statement, strings.TrimSuffix(viewer, string(customer)), string(customer))
	}
	_, _, _, err = db.CountChanges(t.Context(), 100)
	require.NoError(t, err)
}

// A process may have seen somebody before they were erased and store it only afterwards: it was slow, or stood still.
func TestWhoWasErasedIsNotRecordedAsThereAfterwards(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	portstest.Apply(t, db, leaver, portstest.Subscribe(leaver))
	today := time.Now().UTC().Truncate(24 * time.Hour)
	seen := []ports.Presence{{Day: today, Viewer: inbox.CustomerViewer(leaver)}, {Day: today, Viewer: inbox.CustomerViewer("grace")}}
	there := func() (out []string) {
		rows, err := conn.Query(t.Context(), `SELECT viewer FROM engagement_presence ORDER BY 1`)
		require.NoError(t, err)
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return out
	}
	require.NoError(t, db.RecordPresence(t.Context(), seen))
	require.Len(t, there(), 2)

	portstest.Erase(t, db, leaver)
	require.Equal(t, []string{"c:grace"}, there())
	require.NoError(t, db.RecordPresence(t.Context(), seen))
	require.Equal(t, []string{"c:grace"}, there())

	exec(t, conn, `UPDATE erased_viewers SET at = at - interval '11 minutes'`)
	require.NoError(t, db.RecordPresence(t.Context(), seen))
	require.Len(t, there(), 2, "they are back")
	_, err := db.ForgetMarks(t.Context(), today.AddDate(0, 0, -10), 10)
	require.NoError(t, err)
	var kept int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM erased_viewers`).Scan(&kept))
	require.Zero(t, kept)
}

// What is recorded while an erasure is being stored waits for it, and knows of it then.
func TestWhoIsBeingErasedIsNotRecordedAsThere(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, holding := open(t, url), connect(t, url)
	portstest.Apply(t, db, leaver, portstest.Subscribe(leaver))
	r := portstest.Subscribe(leaver)
	r.Change = preference.Erase()
	portstest.Accept(t, db, leaver, r)
	portstest.Begin(t, db, r.ID)

	// Word for their clients goes after the marks, so the erasure stands still between them.
	tx, err := holding.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM stream_events WHERE viewers = ARRAY[$1] FOR UPDATE`, inbox.CustomerViewer(leaver).Key())
	require.NoError(t, err)
	erased, recorded := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := db.Forget(context.Background(), r.ID, portstest.Noon)
		erased <- err
	}()
	blockedBy(t, url, holding, func() bool { return len(erased) > 0 })
	go func() {
		recorded <- db.RecordPresence(context.Background(), []ports.Presence{{Day: portstest.Noon, Viewer: inbox.CustomerViewer(leaver)}})
	}()
	looking := connect(t, url)
	require.Eventually(t, func() bool {
		var waiting bool
		require.NoError(t, looking.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)`).Scan(&waiting))
		return waiting || len(recorded) > 0
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-erased)
	require.NoError(t, <-recorded)
	var there int
	require.NoError(t, looking.QueryRow(t.Context(), `SELECT count(*) FROM engagement_presence`).Scan(&there))
	require.Zero(t, there)
}

// Nothing names an erased person, and the ledger is as whole as before.
func TestAnErasedPersonLeavesNoTrace(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	aLife(t, db, conn, leaver, leaverToken)
	portstest.Apply(t, db, "grace", portstest.Subscribe("grace"))
	taken := portstest.Subscribe("grace")
	portstest.Accept(t, db, "grace", taken)
	portstest.Begin(t, db, taken.ID)
	_, _, err := db.StartStep(t.Context(), taken.ID, ports.TargetStep{Target: preference.Push, State: ports.TargetApplying,
		Moved: []ports.MovedToken{{Token: leaverToken, Owner: leaver, State: preference.On}, {Token: "other", Owner: "heidi", State: preference.On}}})
	require.NoError(t, err)
	seen := strings.Join(traces(t, conn, string(leaver), leaverToken), " ")
	for _, table := range []string{"customers", "operations", "operation_targets", "device_tokens", "messages", "message_batches", "inboxes", "client_events",
		"engagement_presence", "link_conversions", "engagement_customers", "engagement_progress", "stream_events", "upstream_refusals", "reconciliation_progress"} {
		require.Contains(t, seen, table+".", "or this test shows nothing of it")
	}
	require.NotContains(t, seen, "ledger.")
	// Whatever table names customers, or will, has to be among them.
	rows, err := conn.Query(t.Context(), `SELECT DISTINCT table_name || '.' FROM information_schema.columns
		WHERE table_schema = 'public' AND column_name IN ('customer_id', 'viewer', 'viewers')`)
	require.NoError(t, err)
	naming, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(naming), 8)
	for _, table := range naming {
		require.Contains(t, seen, table, "or this test shows nothing of it")
	}

	var counted int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM engagement_facts WHERE kind = 'customer_known'`).Scan(&counted))
	require.Equal(t, 1, counted)
	before := verifiedAll(t, db)
	proof := portstest.Erase(t, db, leaver)
	require.Empty(t, traces(t, conn, string(leaver), leaverToken))
	after := verifiedAll(t, db)
	require.Equal(t, ports.Verified{Chains: before.Chains, Entries: before.Entries + 2, Erased: 1}, after)

	require.Equal(t, preference.Targets, proof.Targets)
	require.Empty(t, proof.By.ID)
	require.EqualValues(t, 8, proof.Entries)
	require.Zero(t, proof.InClear)
	read, err := db.Erasure(t.Context(), proof.Operation)
	require.NoError(t, err)
	require.Equal(t, proof, read)
	// What is everybody's is still there, and what others had.
	var messages, undelivered, waiting, moved int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*), sum(undelivered), (SELECT sum(cardinality(viewers)) FROM message_batches),
		(SELECT sum(jsonb_array_length(moved)) FROM operation_targets) FROM messages`).Scan(&messages, &undelivered, &waiting, &moved))
	require.Equal(t, []int{2, 1, 1, 1}, []int{messages, undelivered, waiting, moved})
	var reachable int64
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT coalesce(sum(count), 0) FROM engagement_facts 
		WHERE kind IN ('customer_known', 'customer_with_device', 'email_on', 'push_on')`).Scan(&reachable))
	require.Zero(t, reachable, "the measures count one less who can be reached")
}

func verifiedAll(t *testing.T, db *postgres.DB) ports.Verified {
	t.Helper()
	require.Empty(t, beside(t, db))
	v, err := db.Verify(t.Context(), "", func(f consent.Finding) { t.Error(f) })
	require.NoError(t, err)
	return v
}

func TestWhoComesBackIsNobodyKnown(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	portstest.Apply(t, db, leaver, portstest.Subscribe(leaver))
	proof := portstest.Erase(t, db, leaver)
	entries, err := db.Entries(t.Context(), leaver, 0, 10)
	require.NoError(t, err)
	require.Empty(t, entries)
	account, err := db.Load(t.Context(), leaver)
	require.NoError(t, err)
	require.Zero(t, account.Preferences().Version())

	portstest.Apply(t, db, leaver, portstest.Subscribe(leaver))
	entries, err = db.Entries(t.Context(), leaver, 0, 10)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.NotEqual(t, proof.Chain, entries[0].Chain)

	// The answer to the erasure was lost, and it is asked for again: the person who is there by now is not touched.
	again, err := db.Forget(t.Context(), proof.Operation, portstest.Noon)
	require.NoError(t, err)
	require.Equal(t, proof, again)
	entries, err = db.Entries(t.Context(), leaver, 0, 10)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.EqualValues(t, 2, verifiedAll(t, db).Chains)
}

// Workers that both got the last step, or one whose answer was lost, at the same moment.
func TestForgettingTwiceAtOnceForgetsOnce(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	portstest.Apply(t, db, leaver, portstest.Subscribe(leaver))
	r := portstest.Unsubscribe(leaver)
	r.Change = preference.Erase()
	portstest.Accept(t, db, leaver, r)
	portstest.Begin(t, db, r.ID)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := db.Forget(t.Context(), r.ID, portstest.Noon); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, verifiedAll(t, db).Erased)
}

func TestOnlyAnErasureThatRunsForgets(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	r := portstest.Unsubscribe(leaver)
	portstest.Accept(t, db, leaver, r)
	portstest.Begin(t, db, r.ID)
	_, err := db.Forget(t.Context(), r.ID, portstest.Noon)
	require.ErrorIs(t, err, fault.New(fault.Conflict, "not-running", ""))
	portstest.Commit(t, db, r.ID)
	erase := portstest.Unsubscribe(leaver)
	erase.Change = preference.Erase()
	portstest.Accept(t, db, leaver, erase)
	_, err = db.Forget(t.Context(), erase.ID, portstest.Noon)
	require.ErrorIs(t, err, fault.New(fault.Conflict, "not-running", ""))
	_, err = db.Forget(t.Context(), "op-nobody-knows", portstest.Noon)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = db.Erasure(t.Context(), erase.ID)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// Entries from before they were sealed stay, and the proof says how many.
func TestWhatWasWrittenInClearIsToldOfInTheProof(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	firstRecipe(t, conn, "early")
	portstest.Apply(t, db, "early", portstest.Unsubscribe("early"))
	proof := portstest.Erase(t, db, "early")
	require.EqualValues(t, 4, proof.InClear)
	require.Equal(t, "early", proof.Chain)
	require.EqualValues(t, 1, verifiedAll(t, db).Erased)
}

func TestKeysAreRewrappedInBatches(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	old, conn := open(t, url), connect(t, url)
	firstRecipe(t, conn, "early")
	for i := range 7 {
		id := preference.CustomerID(fmt.Sprint("customer-", i))
		portstest.Accept(t, old, id, portstest.Subscribe(id))
	}
	reopen := func(keys portstest.Keys) *postgres.DB {
		db, err := postgres.Open(context.Background(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: keys})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	rewrap := func(db *postgres.DB) (batches, rewrapped int) {
		for after, more := preference.CustomerID(""), true; more; more = after != "" {
			last, n, err := db.Rewrap(t.Context(), after, 3)
			require.NoError(t, err)
			after = last
			batches, rewrapped = batches+1, rewrapped+n
		}
		return batches, rewrapped
	}
	both := reopen("ba")
	batches, rewrapped := rewrap(both)
	require.Equal(t, []int{3, 7}, []int{batches, rewrapped})
	_, rewrapped = rewrap(both)
	require.Zero(t, rewrapped, "again")
	onlyNew := reopen("b")
	portstest.Accept(t, onlyNew, "customer-3", portstest.Unsubscribe("customer-3"))
	require.EqualValues(t, 12, verifiedAll(t, onlyNew).Entries)
	_, _, err := reopen("c").Rewrap(t.Context(), "", 3)
	require.ErrorIs(t, err, ports.ErrKeyMissing)
	require.Contains(t, err.Error(), "ch_")
}
