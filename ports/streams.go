package ports

import (
	"context"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// Kinds of words that connected clients are told. Each is a hint to look again, never the content itself: a client that
// was told twice, or told what it knows, has lost nothing. A StreamEvent of a kind has the same data but for the inbox's:
// {"own": version} of its one viewer, {"global": version} for everybody, {} for several viewers or when the version is not
// known. Whatever an event leaves out is looked up.
const (
	InboxChanged       = "inbox.changed"       // {"version": inbox.Version}
	PreferencesChanged = "preferences.changed" // {"version": the ETag of the preferences}
	OperationUpdated   = "operation.updated"   // {"operation": id, "status": preference.Status}
)

// Streams hands connected clients word of what has changed for them. Safe for concurrent use.
type Streams interface {
	// Open starts a stream for a viewer; after lastID nothing is lost: what differs from then is told first. Without one
	// (empty) the client is told first where everything stands, so that it may read before it opens, or after.
	// It asks nobody: a stream opens while the database is down, and tells once it is back. Errors: fault.Unavailable
	// while draining or when there are too many streams; fault.Invalid for a lastID that no stream has given.
	Open(viewer inbox.Viewer, lastID string) (Stream, error)
}

// Stream is one connection, for one goroutine. Close it when done; a second Close does nothing.
type Stream interface {
	// Next waits for something to tell. No words, and ok, is a sign of life: there has been nothing for a while, and
	// whoever is between here and the client must not take the connection for dead. Of several events of one kind (and
	// operation) the last is told. ok is false when the stream is over, by our decision or because ctx has ended.
	Next(ctx context.Context) (words []Word, ok bool)

	// Retry is how long the client should wait before it opens its next stream, as things are now: longer when
	// another one was opened in this one's place, and for each stream a little different.
	Retry() time.Duration

	// Slow closes the stream because the client has not taken what Next gave.
	Slow()

	Close()
}

// Word is one event for one client. ID resumes a stream after it, here, in another process or after a restart.
type Word struct {
	ID   string
	Kind string // InboxChanged, PreferencesChanged, OperationUpdated
	Data []byte // JSON object on one line
}

// Standings reads where viewers stand, for telling their streams. Errors: fault.Unavailable.
type Standings interface {
	// Standings reads all of them at one moment, in one round trip: one answer for each viewer asked about, in their
	// order. A viewer whom nothing has happened to stands at the beginning. Nothing is changed.
	Standings(ctx context.Context, asked []StandingQuery) (GlobalStanding, []Standing, error)
}

// StandingQuery asks where a viewer stands, and for a customer's operations that are open, or were settled after a time
// (none of them when it is zero).
type StandingQuery struct {
	Viewer     inbox.Viewer
	Operations time.Time
}

// GlobalStanding is what is the same for everybody. Due says that time has changed something (a message has expired,
// say) and nobody has made it so yet; the version does not tell of it. NextChange is when time does so next, on the
// clock that Now was read from, which need not be the caller's; zero for never, and passed when Due.
type GlobalStanding struct {
	Version    int64
	Due        bool
	NextChange time.Time
	Now        time.Time
}

// Standing is one viewer's. Due and NextChange are as in GlobalStanding.
type Standing struct {
	Own        int64 // version of the inbox
	Due        bool
	NextChange time.Time
	Tag        string // of a customer's preferences; see PreferenceView
	Operations []OperationStanding
}

// MaxStandingOperations is how many operations a Standing has at most: those accepted last.
const MaxStandingOperations = 50

// OperationStanding is how far an operation is.
type OperationStanding struct {
	ID     string
	Status preference.Status
}
