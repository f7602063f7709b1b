package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// RecordEvents takes what a client tells about its viewer. Events that break a rule are answered beside the others.
func (s *server) RecordEvents(g *gin.Context, _ RecordEventsParams) {
	viewer, ok := s.mustKnow(g)
	if !ok {
		return
	}
	var body ClientEvents
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	events, err := readEvents(body.Events)
	if err != nil {
		s.fail(g, err)
		return
	}
	results, err := s.engagement.RecordEvents(g.Request.Context(), viewer, events)
	if err != nil {
		s.fail(g, err)
		return
	}
	out := RecordedEvents{Results: make([]RecordedEvent, len(results))}
	for i, r := range results {
		out.Results[i] = RecordedEvent{Id: r.ID, Status: string(r.Status)}
		if r.Why != nil {
			out.Results[i].Error = &FieldError{Field: eventPath(i, r.Why.Path), Code: r.Why.Code, Message: r.Why.Message}
		}
	}
	answerJSON(g, http.StatusOK, out)
}

func eventPath(i int, member string) string { return fmt.Sprintf("events.%d.%s", i, member) }

// noMessage is the id of a message that was named by what is no name of any.
const noMessage inbox.MessageID = -1

func readEvents(in []ClientEvent) ([]ports.ClientEvent, error) {
	out := make([]ports.ClientEvent, len(in))
	var bad []fault.Field
	for i, e := range in {
		at, err := time.Parse(time.RFC3339, e.At)
		if err != nil {
			bad = append(bad, fault.Field{Path: eventPath(i, "at"), Code: "bad_format", Message: "must be an RFC 3339 time such as 2026-05-04T10:00:00Z"})
		}
		out[i] = ports.ClientEvent{ID: e.Id, Type: engagement.Kind(e.Type), At: at}
		if e.MessageId == nil {
			continue
		}
		if out[i].Message, err = inbox.ParseMessageID(*e.MessageId); err != nil {
			out[i].Message = noMessage
		}
	}
	if len(bad) > 0 {
		return nil, fault.OnFields(bad...)
	}
	return out, nil
}
