package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"accord/app/inbox"
	domain "accord/domain/inbox"
	"accord/domain/preference"
)

// seeded is a database full of inboxes: every tenth customer has 250 messages, the others 83 or 84, a hundred on average.
// Rows lie in the order in which the messages were published, so those of one customer are spread over the whole table,
// as they are in a database that has grown. A tenth of each inbox is archived, seven tenths are seen, six tenths read.
type seeded struct {
	url       string
	customers int
	messages  int64
	took      time.Duration
}

const (
	perCustomer = 100 // on average
	perHeavy    = 250 // of every tenth
	deepViewer  = "deep"
	deepItems   = 20_000 // a thousand pages of 20
	globals     = 1_000
)

// limitOf is how many messages customer n has, in SQL.
const limitOf = `(CASE WHEN n % 10 = 0 THEN 250 WHEN n % 3 = 0 THEN 84 ELSE 83 END)`

// seed fills a database that has nothing but the schema. Secondary indexes are made last, which is what makes it quick.
func seed(b *testing.B, url string, customers int, service *inbox.Service) *seeded {
	b.Helper()
	began := time.Now()
	s := &seeded{url: url, customers: customers}
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(b, err)
	defer func() { _ = conn.Close(context.Background()) }()
	template := cardTemplate(b, service, conn)
	for _, statement := range []string{`TRUNCATE messages, message_batches, inboxes, inbox_items, link_conversions`,
		`UPDATE deeplink_targets SET pattern_at = now() - interval '1 year'`} { // the messages were published when there was a place to link to
		_, err = conn.Exec(ctx, statement)
		require.NoError(b, err)
	}
	indexes := dropIndexes(b, conn, "messages", "inbox_items")
	exec := func(statement string, args ...any) func() error {
		return func() error {
			own, err := pgx.Connect(ctx, url)
			if err != nil {
				return err
			}
			defer func() { _ = own.Close(context.Background()) }()
			_, err = own.Exec(ctx, "SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SET statement_timeout = 0")
			if err == nil {
				_, err = own.Exec(ctx, statement, args...)
			}
			if err != nil {
				return fmt.Errorf("%.60s: %w", statement, err)
			}
			return nil
		}
	}
	var g errgroup.Group
	g.Go(exec(seedMessages, customers, template.content))
	g.Go(func() error {
		if err := exec(seedInboxes, customers)(); err != nil {
			return err
		}
		if err := exec(seedItems, customers, template.card, template.format)(); err != nil {
			return err
		}
		return exec(seedBare, customers)()
	})
	require.NoError(b, g.Wait())
	require.NoError(b, exec(seedDeep, customers, template.content, template.card, template.format)())
	var build errgroup.Group
	build.SetLimit(2)
	for _, index := range append(indexes, `ALTER TABLE bare_messages ADD PRIMARY KEY (customer, published_at, id)`) {
		build.Go(exec(index))
	}
	require.NoError(b, build.Wait())
	require.NoError(b, exec(`SELECT setval(pg_get_serial_sequence('messages', 'id'), (SELECT max(id) FROM messages)), setval(pg_get_serial_sequence('inboxes', 'id'), (SELECT max(id) FROM inboxes))`)())
	for _, table := range []string{"messages", "inboxes", "inbox_items", "bare_messages"} {
		require.NoError(b, exec("VACUUM (ANALYZE, FREEZE) "+table)())
	}
	require.NoError(b, conn.QueryRow(ctx, `SELECT count(*) FROM inbox_items`).Scan(&s.messages))
	s.took = time.Since(began)
	fmt.Printf("seeded %d messages of %d customers in %v\n", s.messages, customers, s.took.Round(time.Second))
	return s
}

// dropIndexes drops all that no other table refers to and answers the statements that make them again.
func dropIndexes(b *testing.B, conn *pgx.Conn, tables ...string) (again []string) {
	b.Helper()
	rows, err := conn.Query(b.Context(), `SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indrelid::regclass::text,
		  c.conname, pg_get_constraintdef(c.oid) FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
		WHERE i.indrelid::regclass::text = ANY ($1) AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = i.indrelid AND f.conindid = i.indexrelid)`, tables)
	require.NoError(b, err)
	type index struct {
		Name, Definition, Table string
		Constraint, Rule        *string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	require.NoError(b, err)
	for _, i := range all {
		drop, make := "DROP INDEX "+i.Name, i.Definition
		if i.Constraint != nil {
			drop, make = fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", i.Table, *i.Constraint), fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", i.Table, *i.Constraint, *i.Rule)
		}
		_, err := conn.Exec(b.Context(), drop)
		require.NoError(b, err)
		again = append(again, make)
	}
	return again
}

// template is a message as the store keeps it, with marks where each row has its own.
type template struct {
	content, card string
	format        int
}

const (
	numberMark = "00N00"
	timeMark   = "2001-01-01T00:00:00Z"
)

// cardTemplate has the application itself store one.
func cardTemplate(b *testing.B, service *inbox.Service, conn *pgx.Conn) (t template) {
	b.Helper()
	_, _, err := service.Publish(b.Context(), domain.Draft{Source: "seed", ExternalID: "template", Audience: domain.Personal,
		Recipients: []preference.CustomerID{"template"}, Expiry: time.Now().AddDate(1, 0, 0).Truncate(time.Second),
		Content: domain.Content{Text: domain.Text{Title: "Your parcel " + numberMark + " is on its way", Body: strings.Repeat("It will be with you soon. ", 4)},
			Category: "orders", Link: "app://orders/" + numberMark}})
	require.NoError(b, err)
	var published time.Time
	require.NoError(b, conn.QueryRow(b.Context(), `SELECT m.content::text, i.card, i.card_format, m.published_at
		FROM messages m JOIN inbox_items i ON i.message_id = m.id WHERE external_id = 'template'`).
		Scan(&t.content, &t.card, &t.format, &published))
	mark := published.UTC().Format(time.RFC3339Nano)
	require.Contains(b, t.card, mark)
	t.card = strings.ReplaceAll(t.card, mark, timeMark)
	return t
}

// Times are an hour apart per message of a customer, and a little apart between customers.
const publishedAt = `(date_trunc('second', now()) - make_interval(hours => 251 - k) - make_interval(secs => n % 3000))`

var (
	seedMessages = `INSERT INTO messages (id, source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets,
		  published_at, expires_at, undelivered, leaving, fingerprint, card, card_format, added, created_at, updated_at)
		SELECT (k - 1) * $1::bigint + n, 'seed', k || '/' || n, 'personal', 1, '', replace($2, '` + numberMark + `', (n * 1000 + k)::text)::jsonb, 'orders', false, false, '{orders}',
		  p, now() + interval '1 year', 0, false, decode(repeat('00', 32), 'hex'), '', 0, 0, p, p
		FROM generate_series(1, ` + strconv.Itoa(perHeavy) + `) k, generate_series(1, $1::int) n, LATERAL (SELECT ` + publishedAt + ` AS p) t WHERE k <= ` + limitOf

	seedInboxes = `INSERT INTO inboxes (id, viewer, version, total, unseen, unread)
		SELECT n, 'c:s' || n, 1000, l - l / 10, l - l * 7 / 10, l - l * 6 / 10 FROM generate_series(1, $1::int) n, LATERAL (SELECT ` + limitOf + ` AS l) t`

	seedItems = `INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed, seen_at, read_at, archived_at, card, card_format, targets)
		SELECT n, (k - 1) * $1::bigint + n, 1, false, p, now() + interval '1 year', k, k,
		  CASE WHEN k <= l * 7 / 10 THEN p END, CASE WHEN k <= l * 6 / 10 THEN p END, CASE WHEN k <= l / 10 THEN p END,
		  replace(replace($2, '` + numberMark + `', (n * 1000 + k)::text), '` + timeMark + `', to_char(p, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), $3, '{orders}'
		FROM generate_series(1, ` + strconv.Itoa(perHeavy) + `) k, generate_series(1, $1::int) n, LATERAL (SELECT ` + publishedAt + ` AS p, ` + limitOf + ` AS l) t WHERE k <= l`

	// What somebody would write who needs a feed by tomorrow: all that a page shows in one table.
	seedBare = `CREATE TABLE bare_messages AS
		SELECT 's' || n AS customer, ((k - 1) * $1::bigint + n)::text AS id, p AS published_at, 'Your parcel ' || (n * 1000 + k) || ' is on its way' AS title,
		  repeat('It will be with you soon. ', 4) AS body, 'app://orders/' || (n * 1000 + k) AS deeplink, now() + interval '1 year' AS expiry, 'orders' AS category,
		  'personal' AS audience, NULL::text AS image_url, false AS pinned, 'active' AS deeplink_status,
		  CASE WHEN k <= l * 7 / 10 THEN p END AS seen_at, CASE WHEN k <= l * 6 / 10 THEN p END AS read_at, NULL::timestamptz AS clicked_at, CASE WHEN k <= l / 10 THEN p END AS archived_at
		FROM generate_series(1, ` + strconv.Itoa(perHeavy) + `) k, generate_series(1, $1::int) n, LATERAL (SELECT ` + publishedAt + ` AS p, ` + limitOf + ` AS l) t WHERE k <= l`

	// One customer with a thousand pages.
	seedDeep = `WITH m AS (INSERT INTO messages (id, source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets,
		  published_at, expires_at, undelivered, leaving, fingerprint, card, card_format, added, created_at, updated_at)
		SELECT 250 * $1::bigint + k, 'seed', 'deep/' || k, 'personal', 1, '', replace($2, '` + numberMark + `', k::text)::jsonb, 'orders', false, false, '{orders}',
		  p, now() + interval '1 year', 0, false, decode(repeat('00', 32), 'hex'), '', 0, 0, p, p
		FROM generate_series(1, ` + strconv.Itoa(deepItems) + `) k, LATERAL (SELECT date_trunc('second', now()) - make_interval(mins => 20001 - k) AS p) t RETURNING id, published_at, expires_at),
		b AS (INSERT INTO inboxes (id, viewer, version, total, unseen, unread) VALUES ($1 + 1, 'c:` + deepViewer + `', 1, ` + strconv.Itoa(deepItems) + `, ` + strconv.Itoa(deepItems) + `, ` + strconv.Itoa(deepItems) + `))
		INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed, card, card_format, targets)
		SELECT $1 + 1, id, 1, false, published_at, expires_at, 1, 1, replace(replace($3, '` + numberMark + `', id::text), '` + timeMark + `', to_char(published_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), $4, '{orders}' FROM m`
)
