package iterable

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// Why a message is left out.
const (
	unreadable  = "unreadable"   // not of the shape we know, or without an id
	notForInbox = "not_in_inbox" // an in-app message that is not saved to the inbox
	titleless   = "no_title"     // HTML alone, for one: there is nothing to list
)

// maxID bounds Iterable's id of a message, so that with the customer it still makes a name of ours.
const maxID = 160

// message is one of Iterable's in our words.
type message struct {
	id       string // unique over both kinds
	campaign string // Iterable's number
	priority int64  // place in an embedded list, 1 is the first; 0 where there is none
	words    payload
	content  inbox.Content
	publish  time.Time
	expiry   time.Time
}

// compare puts the oldest first, and of messages without a time the least important.
func (m message) compare(o message) int {
	return cmp.Or(m.publish.Compare(o.publish), cmp.Compare(o.priority, m.priority), cmp.Compare(m.id, o.id))
}

// draft is the message for one customer. Iterable's ids belong to one send to one user, but nothing promises that, so
// the customer is in the name, as a pseudonym: a name is shown to whoever may read messages.
func (m message) draft(customer preference.CustomerID) inbox.Draft {
	d := inbox.Draft{
		Source: Source, ExternalID: m.id + ":" + customer.Pseudonym(), Audience: inbox.Personal,
		Recipients: []preference.CustomerID{customer}, Campaign: string(m.words.Campaign),
		Content: m.content, PublishAt: m.publish, Expiry: m.expiry,
	}
	if d.Campaign == "" && m.campaign != "" {
		d.Campaign = Source + "/" + m.campaign
	}
	return d
}

type inAppMessage struct {
	ID          string          `json:"messageId"`
	Campaign    json.RawMessage `json:"campaignId"`
	CreatedAt   moment          `json:"createdAt"`
	ExpiresAt   moment          `json:"expiresAt"`
	SaveToInbox bool            `json:"saveToInbox"`
	Inbox       struct {
		Title    lenient `json:"title"`
		Subtitle lenient `json:"subtitle"`
		Icon     lenient `json:"icon"`
	} `json:"inboxMetadata"`
	Payload payload `json:"customPayload"`
}

// readInApp never looks at content: its HTML is for a web view, and an inbox lists texts. What Iterable keeps for its own
// inbox is the title; the payload has what only our inbox knows. priorityLevel says which message pops up first and pins
// nothing.
func readInApp(raw json.RawMessage) (m message, skip string) {
	var in inAppMessage
	if json.Unmarshal(raw, &in) != nil || !validID(in.ID) {
		return message{}, unreadable
	}
	if !in.SaveToInbox {
		return message{}, notForInbox
	}
	m = message{id: "in-app:" + in.ID, campaign: number(in.Campaign), words: in.Payload,
		publish: in.CreatedAt.Time, expiry: in.ExpiresAt.Time, content: in.Payload.content()}
	m.content.Title = oneLine(cmp.Or(string(in.Inbox.Title), string(in.Payload.Title)))
	m.content.Body = cmp.Or(string(in.Payload.Body), string(in.Inbox.Subtitle))
	m.content.ImageURL = cmp.Or(m.content.ImageURL, https(string(in.Inbox.Icon)))
	return m.checked()
}

type embeddedMessage struct {
	Metadata struct {
		ID       string          `json:"messageId"`
		Campaign json.RawMessage `json:"campaignId"`
		Priority json.RawMessage `json:"priorityOrder"`
	} `json:"metadata"`
	Elements *struct {
		Title    lenient           `json:"title"`
		Body     lenient           `json:"body"`
		MediaURL lenient           `json:"mediaUrl"`
		Buttons  []json.RawMessage `json:"buttons"`
		Default  action            `json:"defaultAction"`
	} `json:"elements"`
	Payload payload `json:"payload"`
}

// readEmbedded takes times from the payload: embedded messages have none of their own.
func readEmbedded(raw json.RawMessage) (m message, skip string) {
	var in embeddedMessage
	if json.Unmarshal(raw, &in) != nil || !validID(in.Metadata.ID) || in.Elements == nil {
		return message{}, unreadable
	}
	m = message{id: "embedded:" + in.Metadata.ID, campaign: number(in.Metadata.Campaign), words: in.Payload,
		publish: in.Payload.PublishAt.Time, expiry: in.Payload.Expiry.Time, content: in.Payload.content()}
	m.priority, _ = strconv.ParseInt(number(in.Metadata.Priority), 10, 64)
	m.content.Title = oneLine(cmp.Or(string(in.Elements.Title), string(in.Payload.Title)))
	m.content.Body = cmp.Or(string(in.Elements.Body), string(in.Payload.Body))
	m.content.ImageURL = cmp.Or(https(string(in.Elements.MediaURL)), m.content.ImageURL)
	m.content.Link = cmp.Or(in.Elements.Default.link(), m.content.Link)
	if buttons := readButtons(in.Elements.Buttons); len(buttons) > 0 {
		m.content.Actions = buttons
	}
	return m.checked()
}

// checked leaves out of a message what would have all of it refused: a life longer than ours, and titles for buttons that
// are not there. The life counts from when Iterable made it, so that every reading makes the same draft of it.
func (m message) checked() (_ message, skip string) {
	if m.content.Title == "" {
		return message{}, titleless
	}
	if longest := m.publish.Add(inbox.MaxLife); !m.publish.IsZero() && m.expiry.After(longest) {
		m.expiry = longest
	}
	for _, text := range m.content.Variants {
		maps.DeleteFunc(text.Actions, func(id, _ string) bool {
			return !slices.ContainsFunc(m.content.Actions, func(a inbox.Action) bool { return a.ID == id })
		})
	}
	return m, ""
}

// readButtons leaves out what leads nowhere (a button that dismisses) or says nothing.
func readButtons(raw []json.RawMessage) []inbox.Action {
	var out []inbox.Action
	for i, item := range raw {
		var b struct {
			ID     lenient `json:"id"`
			Title  lenient `json:"title"`
			Action action  `json:"action"`
		}
		if json.Unmarshal(item, &b) != nil || oneLine(string(b.Title)) == "" || b.Action.link() == "" {
			continue
		}
		out = append(out, inbox.Action{ID: actionID(string(b.ID), i, out), Title: oneLine(string(b.Title)), Link: b.Action.link()})
	}
	return out
}

// actionID is Iterable's id in the letters that ours may have, or else the button's number.
func actionID(id string, i int, taken []inbox.Action) string {
	id = strings.Map(func(r rune) rune {
		if r == '-' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, id)
	usable := func(id string) bool {
		return id != "" && len(id) <= 64 && !slices.ContainsFunc(taken, func(a inbox.Action) bool { return a.ID == id })
	}
	for number := "button-" + strconv.Itoa(i+1); !usable(id); number += "_" {
		id = number
	}
	return id
}

// action is what a tap does: openUrl with an address in data, or the whole address of the app's own action as the type.
type action struct {
	Type lenient `json:"type"`
	Data lenient `json:"data"`
}

func (a action) link() string {
	address := string(a.Type)
	if address == "openUrl" {
		address = string(a.Data)
	}
	scheme, _, ok := strings.Cut(address, "://")
	if !ok || scheme == "iterable" { // iterable://dismiss and the like are for Iterable's own views
		return ""
	}
	return address
}

func validID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.ContainsFunc(id, unicode.IsControl)
}

// number is a JSON number as it is written, empty for anything else.
func number(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
		return ""
	}
	return string(raw)
}
