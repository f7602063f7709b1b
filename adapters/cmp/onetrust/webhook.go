package onetrust

import (
	"strings"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Webhooks reads what OneTrust's integration workflows tell: receipts, or what changed of a person's purposes.
type Webhooks struct {
	purposes map[string]preference.PurposeID // by OneTrust's id, in lower case
}

var _ ports.WebhookReader = (*Webhooks)(nil)

// NewWebhooks maps OneTrust's purposes to ours, as Config.Purposes does.
func NewWebhooks(purposes map[preference.PurposeID]string) *Webhooks {
	w := &Webhooks{purposes: map[string]preference.PurposeID{}}
	for ours, theirs := range purposes {
		w.purposes[strings.ToLower(theirs)] = ours
	}
	return w
}

// told is a receipt. Names are matched whatever their case is: OneTrust writes some of them in either.
type told struct {
	ID          string `json:"receiptId"`
	OtherID     string `json:"id"`
	Identifier  string `json:"identifier"`
	Interaction string `json:"interactionDate"`
	Purposes    []struct {
		ID     string `json:"id"`
		Type   string `json:"transactionType"`
		Status string `json:"status"`
	} `json:"purposes"`
}

// decided are the words for a decision. NOTGIVEN, PENDING, NO_CHOICE and what is about options are none, and what only
// goes on (EXTEND, IMPLICIT) is no consent: we do not guess that somebody consented.
var decided = map[string]bool{
	"CONFIRMED": true, "ACTIVE": true, "OPT_IN": true,
	"WITHDRAWN": false, "OPT_OUT": false, "HARD_OPT_OUT": false, "EXPIRED": false,
}

// Read implements ports.WebhookReader.
func (w *Webhooks) Read(body []byte) ([]ports.WebhookEvent, error) {
	raw, err := webhook.Events(body)
	if err != nil {
		return nil, err
	}
	out := make([]ports.WebhookEvent, len(raw))
	for i, one := range raw {
		var r told
		if err := one.Into(&r); err != nil {
			out[i].Ignored = "malformed"
			continue
		}
		out[i] = w.read(r)
	}
	return out, nil
}

func (w *Webhooks) read(r told) ports.WebhookEvent {
	out := ports.WebhookEvent{ID: r.ID}
	if r.ID == "" {
		out.ID = r.OtherID
	}
	customer, err := preference.ParseCustomerID(r.Identifier)
	if err != nil {
		out.Ignored = "no_customer"
		return out
	}
	out.Told.Customer = customer
	if at, err := time.Parse(time.RFC3339, r.Interaction); err == nil {
		out.Told.At = webhook.Moment(at)
	}
	out.Ignored = "no_choice"
	for _, p := range r.Purposes {
		ours, known := w.purposes[strings.ToLower(p.ID)]
		word := strings.ToUpper(p.Type)
		if word == "" {
			word = strings.ToUpper(p.Status)
		}
		granted, is := decided[word]
		switch before, twice := out.Told.Purposes[ours]; {
		case !known && out.Ignored != "":
			out.Ignored = "unknown_purpose"
			continue
		case !known, !is:
			continue
		case twice && !before:
			continue // a receipt that says both: the withdrawal wins
		}
		if out.Told.Purposes == nil {
			out.Told.Purposes = map[preference.PurposeID]bool{}
		}
		out.Told.Purposes[ours], out.Ignored = granted, ""
	}
	return out
}
