package inbox

import (
	"slices"
	"time"
)

// Globals is what is the same for every inbox at one version: the global messages that show, the link catalogue, and the
// messages to many that were retracted but whose copies are still being taken out of the inboxes one after the other. It
// is not changed once built.
type Globals struct {
	Version  int64
	Floor    int64 // the oldest version whose changes are still known
	Links    *Links
	Messages []*Message // those that show, in the order of a feed
	// Leaving are messages to many that show nowhere any more.
	Leaving []MessageID
	// NextChange is when time alone changes something next, zero for never.
	NextChange time.Time

	byID map[MessageID]*Message
}

// NewGlobals orders the messages. They must all be visible.
func NewGlobals(version, floor int64, links *Links, messages []*Message, leaving []MessageID, next time.Time) *Globals {
	g := &Globals{Version: version, Floor: floor, Links: links, Messages: slices.Clone(messages), Leaving: leaving, NextChange: next,
		byID: make(map[MessageID]*Message, len(messages))}
	slices.SortFunc(g.Messages, func(a, b *Message) int { return a.Position().Compare(b.Position()) })
	for _, m := range g.Messages {
		g.byID[m.ID] = m
	}
	return g
}

// Message finds a global message that shows.
func (g *Globals) Message(id MessageID) (*Message, bool) {
	m, ok := g.byID[id]
	return m, ok
}

// After lists at most n of the messages that come after the position (nil for the start) and that the filter shows to
// somebody with these receipts, in the order of a feed.
func (g *Globals) After(after *Position, f Filter, receipts Receipts, n int) []*Message {
	i := 0
	if after != nil {
		i, _ = slices.BinarySearchFunc(g.Messages, *after, func(m *Message, p Position) int { return m.Position().Compare(p) })
		for i < len(g.Messages) && g.Messages[i].Position().Compare(*after) <= 0 {
			i++
		}
	}
	out := make([]*Message, 0, min(n, len(g.Messages)-i))
	for ; i < len(g.Messages) && len(out) < n; i++ {
		if m := g.Messages[i]; f.Shows(m.Content.Category, receipts.Of(m.ID)) {
			out = append(out, m)
		}
	}
	return out
}

// Counts of the global messages for somebody with these receipts.
func (g *Globals) Counts(receipts Receipts) Counts {
	c := Counts{Total: len(g.Messages), Unseen: len(g.Messages), Unread: len(g.Messages)}
	for _, r := range receipts {
		if _, shows := g.byID[r.ID]; shows {
			c = c.Add(Receipt{}, -1).Add(r.Receipt, 1)
		}
	}
	return c
}

// GlobalReceipt is what a viewer did with a global message, and the viewer's own version of when that changed last.
type GlobalReceipt struct {
	ID MessageID
	Receipt
	Changed int64
}

// Receipts are a viewer's receipts for global messages, by id: global messages are not copied, so this is all that a
// viewer has of them.
type Receipts []GlobalReceipt

func (rs Receipts) search(id MessageID) (int, bool) {
	return slices.BinarySearchFunc(rs, id, func(r GlobalReceipt, id MessageID) int {
		switch {
		case r.ID < id:
			return -1
		case r.ID > id:
			return 1
		}
		return 0
	})
}

// Of is the receipt for a message, zero when nothing has happened.
func (rs Receipts) Of(id MessageID) Receipt {
	if i, ok := rs.search(id); ok {
		return rs[i].Receipt
	}
	return Receipt{}
}

// With is the list with this receipt in it.
func (rs Receipts) With(r GlobalReceipt) Receipts {
	i, ok := rs.search(r.ID)
	out := slices.Clone(rs)
	if ok {
		out[i] = r
		return out
	}
	return slices.Insert(out, i, r)
}

// Keep leaves out the receipts of messages that nobody will ask for again.
func (rs Receipts) Keep(known func(MessageID) bool) Receipts {
	return slices.DeleteFunc(slices.Clone(rs), func(r GlobalReceipt) bool { return !known(r.ID) })
}

// Merge takes over what an installation did: the furthest state of each wins. changed lists the messages that are
// different now; their Changed is the given version. Merging the same again changes nothing.
func (rs Receipts) Merge(from Receipts, version int64) (out Receipts, changed []MessageID) {
	out = rs
	for _, theirs := range from {
		mine := out.Of(theirs.ID)
		if merged := mine.Merge(theirs.Receipt); merged != mine {
			out = out.With(GlobalReceipt{ID: theirs.ID, Receipt: merged, Changed: version})
			changed = append(changed, theirs.ID)
		}
	}
	return out, changed
}
