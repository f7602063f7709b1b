package postgres

import (
	"cmp"
	"strconv"
	"strings"
	"sync"

	"accord/domain/inbox"
	"accord/ports"
)

// One statement sees one moment, so the state of an inbox and its items come from one: a row for the state, then a row
// for each item, in columns that both make use of. What a column is for:
//
//	column        state of the inbox            item
//	 1 bigint     global version                message
//	 2 boolean    globals are due               pinned
//	 3 boolean    inbox is due                  localized
//	 4 timestamp  the database's clock          published
//	 5 timestamp  own feed was pulled           expires
//	 6 timestamp  campaigns were pulled         seen
//	 7 timestamp                                read
//	 8 timestamp                                clicked
//	 9 timestamp                                archived
//	10 timestamp                                unread
//	11 timestamp                                unarchived
//	12 text[]                                   targets
//	13 text                                     card
//	14 bytea      receipts for global messages
//	15 bigint[]   id, version, floor, counts
//	16 bigint                                   version of the last change, in changes
//	17 boolean                                  gone; in changes alone
//
// The clock is asked after the statement has its snapshot, unlike now(): nothing that it sees began later.

// stateColumns are of the row for the state. An inbox that nothing has happened to has no row of its own.
const stateColumns = `g.version, g.next_change <= t.at, coalesce(me.next_change <= t.at, false), t.at, me.pulled_at, f.pulled_at,
	NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::text[], NULL::text,
	me.receipts, ARRAY[coalesce(me.id, 0), coalesce(me.version, 0), coalesce(me.floor, 0),
	  coalesce(me.total, 0) - l.total, coalesce(me.unseen, 0) - l.unseen, coalesce(me.unread, 0) - l.unread]::bigint[], NULL::bigint`

const stateFrom = ` FROM inbox_globals g CROSS JOIN (SELECT clock_timestamp() AS at) t
	LEFT JOIN me ON true LEFT JOIN upstream_feeds f ON f.name = '` + ports.CampaignsName + `' CROSS JOIN `

const (
	withMe = `WITH me AS (SELECT id, version, floor, total, unseen, unread, next_change, receipts, pulled_at FROM inboxes WHERE viewer = $1)`

	// What is being taken out of the inboxes shows nowhere, so it does not count either.
	noneLeaving  = `(SELECT 0 AS total, 0 AS unseen, 0 AS unread) l`
	countLeaving = `(SELECT count(*) AS total, count(*) FILTER (WHERE seen_at IS NULL) AS unseen, count(*) FILTER (WHERE read_at IS NULL) AS unread
	  FROM inbox_items WHERE inbox_id = (SELECT id FROM me) AND state = 1 AND archived_at IS NULL AND message_id = ANY(`
	// storedLeaving is the list itself, read once by a statement that is not told it.
	storedLeaving = `ARRAY(SELECT id FROM messages WHERE leaving)`
)

const itemReceipt = `i.seen_at, i.read_at, i.clicked_at, i.archived_at, i.unread_at, i.unarchived_at`

// pageShape is what makes two page statements different. Each has its text, so that the server keeps one plan for each,
// and none has conditions that are only there at times.
type pageShape struct {
	page                       bool
	view                       inbox.View
	after, categories, leaving bool
	most                       int // literal bound, see statement
}

var pageStatements sync.Map // pageShape to string

// pageStatement gives the statement for q and its arguments.
func pageStatement(q ports.InboxQuery) (string, []any) {
	shape := pageShape{leaving: len(q.Leaving) > 0}
	args := make([]any, 0, 8)
	args = append(args, q.Viewer.Key())
	if shape.leaving {
		args = append(args, messageIDs(q.Leaving))
	}
	if p := q.Page; p != nil {
		shape.page, shape.view, shape.after, shape.categories = true, cmp.Or(p.Filter.View, inbox.ViewAll), p.After != nil, len(p.Filter.Categories) > 0
		switch {
		case p.Limit <= 32:
			shape.most = 32
		case p.Limit <= 128:
			shape.most = 128
		}
		args = append(args, p.Format, p.Limit)
		if shape.after {
			args = append(args, p.After.Pinned, p.After.Published, int64(p.After.ID))
		}
		if shape.categories {
			args = append(args, p.Filter.Categories)
		}
	}
	text, ok := pageStatements.Load(shape)
	if !ok {
		text, _ = pageStatements.LoadOrStore(shape, shape.statement())
	}
	return text.(string), args
}

func messageIDs(ids []inbox.MessageID) []int64 {
	out := make([]int64, len(ids))
	for i, id := range ids {
		out[i] = int64(id)
	}
	return out
}

// statement writes the text. Arguments are numbered as pageStatement appends them.
func (s pageShape) statement() string {
	n := 1
	arg := func() string { n++; return "$" + strconv.Itoa(n) }
	var b strings.Builder
	b.WriteString(withMe + ` SELECT ` + stateColumns + stateFrom)
	leaving := ""
	if s.leaving {
		leaving = arg()
		b.WriteString(countLeaving + leaving + `::bigint[])) l`)
	} else {
		b.WriteString(noneLeaving)
	}
	if !s.page {
		return b.String()
	}
	format, limit := arg(), arg()
	b.WriteString(` UNION ALL (SELECT * FROM (
		SELECT i.message_id, i.pinned, m.localized IS TRUE, i.published_at, i.expires_at, ` + itemReceipt + `, coalesce(i.targets, m.targets),
		  CASE WHEN coalesce(i.card_format, m.card_format) = ` + format + `::smallint THEN coalesce(i.card, m.card) END, NULL::bytea, NULL::bigint[], NULL::bigint
		FROM inbox_items i ` + s.joinMessages() + `
		WHERE i.inbox_id = (SELECT id FROM me) AND i.state = 1 AND ` + viewCondition(s.view))
	if s.after {
		b.WriteString(` AND (i.pinned, i.published_at, i.message_id) < (` + arg() + `::boolean, ` + arg() + `::timestamptz, ` + arg() + `::bigint)`)
	}
	if s.categories {
		b.WriteString(` AND m.category = ANY(` + arg() + `::text[])`)
	}
	if s.leaving {
		b.WriteString(` AND i.message_id <> ALL(` + leaving + `::bigint[])`)
	}
	b.WriteString(` ORDER BY i.pinned DESC, i.published_at DESC, i.message_id DESC`)
	switch s.most {
	// Of a limit that is an argument the planner knows nothing, and takes it for a tenth of the inbox. The literal one
	// tells it to look for the plan that gives the first rows soonest; the argument stops it where it should.
	case 32:
		b.WriteString(` LIMIT 32`)
	case 128:
		b.WriteString(` LIMIT 128`)
	}
	b.WriteString(`) page LIMIT ` + limit + `::bigint)`)
	return b.String()
}

// joinMessages looks at a message only when its item does not have what is needed: looking for a null in the index costs
// next to nothing, where finding a message costs as much as the item did. The category is known to the message alone.
func (s pageShape) joinMessages() string {
	if s.categories {
		return `JOIN messages m ON m.id = i.message_id`
	}
	return `LEFT JOIN messages m ON m.id = CASE WHEN i.card IS NULL THEN i.message_id END`
}

// viewCondition is inbox.View.Shows.
func viewCondition(v inbox.View) string {
	switch v {
	case inbox.ViewArchived:
		return `i.archived_at IS NOT NULL`
	case inbox.ViewUnseen:
		return `i.archived_at IS NULL AND i.seen_at IS NULL`
	case inbox.ViewUnread:
		return `i.archived_at IS NULL AND i.read_at IS NULL`
	case inbox.ViewAll:
	}
	return `i.archived_at IS NULL`
}

// changesStatement gives what of an inbox has changed after a version, the oldest change first; those that changed together
// stay together. Its rows have one more column: whether the item is gone. Arguments: viewer, format, since, limit.
const changesStatement = changesState + changedItems

// concernedStatement gives besides, and before, what has not changed after the version but is about a message or a link
// target that has. Two more arguments: messages, targets.
const concernedStatement = changesState + ` UNION ALL (` + changedItem + `
	  WHERE i.inbox_id = (SELECT id FROM me) AND i.state = 1 AND i.changed <= $3::bigint
	    AND (i.message_id = ANY($5::bigint[]) OR m.targets && $6::text[]))` + changedItems

const (
	changesState = withMe + ` SELECT ` + stateColumns + `, NULL::boolean` + stateFrom + countLeaving + storedLeaving + `)) l`
	changedItems = ` UNION ALL (` + changedItem + `
	  WHERE i.inbox_id = (SELECT id FROM me) AND i.state > 0 AND i.changed > $3::bigint
	  ORDER BY i.changed FETCH FIRST ($4::bigint) ROWS WITH TIES)`
	changedItem = `SELECT i.message_id, i.pinned, m.localized, i.published_at, i.expires_at, ` + itemReceipt + `, m.targets,
	  CASE WHEN coalesce(i.card_format, m.card_format) = $2::smallint THEN coalesce(i.card, m.card) END, NULL::bytea, NULL::bigint[], i.changed,
	  i.state = 2 OR m.id IS NULL OR m.retracted_at IS NOT NULL
	FROM inbox_items i LEFT JOIN messages m ON m.id = i.message_id`
)

// lockState locks an inbox for an edit, and gives its row as it is then. It stays so until the end of the transaction.
const lockState = `SELECT receipts, pulled_at, CASE WHEN next_change < 'infinity' THEN next_change END, id, version, floor,
	total::bigint, unseen::bigint, unread::bigint FROM inboxes WHERE viewer = $1 FOR NO KEY UPDATE`

// editStatement gives what else an edit needs, of one moment: in each row the state of the globals, and one of the inbox's
// items that show, or nulls. With someItems they are the ones that are named, with allItems those that were there at a
// version; and those that are being taken out of the inboxes, which the row says: they are not to be shown nor counted.
const (
	editStatement = `SELECT g.version, clock_timestamp(), (SELECT pulled_at FROM upstream_feeds WHERE name = '` + ports.CampaignsName + `'),
	  i.message_id = ANY(` + storedLeaving + `), i.message_id, i.pinned, i.published_at, i.expires_at, ` + itemReceipt + `
	FROM inbox_globals g LEFT JOIN inbox_items i ON i.inbox_id = (SELECT id FROM inboxes WHERE viewer = $1) AND i.state = 1 AND `
	someItems = `i.message_id = ANY($2::bigint[] || ` + storedLeaving + `)`
	allItems  = `(i.added <= $2::bigint OR i.message_id = ANY(` + storedLeaving + `))`
)
