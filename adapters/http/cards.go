package httpapi

import (
	"strconv"

	"accord/domain/inbox"
	"accord/ports"
)

// Cards encodes messages in the words of the contract's InboxMessage. See ports.Cards.
type Cards struct{}

var _ ports.Cards = Cards{}

// NewCards is what encodes messages once, when they are published.
func NewCards() Cards { return Cards{} }

// cardFormat must grow with every change to what Card writes: cards of an older format are encoded anew when read.
const cardFormat = 1

// Format of the cards. See ports.Cards.
func (Cards) Format() int { return cardFormat }

// Card is the message without its id and receipt. See ports.Cards.
func (Cards) Card(m *inbox.Message, locales []string, active func(link string) bool) []byte {
	c := &m.Content
	text, actions, _ := c.In(locales)
	image := text.ImageURL
	if image == "" { // a translation seldom has a picture of its own
		image = c.ImageURL
	}
	b := make([]byte, 0, 384+len(text.Title)+len(text.Body)+len(image)+len(c.Link)+160*len(actions))
	b = appendText(append(b, `"title":`...), text.Title)
	b = appendText(append(b, `,"body":`...), text.Body)
	b = appendLink(append(b, `,"deeplink":`...), c.Link, active)
	b = appendTime(append(b, `,"expiry":`...), m.Expiry)
	b = appendText(append(b, `,"category":`...), c.Category)
	b = appendText(append(b, `,"audience":`...), string(m.Audience))
	b = appendTime(append(b, `,"published_at":`...), m.PublishedAt)
	b = appendTextOrNull(append(b, `,"image_url":`...), image)
	b = strconv.AppendBool(append(b, `,"pinned":`...), c.Pinned)
	b = appendActions(append(b, `,"actions":[`...), actions, active)
	return append(append(b, `],"deeplink_status":`...), linkStatus(c.Link, active)...)
}

func appendActions(b []byte, actions []inbox.Action, active func(string) bool) []byte {
	for i, a := range actions {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"id":`...), a.ID)
		b = appendText(append(b, `,"title":`...), a.Title)
		b = append(appendLink(append(b, `,"deeplink":`...), a.Link, active), '}')
	}
	return b
}

// appendLink leaves a link out that may not be handed out now.
func appendLink(b []byte, link string, active func(string) bool) []byte {
	if link != "" && active != nil && !active(link) {
		link = ""
	}
	return appendTextOrNull(b, link)
}

func linkStatus(link string, active func(string) bool) string {
	switch {
	case link == "":
		return "null"
	case active == nil || active(link):
		return `"active"`
	}
	return `"inactive"`
}
