package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// UpdateInbox implements ports.Inboxes in two round trips: begin, lock and read; write and commit. After fault.Unavailable
// the change may have been stored all the same, when the connection broke during the commit.
func (db *DB) UpdateInbox(ctx context.Context, viewer inbox.Viewer, ids []inbox.MessageID, asOf int64, fn func(ports.InboxEdit) (ports.InboxWrite, error)) (ports.InboxHead, error) {
	statement, about := editStatement+someItems, any(messageIDs(ids))
	if ids == nil {
		statement, about = editStatement+allItems, asOf
	}
	head, err := db.editInbox(ctx, viewer, func(ctx context.Context, e *inboxEditing) (ports.InboxHead, error) {
		found, err := e.lock(ctx, viewer, true, statement, about)
		if err != nil {
			return ports.InboxHead{}, err
		}
		return e.decide(viewer, found, fn)
	})
	return head, translate("update inbox", err)
}

// TakeReceipts implements ports.Inboxes. Both inboxes are locked, in the order in which everybody locks several.
func (db *DB) TakeReceipts(ctx context.Context, from, to inbox.Viewer, fn func(inbox.Receipts, ports.InboxEdit) (ports.InboxWrite, error)) (ports.InboxHead, error) {
	viewers := []inbox.Viewer{from, to}
	slices.SortFunc(viewers, func(a, b inbox.Viewer) int { return strings.Compare(a.Key(), b.Key()) })
	head, err := db.editInbox(ctx, to, func(ctx context.Context, e *inboxEditing) (ports.InboxHead, error) {
		found := map[inbox.Viewer]*editRows{}
		for _, viewer := range viewers {
			rows, err := e.lock(ctx, viewer, viewer == to, editStatement+someItems, []int64{})
			if err != nil {
				return ports.InboxHead{}, err
			}
			found[viewer] = rows
		}
		taken := found[from]
		if len(taken.head.Receipts) > 0 {
			e.store.Queue(emptyReceipts, taken.id)
		}
		return e.decide(to, found[to], func(edit ports.InboxEdit) (ports.InboxWrite, error) { return fn(taken.head.Receipts, edit) })
	})
	return head, translate("take receipts", err)
}

// inboxEditing is one transaction that changes inboxes.
type inboxEditing struct {
	conn  *pgx.Conn
	begun bool
	dirty bool      // something is stored already that is worth keeping
	store pgx.Batch // what is still to be stored
}

// editInbox runs edit in a transaction, and stores what it has queued. Whoever changes the same inbox at the same time
// waits here, and not with a connection in hand.
func (db *DB) editInbox(ctx context.Context, viewer inbox.Viewer, edit func(context.Context, *inboxEditing) (ports.InboxHead, error)) (head ports.InboxHead, err error) {
	if viewer.Anonymous() {
		return head, errors.New("postgres: an anonymous viewer has no inbox")
	}
	waiting, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	leave, err := db.inboxLanes.enter(waiting, preference.CustomerID(viewer.Key()))
	if err != nil {
		return head, err
	}
	defer leave()
	err = db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		err = db.onWire(ctx, "edit inbox", func(ctx context.Context, c *pgx.Conn) error {
			e := &inboxEditing{conn: c}
			if head, err = edit(ctx, e); err != nil || (e.store.Len() == 0 && !e.dirty) { // onWire rolls back
				return err
			}
			committing = true
			e.store.Queue("commit")
			return c.SendBatch(ctx, &e.store).Close()
		})
		return committing, err
	})
	return head, err
}

// planOnce has the server keep one plan for each statement of the transaction. By itself it would plan those with lists
// each time, which takes longer than they do: it takes a list that it does not know for ten rows, and one row for less.
const planOnce = "set local plan_cache_mode = force_generic_plan"

// makeInbox lets whoever comes second wait for the first to commit.
const makeInbox = `INSERT INTO inboxes (viewer) VALUES ($1) ON CONFLICT (viewer) DO NOTHING`

// lock locks an inbox, makes so what time has changed in it, and reads it with the statement. One that is not there is
// made when needed, and otherwise read as empty.
func (e *inboxEditing) lock(ctx context.Context, viewer inbox.Viewer, needed bool, statement string, about any) (*editRows, error) {
	var b pgx.Batch
	if !e.begun {
		b.Queue(beginEach)
		b.Queue(planOnce)
	}
	found, err := e.read(ctx, &b, statement, viewer, about)
	e.begun = true
	if err == nil && found.id == 0 && needed {
		var b pgx.Batch
		b.Queue(makeInbox, viewer.Key())
		if found, err = e.read(ctx, &b, statement, viewer, about); err == nil && found.id == 0 {
			return nil, errors.New("the inbox was neither made nor found")
		}
	}
	for n := 0; err == nil && found.due() && n < rollsPerRead; n++ {
		e.dirty = true
		var b pgx.Batch
		b.Queue(rollStatement, viewer.Key())
		found, err = e.read(ctx, &b, statement, viewer, about)
	}
	return found, err
}

// read runs what is in the batch, then locks and reads, in one round trip.
func (e *inboxEditing) read(ctx context.Context, b *pgx.Batch, statement string, viewer inbox.Viewer, about any) (*editRows, error) {
	first := b.Len()
	b.Queue(lockState, viewer.Key())
	b.Queue(statement, viewer.Key(), about)
	results := e.conn.SendBatch(ctx, b)
	defer func() { _ = results.Close() }() // closed below, unless something has failed before
	for range first {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	found := &editRows{}
	for _, row := range []func([][]byte) error{found.state, found.item} {
		rows, err := results.Query()
		if err != nil {
			return nil, err
		}
		if err := eachRow(rows, row); err != nil {
			return nil, err
		}
	}
	return found, results.Close()
}

// editRows takes the rows of lockState and of editStatement. Nothing of the inbox changes between them.
type editRows struct {
	id    int64 // of the inbox's row, 0 when there is none
	head  ports.InboxHead
	next  time.Time // when time changes something, zero for never
	items []ports.InboxItem
}

func (r *editRows) due() bool { return !r.next.IsZero() && !r.next.After(r.head.Now) }

func (r *editRows) state(row [][]byte) (err error) {
	v, h := values{row: row}, &r.head
	packed := v.lent()
	h.PulledAt, r.next = v.time(), v.time()
	r.id, h.Version.Own, h.Floor = v.int(), v.int(), v.int()
	h.Counts = inbox.Counts{Total: int(v.int()), Unseen: int(v.int()), Unread: int(v.int())}
	if v.err != nil {
		return v.err
	}
	h.Receipts, err = unpackReceipts(packed)
	return err
}

func (r *editRows) item(row [][]byte) error {
	v := values{row: row}
	r.head.Version.Global, r.head.Now, r.head.CampaignsAt = v.int(), v.time(), v.time()
	leaving := v.bool()
	item := ports.InboxItem{Position: inbox.Position{ID: inbox.MessageID(v.int()), Pinned: v.bool(), Published: v.time()}, Expiry: v.time()}
	receipt(&v, &item.Receipt)
	switch {
	case r.id == 0 || item.Position.ID == 0: // there is none, or was none when it was to be locked
	case leaving:
		r.head.Counts = r.head.Counts.Add(item.Receipt, -1)
	default:
		r.items = append(r.items, item)
	}
	return v.err
}

// decide lets fn decide and queues what is different. The head is the one that holds once that is stored.
func (e *inboxEditing) decide(viewer inbox.Viewer, found *editRows, fn func(ports.InboxEdit) (ports.InboxWrite, error)) (ports.InboxHead, error) {
	head, next := found.head, found.head.Version.Own+1
	w, err := fn(ports.InboxEdit{InboxHead: head, Items: found.items, Next: next})
	if err != nil {
		return head, callerError{err}
	}
	items, delta, err := differences(found.items, w.Receipts)
	if err != nil {
		return head, err
	}
	var receipts []byte // null leaves them as they are
	if w.Globals != nil {
		if !ascending(w.Globals) {
			return head, errors.New("receipts for global messages are not in the order of their ids")
		}
		if receipts = packReceipts(w.Globals); bytes.Equal(receipts, packReceipts(head.Receipts)) {
			receipts = nil
		}
	}
	if len(w.Facts) > 0 {
		e.store.Queue(factsStatement, factArgs(w.Facts)...)
	}
	if len(items.ids) == 0 && receipts == nil {
		return head, nil
	}
	switch len(items.ids) {
	case 0:
	case 1:
		e.store.Queue(editedItem, append([]any{found.id, next}, items.one()...)...)
	default:
		e.store.Queue(editedItems, append([]any{found.id, next}, items.args()...)...)
	}
	e.store.Queue(editedInbox, found.id, next, len(items.ids), delta.Total, delta.Unseen, delta.Unread, receipts)
	e.store.Queue(editedWord, viewer.Key(), next)
	head.Version.Own, head.Counts = next, head.Counts.Plus(delta)
	if receipts != nil {
		head.Receipts = w.Globals
	}
	return head, nil
}

func ascending(receipts inbox.Receipts) bool {
	last := inbox.MessageID(0)
	for _, r := range receipts {
		if r.ID <= last {
			return false
		}
		last = r.ID
	}
	return true
}
