package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

var _ ports.Globals = (*DB)(nil)

// GlobalHead implements ports.Globals.
func (db *DB) GlobalHead(ctx context.Context) (head ports.GlobalHead, err error) {
	err = db.wireRead(ctx, "read global head", func(ctx context.Context, c *pgx.Conn) error {
		var pulled *time.Time
		err := c.QueryRow(ctx, `SELECT t.at, g.version, g.next_change <= t.at, f.pulled_at
			FROM inbox_globals g CROSS JOIN (SELECT clock_timestamp() AS at) t LEFT JOIN upstream_feeds f ON f.name = $1`,
			ports.CampaignsName).Scan(&head.Now, &head.Version, &head.Due, &pulled)
		head.Now, head.CampaignsAt = head.Now.UTC(), orZero(pulled)
		return err
	})
	return head, translate("read global head", err)
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// GlobalChanges implements ports.Globals.
func (db *DB) GlobalChanges(ctx context.Context, since int64) (changes ports.Concerned, err error) {
	err = db.wireRead(ctx, "read global changes", func(ctx context.Context, c *pgx.Conn) error {
		changes = ports.Concerned{}
		rows, err := c.Query(ctx, `SELECT DISTINCT g.floor, c.message_id, c.target FROM inbox_globals g
			LEFT JOIN inbox_global_changes c ON c.version > $1 ORDER BY c.message_id, c.target`, since)
		if err != nil {
			return err
		}
		var floor int64
		var message *inbox.MessageID
		var target *inbox.TargetKey
		_, err = pgx.ForEachRow(rows, []any{&floor, &message, &target}, func() error {
			if since < floor {
				return callerError{fault.New(fault.Gone, "version-too-old", "what has changed since is not known any more; read the feed again")}
			}
			if message != nil {
				changes.Messages = append(changes.Messages, *message)
			}
			if target != nil {
				changes.Targets = append(changes.Targets, *target)
			}
			return nil
		})
		return err
	})
	return changes, translate("read global changes", err)
}

// Globals implements ports.Globals: one round trip, unless time has changed something since somebody looked.
func (db *DB) Globals(ctx context.Context) (globals *inbox.Globals, err error) {
	err = db.wireRead(ctx, "read globals", func(ctx context.Context, c *pgx.Conn) error {
		for n := 0; ; n++ {
			read, err := readGlobals(ctx, c)
			if err != nil {
				return err
			}
			if !read.due || n == rollsPerRead {
				globals = inbox.NewGlobals(read.version, read.floor, inbox.NewLinks(read.targets...), read.messages, read.leaving, orZero(read.next))
				return nil
			}
			if err := rollGlobals(ctx, c); err != nil {
				return err
			}
		}
	})
	return globals, translate("read globals", err)
}

// globalRows is everything that is the same for all inboxes, as it was at one moment.
type globalRows struct {
	version, floor int64
	due            bool
	next           *time.Time
	messages       []*inbox.Message
	targets        []inbox.LinkTarget
	leaving        []inbox.MessageID
}

// A global message shows from when it was made so (added) until it expires, and nothing expires between the moment that
// made the version and its next change: whether that has come is asked last. The first condition on expires_at is for the
// index; the transaction's clock alone may be a little older than what the transaction sees.
const showingGlobals = `SELECT ` + messageColumns + ` FROM messages m
	WHERE m.audience = 'global' AND m.retracted_at IS NULL AND m.expires_at > now() AND m.added > 0 AND m.expires_at > clock_timestamp()`

// readGlobals is one round trip.
func readGlobals(ctx context.Context, c *pgx.Conn) (*globalRows, error) {
	var b pgx.Batch
	b.Queue("begin isolation level repeatable read read only")
	b.Queue(showingGlobals)
	b.Queue(`SELECT ` + targetColumns + ` FROM deeplink_targets t`)
	b.Queue(`SELECT id FROM messages WHERE leaving ORDER BY id`)
	b.Queue(`SELECT version, floor, nullif(next_change, 'infinity'), next_change <= clock_timestamp() FROM inbox_globals`)
	b.Queue("commit")
	results := c.SendBatch(ctx, &b)
	defer func() { _ = results.Close() }() // closed below, unless something has failed before
	read := &globalRows{}
	if _, err := results.Exec(); err != nil {
		return nil, err
	}
	rows, err := results.Query()
	if err == nil {
		err = scanMessages(rows, func(m *inbox.Message) { read.messages = append(read.messages, m) })
	}
	if err != nil {
		return nil, err
	}
	if rows, err = results.Query(); err == nil {
		read.targets, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (inbox.LinkTarget, error) {
			var t targetRow
			if err := row.Scan(t.dest()...); err != nil {
				return inbox.LinkTarget{}, err
			}
			return t.target()
		})
	}
	if err != nil {
		return nil, err
	}
	if rows, err = results.Query(); err == nil {
		read.leaving, err = pgx.CollectRows(rows, pgx.RowTo[inbox.MessageID])
	}
	if err != nil {
		return nil, err
	}
	if err := results.QueryRow().Scan(&read.version, &read.floor, &read.next, &read.due); err != nil {
		return nil, err
	}
	return read, results.Close()
}

const lockGlobals = `SELECT FROM inbox_globals FOR NO KEY UPDATE`

// rollGlobalsStatement makes so what time has changed for everybody since somebody looked. Its caller has the lock. It
// does nothing when nothing is due. Whatever has ended or begun, and is not made so yet, did so at next_change or later.
var rollGlobalsStatement = `WITH t AS MATERIALIZED (SELECT clock_timestamp() AS at),
	due AS MATERIALIZED (SELECT version + 1 AS version, next_change AS since, t.at FROM inbox_globals, t WHERE next_change <= t.at),
	begun AS (
	  UPDATE messages m SET added = due.version FROM due
	  WHERE m.audience = 'global' AND m.retracted_at IS NULL AND m.expires_at > due.at AND m.added = 0 AND m.published_at <= due.at
	  RETURNING m.id),
	changed AS (
	  SELECT id, NULL::text AS target FROM begun
	  UNION ALL SELECT m.id, NULL FROM messages m, due
	  WHERE m.audience = 'global' AND m.retracted_at IS NULL AND m.expires_at BETWEEN due.since AND due.at AND m.added > 0
	  UNION ALL SELECT NULL, k.key FROM deeplink_targets k, due
	  WHERE k.active AND (k.active_from BETWEEN due.since AND due.at OR k.active_until BETWEEN due.since AND due.at)),
	log AS (
	  INSERT INTO inbox_global_changes (version, kind, message_id, target, at)
	  SELECT due.version, CASE WHEN c.target IS NULL THEN 'message' ELSE 'target' END, c.id, c.target, due.at FROM changed c, due),
	later AS (SELECT least(
	  (SELECT min(CASE WHEN m.published_at > due.at THEN m.published_at ELSE m.expires_at END) FROM messages m, due
	   WHERE m.audience = 'global' AND m.retracted_at IS NULL AND m.expires_at > due.at),
	  (SELECT min(k.active_from) FROM deeplink_targets k, due WHERE k.active AND k.active_from > due.at),
	  (SELECT min(k.active_until) FROM deeplink_targets k, due WHERE k.active AND k.active_until > due.at)) AS at),
	anything AS (SELECT EXISTS (SELECT FROM changed) AS at_all),
	rolled AS (
	  UPDATE inbox_globals g SET version = CASE WHEN anything.at_all THEN due.version ELSE g.version END, next_change = coalesce(later.at, 'infinity')
	  FROM due, later, anything RETURNING g.version, anything.at_all),
	said AS (SELECT version FROM rolled WHERE at_all)
	` + wordOfGlobals("said")

// rollGlobals is one round trip.
func rollGlobals(ctx context.Context, c *pgx.Conn) error {
	var b pgx.Batch
	b.Queue(beginEach)
	b.Queue(lockGlobals)
	b.Queue(rollGlobalsStatement)
	b.Queue("commit")
	return c.SendBatch(ctx, &b).Close()
}
