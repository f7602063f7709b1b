package campaigns

import (
	"encoding/json"
	"slices"
	"strconv"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// campaign reads one message. named is false for what cannot even be talked about.
//
// Taking a message back needs its name alone, so nothing else that may be wrong with it can keep it in the inboxes.
func (f *Feed) campaign(raw json.RawMessage) (c ports.Campaign, named bool) {
	r := newReader(raw)
	name := inbox.Draft{Source: r.text("source"), ExternalID: r.text("external_id")}
	if r.problem != "" || name.Source == "" || len(name.Source) > 64 || name.ExternalID == "" || len(name.ExternalID) > 255 {
		return ports.Campaign{}, false
	}
	if slices.Contains(f.cfg.ReservedSources, name.Source) {
		return ports.Campaign{Draft: name, Broken: "source: is reserved"}, true
	}
	retracted := !r.when("retracted_at").IsZero()
	if retracted {
		return ports.Campaign{Draft: name, Retracted: true}, true
	}
	draft := name
	draft.Audience, draft.Recipients = r.audience()
	draft.Campaign = r.text("campaign")
	draft.PublishAt, draft.Expiry = r.when("publish_at"), r.when("expiry")
	draft.Content = r.content()
	if r.problem != "" {
		return ports.Campaign{Draft: name, Broken: r.problem}, true
	}
	return ports.Campaign{Draft: draft}, true
}

func (r *reader) audience() (inbox.Audience, []preference.CustomerID) {
	audience := r.object("audience")
	switch audience.text("type") {
	case "global":
		if len(audience.list("ids")) > 0 {
			audience.broken("ids", "must not be given for a global message")
		}
		return inbox.Global, nil
	case "customers":
		return inbox.Personal, audience.customers("ids")
	}
	audience.broken("type", "must be global or customers")
	return "", nil
}

// customers lists each once, in the order of the message.
func (r *reader) customers(member string) []preference.CustomerID {
	items := r.list(member)
	out := make([]preference.CustomerID, 0, len(items))
	seen := make(map[preference.CustomerID]bool, len(items))
	for i, item := range items {
		var text string
		id, err := preference.CustomerID(""), json.Unmarshal(item, &text)
		if err == nil {
			id, err = preference.ParseCustomerID(text)
		}
		if err != nil {
			r.broken(member+"."+strconv.Itoa(i), "is not the id of a customer")
			return nil
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		r.broken(member, "must name at least one customer")
	}
	return out
}

func (r *reader) content() inbox.Content {
	c := inbox.Content{
		Text: inbox.Text{Title: r.text("title"), Body: r.text("body"), ImageURL: r.text("image_url")},
		Link: r.text("deeplink"), Category: r.text("category"), Locale: r.text("locale"), Pinned: r.flag("pinned"),
	}
	for i, raw := range r.list("actions") {
		action := r.child("actions."+strconv.Itoa(i), raw)
		c.Actions = append(c.Actions, inbox.Action{ID: action.text("id"), Title: action.text("title"), Link: action.text("deeplink")})
	}
	variants := r.object("variants")
	for _, locale := range variants.names() {
		if c.Variants == nil {
			c.Variants = map[string]inbox.Text{}
		}
		c.Variants[locale] = variants.object(locale).variant()
	}
	return c
}

func (r *reader) variant() inbox.Text {
	t := inbox.Text{Title: r.text("title"), Body: r.text("body"), ImageURL: r.text("image_url")}
	actions := r.object("actions")
	for _, id := range actions.names() {
		if t.Actions == nil {
			t.Actions = map[string]string{}
		}
		t.Actions[id] = actions.text(id)
	}
	return t
}
