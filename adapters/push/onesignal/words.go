package onesignal

import (
	"cmp"
	"strings"

	"accord/domain/preference"
	"accord/ports"
)

// subscribedNow is the notification_types of a subscription that gets notifications; negative ones are reasons why not.
const subscribedNow = 1

// unregistered are the notification_types by which OneSignal says that it has tried the token, and the platform does not know it
// any more: the app was removed, or the browser has given the subscription up. Others are choices, of the person or ours.
var unregistered = map[int]bool{-10: true, -22: true}

// types are the subscription types of our platforms. Web is ChromePush: the push services of all browsers but Safari's
// legacy one are addressed alike.
var types = map[preference.Platform]string{
	preference.IOS: "iOSPush", preference.Android: "AndroidPush", preference.Web: "ChromePush",
}

type user struct {
	Properties    properties[any, any] `json:"properties"`
	Subscriptions []subscription       `json:"subscriptions"`
}

// having finds the push subscriptions with a token.
func (u *user) having(token string) []subscription {
	var out []subscription
	for _, s := range u.Subscriptions {
		if s.Token == token && s.isPush() {
			out = append(out, s)
		}
	}
	return out
}

// properties with tag values of any kind, as others may set them, or of strings, as we do.
type properties[V, Z any] struct {
	Tags map[string]V `json:"tags,omitempty"`
	Zone Z            `json:"timezone_id,omitempty"`
}

type newUser struct {
	Identity      map[string]string           `json:"identity"`
	Properties    properties[string, *string] `json:"properties"`
	Subscriptions []subscription              `json:"subscriptions,omitempty"`
}

type subscription struct {
	ID                string `json:"id,omitempty"`
	Type              string `json:"type,omitempty"`
	Token             string `json:"token,omitempty"`
	Enabled           *bool  `json:"enabled,omitempty"`
	NotificationTypes *int   `json:"notification_types,omitempty"`
	AppVersion        string `json:"app_version,omitempty"`
	InvalidIdentifier bool   `json:"invalid_identifier,omitempty"` // only ever read
}

// desired is a subscription as it shall be. Its type stays empty for a device we know nothing about but the token: such
// a one can be switched, not created.
func desired(token string, enabled bool, device ports.TargetDevice) subscription {
	s := subscription{Token: token, Type: types[device.Platform], AppVersion: device.AppVersion, Enabled: &enabled}
	if enabled {
		on := subscribedNow
		s.NotificationTypes = &on
	}
	return s
}

// switches is the part that turns an existing subscription on or off. Why it is off is OneSignal's to say, so only On
// names notification_types, which would else keep an earlier opt-out.
func (s subscription) switches() subscription {
	return subscription{Enabled: s.Enabled, NotificationTypes: s.NotificationTypes}
}

func (s subscription) isPush() bool { return s.Token != "" && strings.HasSuffix(s.Type, "Push") }

// state is On only for what really gets notifications: a negative notification_types stops them also when enabled.
func (s subscription) state() preference.State {
	if s.InvalidIdentifier || s.NotificationTypes != nil && unregistered[*s.NotificationTypes] {
		return preference.Unregistered
	}
	if s.Enabled != nil && *s.Enabled && (s.NotificationTypes == nil || *s.NotificationTypes >= 0) {
		return preference.On
	}
	return preference.Off
}

// livelier is On before Off before Unregistered.
func livelier(a, b preference.State) preference.State {
	for _, s := range []preference.State{preference.On, preference.Off} {
		if a == s || b == s {
			return s
		}
	}
	return b
}

func disabledFirst(a, b subscription) int {
	order := func(s subscription) int {
		if s.state() == preference.On {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Token, b.Token))
}

func tagValue(s preference.State) string {
	switch s {
	case preference.On:
		return "on"
	case preference.Off:
		return "off"
	default:
		return "" // removes the tag
	}
}

// words are the value of what has the same words in OneSignal and with us; "" for none.
func words(s preference.State) string {
	if !s.Words() {
		return ""
	}
	return string(s)
}

// tagState reads a tag's value; anything but our own two words is no choice.
func tagState(value any) preference.State {
	switch value {
	case "on":
		return preference.On
	case "off":
		return preference.Off
	}
	return preference.Unknown
}
