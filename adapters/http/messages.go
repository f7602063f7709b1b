package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func messagePath(id inbox.MessageID) string { return "/v1/messages/" + id.String() }

// PublishMessage makes a message, or answers with the one that is there already.
func (s *server) PublishMessage(g *gin.Context) {
	done, ok := s.takeLarge(g)
	if !ok {
		return
	}
	defer done()
	var body MessageDraft
	recipients, ok := s.decodeDraft(g, &body)
	if !ok {
		return
	}
	draft, err := readDraft(body, recipients)
	if err != nil {
		s.fail(g, err)
		return
	}
	m, created, err := s.messages.Publish(g.Request.Context(), draft)
	if err != nil {
		s.fail(g, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	g.Header("Location", messagePath(m.ID))
	answerJSON(g, status, presentMessage(m))
}

// GetMessage answers with a message as it is kept.
func (s *server) GetMessage(g *gin.Context, id MessageId) {
	s.message(g, id, func(m inbox.MessageID) (ports.StoredMessage, error) {
		return s.messages.Message(g.Request.Context(), m)
	})
}

// RetractMessage takes a message out of every inbox.
func (s *server) RetractMessage(g *gin.Context, id MessageId) {
	s.message(g, id, func(m inbox.MessageID) (ports.StoredMessage, error) {
		return s.messages.Retract(g.Request.Context(), m)
	})
}

// PatchMessage changes a message.
func (s *server) PatchMessage(g *gin.Context, id MessageId) {
	var body MessagePatch
	canonical, ok := s.decode(g, &body)
	if !ok {
		return
	}
	var patch map[string]any
	if err := json.Unmarshal(canonical, &patch); err != nil {
		s.fail(g, fmt.Errorf("a patch that keeps the schema is no object: %w", err))
		return
	}
	if len(patch) == 0 {
		s.fail(g, fault.OnField("", "empty_change", "must name something to change"))
		return
	}
	s.message(g, id, func(m inbox.MessageID) (ports.StoredMessage, error) {
		return s.messages.Edit(g.Request.Context(), m, func(now inbox.Message) (inbox.Edit, error) { return editOf(now, patch) })
	})
}

// message does something with one message and answers with what it is then.
func (s *server) message(g *gin.Context, id string, do func(inbox.MessageID) (ports.StoredMessage, error)) {
	message, err := inbox.ParseMessageID(id)
	if err != nil {
		s.fail(g, err)
		return
	}
	m, err := do(message)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, presentMessage(m))
}

// readDraft translates a body. Its recipients come apart from it, since there may be a million.
func readDraft(body MessageDraft, recipients []preference.CustomerID) (inbox.Draft, error) {
	expiry, err := parseTimeOrNull("expiry", body.Expiry)
	if err != nil {
		return inbox.Draft{}, err
	}
	publishAt, err := parseTimeOrNull("publish_at", body.PublishAt)
	if err != nil {
		return inbox.Draft{}, err
	}
	audience := inbox.Personal
	if body.Audience.Type == audienceGlobal {
		audience = inbox.Global
	}
	return inbox.Draft{Source: body.Source, ExternalID: body.ExternalId, Audience: audience, Recipients: recipients, Campaign: textOf(body.Campaign),
		Content: readContent(body), PublishAt: publishAt, Expiry: expiry}, nil
}

const (
	audienceGlobal    = "global"
	audienceCustomers = "customers"
)

func readContent(body MessageDraft) inbox.Content {
	c := inbox.Content{Text: inbox.Text{Title: body.Title, Body: textOf(body.Body), ImageURL: textOf(body.ImageUrl)}, Locale: textOf(body.Locale),
		Category: textOf(body.Category), Link: textOf(body.Deeplink), Pinned: body.Pinned != nil && *body.Pinned}
	if body.Actions != nil {
		for _, a := range *body.Actions {
			c.Actions = append(c.Actions, inbox.Action{ID: a.Id, Title: a.Title, Link: a.Deeplink})
		}
	}
	if body.Variants == nil || len(*body.Variants) == 0 {
		return c
	}
	c.Variants = make(map[string]inbox.Text, len(*body.Variants))
	for locale, v := range *body.Variants {
		t := inbox.Text{Title: v.Title, Body: textOf(v.Body), ImageURL: textOf(v.ImageUrl)}
		if v.Actions != nil && len(*v.Actions) > 0 {
			t.Actions = *v.Actions
		}
		c.Variants[locale] = t
	}
	return c
}

// editOf is what a merge patch makes of a message: the patch is applied to the message in the words of the contract, and
// the outcome read like a new one.
func editOf(now inbox.Message, patch map[string]any) (inbox.Edit, error) {
	kept, err := json.Marshal(draftOf(now))
	if err != nil {
		return inbox.Edit{}, fmt.Errorf("encode a message to be patched: %w", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(kept, &doc); err != nil {
		return inbox.Edit{}, fmt.Errorf("decode a message to be patched: %w", err)
	}
	patched, err := json.Marshal(mergePatch(doc, patch))
	if err != nil {
		return inbox.Edit{}, fmt.Errorf("encode a patched message: %w", err)
	}
	var body MessageDraft
	if err := json.Unmarshal(patched, &body); err != nil {
		return inbox.Edit{}, fmt.Errorf("decode a patched message: %w", err)
	}
	return readEdit(body, patch)
}

func readEdit(body MessageDraft, patch map[string]any) (inbox.Edit, error) {
	var edit inbox.Edit
	if _, given := patch["expiry"]; given {
		expiry, err := parseTimeOrNull("expiry", body.Expiry)
		if err != nil {
			return edit, err
		}
		edit.Expiry = &expiry
	}
	if _, given := patch["expiry"]; !given || len(patch) > 1 {
		content := readContent(body)
		edit.Content = &content
	}
	return edit, nil
}

// mergePatch is RFC 7396 for objects, with which both always begin here.
func mergePatch(doc, patch map[string]any) map[string]any {
	for name, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(doc, name)
		case map[string]any:
			member, _ := doc[name].(map[string]any)
			if member == nil {
				member = map[string]any{}
			}
			doc[name] = mergePatch(member, v)
		default:
			doc[name] = v
		}
	}
	return doc
}

// draftOf is a message in the words it could be published with. Only what can be patched is in it.
func draftOf(m inbox.Message) MessageDraft {
	c := m.Content
	out := MessageDraft{Title: c.Title, Body: &c.Body, ImageUrl: textOrNull(c.ImageURL), Locale: textOrNull(c.Locale), Category: textOrNull(c.Category),
		Deeplink: textOrNull(c.Link), Pinned: &c.Pinned}
	if len(c.Actions) > 0 {
		actions := make([]MessageAction, len(c.Actions))
		for i, a := range c.Actions {
			actions[i] = MessageAction{Id: a.ID, Title: a.Title, Deeplink: a.Link}
		}
		out.Actions = &actions
	}
	variants := make(map[string]MessageVariant, len(c.Variants))
	for locale, t := range c.Variants {
		v := MessageVariant{Title: t.Title, Body: &t.Body, ImageUrl: textOrNull(t.ImageURL)}
		if len(t.Actions) > 0 {
			v.Actions = &t.Actions
		}
		variants[locale] = v
	}
	out.Variants = &variants
	return out
}

func presentMessage(m ports.StoredMessage) StoredMessage {
	c := m.Content
	out := StoredMessage{Id: m.ID.String(), Source: m.Source, ExternalId: m.ExternalID, Audience: StoredAudience{Type: audienceGlobal},
		Title: c.Title, Body: c.Body, Deeplink: textOrNull(c.Link), Expiry: m.Expiry.UTC(), Category: c.Category, ImageUrl: textOrNull(c.ImageURL),
		Pinned: c.Pinned, Actions: make([]StoredAction, len(c.Actions)), PublishAt: m.PublishedAt.UTC(), Locale: textOrNull(c.Locale),
		Variants: make(map[string]StoredVariant, len(c.Variants)), Campaign: textOrNull(m.Campaign), Targets: texts(m.Targets),
		CreatedAt: m.CreatedAt.UTC(), UpdatedAt: m.UpdatedAt.UTC(), RetractedAt: timeOrNull(m.RetractedAt),
		Delivery: Delivery{Recipients: m.Recipients, Undelivered: m.Undelivered}}
	if m.Audience == inbox.Personal {
		out.Audience = StoredAudience{Type: audienceCustomers, Recipients: &m.Recipients}
	}
	for i, a := range c.Actions {
		out.Actions[i] = StoredAction{Id: a.ID, Title: a.Title, Deeplink: a.Link}
	}
	for locale, t := range c.Variants {
		v := StoredVariant{Title: t.Title, Body: t.Body, ImageUrl: textOrNull(t.ImageURL), Actions: map[string]string{}}
		for id, title := range t.Actions {
			v.Actions[id] = title
		}
		out.Variants[locale] = v
	}
	return out
}
