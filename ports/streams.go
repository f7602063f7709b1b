package ports

import (
	"context"

	"accord/domain/inbox"
)

// Streams hands connected clients word of what has changed for them.
type Streams interface {
	// Open starts a stream for a viewer; after lastID (empty for none) nothing is lost: what has changed since is told
	// first. Errors: fault.Unavailable while draining or when there are too many streams; fault.Invalid for a lastID
	// that no stream has given.
	Open(ctx context.Context, viewer inbox.Viewer, lastID string) (Stream, error)
}

// Stream is one connection. Close it when done; a second Close does nothing.
type Stream interface {
	// Next waits for something to tell, up to ctx's end. ok is false when the stream was ended from our side: the client
	// was too slow, or the process drains. Several events of one kind may have become one.
	Next(ctx context.Context) (e Word, ok bool)
	Close()
}

// Word is one event for one client. ID resumes a stream after it.
type Word struct {
	ID   string
	Kind string // inbox.changed, preferences.changed, operation.updated
	Data []byte // JSON object on one line
}
