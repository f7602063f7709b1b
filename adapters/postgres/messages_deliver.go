package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
)

// deliverBatch takes the next of the waiting batches into its inboxes. The message's row is locked, so that nobody edits
// or retracts it meanwhile, and nobody else takes the same batch. What has expired is not delivered any more.
var deliverBatch = `WITH m AS MATERIALIZED (
	  SELECT id, pinned, published_at, expires_at, (published_at <= statement_timestamp())::integer AS s FROM messages WHERE id = $1),
	batch AS (
	  DELETE FROM message_batches WHERE message_id = $1 AND number = (SELECT min(number) FROM message_batches WHERE message_id = $1)
	  RETURNING viewers),
	box AS (
	  INSERT INTO inboxes AS i (viewer, version, total, unseen, unread, next_change)
	  SELECT v, m.s, m.s, m.s, m.s, CASE m.s WHEN 1 THEN m.expires_at ELSE m.published_at END
	  FROM m, batch, unnest(batch.viewers) v WHERE m.expires_at > statement_timestamp() ORDER BY v COLLATE "C"
	  ON CONFLICT (viewer) DO UPDATE SET version = i.version + excluded.version, total = i.total + excluded.total,
	    unseen = i.unseen + excluded.unseen, unread = i.unread + excluded.unread, next_change = LEAST(i.next_change, excluded.next_change)
	  RETURNING id, viewer, version),
	item AS (
	  INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed)
	  SELECT box.id, m.id, m.s, m.pinned, m.published_at, m.expires_at, m.s * box.version, box.version FROM box, m),
	word AS (` + wordOfInboxes("box") + `),
	taken AS (SELECT coalesce(sum(cardinality(viewers)), 0)::integer AS n FROM batch)
	UPDATE messages SET undelivered = undelivered - taken.n FROM taken WHERE id = $1 RETURNING taken.n, undelivered + unwalked`

// settleItems makes the items of a message in some inboxes ($2) what the message is now: it shows, waits or is gone, in its
// place, and have no card any more: the message has the one that it was edited to. With $3 those that stay what they are
// count as changed too. Message and inboxes are locked.
var settleItems = `WITH m AS MATERIALIZED (
	  SELECT id, pinned, published_at, expires_at, CASE WHEN retracted_at IS NOT NULL OR expires_at <= statement_timestamp() THEN 2
	    WHEN published_at <= statement_timestamp() THEN 1 ELSE 0 END AS state FROM messages WHERE id = $1),
	was AS MATERIALIZED (
	  SELECT i.inbox_id, (i.state = 1 OR m.state = 1)::integer AS noticed,
	    CASE WHEN i.archived_at IS NULL THEN (m.state = 1)::integer - (i.state = 1)::integer ELSE 0 END AS n,
	    (i.seen_at IS NULL)::integer AS unseen, (i.read_at IS NULL)::integer AS unread
	  FROM m JOIN inbox_items i ON i.message_id = m.id WHERE i.inbox_id = ANY($2::bigint[]) AND NOT (i.state = 2 AND m.state = 2)
	    AND ($3::boolean OR i.state <> m.state OR i.pinned <> m.pinned OR i.expires_at <> m.expires_at)),
	box AS (
	  UPDATE inboxes b SET version = b.version + was.noticed, total = b.total + was.n, unseen = b.unseen + was.n * was.unseen,
	    unread = b.unread + was.n * was.unread,
	    next_change = LEAST(b.next_change, CASE m.state WHEN 0 THEN m.published_at WHEN 1 THEN m.expires_at END)
	  FROM was, m WHERE b.id = was.inbox_id RETURNING b.id, b.viewer, b.version),
	item AS (
	  UPDATE inbox_items i SET state = m.state, pinned = m.pinned, expires_at = m.expires_at, changed = box.version,
	    added = CASE WHEN m.state = 1 AND i.state <> 1 THEN box.version ELSE i.added END,
	    card = NULL, card_format = NULL, targets = NULL
	  FROM box, m WHERE i.inbox_id = box.id AND i.message_id = m.id)
	` + wordOfInboxes("box")

// settleNext settles the items in at most limit inboxes that come after one, in the order of ids: it answers how many
// have an item, and the last of them.
func settleNext(ctx context.Context, tx pgx.Tx, id inbox.MessageID, touch bool, after int64, limit int) (found int, last int64, err error) {
	rows, err := tx.Query(ctx, `SELECT inbox_id FROM inbox_items WHERE message_id = $1 AND inbox_id > $2 ORDER BY inbox_id LIMIT $3`, int64(id), after, limit)
	if err != nil {
		return 0, after, err
	}
	boxes, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(boxes) == 0 {
		return 0, after, err
	}
	if err := lockInboxes(ctx, tx, boxes); err != nil {
		return 0, after, err
	}
	_, err = tx.Exec(ctx, settleItems, int64(id), boxes, touch)
	return len(boxes), boxes[len(boxes)-1], err
}

// lockInboxes makes the statements after it see all that was done under the locks before.
func lockInboxes(ctx context.Context, tx pgx.Tx, ids []int64) error {
	_, err := tx.Exec(ctx, `SELECT FROM inboxes WHERE id = ANY($1::bigint[]) ORDER BY viewer FOR NO KEY UPDATE`, ids)
	return err
}

// Deliver implements ports.MessageStore. First the waiting batches are delivered, then what has changed about the message
// meanwhile goes through the inboxes that have it. A message that nobody knows has nothing left to do.
func (db *DB) Deliver(ctx context.Context, id inbox.MessageID) (done, left int, err error) {
	err = db.wireTx(ctx, "deliver a message", func(ctx context.Context, tx pgx.Tx) error {
		var undelivered, unwalked int
		var walking, expired bool
		var walked int64
		err := tx.QueryRow(ctx, `SELECT undelivered, leaving OR spreading, walked, unwalked, expires_at <= statement_timestamp()
			FROM messages WHERE id = $1 FOR NO KEY UPDATE`, int64(id)).Scan(&undelivered, &walking, &walked, &unwalked, &expired)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return errNothing
		case err != nil:
			return err
		case undelivered > 0 && expired:
			done, left = undelivered, unwalked
			return dropBatches(ctx, tx, id)
		case undelivered > 0:
			return tx.QueryRow(ctx, deliverBatch, int64(id)).Scan(&done, &left)
		case walking:
			done, left, err = walk(ctx, tx, id, walked, unwalked)
			return err
		}
		return errNothing
	})
	if err != nil {
		return 0, 0, translate("deliver a message", err)
	}
	return done, left, nil
}

// walk goes on through the inboxes that have the message. New ones that come in meanwhile have it as it is now.
func walk(ctx context.Context, tx pgx.Tx, id inbox.MessageID, walked int64, unwalked int) (done, left int, err error) {
	done, walked, err = settleNext(ctx, tx, id, false, walked, batchSize)
	if err != nil {
		return 0, 0, err
	}
	if done == batchSize {
		left = max(1, unwalked-done)
		_, err = tx.Exec(ctx, `UPDATE messages SET walked = $2, unwalked = $3 WHERE id = $1`, int64(id), walked, left)
		return done, left, err
	}
	_, err = tx.Exec(ctx, `UPDATE messages SET leaving = false, spreading = false, walked = 0, unwalked = 0 WHERE id = $1`, int64(id))
	return done, 0, err
}

func dropBatches(ctx context.Context, tx pgx.Tx, id inbox.MessageID) error {
	_, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM message_batches WHERE message_id = $1) UPDATE messages SET undelivered = 0 WHERE id = $1`, int64(id))
	return err
}

// Undelivered implements ports.MessageStore.
func (db *DB) Undelivered(ctx context.Context, before time.Time, limit int) (ids []inbox.MessageID, err error) {
	err = db.wireRead(ctx, "list undelivered messages", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT id FROM messages WHERE (undelivered > 0 OR leaving OR spreading) AND updated_at < $1
			ORDER BY updated_at, id LIMIT $2`, before, limit)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[inbox.MessageID])
		return err
	})
	return ids, translate("list undelivered messages", err)
}
