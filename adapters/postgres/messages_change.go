package postgres

import (
	"bytes"
	"context"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/inbox"
	"accord/ports"
)

// Message implements ports.MessageStore.
func (db *DB) Message(ctx context.Context, id inbox.MessageID) (ports.StoredMessage, error) {
	return db.readOne(ctx, `WHERE m.id = $1`, int64(id))
}

// MessageNamed implements ports.MessageStore.
func (db *DB) MessageNamed(ctx context.Context, source, externalID string) (ports.StoredMessage, error) {
	return db.readOne(ctx, `WHERE m.source = $1 AND m.external_id = $2`, source, externalID)
}

func (db *DB) readOne(ctx context.Context, rest string, args ...any) (stored ports.StoredMessage, err error) {
	err = db.wireRead(ctx, "read a message", func(ctx context.Context, conn *pgx.Conn) error {
		row, err := readMessage(ctx, conn, rest, args...)
		if err == nil {
			stored, err = row.stored()
		}
		return err
	})
	return stored, translate("read a message", err)
}

// Messages implements ports.MessageStore.
func (db *DB) Messages(ctx context.Context, ids []inbox.MessageID) (map[inbox.MessageID]*inbox.Message, error) {
	out := make(map[inbox.MessageID]*inbox.Message, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	err := db.wireRead(ctx, "read messages", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT `+messageColumns+` FROM messages m WHERE m.id = ANY($1::bigint[])`, messageIDs(ids))
		if err != nil {
			return err
		}
		return scanMessages(rows, func(m *inbox.Message) { out[m.ID] = m })
	})
	return out, translate("read messages", err)
}

// changing is a message whose row is locked, and the globals before it: they have their next version already when the
// message concerns all, and else they are kept from changing when the catalogue has to stay what it is.
type changing struct {
	tx        pgx.Tx
	row       messageRow
	now       time.Time
	version   int64 // of the globals
	catalogue int64
}

// concernsAll says that the message is in no inbox, or in so many that the change is told to everybody at once.
func concernsAll(row *messageRow) bool { return row.m.Audience == inbox.Global || row.many }

// lockMessage reads the message twice, because the globals have to be locked before it, and how depends on what it is.
// That never changes.
func lockMessage(ctx context.Context, tx pgx.Tx, id inbox.MessageID, withLinks bool) (*changing, error) {
	row, err := readMessage(ctx, tx, `WHERE m.id = $1`, int64(id))
	if err != nil {
		return nil, err
	}
	c := &changing{tx: tx}
	lock := ""
	switch {
	case concernsAll(&row):
		lock = `UPDATE inbox_globals SET version = version + 1 RETURNING version, catalogue`
	case withLinks:
		lock = `SELECT version, catalogue FROM inbox_globals FOR SHARE`
	}
	if lock != "" {
		if err := tx.QueryRow(ctx, lock).Scan(&c.version, &c.catalogue); err != nil {
			return nil, err
		}
	}
	if c.row, err = readMessage(ctx, tx, `WHERE m.id = $1 FOR NO KEY UPDATE`, int64(id)); err != nil {
		return nil, err
	}
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&c.now); err != nil {
		return nil, err
	}
	c.now = c.now.UTC()
	return c, nil
}

// tell logs the change for everybody, and says when time will change something next.
func (c *changing) tell(ctx context.Context, next time.Time) error {
	_, err := c.tx.Exec(ctx, `WITH g AS (UPDATE inbox_globals SET next_change = LEAST(next_change, $3) RETURNING version),
		change AS (INSERT INTO inbox_global_changes (version, kind, message_id, at) SELECT $2, 'message', $1, statement_timestamp())
		`+wordOfGlobals("g"), int64(c.row.m.ID), c.version, nextOf(next))
	return err
}

// RetractMessage implements ports.MessageStore.
func (db *DB) RetractMessage(ctx context.Context, id inbox.MessageID) (stored ports.StoredMessage, err error) {
	err = db.wireTx(ctx, "retract a message", func(ctx context.Context, tx pgx.Tx) error {
		c, err := lockMessage(ctx, tx, id, false)
		if err != nil {
			return err
		}
		if c.row.retracted.Valid {
			if stored, err = c.row.stored(); err == nil {
				err = errNothing // and the globals stay as they were
			}
			return err
		}
		if err := c.retract(ctx); err != nil {
			return err
		}
		stored, err = c.row.stored()
		return err
	})
	return stored, translate("retract a message", err)
}

func (c *changing) retract(ctx context.Context) error {
	id := int64(c.row.m.ID)
	c.row.change, c.row.retracted = c.now, timeOrNull(c.now)
	delivered := 0
	if c.row.many {
		delivered = c.row.m.Recipients - c.row.undelivered
		if err := dropBatches(ctx, c.tx, c.row.m.ID); err != nil {
			return err
		}
		c.row.undelivered = 0
	}
	_, err := c.tx.Exec(ctx, `UPDATE messages SET retracted_at = $2, updated_at = $2, leaving = $3::integer > 0, spreading = false,
		walked = 0, unwalked = $3 WHERE id = $1`, id, c.now, delivered)
	if err != nil {
		return err
	}
	if concernsAll(&c.row) {
		return c.tell(ctx, time.Time{})
	}
	_, _, err = settleNext(ctx, c.tx, c.row.m.ID, false, 0, math.MaxInt32)
	return err
}

// EditMessage implements ports.MessageStore. fn may run more than once. When it leaves all as it was, nothing is stored.
func (db *DB) EditMessage(ctx context.Context, id inbox.MessageID, fn func(inbox.Message, *inbox.Links, time.Time) (*inbox.Message, error)) (stored ports.StoredMessage, err error) {
	err = db.wireTx(ctx, "edit a message", func(ctx context.Context, tx pgx.Tx) error {
		c, err := lockMessage(ctx, tx, id, true)
		if err != nil {
			return err
		}
		before, err := c.row.message()
		if err != nil {
			return err
		}
		given, err := c.row.message() // another one: fn may do to it as it likes
		if err != nil {
			return err
		}
		// Who changes the catalogue holds the globals until the end, as we do.
		known, err := db.links.at(ctx, tx, c.catalogue)
		if err != nil {
			return err
		}
		after, err := fn(*given, known.links, c.now)
		if err != nil {
			return callerError{err}
		}
		e, err := newEdited(before, after)
		if err != nil {
			return err
		}
		if e.nothing() {
			stored = ports.StoredMessage{Message: *before, Undelivered: c.row.undelivered}
			return errNothing // and the globals stay as they were
		}
		if err := db.storeEdit(ctx, c, e); err != nil {
			return err
		}
		stored = ports.StoredMessage{Message: *after, Undelivered: c.row.undelivered}
		return nil
	})
	return stored, translate("edit a message", err)
}

// edited is what an edit makes of a message, as it is stored.
type edited struct {
	before, after *inbox.Message
	content       []byte
	shows         bool // somebody can see that it is different
}

func newEdited(before, after *inbox.Message) (edited, error) {
	asKept(after)
	was, err := encodeContent(before.Content)
	if err != nil {
		return edited{}, err
	}
	is, err := encodeContent(after.Content)
	e := edited{before: before, after: after, content: is}
	e.shows = !bytes.Equal(was, is) || before.Content.Category != after.Content.Category || e.moves() || !slices.Equal(before.Targets, after.Targets)
	return e, err
}

// moves reports whether something is different that the items have a copy of. All else readers get from the message.
func (e edited) moves() bool {
	return e.before.Content.Pinned != e.after.Content.Pinned || !e.before.Expiry.Equal(e.after.Expiry)
}

func (e edited) nothing() bool {
	return !e.shows && e.before.Campaign == e.after.Campaign && e.before.Fingerprint == e.after.Fingerprint
}

func (db *DB) storeEdit(ctx context.Context, c *changing, e edited) error {
	m := e.after
	if m.Audience == inbox.Global && m.VisibleAt(c.now) && !e.before.VisibleAt(c.now) {
		m.Added = c.version
	}
	card, format := db.card(m)
	_, err := c.tx.Exec(ctx, `UPDATE messages SET campaign = $2, content = $3::jsonb, category = $4, pinned = $5, localized = $6, targets = $7,
		expires_at = $8, fingerprint = $9, card = $10, card_format = $11, updated_at = $12, added = $13,
		spreading = spreading OR $14 AND recipients > undelivered,
		walked = CASE WHEN $14 THEN 0 ELSE walked END, unwalked = CASE WHEN $14 THEN recipients - undelivered ELSE unwalked END WHERE id = $1`,
		int64(m.ID), m.Campaign, string(e.content), m.Content.Category, m.Content.Pinned, len(m.Content.Variants) > 0,
		keysOf(m.Targets), m.Expiry, m.Fingerprint[:], card, format, m.UpdatedAt, m.Added, e.moves() && c.row.many)
	switch {
	case err != nil:
		return err
	case m.Audience == inbox.Global:
		return c.tell(ctx, m.NextChange(c.now))
	case c.row.many:
		return c.tell(ctx, time.Time{})
	case e.shows:
		_, _, err = settleNext(ctx, c.tx, m.ID, true, 0, math.MaxInt32)
	}
	return err
}
