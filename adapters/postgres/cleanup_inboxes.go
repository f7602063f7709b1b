package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
)

// counted is what the lists say of the inboxes b whose counts say something else.
const counted = `SELECT b.id, n.total, n.unseen, n.unread FROM b CROSS JOIN LATERAL (
	SELECT count(*)::integer AS total, (count(*) FILTER (WHERE i.seen_at IS NULL))::integer AS unseen, (count(*) FILTER (WHERE i.read_at IS NULL))::integer AS unread
	FROM inbox_items i WHERE i.inbox_id = b.id AND i.state = 1 AND i.archived_at IS NULL) n
	WHERE (b.total, b.unseen, b.unread) <> (n.total, n.unseen, n.unread)`

// checkInboxes counts the next inboxes again and drops their receipts for global messages that are gone. Where it goes on
// the next time only this process knows; another one goes through all of them by itself. One statement sees an inbox and
// its items at one moment, so what differs is wrong, and only that is locked and looked at again.
func (db *DB) checkInboxes(ctx context.Context, batch int) (repaired int64, err error) {
	var wrong []int64
	held := map[int64]inbox.Receipts{}
	err = db.wireRead(ctx, "check inboxes", func(ctx context.Context, conn *pgx.Conn) error {
		clear(held)
		after := db.checked.Load()
		var last *int64
		err := conn.QueryRow(ctx, `WITH b AS MATERIALIZED (SELECT id, total, unseen, unread FROM inboxes WHERE id > $1 ORDER BY id LIMIT $2)
			SELECT ARRAY(SELECT id FROM (`+counted+`) w), (SELECT max(id) FROM b)`, after, batch).Scan(&wrong, &last)
		if err != nil {
			return err
		}
		if last == nil { // the ones before were the last
			db.checked.Store(0)
			return nil
		}
		db.checked.Store(*last)
		rows, err := conn.Query(ctx, `SELECT id, receipts FROM inboxes WHERE id > $1 AND id <= $2 AND receipts <> ''`, after, *last)
		if err != nil {
			return err
		}
		var id int64
		var packed []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &packed}, func() (err error) {
			held[id], err = unpackReceipts(packed)
			return err
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(wrong) > 0 {
		if repaired, err = db.repairCounts(ctx, wrong); err != nil {
			return 0, err
		}
	}
	return repaired, db.forgetReceipts(ctx, held)
}

func (db *DB) repairCounts(ctx context.Context, wrong []int64) (repaired int64, err error) {
	err = db.wireTx(ctx, "repair counts", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockInboxes(ctx, tx, wrong); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH b AS MATERIALIZED (SELECT id, total, unseen, unread FROM inboxes WHERE id = ANY($1::bigint[])),
			n AS MATERIALIZED (`+counted+`),
			shown AS (
			  UPDATE inboxes SET version = version + 1, total = n.total, unseen = n.unseen, unread = n.unread
			  FROM n WHERE inboxes.id = n.id RETURNING viewer, version),
			word AS (`+wordOfInboxes("shown")+`)
			SELECT count(*) FROM shown`, wrong).Scan(&repaired)
	})
	return repaired, err
}

// forgetReceipts drops what inboxes hold for messages that nobody has any more. Nobody is shown that, so the versions stay.
func (db *DB) forgetReceipts(ctx context.Context, held map[int64]inbox.Receipts) error {
	known := map[inbox.MessageID]bool{}
	for _, receipts := range held {
		for _, r := range receipts {
			known[r.ID] = false
		}
	}
	if len(known) == 0 {
		return nil
	}
	ids := make([]inbox.MessageID, 0, len(known))
	for id := range known {
		ids = append(ids, id)
	}
	err := db.wireRead(ctx, "look for messages", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT id FROM messages WHERE id = ANY($1::bigint[])`, messageIDs(ids))
		if err != nil {
			return err
		}
		var id inbox.MessageID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { known[id] = true; return nil })
		return err
	})
	if err != nil {
		return err
	}
	isGone := func(r inbox.GlobalReceipt) bool { found, asked := known[r.ID]; return asked && !found }
	for box, receipts := range held {
		if slices.ContainsFunc(receipts, isGone) {
			if err := db.dropReceipts(ctx, box, isGone); err != nil {
				return err
			}
		}
	}
	return nil
}

func (db *DB) dropReceipts(ctx context.Context, box int64, isGone func(inbox.GlobalReceipt) bool) error {
	return db.wireTx(ctx, "drop receipts", func(ctx context.Context, tx pgx.Tx) error {
		var packed []byte
		err := tx.QueryRow(ctx, `SELECT receipts FROM inboxes WHERE id = $1 FOR NO KEY UPDATE`, box).Scan(&packed)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNothing
		}
		if err != nil {
			return err
		}
		receipts, err := unpackReceipts(packed)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE inboxes SET receipts = $2 WHERE id = $1`, box, packReceipts(slices.DeleteFunc(receipts, isGone)))
		return err
	})
}
