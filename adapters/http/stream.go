package httpapi

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"accord/ports"
)

// takeWithin is how long a client may take for what it is sent before it is given up. What the kernel keeps for it is
// taken: only a client that has not read for long, or is not there any more, comes so far.
const takeWithin = 10 * time.Second

// StreamInbox sends Server-Sent Events until either side ends it, or the token is no longer good. Thousands of these are
// open at once, so nothing is kept for one of them but what net/http and Next keep.
func (s *server) StreamInbox(g *gin.Context, params StreamInboxParams) {
	x, last := exchangeOf(g), ""
	if params.LastEventID != nil {
		last = *params.LastEventID
	}
	stream, err := s.streams.Open(x.viewer(), last)
	if err != nil {
		s.fail(g, err)
		return
	}
	defer stream.Close()
	w := newEventWriter(g)
	if err := w.begin(stream.Retry()); err != nil {
		giveUp(stream, err)
		return
	}
	if headOnly(g.Request) {
		return
	}
	for {
		words, ok := stream.Next(g.Request.Context())
		switch {
		case g.Request.Context().Err() != nil:
			return
		case !ok:
			_ = w.hint(stream.Retry()) // it is over; who does not get this uses the first one
			return
		case x.expired(time.Now()):
			_ = w.comment("the token has expired")
			return
		}
		if err := w.send(words); err != nil {
			giveUp(stream, err)
			return
		}
	}
}

// giveUp tells a client that is slow from one that has gone.
func giveUp(stream ports.Stream, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		stream.Slow()
	}
}

// expired reports that the caller's token is no longer good.
func (x *exchange) expired(now time.Time) bool {
	return !x.principal.Expires.IsZero() && now.After(x.principal.Expires)
}

// eventWriter writes an event stream. Each call is one write and one flush.
type eventWriter struct {
	g    *gin.Context
	conn *http.ResponseController
}

func newEventWriter(g *gin.Context) eventWriter {
	// Gin's own writer says nothing of a flush that fails, the one below it does.
	var below http.ResponseWriter = g.Writer
	if u, ok := below.(interface{ Unwrap() http.ResponseWriter }); ok {
		below = u.Unwrap()
	}
	return eventWriter{g: g, conn: http.NewResponseController(below)}
}

// begin sends the headers, so that the client knows it is connected, and frees the connection of the server's time-outs:
// they bound a whole answer, and this one has no end.
func (w eventWriter) begin(retry time.Duration) error {
	if err := w.conn.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	h := w.g.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w.g.Status(http.StatusOK)
	return w.hint(retry)
}

// hint tells the client how long to wait before it connects again.
func (w eventWriter) hint(retry time.Duration) error {
	return w.write(func(b []byte) []byte {
		b = append(b, "retry: "...)
		b = strconv.AppendInt(b, retry.Milliseconds(), 10)
		return append(b, "\n\n"...)
	})
}

// comment is skipped by clients.
func (w eventWriter) comment(text string) error {
	return w.write(func(b []byte) []byte { return append(append(append(b, ": "...), text...), "\n\n"...) })
}

// send writes events; none are a sign of life.
func (w eventWriter) send(words []ports.Word) error {
	if len(words) == 0 {
		return w.write(func(b []byte) []byte { return append(b, ":\n\n"...) })
	}
	return w.write(func(b []byte) []byte {
		for _, word := range words {
			b = append(append(b, "id: "...), word.ID...)
			b = append(append(b, "\nevent: "...), word.Kind...)
			b = append(append(b, "\ndata: "...), word.Data...)
			b = append(b, "\n\n"...)
		}
		return b
	})
}

// eventBuffers are shared: a stream has something to write for a moment in minutes.
var eventBuffers = sync.Pool{New: func() any { return new([1024]byte) }}

func (w eventWriter) write(fill func([]byte) []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(takeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	room := eventBuffers.Get().(*[1024]byte)
	defer eventBuffers.Put(room)
	if _, err := w.g.Writer.Write(fill(room[:0])); err != nil {
		return err
	}
	return w.conn.Flush()
}
