package braze

import (
	"encoding/json"
	"strings"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Events of Currents that are about what a person chose. A campaign's webhook is to be written in the same shape; see
// docs/webhooks.md.
const (
	globalStateChange = "users.behaviors.subscription.GlobalStateChange"
	groupStateChange  = "users.behaviors.subscriptiongroup.StateChange"
)

// Webhooks reads what Braze tells: batches of Currents' events.
type Webhooks struct {
	channels map[string]preference.ChannelKey // by group id
}

var _ ports.WebhookReader = (*Webhooks)(nil)

// NewWebhooks maps Braze's subscription groups to our channels, as Config.Groups does.
func NewWebhooks(cfg Config) *Webhooks {
	w := &Webhooks{channels: map[string]preference.ChannelKey{}}
	for channel, group := range cfg.Groups {
		w.channels[group] = channel
	}
	return w
}

// currentsEvent takes the members both where connectors over HTTP put them (user, properties) and where files have them.
type currentsEvent struct {
	ID   string      `json:"id"`
	Type string      `json:"event_type"`
	Time json.Number `json:"time"` // Unix seconds
	User struct {
		ExternalID string `json:"external_user_id"`
	} `json:"user"`
	ExternalID string `json:"external_user_id"`
	Properties change `json:"properties"`
	change
}

type change struct {
	Group   string `json:"subscription_group_id"`
	Status  string `json:"subscription_status"`
	State   string `json:"state"`
	Channel string `json:"channel"`
}

// Read implements ports.WebhookReader. Braze sends a batch again as long as any of it is refused, so what cannot be
// understood is left out and counted.
func (w *Webhooks) Read(body []byte) ([]ports.WebhookEvent, error) {
	raw, err := webhook.Events(body)
	if err != nil {
		return nil, err
	}
	out := make([]ports.WebhookEvent, len(raw))
	for i, one := range raw {
		var e currentsEvent
		if err := one.Into(&e); err != nil {
			out[i].Ignored = "malformed"
			continue
		}
		out[i] = w.read(e)
	}
	return out, nil
}

func (w *Webhooks) read(e currentsEvent) ports.WebhookEvent {
	out := ports.WebhookEvent{ID: e.ID}
	said := change{orElse(e.Properties.Group, e.Group), orElse(e.Properties.Status, e.Status), orElse(e.Properties.State, e.State), orElse(e.Properties.Channel, e.Channel)}
	if e.Type != globalStateChange && e.Type != groupStateChange {
		out.Ignored = "unknown_type"
		return out
	}
	customer, err := preference.ParseCustomerID(orElse(e.User.ExternalID, e.ExternalID))
	if err != nil {
		out.Ignored = "no_customer"
		return out
	}
	out.Told.Customer = customer
	if seconds, err := e.Time.Int64(); err == nil && seconds > 0 {
		out.Told.At = webhook.Moment(time.Unix(seconds, 0))
	}
	state := choice(orElse(said.Status, said.State), e.Type == groupStateChange)
	if state == preference.Unknown {
		out.Ignored = "no_choice" // the neutral state is one that nobody chose
		return out
	}
	out.Ignored = w.say(e.Type, said, state == preference.On, &out.Told)
	return out
}

// say puts the choice where it belongs, and answers why that is nowhere.
func (w *Webhooks) say(kind string, said change, on bool, told *preference.Told) (ignored string) {
	switch channel, known := w.channels[said.Group]; {
	case kind == groupStateChange && !known:
		return "unknown_channel"
	case kind == groupStateChange:
		told.Channels = map[preference.ChannelKey]bool{channel: on}
	case strings.EqualFold(said.Channel, "push"):
		told.Push = &on
	case said.Channel == "" || strings.EqualFold(said.Channel, "email"):
		told.Email = map[bool]preference.EmailStatus{true: preference.Subscribed, false: preference.Unsubscribed}[on]
	default:
		return "unknown_channel"
	}
	return ""
}

// choice reads "Opted-in", "opted_in", "Unsubscribed" and the like. "Subscribed" is a choice of a group, and the neutral
// state of e-mail or push as a whole.
func choice(word string, ofGroup bool) preference.State {
	switch strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(word)) {
	case "optedin":
		return preference.On
	case "subscribed":
		if ofGroup {
			return preference.On
		}
	case "unsubscribed":
		return preference.Off
	}
	return preference.Unknown
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
