package sandbox

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// aliasExternalID is the alias label that holds our customer id.
const aliasExternalID = "external_id"

// aliasOneSignalID addresses a user by OneSignal's own id; it cannot be set.
const aliasOneSignalID = "onesignal_id"

// oneSignalMaxSubscriptions is how many subscriptions a user may have before the oldest is detached.
const oneSignalMaxSubscriptions = 20

// notification_types: 1 is subscribed, negative values are reasons for not being so.
const (
	notificationsOn  = 1
	notificationsOff = -2
	// the platform does not know the token any more
	notificationsUnregistered = -10
)

// oneSignalState is what OneSignal holds: users, the subscriptions of all of them, and two indexes made from those.
type oneSignalState struct {
	Users         map[string]*oneSignalUser         `json:"users"`         // by onesignal_id
	Subscriptions map[string]*oneSignalSubscription `json:"subscriptions"` // by id

	aliases map[oneSignalAlias]string // to onesignal_id
	tokens  map[oneSignalToken]string // to subscription id: (type, token) is unique in the app
}

type oneSignalAlias struct{ label, id string }

type oneSignalToken struct{ kind, token string }

type oneSignalUser struct {
	ID            string                     `json:"id"`
	Aliases       map[string]string          `json:"aliases"`
	Tags          map[string]string          `json:"tags"`
	Properties    map[string]json.RawMessage `json:"properties"`    // all but tags
	Subscriptions []string                   `json:"subscriptions"` // in the order they came to the user
}

type oneSignalSubscription struct {
	ID                string                     `json:"id"`
	User              string                     `json:"user"`
	Type              string                     `json:"type"`
	Token             string                     `json:"token"`
	Enabled           bool                       `json:"enabled"`
	NotificationTypes int                        `json:"notification_types"`
	Details           map[string]json.RawMessage `json:"details"` // device_model and the like
	LastSession       time.Time                  `json:"last_session"`
}

// oneSignalSpec is what a call says about a subscription; nil means not said.
type oneSignalSpec struct {
	Type              string                     `json:"type,omitempty"`
	Token             string                     `json:"token,omitempty"`
	Enabled           *bool                      `json:"enabled,omitempty"`
	NotificationTypes *int                       `json:"notification_types,omitempty"`
	Details           map[string]json.RawMessage `json:"details,omitempty"`
}

func (o *oneSignalState) index() {
	if o.Users == nil {
		o.Users, o.Subscriptions = map[string]*oneSignalUser{}, map[string]*oneSignalSubscription{}
	}
	o.aliases, o.tokens = map[oneSignalAlias]string{}, map[oneSignalToken]string{}
	for id, u := range o.Users {
		for label, value := range u.Aliases {
			o.aliases[oneSignalAlias{label, value}] = id
		}
	}
	for id, sub := range o.Subscriptions {
		o.tokens[sub.key()] = id
	}
}

func (sub *oneSignalSubscription) key() oneSignalToken { return oneSignalToken{sub.Type, sub.Token} }

// user finds a user by alias, nil when there is none.
func (o *oneSignalState) user(label, id string) *oneSignalUser {
	if label == aliasOneSignalID {
		return o.Users[id]
	}
	return o.Users[o.aliases[oneSignalAlias{label, id}]]
}

func (o *oneSignalState) byToken(kind, token string) *oneSignalSubscription {
	return o.Subscriptions[o.tokens[oneSignalToken{kind, token}]]
}

// customerOf is our customer id of a user, "" for an anonymous one.
func (o *oneSignalState) customerOf(userID string) string {
	if u := o.Users[userID]; u != nil {
		return u.Aliases[aliasExternalID]
	}
	return ""
}

func (o *oneSignalState) makeUser(id string) *oneSignalUser {
	u := o.Users[id]
	if u == nil {
		u = &oneSignalUser{
			ID: id, Aliases: map[string]string{}, Tags: map[string]string{}, Properties: map[string]json.RawMessage{},
		}
		o.Users[id] = u
	}
	return u
}

func (o *oneSignalState) setAliases(u *oneSignalUser, aliases map[string]string) {
	for label, value := range aliases {
		delete(o.aliases, oneSignalAlias{label, u.Aliases[label]})
		u.Aliases[label] = value
		o.aliases[oneSignalAlias{label, value}] = u.ID
	}
}

// put makes a subscription or, when its type and token exist already, moves that one to the user.
func (o *oneSignalState) put(u *oneSignalUser, spec oneSignalSpec, newID string, at time.Time) *oneSignalSubscription {
	sub := o.byToken(spec.Type, spec.Token)
	if sub == nil {
		sub = &oneSignalSubscription{
			ID: newID, Type: spec.Type, Token: spec.Token, Enabled: true, NotificationTypes: notificationsOn,
			Details: map[string]json.RawMessage{},
		}
		o.Subscriptions[sub.ID] = sub
		o.tokens[sub.key()] = sub.ID
	}
	sub.update(spec)
	sub.LastSession = at
	o.move(sub, u, at)
	return sub
}

func (sub *oneSignalSubscription) update(spec oneSignalSpec) {
	maps.Copy(sub.Details, spec.Details)
	if spec.NotificationTypes != nil {
		sub.NotificationTypes = *spec.NotificationTypes
		sub.Enabled = sub.NotificationTypes > 0
	}
	if spec.Enabled == nil || *spec.Enabled == sub.Enabled {
		return
	}
	sub.Enabled, sub.NotificationTypes = *spec.Enabled, notificationsOff
	if sub.Enabled {
		sub.NotificationTypes = notificationsOn
	}
}

// move hands a subscription to a user. The one too many, the oldest by last session, goes to a new anonymous user.
func (o *oneSignalState) move(sub *oneSignalSubscription, to *oneSignalUser, at time.Time) {
	if sub.User == to.ID {
		return
	}
	o.detach(sub)
	sub.User = to.ID
	to.Subscriptions = append(to.Subscriptions, sub.ID)
	if len(to.Subscriptions) <= oneSignalMaxSubscriptions {
		return
	}
	oldest := sub
	for _, id := range to.Subscriptions {
		if other := o.Subscriptions[id]; other != sub && (oldest == sub || other.LastSession.Before(oldest.LastSession)) {
			oldest = other
		}
	}
	o.detach(oldest)
	anonymous := o.makeUser(derivedID("evicted", oldest.ID, to.ID, at.String()))
	oldest.User = anonymous.ID
	anonymous.Subscriptions = append(anonymous.Subscriptions, oldest.ID)
}

func (o *oneSignalState) detach(sub *oneSignalSubscription) {
	if u := o.Users[sub.User]; u != nil {
		u.Subscriptions = slices.DeleteFunc(u.Subscriptions, func(id string) bool { return id == sub.ID })
	}
	sub.User = ""
}

func (o *oneSignalState) remove(sub *oneSignalSubscription) {
	o.detach(sub)
	delete(o.tokens, sub.key())
	delete(o.Subscriptions, sub.ID)
}

func (sub *oneSignalSubscription) isPush() bool { return sub.Type != "Email" && sub.Type != "SMS" }

func (sub *oneSignalSubscription) export() object {
	out := object{}
	for field, value := range sub.Details {
		out[field] = value
	}
	out["id"], out["type"], out["token"] = sub.ID, sub.Type, sub.Token
	out["enabled"], out["notification_types"] = sub.Enabled, sub.NotificationTypes
	return out
}

func (o *oneSignalState) export(u *oneSignalUser) object {
	properties := object{"tags": maps.Clone(u.Tags)}
	for field, value := range u.Properties {
		properties[field] = value
	}
	subscriptions := []object{}
	for _, id := range u.Subscriptions {
		subscriptions = append(subscriptions, o.Subscriptions[id].export())
	}
	return object{"properties": properties, "identity": u.identity(), "subscriptions": subscriptions}
}

func (u *oneSignalUser) identity() map[string]string {
	out := maps.Clone(u.Aliases)
	out[aliasOneSignalID] = u.ID
	return out
}

// tagText is how OneSignal stores a tag value: everything becomes a string.
func tagText(raw json.RawMessage) (string, bool) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return string(raw), true
	case nil:
		return "", true
	}
	return "", false
}
