package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

const (
	// batchSize is how many inboxes one transaction of a delivery changes.
	batchSize = 500
	// manyTimeout is what storing a million recipients may take.
	manyTimeout = time.Minute
	// tries bounds how often publishing starts over because the catalogue has changed under it.
	tries = 10
)

// build makes the message; see ports.MessageStore.
type build func(*inbox.Links, time.Time) (*inbox.Message, error)

// publishing is one message on its way into the store.
type publishing struct {
	source, externalID string
	viewers            []string // sorted, each once
	many               bool
	build              build

	out     ports.StoredMessage
	created bool
}

// PublishMessage implements ports.MessageStore; see Update about fault.Unavailable. It is two round trips, of which the
// second is one statement that does everything: whoever reads sees all of it or nothing.
func (db *DB) PublishMessage(ctx context.Context, source, externalID string, recipients []preference.CustomerID, inline int,
	build func(*inbox.Links, time.Time) (*inbox.Message, error)) (ports.StoredMessage, bool, error) {
	p := publishing{source: source, externalID: externalID, viewers: viewersOf(recipients), build: build}
	p.many = len(p.viewers) > inline
	limit := db.timeout
	if p.many {
		limit = max(limit, manyTimeout)
	}
	err := db.againWithin(ctx, limit, func(ctx context.Context) (committing bool, err error) {
		err = db.onWire(ctx, "publish a message", func(ctx context.Context, conn *pgx.Conn) error {
			for range tries {
				if committing, err = db.publish(ctx, conn, &p); !errors.Is(err, errStale) {
					return err
				}
			}
			return outage{err}
		})
		return committing, err
	})
	return p.out, p.created, translate("publish a message", err)
}

// publish tries once. errStale says that the catalogue was not what it was taken for, and nothing was stored.
func (db *DB) publish(ctx context.Context, conn *pgx.Conn, p *publishing) (committing bool, err error) {
	var now time.Time
	var version int64
	var taken bool
	err = conn.QueryRow(ctx, `SELECT clock_timestamp(), catalogue, EXISTS (SELECT FROM messages WHERE source = $1 AND external_id = $2)
		FROM inbox_globals`, p.source, p.externalID).Scan(&now, &version, &taken)
	if err != nil {
		return false, err
	}
	if taken {
		return false, p.readStored(ctx, conn)
	}
	known, err := db.links.at(ctx, conn, version)
	if err != nil {
		return false, err
	}
	m, err := p.build(known.links, now.UTC())
	if err != nil {
		return false, callerError{err}
	}
	if m.Audience == inbox.Personal {
		m.Recipients = len(p.viewers)
	}
	row, err := db.rowOf(m, known.version, p.many)
	if err != nil {
		return false, err
	}
	row.showing = 0
	if m.VisibleAt(now) {
		row.showing = 1
	}
	switch {
	case m.Audience == inbox.Global:
		err = row.insertGlobal(ctx, conn)
	case p.many:
		err = row.insertMany(ctx, conn, p.viewers)
	default:
		err = row.insertPersonal(ctx, conn, p.viewers)
	}
	if errors.Is(err, errTaken) {
		return false, p.readStored(ctx, conn)
	}
	if err == nil {
		p.out, p.created = ports.StoredMessage{Message: *m, Undelivered: row.undelivered}, true
	}
	return !errors.Is(err, errStale), err
}

// readStored answers with what has the name. It may have been cleaned up just now: then the name is free again.
func (p *publishing) readStored(ctx context.Context, conn *pgx.Conn) error {
	row, err := readMessage(ctx, conn, `WHERE m.source = $1 AND m.external_id = $2`, p.source, p.externalID)
	if errors.Is(err, errNoMessage) {
		return errStale
	}
	if err == nil {
		p.out, err = row.stored()
	}
	return err
}

// errTaken says that somebody else has published under the name, and nothing was stored.
var errTaken = errors.New("the name is taken")

func viewersOf(customers []preference.CustomerID) []string {
	viewers := make([]string, len(customers))
	for i, c := range customers {
		viewers[i] = inbox.CustomerViewer(c).Key()
	}
	slices.Sort(viewers)
	return slices.Compact(viewers)
}

// newRow is a message to be stored, with what it was checked against.
type newRow struct {
	m           *inbox.Message
	content     []byte
	card        string
	format      int
	catalogue   int64
	showing     int // 1 or 0, for adding up
	many        bool
	undelivered int
}

func (db *DB) rowOf(m *inbox.Message, catalogue int64, many bool) (*newRow, error) {
	asKept(m)
	content, err := encodeContent(m.Content)
	if err != nil {
		return nil, callerError{fault.OnField("", "invalid_content", "cannot be stored")}
	}
	row := &newRow{m: m, content: content, catalogue: catalogue, many: many}
	row.card, row.format = db.card(m)
	if many {
		row.undelivered = m.Recipients
	}
	return row, nil
}

// args are those of messageInto, with the two that come after it and those that the statement has besides. The version of
// the catalogue is the last, and only there when there are links to check.
func (r *newRow) args(more ...any) []any {
	m := r.m
	next := m.PublishedAt
	if r.showing == 1 {
		next = m.Expiry
	}
	args := append([]any{keysOf(m.Targets), m.Source, m.ExternalID, string(m.Audience), m.Recipients, m.Campaign, string(r.content),
		m.Content.Category, m.Content.Pinned, len(m.Content.Variants) > 0, m.PublishedAt, m.Expiry, r.many, r.undelivered,
		m.Fingerprint[:], r.card, r.format, m.CreatedAt, m.UpdatedAt, r.showing, next}, more...)
	if len(m.Targets) > 0 {
		args = append(args, r.catalogue)
	}
	return args
}

const (
	messageInto = `INSERT INTO messages (targets, source, external_id, audience, recipients, campaign, content, category, pinned, localized,
		published_at, expires_at, many, undelivered, fingerprint, card, card_format, created_at, updated_at, leaving, added)
		SELECT $1::text[], $2, $3, $4, $5::integer, $6, $7::jsonb, $8, $9::boolean, $10::boolean, $11::timestamptz, $12::timestamptz,
		$13::boolean, $14::integer, $15::bytea, $16, $17::smallint, $18::timestamptz, $19::timestamptz, false, `
	messageOnce = ` FROM good WHERE ok ON CONFLICT (source, external_id) DO NOTHING RETURNING id, added`
)

// goodTargets begins a statement: ok says that the catalogue is still the one under which the message was made. It locks
// the targets that the message links to: a change to any target is on every row, and whoever waited here for such a change
// sees what it has done. From then on nobody can change the catalogue before we are through, as that takes every row's lock.
func goodTargets(linked bool, catalogue int) string {
	if !linked {
		return `WITH good AS (SELECT true AS ok), `
	}
	return fmt.Sprintf(`WITH link AS MATERIALIZED (
		  SELECT FROM deeplink_targets WHERE key = ANY($1::text[]) AND catalogue = $%d::bigint ORDER BY key FOR SHARE),
		good AS MATERIALIZED (SELECT count(*) = cardinality($1::text[]) AS ok FROM link), `, catalogue)
}

// toInboxes is the statement for a message that goes into inboxes at once, with its card if that is for everybody: then it
// is kept there alone, and a page is read without a look at the messages. One inbox has a statement of its own: the
// server makes the plan for many anew each time, as it depends on how many there are.
func toInboxes(linked, one bool) string {
	viewers := `SELECT v AS viewer FROM unnest($22::text[]) v ORDER BY v COLLATE "C"`
	if one {
		viewers = `SELECT $22::text AS viewer`
	}
	return goodTargets(linked, 23) + `
		m AS (` + cardless(messageInto) + `0` + messageOnce + `),
		box AS (
		  INSERT INTO inboxes AS i (viewer, version, total, unseen, unread, next_change)
		  SELECT v.viewer, $20::integer, $20, $20, $20, $21::timestamptz FROM m, (` + viewers + `) v
		  ON CONFLICT (viewer) DO UPDATE SET version = i.version + excluded.version, total = i.total + excluded.total,
		    unseen = i.unseen + excluded.unseen, unread = i.unread + excluded.unread, next_change = LEAST(i.next_change, excluded.next_change)
		  RETURNING id, viewer, version),
		item AS (
		  INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed, card, card_format, targets)
		  SELECT box.id, m.id, $20, $9, $11, $12, $20 * box.version, box.version, CASE WHEN NOT $10 THEN $16 END,
		    CASE WHEN NOT $10 THEN $17::smallint END, CASE WHEN NOT $10 THEN $1::text[] END FROM box, m),
		word AS (` + wordOfInboxes("box") + `)
		SELECT good.ok, m.id, m.added FROM good LEFT JOIN m ON true`
}

// cardless leaves the card out of the message when its items have it.
func cardless(into string) string {
	return strings.Replace(into, "$16, $17::smallint", "CASE WHEN $10 THEN $16 ELSE '' END, CASE WHEN $10 THEN $17::smallint ELSE 0 END", 1)
}

// toAll is the statement for a global message. The version must not grow when the name turns out to be taken, so the server
// is made to refuse the statement then.
func toAll(linked bool) string {
	return goodTargets(linked, 22) + `
		g AS (
		  UPDATE inbox_globals SET version = version + $20::integer, next_change = LEAST(next_change, $21::timestamptz)
		  FROM good WHERE good.ok RETURNING version, ok),
		m AS (` + messageInto + `$20 * version` + strings.Replace(messageOnce, "good", "g", 1) + `),
		made AS (SELECT m.id, g.version FROM g, m),
		change AS (
		  INSERT INTO inbox_global_changes (version, kind, message_id, at) SELECT version, 'message', id, statement_timestamp() FROM made WHERE $20 = 1),
		word AS (` + wordOfGlobals("made") + `)
		SELECT ok, CASE WHEN ok THEN (SELECT max(id) * (1 / count(*)) FROM m) END, (SELECT added FROM m) FROM good`
}

// toMany is the statement for a message that Deliver puts into inboxes.
func toMany(linked bool) string {
	return goodTargets(linked, 22) + `
		m AS (` + messageInto + `0` + messageOnce + `)
		SELECT good.ok, m.id, m.added FROM good LEFT JOIN m ON $20::integer IS NOT NULL AND $21::timestamptz IS NOT NULL`
}

// publishStatements are written once: by whether there are links to check.
var publishStatements = func() (s struct{ one, some, all, many [2]string }) {
	for i, linked := range []bool{false, true} {
		s.one[i], s.some[i], s.all[i], s.many[i] = toInboxes(linked, true), toInboxes(linked, false), toAll(linked), toMany(linked)
	}
	return s
}()

// linked is the index into them.
func (r *newRow) linked() int { return min(1, len(r.m.Targets)) }

// insertPersonal stores the message and puts it into the inboxes.
func (r *newRow) insertPersonal(ctx context.Context, conn *pgx.Conn, viewers []string) error {
	if len(viewers) == 1 {
		return r.insert(ctx, conn, publishStatements.one[r.linked()], r.args(viewers[0]))
	}
	return r.insert(ctx, conn, publishStatements.some[r.linked()], r.args(viewers))
}

// insertGlobal stores the message, which is all there is to do.
func (r *newRow) insertGlobal(ctx context.Context, conn *pgx.Conn) error {
	err := r.insert(ctx, conn, publishStatements.all[r.linked()], r.args())
	if state(err) == "22012" { // division by zero
		return errTaken
	}
	return err
}

// insertMany stores the message and its recipients, for Deliver.
func (r *newRow) insertMany(ctx context.Context, conn *pgx.Conn, viewers []string) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	if err := r.insertRecipients(ctx, tx, viewers); err != nil {
		rollback(ctx, conn)
		return err
	}
	return tx.Commit(ctx)
}

func (r *newRow) insertRecipients(ctx context.Context, tx pgx.Tx, viewers []string) error {
	if err := r.insert(ctx, tx, publishStatements.many[r.linked()], r.args()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil { // ctx ends what takes too long
		return err
	}
	number, batches := 0, slices.Collect(slices.Chunk(viewers, batchSize))
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"message_batches"}, []string{"message_id", "number", "viewers"}, pgx.CopyFromFunc(func() ([]any, error) {
		if number == len(batches) {
			return nil, nil
		}
		number++
		return []any{int64(r.m.ID), number, batches[number-1]}, nil
	}))
	return err
}

// insert runs one of the statements above, which answer whether the catalogue was the right one, and the message's id and
// Added, null when its name is taken.
func (r *newRow) insert(ctx context.Context, q querier, statement string, args []any) error {
	var ok bool
	var id, added *int64
	if err := q.QueryRow(ctx, statement, args...).Scan(&ok, &id, &added); err != nil {
		return err
	}
	switch {
	case !ok:
		return errStale
	case id == nil:
		return errTaken
	}
	r.m.ID, r.m.Added = inbox.MessageID(*id), *added
	return nil
}
