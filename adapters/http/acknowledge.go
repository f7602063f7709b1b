package httpapi

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// AcknowledgeMessage records what the viewer did with one message.
func (s *server) AcknowledgeMessage(g *gin.Context, id MessageId, _ AcknowledgeMessageParams) {
	var body Acknowledgement
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	viewer, ok := s.mustKnow(g)
	if !ok {
		return
	}
	message, err := inbox.ParseMessageID(id)
	if err != nil {
		s.fail(g, err)
		return
	}
	item, err := acknowledgement("", message, body.State, body.At)
	if err != nil {
		s.fail(g, err)
		return
	}
	result, err := s.inbox.Acknowledge(g.Request.Context(), viewer, []ports.Acknowledgement{item})
	if err == nil && !result.Items[0].Found {
		err = errNotInInbox
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g)
	answerAppended(g, func(b []byte) []byte {
		b = message.Append(append(b, `{"id":"`...))
		b = appendReceipt(append(b, `","receipt":{`...), result.Items[0].Receipt)
		return append(appendState(append(b, `},`...), result.InboxState), '}', '\n')
	})
}

// errNotInInbox is the same for a message that was never there, is somebody else's, or was retracted.
var errNotInInbox = fault.New(fault.NotFound, "not-found", "there is no such message in this inbox")

// AcknowledgeInbox records what the viewer did with many messages.
func (s *server) AcknowledgeInbox(g *gin.Context, _ AcknowledgeInboxParams) {
	var body BulkAcknowledgement
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	viewer, ok := s.mustKnow(g)
	if !ok {
		return
	}
	if err := oneKind(body); err != nil {
		s.fail(g, err)
		return
	}
	if body.All != nil {
		s.acknowledgeAll(g, viewer, body)
		return
	}
	items, err := readItems(*body.Items)
	if err != nil {
		s.fail(g, err)
		return
	}
	s.acknowledgeItems(g, viewer, *body.Items, items)
}

// oneKind checks that a bulk acknowledgement says what it is about in one of the two ways.
func oneKind(body BulkAcknowledgement) error {
	var bad []fault.Field
	rule := func(broken bool, path, code, message string) {
		if broken {
			bad = append(bad, fault.Field{Path: path, Code: code, Message: message})
		}
	}
	rule(body.Items == nil && body.All == nil, "items", "required", "must be given, or all with as_of")
	rule(body.Items != nil && body.All != nil, "all", "not_allowed", "must not be given together with items")
	rule(body.All != nil && body.AsOf == nil, "as_of", "required", "must be given with all")
	rule(body.All == nil && body.AsOf != nil, "as_of", "not_allowed", "must be given only with all")
	if len(bad) > 0 {
		return fault.OnFields(bad...)
	}
	return nil
}

// readItems reads the items; one whose id names no message stays zero, and is not found.
func readItems(given []AcknowledgementItem) ([]ports.Acknowledgement, error) {
	items := make([]ports.Acknowledgement, len(given))
	var bad []fault.Field
	for i, it := range given {
		message, err := inbox.ParseMessageID(it.Id)
		if err != nil {
			message = 0
		}
		if items[i], err = acknowledgement(fmt.Sprintf("items.%d.", i), message, it.State, it.At); err != nil {
			f, _ := fault.As(err)
			bad = append(bad, f.Fields...)
		}
	}
	if len(bad) > 0 {
		return nil, fault.OnFields(bad...)
	}
	return items, nil
}

// acknowledgement reads one; at is where it is in the body.
func acknowledgement(at string, message inbox.MessageID, state string, when *string) (ports.Acknowledgement, error) {
	a := ports.Acknowledgement{Message: message}
	var err error
	if a.State, err = inbox.ParseState(at+"state", state); err != nil {
		return a, err
	}
	a.At, err = parseTimeOrNull(at+"at", when)
	return a, err
}

func (s *server) acknowledgeItems(g *gin.Context, viewer inbox.Viewer, given []AcknowledgementItem, items []ports.Acknowledgement) {
	result, err := s.inbox.Acknowledge(g.Request.Context(), viewer, items)
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g)
	answerAppended(g, func(b []byte) []byte {
		b = append(b, `{"items":[`...)
		for i, it := range result.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(append(b, `{"id":`...), given[i].Id)
			b = appendOutcome(b, it)
		}
		b = appendInt(b, `],"changed":`, result.Changed)
		return append(appendState(append(b, ','), result.InboxState), '}', '\n')
	})
}

func appendOutcome(b []byte, it ports.Acknowledged) []byte {
	switch {
	case !it.Found:
		return append(b, `,"status":"not_found","receipt":null}`...)
	case it.Changed:
		b = append(b, `,"status":"applied"`...)
	default:
		b = append(b, `,"status":"unchanged"`...)
	}
	return append(appendReceipt(append(b, `,"receipt":{`...), it.Receipt), `}}`...)
}

func (s *server) acknowledgeAll(g *gin.Context, viewer inbox.Viewer, body BulkAcknowledgement) {
	state, err := inbox.ParseState("all", *body.All)
	if err != nil {
		s.fail(g, err)
		return
	}
	asOf, err := inbox.ParseVersion("as_of", *body.AsOf)
	if err != nil {
		s.fail(g, err)
		return
	}
	result, err := s.inbox.AcknowledgeAll(g.Request.Context(), viewer, state, asOf)
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g)
	answerAppended(g, func(b []byte) []byte {
		b = appendInt(b, `{"items":[],"changed":`, result.Changed)
		return append(appendState(append(b, ','), result.InboxState), '}', '\n')
	})
}

// MergeInbox takes over what an installation did before sign-in.
func (s *server) MergeInbox(g *gin.Context, _ MergeInboxParams) {
	var body Merge
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	installation, err := inbox.ParseInstallationID(body.InstallationId)
	if err != nil {
		s.fail(g, err)
		return
	}
	result, err := s.inbox.Merge(g.Request.Context(), exchangeOf(g).customer, installation)
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g)
	answerAppended(g, func(b []byte) []byte {
		b = appendInt(b, `{"merged":`, result.Merged)
		return append(appendState(append(b, ','), result.InboxState), '}', '\n')
	})
}

// parseTime reads a time in a body.
func parseTime(path, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fault.OnField(path, "bad_format", "must be an RFC 3339 time such as 2026-05-04T10:00:00Z")
	}
	return knownTime(path, t)
}

// knownTime is t in UTC. Nothing here happened before 1970, and the first of all times means "not given" to whoever gets it;
// after 9999 there is no way to write it down. An offset may lead out of the years that a time was written with.
func knownTime(path string, t time.Time) (time.Time, error) {
	t = t.UTC()
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, fault.OnField(path, "out_of_range", "must be from 1970 to 9999, in UTC")
	}
	return t, nil
}

// parseTimeOrNull is the zero time for one that was not given.
func parseTimeOrNull(path string, text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	return parseTime(path, *text)
}
