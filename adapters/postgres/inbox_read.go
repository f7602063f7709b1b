package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
	"accord/ports"
)

var _ ports.Inboxes = (*DB)(nil)

// rollsPerRead bounds how often a read makes time's changes so before it answers. Each needs another moment at which
// something begins or ends, so one is the rule.
const rollsPerRead = 10

// ReadInbox implements ports.Inboxes: one statement, one round trip, unless time has changed the inbox since somebody
// looked.
func (db *DB) ReadInbox(ctx context.Context, q ports.InboxQuery) (read ports.InboxRead, err error) {
	statement, args := pageStatement(q)
	items := 0
	if q.Page != nil {
		items = min(q.Page.Limit, 128)
	}
	found, err := db.readInbox(ctx, q.Viewer, items, (*inboxRows).row, statement, args)
	if err != nil {
		return ports.InboxRead{}, translate("read inbox", err)
	}
	return ports.InboxRead{InboxHead: found.head, Items: found.items, GlobalsDue: found.globalsDue}, nil
}

// ReadChanges implements ports.Inboxes.
func (db *DB) ReadChanges(ctx context.Context, viewer inbox.Viewer, since int64, concerned ports.Concerned, format, limit int) (ports.InboxChangesRead, error) {
	// One more than the limit tells whether there is more.
	statement, args := changesStatement, []any{viewer.Key(), format, since, limit + 1}
	if len(concerned.Messages) > 0 || len(concerned.Targets) > 0 {
		statement, args = concernedStatement, append(args, messageIDs(concerned.Messages), keysOf(concerned.Targets))
	}
	found, err := db.readInbox(ctx, viewer, 0, (*inboxRows).changesRow, statement, args)
	if err != nil {
		return ports.InboxChangesRead{}, translate("read changes", err)
	}
	upTo := found.cut(since, limit)
	return ports.InboxChangesRead{InboxHead: found.head, Items: found.items, UpTo: upTo}, nil
}

// readInbox runs a statement that gives a row for the state of the viewer's inbox and one for each item.
func (db *DB) readInbox(ctx context.Context, viewer inbox.Viewer, items int, row func(*inboxRows, [][]byte) error, statement string, args []any) (found *inboxRows, err error) {
	err = db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		return false, db.onWire(ctx, "read inbox", func(ctx context.Context, c *pgx.Conn) error {
			for n := 0; ; n++ {
				found = &inboxRows{}
				if items > 0 {
					found.items = make([]ports.InboxItem, 0, items)
				}
				rows, err := c.Query(ctx, statement, args...)
				if err != nil {
					return err
				}
				if err := eachRow(rows, func(values [][]byte) error { return row(found, values) }); err != nil {
					return err
				}
				if !found.due || n == rollsPerRead {
					return nil
				}
				if err := rollInbox(ctx, c, viewer); err != nil {
					return err
				}
			}
		})
	})
	return found, err
}

// inboxRows takes the rows of a statement as inbox_statements.go describes them.
type inboxRows struct {
	id              int64 // of the inbox's row, 0 when there is none
	head            ports.InboxHead
	due, globalsDue bool
	items           []ports.InboxItem
	changed         []int64 // of each item, in changes
	room            []byte  // for cards: one piece of memory for many
}

const columnOfState = 14

func (r *inboxRows) row(row [][]byte) error {
	v := values{row: row}
	if len(row) <= columnOfState {
		return errShape
	}
	if row[columnOfState] != nil {
		return r.state(&v)
	}
	var item ports.InboxItem
	item.Position.ID = inbox.MessageID(v.int())
	item.Position.Pinned = v.bool()
	item.Localized = v.bool()
	item.Position.Published, item.Expiry = v.time(), v.time()
	receipt(&v, &item.Receipt)
	v.list(func(n int) {
		if n > 0 {
			item.Targets = make([]inbox.TargetKey, 0, n)
		}
	}, func(b []byte) { item.Targets = append(item.Targets, inbox.TargetKey(b)) })
	item.Card = r.keep(v.lent())
	r.items = append(r.items, item)
	return v.err
}

const roomForCards = 8 << 10

// keep copies what is valid until the next row.
func (r *inboxRows) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) > cap(r.room)-len(r.room) {
		r.room = make([]byte, 0, max(roomForCards, len(b)))
	}
	at := len(r.room)
	r.room = append(r.room, b...)
	return r.room[at:len(r.room):len(r.room)]
}

func receipt(v *values, r *inbox.Receipt) {
	r.SeenAt, r.ReadAt, r.ClickedAt, r.ArchivedAt = v.time(), v.time(), v.time(), v.time()
	r.UnreadAt, r.UnarchivedAt = v.time(), v.time()
}

func (r *inboxRows) state(v *values) error {
	h := &r.head
	h.Version.Global = v.int()
	r.globalsDue, r.due = v.bool(), v.bool()
	h.Now, h.PulledAt, h.CampaignsAt = v.time(), v.time(), v.time()
	v.at = columnOfState - 1
	packed := v.lent()
	var total, unseen, unread int64
	v.ints(&r.id, &h.Version.Own, &h.Floor, &total, &unseen, &unread)
	h.Counts = inbox.Counts{Total: int(total), Unseen: int(unseen), Unread: int(unread)}
	if v.err != nil {
		return v.err
	}
	var err error
	h.Receipts, err = unpackReceipts(packed)
	return err
}

// changesRow is row for changes, where an item may be gone and says when it changed.
func (r *inboxRows) changesRow(row [][]byte) error {
	if err := r.row(row); err != nil || row[columnOfState] != nil {
		return err
	}
	v := values{row: row, at: columnOfState + 1}
	r.changed = append(r.changed, v.int())
	r.items[len(r.items)-1].Gone = v.bool()
	return v.err
}

// cut leaves out what is more than the limit, and says up to which version the rest is complete. Items that have not
// changed after since come first and do not count.
func (r *inboxRows) cut(since int64, limit int) (upTo int64) {
	before := 0
	for before < len(r.changed) && r.changed[before] <= since {
		before++
	}
	if len(r.items)-before <= limit {
		return r.head.Version.Own
	}
	upTo = r.changed[before+max(limit, 1)-1]
	end := before
	for end < len(r.changed) && r.changed[end] <= upTo {
		end++
	}
	r.items, r.changed = r.items[:end], r.changed[:end]
	return upTo
}
