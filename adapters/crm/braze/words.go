package braze

import (
	"encoding/json"
	"strings"

	"accord/domain/preference"
)

// Braze's words for e-mail and push. "subscribed" is the neutral one.
const (
	optedIn      = "opted_in"
	neutral      = "subscribed"
	unsubscribed = "unsubscribed"
)

var subscriptionStates = map[string]preference.State{
	optedIn: preference.On, neutral: preference.Neutral, unsubscribed: preference.Off,
}

func subscription(s preference.State) string {
	switch s {
	case preference.On:
		return optedIn
	case preference.Neutral:
		return neutral
	default:
		return unsubscribed
	}
}

// subscribed is a group's state. Groups have two only.
func subscribed(s preference.State) string {
	if s == preference.On {
		return "subscribed"
	}
	return unsubscribed
}

// reachable is the attribute's value; null removes it.
func reachable(s preference.State) any {
	switch s {
	case preference.On:
		return true
	case preference.Off:
		return false
	default:
		return nil
	}
}

// words are the value of an attribute that has the same words in Braze and with us; null removes it.
func words(s preference.State) any {
	if !s.Words() {
		return nil
	}
	return string(s)
}

// groupState reads a group's state, which answers spell in title case and requests in lower case. "Unknown" is nothing
// Braze has heard of, so it is no state.
func groupState(status string) preference.State {
	switch strings.ToLower(status) {
	case "subscribed":
		return preference.On
	case "unsubscribed":
		return preference.Off
	}
	return ""
}

func onOff(on bool) preference.State {
	if on {
		return preference.On
	}
	return preference.Off
}

type trackRequest struct {
	Attributes []map[string]any `json:"attributes"`
}

type groupWrite struct {
	ID    string `json:"subscription_group_id"`
	State string `json:"subscription_state"`
}

// trackAnswer holds neither the counts, nor what the errors say: their texts may repeat what was sent.
type trackAnswer struct {
	Message string            `json:"message"`
	Errors  []json.RawMessage `json:"errors"`
}

type exportRequest struct {
	ExternalIDs []string `json:"external_ids"`
	Fields      []string `json:"fields_to_export"`
}

type exportAnswer struct {
	Users []struct {
		ExternalID     string         `json:"external_id"`
		EmailSubscribe string         `json:"email_subscribe"`
		PushSubscribe  string         `json:"push_subscribe"`
		TimeZone       string         `json:"time_zone"`
		Custom         map[string]any `json:"custom_attributes"`
	} `json:"users"`
}

// groupsAnswer takes both shapes that are in circulation: one list of groups, and one list per user.
type groupsAnswer struct {
	Groups []groupStatus `json:"subscription_groups"`
	Users  []struct {
		ExternalID string        `json:"external_id"`
		Groups     []groupStatus `json:"subscription_groups"`
	} `json:"users"`
}

type groupStatus struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	OtherID     string `json:"subscription_group_id"`
	OtherStatus string `json:"subscription_status"`
}

// of gives the status by group id for one customer.
func (a groupsAnswer) of(customer preference.CustomerID) map[string]string {
	out := map[string]string{}
	add := func(groups []groupStatus) {
		for _, g := range groups {
			out[g.ID+g.OtherID] = g.Status + g.OtherStatus // exactly one of each pair is there
		}
	}
	add(a.Groups)
	for _, user := range a.Users {
		if user.ExternalID == string(customer) {
			add(user.Groups)
		}
	}
	return out
}
