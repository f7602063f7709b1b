package inbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"accord/domain/fault"
)

// Position is a message's place in every feed: pinned ones first, then the newest, then the greater id. Nothing else
// moves a message, so a page that starts after a position neither repeats nor skips one, whatever was published since.
type Position struct {
	Pinned    bool
	Published time.Time
	ID        MessageID
}

// Compare is negative when p comes before o.
func (p Position) Compare(o Position) int {
	if p.Pinned != o.Pinned {
		if p.Pinned {
			return -1
		}
		return 1
	}
	if c := o.Published.Compare(p.Published); c != 0 {
		return c
	}
	return cmp.Compare(o.ID, p.ID)
}

// View is which messages a feed shows.
type View string

const (
	ViewAll      View = "all" // without archived
	ViewUnseen   View = "unseen"
	ViewUnread   View = "unread"
	ViewArchived View = "archived"
)

// ParseView checks that s is one of the four; empty is ViewAll.
func ParseView(path, s string) (View, error) {
	switch v := View(cmp.Or(s, string(ViewAll))); v {
	case ViewAll, ViewUnseen, ViewUnread, ViewArchived:
		return v, nil
	}
	return "", fault.OnField(path, "unknown_state", "must be one of all, unseen, unread, archived")
}

// Shows reports whether a message with this receipt is in the view.
func (v View) Shows(r Receipt) bool {
	switch v {
	case ViewArchived:
		return r.Archived()
	case ViewUnseen:
		return !r.Archived() && r.Unseen()
	case ViewUnread:
		return !r.Archived() && r.Unread()
	case ViewAll:
	}
	return !r.Archived()
}

// Filter is what a feed is asked for. The zero Filter is everything that is not archived.
type Filter struct {
	View       View
	Categories []string // any of them; empty for all
}

// Shows reports whether the filter lets the message through.
func (f Filter) Shows(category string, r Receipt) bool {
	return f.View.Shows(r) && (len(f.Categories) == 0 || slices.Contains(f.Categories, category))
}

// digest tells one question from another: whose inbox, and which of its messages.
func (f Filter) digest(viewer Viewer) (d [8]byte) {
	categories := slices.Compact(slices.Sorted(slices.Values(f.Categories)))
	sum := sha256.Sum256([]byte(viewer.Key() + "\x00" + string(cmp.Or(f.View, ViewAll)) + "\x00" + strings.Join(categories, "\x00")))
	copy(d[:], sum[:])
	return d
}

const (
	cursorFormat = 1
	cursorLength = 1 + 8 + 1 + 8 + 8
)

// Cursor is where the next page starts: after this position, for this viewer and filter alone. It holds nothing secret.
func Cursor(viewer Viewer, f Filter, after Position) string {
	digest := f.digest(viewer)
	b := make([]byte, 0, cursorLength)
	b = append(b, cursorFormat)
	b = append(b, digest[:]...)
	pinned := byte(0)
	if after.Pinned {
		pinned = 1
	}
	b = append(b, pinned)
	b = binary.BigEndian.AppendUint64(b, uint64(after.Published.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(after.ID)) //nolint:gosec // as above
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor takes back what Cursor made for the same viewer and filter. Errors: fault.Invalid on the field cursor.
func ParseCursor(viewer Viewer, f Filter, s string) (Position, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	// The decoder passes over line breaks, and over bits that belong to no byte.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s || len(b) != cursorLength || b[0] != cursorFormat || b[9] > 1 {
		return Position{}, fault.OnField("cursor", "invalid_cursor", "must be the next_cursor of an answer")
	}
	if digest := f.digest(viewer); string(b[1:9]) != string(digest[:]) {
		return Position{}, fault.OnField("cursor", "foreign_cursor", "belongs to another inbox or another filter; start without it")
	}
	return Position{
		Pinned:    b[9] == 1,
		Published: time.UnixMicro(int64(binary.BigEndian.Uint64(b[10:]))).UTC(), //nolint:gosec // see Cursor
		ID:        MessageID(binary.BigEndian.Uint64(b[18:])),                   //nolint:gosec // see Cursor
	}, nil
}
