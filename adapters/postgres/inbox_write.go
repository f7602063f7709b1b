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

// editedStatement stores an edit of one inbox that is locked. The server refuses it (by a division by zero) unless each
// item that was read is still there. Arguments: inbox, its next version, differences of total, unseen and unread, packed
// receipts or null, and those of itemArgs and factArgs.
var editedStatement = `WITH me AS (
	  UPDATE inboxes SET version = $2::bigint, total = total + $3::integer, unseen = unseen + $4::integer, unread = unread + $5::integer,
	    receipts = coalesce($6::bytea, receipts), touched_at = statement_timestamp()
	  WHERE id = $1::bigint AND version = $2::bigint - 1 RETURNING viewer, version),
	items AS (
	  UPDATE inbox_items i SET changed = $2::bigint, seen_at = r.seen, read_at = r.read, clicked_at = r.clicked,
	    archived_at = r.archived, unread_at = r.unread, unarchived_at = r.unarchived
	  FROM unnest($7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
	    AS r (id, seen, read, clicked, archived, unread, unarchived)
	  WHERE i.inbox_id = $1::bigint AND i.message_id = r.id AND i.state = 1 RETURNING 1),
	facts AS (` + factsInto + `$14::date[], $15::text[], $16::bigint[], $17::text[], $18::bigint[]` + factsFrom + `),
	word AS (` + wordOfInboxes("me") + `)
	SELECT 1 / (CASE WHEN (SELECT count(*) FROM me) = 1 AND (SELECT count(*) FROM items) = cardinality($7::bigint[]) THEN 1 ELSE 0 END)`

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

func (r *itemReceipts) args() []any {
	args := make([]any, 0, 7)
	if r.ids == nil {
		r.ids = []int64{}
	}
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
