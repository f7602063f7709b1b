package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/ports"
)

const (
	// wordKept is how long word for connected clients is kept: all relays have read it long before.
	wordKept = time.Minute
	// ended finds messages that were over before $1, those that ended first at the front. A global one is kept until
	// its end has been made known.
	ended = `SELECT m.id FROM messages m WHERE LEAST(m.expires_at, m.retracted_at) < $1
		AND (m.audience <> 'global' OR m.retracted_at IS NOT NULL OR (SELECT next_change > statement_timestamp() FROM inbox_globals))
		ORDER BY LEAST(m.expires_at, m.retracted_at) LIMIT $2`
)

// CleanUp implements ports.MessageStore. It is many short transactions, each of them whole, so whatever interrupts it,
// the next one goes on. Of the inboxes it counts some again each time, and all of them in turn.
func (db *DB) CleanUp(ctx context.Context, goneBefore time.Time, batch int) (done ports.CleanedUp, err error) {
	if done, err = db.forgetMessages(ctx, goneBefore, batch); err != nil {
		return done, translate("clean up messages", err)
	}
	for _, forget := range []func(context.Context, time.Time, int) (int64, error){db.forgetChanges, db.forgetClientEvents, db.forgetWord, db.forgetWebhookEvents, db.forgetDeliveries} {
		n, err := forget(ctx, goneBefore, batch)
		if err != nil {
			return done, translate("clean up what was told", err)
		}
		done.More = done.More || n >= int64(batch)
	}
	done.Repaired, err = db.checkInboxes(ctx, batch)
	return done, translate("check inboxes", err)
}

// forgetMessages takes the items of messages that are over out of the inboxes, and then the messages.
func (db *DB) forgetMessages(ctx context.Context, goneBefore time.Time, batch int) (done ports.CleanedUp, err error) {
	var over []int64
	var items []itemKey
	err = db.wireRead(ctx, "find old messages", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, ended, goneBefore, batch)
		if err != nil {
			return err
		}
		if over, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
			return err
		}
		rows, err = conn.Query(ctx, `SELECT m.id, i.inbox_id FROM unnest($1::bigint[]) m(id) JOIN inbox_items i ON i.message_id = m.id LIMIT $2`, over, batch)
		if err != nil {
			return err
		}
		items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[itemKey])
		return err
	})
	if err != nil {
		return done, err
	}
	done.More = len(over) >= batch || len(items) >= batch
	for len(items) > 0 {
		n := min(batchSize, len(items))
		gone, err := db.forgetItems(ctx, goneBefore, items[:n])
		if err != nil {
			return done, err
		}
		done.Items += gone
		items = items[n:]
	}
	for len(over) > 0 {
		n := min(batchSize, len(over))
		gone, err := db.forgetEmpty(ctx, goneBefore, over[:n])
		if err != nil {
			return done, err
		}
		done.Messages += gone
		over = over[n:]
	}
	return done, nil
}

type itemKey struct{ Message, Inbox int64 }

// stillEnded locks those of the messages that are over, as an edit may have given one of them a longer life.
const stillEnded = `SELECT id FROM messages WHERE id = ANY($1::bigint[]) AND LEAST(expires_at, retracted_at) < $2 ORDER BY id FOR NO KEY UPDATE`

// forgetItems deletes items. Some may still show because nobody has looked since they ended. Who asks for what has
// changed since one of them did has to start over.
func (db *DB) forgetItems(ctx context.Context, goneBefore time.Time, keys []itemKey) (gone int64, err error) {
	messages, boxes := make([]int64, len(keys)), make([]int64, len(keys))
	for i, key := range keys {
		messages[i], boxes[i] = key.Message, key.Inbox
	}
	err = db.wireTx(ctx, "forget old items", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, stillEnded, messages, goneBefore)
		if err != nil {
			return err
		}
		over, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if err := lockInboxes(ctx, tx, boxes); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH was AS (
			  DELETE FROM inbox_items i USING unnest($1::bigint[], $2::bigint[]) k(message_id, inbox_id)
			  WHERE i.inbox_id = k.inbox_id AND i.message_id = k.message_id AND k.message_id = ANY($3::bigint[])
			  RETURNING i.inbox_id, i.state, i.changed, i.archived_at IS NULL AS here, i.seen_at IS NULL AS unseen, i.read_at IS NULL AS unread),
			per AS (
			  SELECT inbox_id, count(*) AS items, bool_or(state = 1) AS showed, max(changed) AS changed, count(*) FILTER (WHERE state = 1 AND here) AS total,
			    count(*) FILTER (WHERE state = 1 AND here AND unseen) AS unseen, count(*) FILTER (WHERE state = 1 AND here AND unread) AS unread
			  FROM was GROUP BY inbox_id),
			box AS (
			  UPDATE inboxes b SET version = b.version + per.showed::integer, total = b.total - per.total, unseen = b.unseen - per.unseen,
			    unread = b.unread - per.unread, floor = GREATEST(b.floor, CASE WHEN per.showed THEN b.version + 1 ELSE per.changed END)
			  FROM per WHERE b.id = per.inbox_id RETURNING b.viewer, b.version, per.showed),
			shown AS (SELECT viewer, version FROM box WHERE showed),
			word AS (`+wordOfInboxes("shown")+`)
			SELECT count(*) FROM was`, messages, boxes, over).Scan(&gone)
	})
	return gone, err
}

// forgetEmpty deletes those of the messages that are in no inbox any more.
func (db *DB) forgetEmpty(ctx context.Context, goneBefore time.Time, messages []int64) (gone int64, err error) {
	err = db.wireTx(ctx, "forget old messages", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, stillEnded, messages, goneBefore)
		if err != nil {
			return err
		}
		over, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `DELETE FROM messages m WHERE id = ANY($1::bigint[]) AND NOT EXISTS (SELECT FROM inbox_items i WHERE i.message_id = m.id)`, over)
		gone = tag.RowsAffected()
		return err
	})
	return gone, err
}

// forgetChanges forgets old changes of the globals. The floor moves with them, under the lock of whoever adds some.
func (db *DB) forgetChanges(ctx context.Context, goneBefore time.Time, batch int) (gone int64, err error) {
	err = db.wireTx(ctx, "forget old changes", func(ctx context.Context, tx pgx.Tx) error {
		var any bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM (SELECT at FROM inbox_global_changes ORDER BY version LIMIT 1) oldest WHERE at < $1)`, goneBefore).Scan(&any)
		if err != nil || !any { // nobody has to wait for nothing
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT FROM inbox_globals FOR NO KEY UPDATE`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH old AS (
			  SELECT max(version) AS version FROM (SELECT version, at FROM inbox_global_changes ORDER BY version LIMIT $2) o WHERE at < $1),
			gone AS (DELETE FROM inbox_global_changes c USING old WHERE c.version <= old.version RETURNING c.version),
			floor AS (UPDATE inbox_globals SET floor = GREATEST(floor, old.version) FROM old WHERE old.version IS NOT NULL)
			SELECT count(*) FROM gone`, goneBefore, batch).Scan(&gone)
	})
	return gone, err
}

func (db *DB) forgetClientEvents(ctx context.Context, goneBefore time.Time, batch int) (int64, error) {
	return db.forget(ctx, "forget old client events", `DELETE FROM client_events WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM client_events WHERE at < $1 ORDER BY at LIMIT $2))`, goneBefore, batch)
}

func (db *DB) forgetWord(ctx context.Context, _ time.Time, batch int) (int64, error) {
	return db.forget(ctx, "forget old word", `DELETE FROM stream_events WHERE id = ANY (ARRAY(
		SELECT id FROM (SELECT id, at FROM stream_events ORDER BY id LIMIT $2) o WHERE at < statement_timestamp() - make_interval(secs => $1)))`,
		wordKept.Seconds(), batch)
}

func (db *DB) forget(ctx context.Context, doing, statement string, args ...any) (gone int64, err error) {
	err = db.wireRead(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, statement, args...)
		gone = tag.RowsAffected()
		return err
	})
	return gone, err
}
