package iterable

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"accord/domain/inbox"
)

// payload is the free-form data a campaign's author may give a message (customPayload, payload), as far as it uses the
// words of POST /v1/messages. It serves other purposes too, so what is there under one of these names but is no such
// thing is passed over.
type payload struct {
	Title     lenient                    `json:"title"`
	Body      lenient                    `json:"body"`
	Image     lenient                    `json:"image_url"`
	Link      lenient                    `json:"deeplink"`
	Category  lenient                    `json:"category"`
	Locale    lenient                    `json:"locale"`
	Campaign  lenient                    `json:"campaign"`
	Pinned    flag                       `json:"pinned"`
	Actions   []payloadAction            `json:"actions"`
	Variants  map[string]json.RawMessage `json:"variants"`
	PublishAt moment                     `json:"publish_at"`
	Expiry    moment                     `json:"expiry"`
}

type payloadAction struct {
	ID    lenient `json:"id"`
	Title lenient `json:"title"`
	Link  lenient `json:"deeplink"`
}

// UnmarshalJSON reads member by member, so that one that is something else does not take the others with it. Names are
// exact: encoding/json alone would take Title for title.
func (p *payload) UnmarshalJSON(raw []byte) error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members) // what is no object has no members
	for name, into := range map[string]any{
		"title": &p.Title, "body": &p.Body, "image_url": &p.Image, "deeplink": &p.Link, "category": &p.Category,
		"locale": &p.Locale, "campaign": &p.Campaign, "pinned": &p.Pinned, "publish_at": &p.PublishAt, "expiry": &p.Expiry,
	} {
		if value, ok := members[name]; ok {
			_ = json.Unmarshal(value, into) // none of these types fails
		}
	}
	var actions []payloadAction
	if json.Unmarshal(members["actions"], &actions) == nil {
		p.Actions = actions
	}
	var variants map[string]json.RawMessage
	if json.Unmarshal(members["variants"], &variants) == nil {
		p.Variants = variants
	}
	return nil
}

// content is everything but title and body, which Iterable has places of its own for.
func (p payload) content() inbox.Content {
	c := inbox.Content{Link: string(p.Link), Category: category(string(p.Category)), Locale: string(p.Locale), Pinned: bool(p.Pinned)}
	c.ImageURL = https(string(p.Image))
	for _, a := range p.Actions {
		if string(a.Title) != "" && string(a.Link) != "" {
			c.Actions = append(c.Actions, inbox.Action{ID: actionID(string(a.ID), len(c.Actions), c.Actions), Title: oneLine(string(a.Title)), Link: string(a.Link)})
		}
	}
	for _, locale := range slices.Sorted(maps.Keys(p.Variants)) {
		var v struct {
			Title   lenient            `json:"title"`
			Body    lenient            `json:"body"`
			Image   lenient            `json:"image_url"`
			Actions map[string]lenient `json:"actions"`
		}
		if json.Unmarshal(p.Variants[locale], &v) != nil || string(v.Title) == "" {
			continue
		}
		text := inbox.Text{Title: oneLine(string(v.Title)), Body: string(v.Body), ImageURL: https(string(v.Image))}
		for id, title := range v.Actions {
			if text.Actions == nil {
				text.Actions = map[string]string{}
			}
			text.Actions[id] = string(title)
		}
		if c.Variants == nil {
			c.Variants = map[string]inbox.Text{}
		}
		c.Variants[locale] = text
	}
	return c
}

// lenient is a text, empty when it is something else.
type lenient string

// UnmarshalJSON never fails. U+0000 is left out: no database takes it.
func (l *lenient) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = ""
	}
	*l = lenient(strings.ReplaceAll(text, "\x00", ""))
	return nil
}

// flag is true only when it says so.
type flag bool

// UnmarshalJSON never fails.
func (f *flag) UnmarshalJSON(raw []byte) error {
	*f = string(raw) == "true"
	return nil
}

// moment is a time, zero when it is something else. Iterable documents RFC 3339 and sends milliseconds since 1970.
type moment struct{ time.Time }

// maxMoment keeps what is no sensible time out, in milliseconds: the year 9999.
const maxMoment = 253_402_300_799_000

// UnmarshalJSON never fails.
func (m *moment) UnmarshalJSON(raw []byte) error {
	m.Time = time.Time{}
	var text string
	var ms float64
	if json.Unmarshal(raw, &text) == nil {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			m.Time = at.UTC()
		}
	} else if json.Unmarshal(raw, &ms) == nil && ms > 0 && ms < maxMoment {
		m.Time = time.UnixMilli(int64(ms)).UTC()
	}
	return nil
}

// oneLine is a title as a list shows it.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// category in the letters that ours have.
func category(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(s)), "_")
}

// https is an address that an app can show a picture from; a message is better off without any other.
func https(s string) string {
	if !strings.HasPrefix(s, "https://") {
		return ""
	}
	return s
}
