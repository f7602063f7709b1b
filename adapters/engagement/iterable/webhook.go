package iterable

import (
	"encoding/json"
	"strings"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Webhooks reads what Iterable's system webhooks tell of subscriptions.
type Webhooks struct {
	types map[string]string // of a channel or message type of Iterable: a channel of ours, or email
}

var _ ports.WebhookReader = (*Webhooks)(nil)

// EmailType stands for the e-mail marketing subscription among the types.
const EmailType = "email"

// NewWebhooks says what each channel or message type of Iterable, by its number, is to us: a channel, or EmailType.
func NewWebhooks(types map[string]string) *Webhooks { return &Webhooks{types} }

const (
	emailSubscribe   = "emailSubscribe"
	emailUnsubscribe = "emailUnSubscribe"
)

type subscriptionEvent struct {
	Email string `json:"email"`
	User  string `json:"userId"`
	Name  string `json:"eventName"`
	Data  struct {
		User         string        `json:"userId"`
		CreatedAt    string        `json:"createdAt"`
		Channels     []json.Number `json:"channelIds"`
		MessageTypes []json.Number `json:"messageTypeIds"`
	} `json:"dataFields"`
}

// createdLayouts are how Iterable writes times.
var createdLayouts = []string{"2006-01-02 15:04:05 -07:00", time.RFC3339}

// Read implements ports.WebhookReader. Iterable's events have no id; the customer is the userId, never the address.
func (w *Webhooks) Read(body []byte) ([]ports.WebhookEvent, error) {
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
		out[i] = w.read(e)
	}
	return out, nil
}

func (w *Webhooks) read(e subscriptionEvent) (out ports.WebhookEvent) {
	on := strings.EqualFold(e.Name, emailSubscribe)
	if !on && !strings.EqualFold(e.Name, emailUnsubscribe) {
		out.Ignored = "unknown_type"
		return out
	}
	user := e.User
	if user == "" {
		user = e.Data.User
	}
	customer, err := preference.ParseCustomerID(user)
	if err != nil {
		out.Ignored = "no_customer"
		return out
	}
	out.Told.Customer = customer
	for _, layout := range createdLayouts {
		if at, err := time.Parse(layout, e.Data.CreatedAt); err == nil {
			out.Told.At = webhook.Moment(at)
			break
		}
	}
	status := map[bool]preference.EmailStatus{true: preference.Subscribed, false: preference.Unsubscribed}[on]
	types := append(e.Data.Channels, e.Data.MessageTypes...)
	if len(types) == 0 {
		out.Told.Email = status
		return out
	}
	out.Ignored = "unknown_channel"
	out.Told.Channels = map[preference.ChannelKey]bool{}
	for _, number := range types {
		switch ours := w.types[number.String()]; ours {
		case "":
		case EmailType:
			out.Told.Email, out.Ignored = status, ""
		default:
			out.Told.Channels[preference.ChannelKey(ours)], out.Ignored = on, ""
		}
	}
	return out
}
