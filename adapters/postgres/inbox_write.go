package postgres

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"accord/domain/inbox"
	"accord/ports"
)

const (
	factsInto = `INSERT INTO engagement_facts (day, kind, campaign, category, channel, count)
	  SELECT f.day, f.kind, coalesce(m.campaign, ''), coalesce(m.category, ''), f.channel, f.count FROM unnest(`
	factsFrom = `) AS f (day, kind, message_id, channel, count) LEFT JOIN messages m ON m.id = f.message_id`

	// factsStatement has the arguments of factArgs.
	factsStatement = factsInto + `$1::date[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]` + factsFrom
)

// What an edit of one inbox that is locked stores, in this order.
const (
	// editedItems has the arguments: inbox, its next version, and those of itemReceipts.args.
	editedItems = `UPDATE inbox_items i SET changed = $2::bigint, seen_at = r.seen, read_at = r.read, clicked_at = r.clicked,
	    archived_at = r.archived, unread_at = r.unread, unarchived_at = r.unarchived
	  FROM unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[])
	    AS r (id, seen, read, clicked, archived, unread, unarchived)
	  WHERE i.inbox_id = $1::bigint AND i.message_id = r.id AND i.state = 1`

	// editedItem is the same for one item, which takes the server less. Its arguments are those of itemReceipts.one.
	editedItem = `UPDATE inbox_items SET changed = $2::bigint, seen_at = $4::timestamptz, read_at = $5::timestamptz, clicked_at = $6::timestamptz,
	    archived_at = $7::timestamptz, unread_at = $8::timestamptz, unarchived_at = $9::timestamptz
	  WHERE inbox_id = $1::bigint AND message_id = $3::bigint AND state = 1`

	// editedInbox has the arguments: inbox, its next version, how many items have it, differences of total, unseen and
	// unread, and packed receipts or null. The server refuses it, and with it the transaction, unless each item that was
	// read is still there: the version would be null. That the inbox is, and has the version before, its lock sees to.
	editedInbox = `UPDATE inboxes SET version = CASE (SELECT count(*) FROM inbox_items i WHERE i.inbox_id = $1::bigint AND i.changed = $2::bigint)
	      WHEN $3::bigint THEN $2::bigint END,
	    total = total + $4::integer, unseen = unseen + $5::integer, unread = unread + $6::integer,
	    receipts = coalesce($7::bytea, receipts), touched_at = statement_timestamp()
	  WHERE id = $1::bigint`

	// editedWord is wordOfInboxes for one that is known: viewer, its next version.
	editedWord = `INSERT INTO stream_events (viewers, kind, data)
	  VALUES (ARRAY[$1::text], 'inbox.changed', jsonb_build_object('own', $2::bigint))`
)

// emptyReceipts leaves no trace of what was there, so earlier versions are no longer known.
var emptyReceipts = `WITH me AS (
	  UPDATE inboxes SET receipts = '', version = version + 1, floor = version + 1, touched_at = statement_timestamp()
	  WHERE id = $1 RETURNING viewer, version)
	` + wordOfInboxes("me")

// itemReceipts are receipts by columns.
type itemReceipts struct {
	ids   []int64
	times [6][]pgtype.Timestamptz
}

func (r *itemReceipts) add(id inbox.MessageID, receipt inbox.Receipt) {
	r.ids = append(r.ids, int64(id))
	for i, t := range receiptTimes(&receipt) {
		r.times[i] = append(r.times[i], pgtype.Timestamptz{Time: *t, Valid: !t.IsZero()})
	}
}

// one are the arguments when there is only one.
func (r *itemReceipts) one() []any {
	args := append(make([]any, 0, 7), r.ids[0])
	for _, times := range r.times {
		args = append(args, times[0])
	}
	return args
}

// args are the arguments for any number.
func (r *itemReceipts) args() []any {
	args := make([]any, 0, 7)
	args = append(args, r.ids)
	for _, times := range r.times {
		args = append(args, times)
	}
	return args
}

// differences are the receipts that are not what the items have, and by how much the counts change with them.
func differences(items []ports.InboxItem, receipts map[inbox.MessageID]inbox.Receipt) (changed itemReceipts, delta inbox.Counts, err error) {
	known := 0
	for i := range items {
		item := &items[i]
		r, said := receipts[item.Position.ID]
		if !said {
			continue
		}
		known++
		if r = storable(r); r != item.Receipt {
			changed.add(item.Position.ID, r)
			delta = delta.Add(item.Receipt, -1).Add(r, 1)
		}
	}
	if known != len(receipts) {
		err = errors.New("a receipt is for an item that was not read")
	}
	return changed, delta, err
}

// storable is the receipt as it comes back.
func storable(r inbox.Receipt) inbox.Receipt {
	for _, t := range receiptTimes(&r) {
		if !t.IsZero() {
			*t = time.UnixMicro(t.UnixMicro()).UTC()
		}
	}
	return r
}

// factArgs are facts by columns.
func factArgs(facts []ports.Fact) []any {
	n := len(facts)
	days, kinds, messages := make([]pgtype.Date, n), make([]string, n), make([]int64, n)
	channels, counts := make([]string, n), make([]int64, n)
	for i, f := range facts {
		days[i] = pgtype.Date{Time: f.Day.UTC(), Valid: true}
		kinds[i], messages[i], channels[i], counts[i] = f.Kind, int64(f.Message), f.Channel, f.Count
	}
	return []any{days, kinds, messages, channels, counts}
}
