package inbox

import (
	"time"

	"accord/domain/fault"
)

// State is what a viewer says about a message.
type State string

const (
	Seen       State = "seen"       // it was on the screen, in the list
	Read       State = "read"       // it was opened; implies seen
	Clicked    State = "clicked"    // its link or a button was followed; implies read
	Archived   State = "archived"   // put away: no longer in the default view, no longer counted
	Unread     State = "unread"     // takes Read back
	Unarchived State = "unarchived" // takes Archived back
)

// ParseState checks that s is one of the six.
func ParseState(path, s string) (State, error) {
	switch st := State(s); st {
	case Seen, Read, Clicked, Archived, Unread, Unarchived:
		return st, nil
	}
	return "", fault.OnField(path, "unknown_state", "must be one of seen, read, clicked, archived, unread, unarchived")
}

// Receipt is what one viewer did with one message, with the time of each. Times that are zero have not happened. States
// only move forward, but for the two that take something back; those leave their own time behind, so that an older word
// that arrives late does not win over a newer one.
type Receipt struct {
	SeenAt, ReadAt, ClickedAt, ArchivedAt time.Time
	UnreadAt, UnarchivedAt                time.Time
}

// IsZero reports that nothing has happened.
func (r Receipt) IsZero() bool { return r == Receipt{} }

// Unseen, and Unread, and Archived as the counts and filters take them.
func (r Receipt) Unseen() bool   { return r.SeenAt.IsZero() }
func (r Receipt) Unread() bool   { return r.ReadAt.IsZero() }
func (r Receipt) Archived() bool { return !r.ArchivedAt.IsZero() }

// Apply is the receipt after the viewer said s at the given time. What happened first keeps its time. Repeating it changes
// nothing, and an undo is taken only by what it is not older than.
func (r Receipt) Apply(s State, at time.Time) Receipt {
	switch s {
	case Seen:
		r.SeenAt = earliest(r.SeenAt, at)
	case Read:
		r.SeenAt = earliest(r.SeenAt, at)
		if at.After(r.UnreadAt) {
			r.ReadAt = earliest(r.ReadAt, at)
		}
	case Clicked:
		r = r.Apply(Read, at)
		r.ClickedAt = earliest(r.ClickedAt, at)
	case Archived:
		if at.After(r.UnarchivedAt) {
			r.ArchivedAt = earliest(r.ArchivedAt, at)
		}
	case Unread:
		if !r.ReadAt.IsZero() && !at.Before(r.ReadAt) {
			r.ReadAt, r.UnreadAt = time.Time{}, at
		}
	case Unarchived:
		if !r.ArchivedAt.IsZero() && !at.Before(r.ArchivedAt) {
			r.ArchivedAt, r.UnarchivedAt = time.Time{}, at
		}
	}
	return r
}

// Merge is what both say together: the furthest state wins, and the earlier time of each. Merging the same again changes
// nothing.
func (r Receipt) Merge(o Receipt) Receipt {
	r.SeenAt, r.ReadAt = earliest(r.SeenAt, o.SeenAt), earliest(r.ReadAt, o.ReadAt)
	r.ClickedAt, r.ArchivedAt = earliest(r.ClickedAt, o.ClickedAt), earliest(r.ArchivedAt, o.ArchivedAt)
	r.UnreadAt, r.UnarchivedAt = latest(r.UnreadAt, o.UnreadAt), latest(r.UnarchivedAt, o.UnarchivedAt)
	if !r.ReadAt.IsZero() { // what one of them has taken back the other has not
		r.UnreadAt = time.Time{}
	}
	if !r.ArchivedAt.IsZero() {
		r.UnarchivedAt = time.Time{}
	}
	return r
}

// earliest of two times, of which one that is zero has not happened.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// When is the moment that counts for what a viewer says happened at a time: not before the message was there, and not in
// the future, whatever the clock of the device says. A zero time means now.
func When(at, published, now time.Time) time.Time {
	if at.IsZero() || at.After(now) {
		return now
	}
	return latest(at.Truncate(time.Microsecond), published)
}

// Counts of the messages in an inbox that are not archived.
type Counts struct {
	Total, Unseen, Unread int
}

// Add counts one message with this receipt n times (1, or -1 to take it back).
func (c Counts) Add(r Receipt, n int) Counts {
	if r.Archived() {
		return c
	}
	c.Total += n
	if r.Unseen() {
		c.Unseen += n
	}
	if r.Unread() {
		c.Unread += n
	}
	return c
}

// Plus is both together.
func (c Counts) Plus(o Counts) Counts {
	return Counts{Total: c.Total + o.Total, Unseen: c.Unseen + o.Unseen, Unread: c.Unread + o.Unread}
}
