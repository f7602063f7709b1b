package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// RecordEvents takes what a client tells about its viewer. An event that breaks a rule is answered beside the others: a
// client that kept many while it was offline sends them again until they are answered, so one that can't be taken must not
// keep the rest from being.
func (s *server) RecordEvents(g *gin.Context, _ RecordEventsParams) {
	viewer, ok := s.mustKnow(g)
	if !ok {
		return
	}
	r := exchangeOf(g).route
	told, err := readEvents(g.Writer, g.Request, r)
	if err != nil {
		s.failBody(g, r, err)
		return
	}
	out := RecordedEvents{Results: make([]RecordedEvent, len(told))}
	var sound []ports.ClientEvent
	var at []int
	for i, t := range told {
		if t.why != nil {
			out.Results[i] = recorded(i, ports.EventResult{ID: t.event.ID, Status: ports.EventRefused, Why: t.why})
			continue
		}
		sound, at = append(sound, t.event), append(at, i)
	}
	if len(sound) > 0 {
		results, err := s.engagement.RecordEvents(g.Request.Context(), viewer, sound)
		if err != nil {
			s.fail(g, err)
			return
		}
		for n, i := range at {
			out.Results[i] = recorded(i, results[n])
		}
	}
	answerJSON(g, http.StatusOK, out)
}

func recorded(i int, r ports.EventResult) RecordedEvent {
	out := RecordedEvent{Id: r.ID, Status: string(r.Status)}
	if r.Why != nil {
		out.Error = &FieldError{Field: fmt.Sprintf("events.%d.%s", i, r.Why.Path), Code: r.Why.Code, Message: r.Why.Message}
	}
	return out
}

// noMessage is the id of a message that was named by what is no name of any.
const noMessage inbox.MessageID = -1

// toldEvent is one as it came, or the rule that it breaks; then the event has no more than its id, if that is one.
type toldEvent struct {
	event ports.ClientEvent
	why   *fault.Field
}

// readEvents reads a batch. Its error is for a batch that is none; see toldEvent for the events.
func readEvents(w http.ResponseWriter, r *http.Request, route *route) ([]toldEvent, error) {
	schema, tree, err := readTree(w, r, route)
	if err != nil {
		return nil, err
	}
	batch, each := eventSchemas(schema)
	if err := checkSchema(batch, tree); err != nil {
		return nil, err
	}
	list, _ := tree.(map[string]any)["events"].([]any) // it keeps the schema
	out := make([]toldEvent, len(list))
	for i, one := range list {
		if out[i], err = readEvent(each, one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// eventSchemas takes the contract's schema apart: that of a batch of any objects, and that of each of them.
func eventSchemas(body *openapi3.Schema) (batch, each *openapi3.Schema) {
	outer, list := *body, *body.Properties["events"].Value
	each, list.Items = list.Items.Value, openapi3.NewSchemaRef("", openapi3.NewObjectSchema())
	outer.Properties = openapi3.Schemas{"events": openapi3.NewSchemaRef("", &list)}
	return &outer, each
}

func readEvent(schema *openapi3.Schema, tree any) (toldEvent, error) {
	var e ClientEvent
	_, err := fit(schema, tree, &e)
	if f, broken := fault.As(err); broken {
		id, _ := tree.(map[string]any)["id"].(string)
		first := slices.MinFunc(f.Fields, func(a, b fault.Field) int { return cmp.Compare(a.Path, b.Path) })
		return toldEvent{event: ports.ClientEvent{ID: id}, why: &first}, nil
	}
	if err != nil {
		return toldEvent{}, err
	}
	out := toldEvent{event: ports.ClientEvent{ID: e.Id, Type: engagement.Kind(e.Type)}}
	if out.event.At, err = parseTime("at", e.At); err != nil {
		if f, is := fault.As(err); is {
			out.why = &f.Fields[0]
		}
	}
	if e.MessageId != nil {
		if out.event.Message, err = inbox.ParseMessageID(*e.MessageId); err != nil {
			out.event.Message = noMessage
		}
	}
	return out, nil
}
