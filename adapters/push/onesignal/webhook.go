package onesignal

import (
	"encoding/json"
	"strings"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Webhooks reads what OneSignal tells of its subscriptions, in the template of docs/webhooks.md: what its event streams
// and webhooks send is for whoever sets them up to write.
type Webhooks struct{}

var _ ports.WebhookReader = Webhooks{}

// Kinds of events about a subscription. "invalid" is one whose token the push service does not know any more.
const (
	subscriptionChanged      = "subscription.changed"
	subscriptionUnsubscribed = "subscription.unsubscribed"
	subscriptionDisabled     = "subscription.disabled"
	subscriptionInvalid      = "subscription.invalid"
)

const (
	causeUnregistered = "token_unregistered"
	causeDisabled     = "provider_disabled"
)

type subscriptionEvent struct {
	ID           string      `json:"id"`
	Type         string      `json:"type"`
	ExternalID   string      `json:"external_id"`
	Timestamp    json.Number `json:"timestamp"` // Unix seconds
	Subscription struct {
		Token             string `json:"token"`
		Enabled           *bool  `json:"enabled"`
		NotificationTypes *int   `json:"notification_types"`
	} `json:"subscription"`
}

// Read implements ports.WebhookReader.
func (Webhooks) Read(body []byte) ([]ports.WebhookEvent, error) {
	raw, err := webhook.Events(body)
	if err != nil {
		return nil, err
	}
	out := make([]ports.WebhookEvent, len(raw))
	for i, one := range raw {
		var e subscriptionEvent
		if err := one.Into(&e); err != nil {
			out[i].Ignored = "malformed"
			continue
		}
		out[i] = e.read()
	}
	return out, nil
}

func (e subscriptionEvent) read() ports.WebhookEvent {
	out := ports.WebhookEvent{ID: e.ID}
	if !strings.HasPrefix(e.Type, "subscription.") {
		out.Ignored = "unknown_type"
		return out
	}
	customer, err := preference.ParseCustomerID(e.ExternalID)
	if err != nil {
		out.Ignored = "no_customer"
		return out
	}
	out.Told.Customer = customer
	if e.Subscription.Token == "" {
		out.Ignored = "no_device"
		return out
	}
	if seconds, err := e.Timestamp.Int64(); err == nil && seconds > 0 {
		out.Told.At = webhook.Moment(time.Unix(seconds, 0))
	}
	out.Ignored = e.say(&out.Told)
	return out
}

func (e subscriptionEvent) say(told *preference.Told) (ignored string) {
	s := e.Subscription
	switch e.Type {
	case subscriptionInvalid:
		told.Gone, told.Cause = []string{s.Token}, causeUnregistered
	case subscriptionDisabled:
		told.Tokens, told.Cause = map[string]bool{s.Token: false}, causeDisabled
	case subscriptionUnsubscribed:
		told.Tokens = map[string]bool{s.Token: false}
	case subscriptionChanged:
		if s.Enabled == nil && s.NotificationTypes == nil {
			return "no_choice"
		}
		on := (s.Enabled == nil || *s.Enabled) && (s.NotificationTypes == nil || *s.NotificationTypes >= 0)
		told.Tokens = map[string]bool{s.Token: on}
	default:
		return "unknown_type"
	}
	return ""
}
