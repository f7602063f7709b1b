// Package external reads our own, neutral format of decisions: that of systems that speak to nobody but us. It is in
// docs/webhooks.md and in the contract. What it says is held strictly to the rules; members that it does not know are left
// out, as the format grows.
package external

import (
	"slices"
	"time"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Decision is the type of the events that are about preferences.
const Decision = "preferences.decision"

// Reader implements ports.WebhookReader.
type Reader struct{}

var _ ports.WebhookReader = Reader{}

type event struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      *data  `json:"data"`
}

type data struct {
	Customer  string             `json:"customer"`
	DecidedAt string             `json:"decided_at"`
	Push      *toggle            `json:"push"`
	Channels  map[string]*toggle `json:"channels"`
	Purposes  map[string]*toggle `json:"purposes"`
	Email     *struct {
		Marketing *struct {
			Status string `json:"status"`
		} `json:"marketing"`
	} `json:"email"`
	Devices []struct {
		ID      string `json:"id"`
		Enabled *bool  `json:"enabled"`
	} `json:"devices"`
	Cause   string              `json:"cause"`
	Wording *preference.Wording `json:"wording"`
}

type toggle struct {
	Enabled *bool `json:"enabled"`
}

// Read implements ports.WebhookReader.
func (Reader) Read(body []byte) ([]ports.WebhookEvent, error) {
	raw, err := webhook.Events(body)
	if err != nil {
		return nil, err
	}
	out := make([]ports.WebhookEvent, 0, len(raw))
	for _, one := range raw {
		var e event
		if err := one.Into(&e); err != nil {
			return nil, err
		}
		read, err := e.read(one)
		if err != nil {
			return nil, err
		}
		out = append(out, read)
	}
	return out, nil
}

func (e event) read(at webhook.Event) (ports.WebhookEvent, error) {
	if e.Type == "" {
		return ports.WebhookEvent{}, fault.OnField(at.Field("type"), "required", "must be given")
	}
	out := ports.WebhookEvent{ID: e.ID}
	if e.Type != Decision {
		out.Ignored = "unknown_type"
		return out, nil
	}
	r := rules{at: at}
	if e.Data == nil {
		r.broken("data", "required", "must be given")
		return out, r.err()
	}
	d := e.Data
	out.Told = preference.Told{Customer: r.customer(d.Customer), At: r.time(d.DecidedAt, e.Timestamp), Cause: r.cause(d.Cause), Wording: d.Wording,
		Channels: map[preference.ChannelKey]bool{}, Purposes: map[preference.PurposeID]bool{}, Devices: map[preference.DeviceID]bool{}}
	for key, t := range d.Channels {
		out.Told.Channels[preference.ChannelKey(key)] = r.toggle("data.channels."+key, t)
	}
	for key, t := range d.Purposes {
		out.Told.Purposes[preference.PurposeID(key)] = r.toggle("data.purposes."+key, t)
	}
	if d.Push != nil {
		on := r.toggle("data.push", d.Push)
		out.Told.Push = &on
	}
	if d.Email != nil && d.Email.Marketing != nil {
		out.Told.Email = r.email(d.Email.Marketing.Status)
	}
	r.devices(d, &out.Told)
	if _, err := preference.SetEmail(preference.Unsubscribed, d.Wording); err != nil {
		r.wording(err)
	}
	if r.err() == nil && d.Push == nil && out.Told.Email == "" && len(d.Channels)+len(d.Purposes)+len(d.Devices) == 0 {
		r.broken("data", "empty_change", "must say what was decided: push, channels, purposes, email or devices")
	}
	return out, r.err()
}

// rules collects what is broken, so that all of it is told at once.
type rules struct {
	at     webhook.Event
	fields []fault.Field
}

func (r *rules) broken(path, code, message string) {
	r.fields = append(r.fields, fault.Field{Path: r.at.Field(path), Code: code, Message: message})
}

func (r *rules) err() error {
	if len(r.fields) == 0 {
		return nil
	}
	return fault.OnFields(r.fields...)
}

func (r *rules) customer(s string) preference.CustomerID {
	id, err := preference.ParseCustomerID(s)
	if err != nil {
		r.broken("data.customer", "invalid_id", "must be 1 to 255 bytes without white space or control characters, and not . or ..")
	}
	return id
}

// time is when the person decided: of the event, where the decision has no time of its own.
func (r *rules) time(decided, told string) time.Time {
	path, text := "data.decided_at", decided
	if decided == "" {
		path, text = "timestamp", told
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		r.broken(path, "bad_format", "must be a time as in RFC 3339")
		return time.Time{}
	}
	at = webhook.Moment(at)
	if at.IsZero() {
		r.broken(path, "out_of_range", "must be from 1970 to 9999, in UTC")
	}
	return at
}

func (r *rules) toggle(path string, t *toggle) bool {
	if len(path) > 200 {
		r.broken("data", "too_long", "has a name that is too long")
		return false
	}
	if t == nil || t.Enabled == nil {
		r.broken(path+".enabled", "required", "must be true or false")
		return false
	}
	return *t.Enabled
}

func (r *rules) email(status string) preference.EmailStatus {
	s := preference.EmailStatus(status)
	if !slices.Contains([]preference.EmailStatus{preference.Subscribed, preference.Unsubscribed}, s) {
		r.broken("data.email.marketing.status", "not_allowed", "must be subscribed or unsubscribed")
	}
	return s
}

func (r *rules) cause(s string) string {
	if len(s) > 64 {
		r.broken("data.cause", "too_long", "must have at most 64 characters")
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			r.broken("data.cause", "bad_format", "must be a code of letters a to z, digits and _")
			break
		}
	}
	return s
}

func (r *rules) devices(d *data, told *preference.Told) {
	for _, one := range d.Devices {
		id, err := preference.ParseDeviceID(one.ID)
		switch {
		case err != nil:
			r.broken("data.devices", "invalid_id", "must each have an id of 1 to 128 letters, digits or any of . _ : -")
		case one.Enabled == nil:
			r.broken("data.devices", "required", "must each say whether it is enabled")
		default:
			told.Devices[id] = *one.Enabled
		}
	}
}

func (r *rules) wording(err error) {
	f, is := fault.As(err)
	if !is {
		return
	}
	for _, field := range f.Fields {
		r.broken("data."+field.Path, field.Code, field.Message)
	}
}
