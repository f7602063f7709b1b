package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
)

// lockInbox makes the statements after it see all that was done under the inbox's lock before: a statement that waits for
// the lock itself would go on with the moment at which it began to wait.
const lockInbox = `SELECT id FROM inboxes WHERE viewer = $1 FOR NO KEY UPDATE`

// rollStatement makes so what time has changed in an inbox since somebody looked: items begin to show or are gone. Its
// caller has the lock. It does nothing when nothing is due. An item that was gone before it began (added is 0) was never
// counted.
var rollStatement = `WITH t AS MATERIALIZED (SELECT clock_timestamp() AS at),
	me AS MATERIALIZED (SELECT b.id, b.version + 1 AS next, t.at FROM inboxes b, t WHERE b.viewer = $1 AND b.next_change <= t.at),
	due AS (
	  UPDATE inbox_items i SET changed = me.next,
	    state = CASE WHEN i.expires_at <= me.at THEN 2 ELSE 1 END,
	    added = CASE WHEN i.expires_at <= me.at THEN i.added ELSE me.next END
	  FROM me WHERE i.inbox_id = me.id AND (i.state = 0 AND i.published_at <= me.at OR i.state = 1 AND i.expires_at <= me.at)
	  RETURNING CASE WHEN i.state = 1 THEN 1 WHEN i.added > 0 THEN -1 ELSE 0 END
	    * CASE WHEN i.archived_at IS NULL THEN 1 ELSE 0 END AS n, i.seen_at IS NULL AS unseen, i.read_at IS NULL AS unread),
	sums AS (SELECT count(*) AS items, coalesce(sum(n), 0) AS total,
	  coalesce(sum(n) FILTER (WHERE unseen), 0) AS unseen, coalesce(sum(n) FILTER (WHERE unread), 0) AS unread FROM due),
	later AS (SELECT min(CASE WHEN i.state = 0 AND i.published_at > me.at THEN i.published_at ELSE i.expires_at END) AS at
	  FROM inbox_items i, me WHERE i.inbox_id = me.id AND i.state < 2 AND i.expires_at > me.at),
	rolled AS (
	  UPDATE inboxes b SET version = CASE WHEN sums.items > 0 THEN me.next ELSE b.version END, total = b.total + sums.total,
	    unseen = b.unseen + sums.unseen, unread = b.unread + sums.unread, next_change = coalesce(later.at, 'infinity'), touched_at = me.at
	  FROM me, sums, later WHERE b.id = me.id RETURNING b.viewer, b.version, sums.items),
	changed AS (SELECT viewer, version FROM rolled WHERE items > 0)
	` + wordOfInboxes("changed")

// beginEach begins a transaction in which each statement sees its own moment, whatever the server's default is.
const beginEach = "begin isolation level read committed"

// rollInbox is one round trip.
func rollInbox(ctx context.Context, c *pgx.Conn, viewer inbox.Viewer) error {
	var b pgx.Batch
	b.Queue(beginEach)
	b.Queue(lockInbox, viewer.Key())
	b.Queue(rollStatement, viewer.Key())
	b.Queue("commit")
	return c.SendBatch(ctx, &b).Close()
}
