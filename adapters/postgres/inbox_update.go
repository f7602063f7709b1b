package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

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
		return e.decide(found, fn)
	})
	return head, translate("update inbox", err)
}

// TakeReceipts implements ports.Inboxes. Both inboxes are locked, in the order in which everybody locks several.
func (db *DB) TakeReceipts(ctx context.Context, from, to inbox.Viewer, fn func(inbox.Receipts, ports.InboxEdit) (ports.InboxWrite, error)) (ports.InboxHead, error) {
	viewers := []inbox.Viewer{from, to}
	slices.SortFunc(viewers, func(a, b inbox.Viewer) int { return strings.Compare(a.Key(), b.Key()) })
	head, err := db.editInbox(ctx, to, func(ctx context.Context, e *inboxEditing) (ports.InboxHead, error) {
		found := map[inbox.Viewer]*inboxRows{}
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
		return e.decide(found[to], func(edit ports.InboxEdit) (ports.InboxWrite, error) { return fn(taken.head.Receipts, edit) })
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

// makeInbox lets whoever comes second wait for the first to commit.
const makeInbox = `INSERT INTO inboxes (viewer) VALUES ($1) ON CONFLICT (viewer) DO NOTHING`

// lock locks an inbox, makes so what time has changed in it, and reads it with the statement. One that is not there is
// made when needed, and otherwise read as empty.
func (e *inboxEditing) lock(ctx context.Context, viewer inbox.Viewer, needed bool, statement string, about any) (*inboxRows, error) {
	var b pgx.Batch
	if !e.begun {
		b.Queue(beginEach)
	}
	b.Queue(lockInbox, viewer.Key())
	found, locked, err := e.read(ctx, &b, statement, viewer, about)
	e.begun = true
	// Somebody else may have made it just after we found that it is not there to be locked.
	if err == nil && locked == 0 && (needed || found.id != 0) {
		var b pgx.Batch
		b.Queue(makeInbox, viewer.Key())
		b.Queue(lockInbox, viewer.Key())
		if found, locked, err = e.read(ctx, &b, statement, viewer, about); err == nil && locked == 0 {
			return nil, errors.New("the inbox was neither made nor found")
		}
	}
	for n := 0; err == nil && found.due && n < rollsPerRead; n++ {
		e.dirty = true
		var b pgx.Batch
		b.Queue(rollStatement, viewer.Key())
		found, _, err = e.read(ctx, &b, statement, viewer, about)
	}
	return found, err
}

// read runs what is in the batch and then the statement, in one round trip. touched is how many rows the last of what is
// in the batch gave.
func (e *inboxEditing) read(ctx context.Context, b *pgx.Batch, statement string, viewer inbox.Viewer, about any) (found *inboxRows, touched int64, err error) {
	first := b.Len()
	b.Queue(statement, viewer.Key(), about)
	results := e.conn.SendBatch(ctx, b)
	defer func() { _ = results.Close() }() // closed below, unless something has failed before
	for range first {
		tag, err := results.Exec()
		if err != nil {
			return nil, 0, err
		}
		touched = tag.RowsAffected()
	}
	rows, err := results.Query()
	if err != nil {
		return nil, 0, err
	}
	found = &inboxRows{}
	if err := eachRow(rows, found.row); err != nil {
		return nil, 0, err
	}
	return found, touched, results.Close()
}

// decide lets fn decide and queues what is different. The head is the one that holds once that is stored.
func (e *inboxEditing) decide(found *inboxRows, fn func(ports.InboxEdit) (ports.InboxWrite, error)) (ports.InboxHead, error) {
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
	facts := factArgs(w.Facts)
	if len(items.ids) == 0 && receipts == nil {
		if len(w.Facts) > 0 {
			e.store.Queue(factsStatement, facts...)
		}
		return head, nil
	}
	args := append([]any{found.id, next, delta.Total, delta.Unseen, delta.Unread, receipts}, items.args()...)
	e.store.Queue(editedStatement, append(args, facts...)...)
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
