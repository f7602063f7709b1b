package sandbox

import (
	"encoding/json"
	"math/big"
	"slices"
	"time"
)

// The states of Braze's e-mail and push subscription; "subscribed" is neutral, neither opted in nor out.
const (
	brazeOptedIn      = "opted_in"
	brazeSubscribed   = "subscribed"
	brazeUnsubscribed = "unsubscribed"
)

// brazeState is what Braze holds, by external_id.
type brazeState struct {
	Profiles map[string]*brazeProfile `json:"profiles"`
}

type brazeProfile struct {
	BrazeID        string                     `json:"braze_id"`
	EmailSubscribe string                     `json:"email_subscribe"` // "" only when a control call made it unknown
	PushSubscribe  string                     `json:"push_subscribe"`
	Standard       map[string]json.RawMessage `json:"standard"` // email, language, …
	Custom         map[string]json.RawMessage `json:"custom"`
	Groups         map[string]string          `json:"groups"` // only groups with history
	Tokens         []brazeToken               `json:"tokens"`
	Events         map[string]brazeTally      `json:"events"`
	Purchases      map[string]brazeTally      `json:"purchases"`
	CreatedAt      time.Time                  `json:"created_at"`
}

type brazeToken struct {
	AppID    string `json:"app_id"`
	Token    string `json:"token"`
	DeviceID string `json:"device_id"`
}

type brazeTally struct {
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

func (b *brazeState) index() {
	if b.Profiles == nil {
		b.Profiles = map[string]*brazeProfile{}
	}
}

// make returns the profile, new with Braze's own defaults when there is none: neutral, which is a silent opt-in.
func (b *brazeState) make(externalID string, at time.Time) *brazeProfile {
	p := b.Profiles[externalID]
	if p == nil {
		p = &brazeProfile{
			BrazeID:        derivedID("braze", externalID, at.String()),
			EmailSubscribe: brazeSubscribed, PushSubscribe: brazeSubscribed,
			Standard: map[string]json.RawMessage{}, Custom: map[string]json.RawMessage{}, Groups: map[string]string{},
			Events: map[string]brazeTally{}, Purchases: map[string]brazeTally{}, CreatedAt: at,
		}
		b.Profiles[externalID] = p
	}
	return p
}

// having lists the external ids of the profiles whose standard field has the value, sorted.
func (b *brazeState) having(field, value string) []string {
	var out []string
	for id, p := range b.Profiles {
		if value != "" && textOf(p.Standard[field]) == value {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// brazeAttributes is one valid object of a /users/track call's attributes.
type brazeAttributes struct {
	ExternalID     string                     `json:"external_id"`
	UpdateOnly     bool                       `json:"update_only,omitempty"`
	EmailSubscribe string                     `json:"email_subscribe,omitempty"`
	PushSubscribe  string                     `json:"push_subscribe,omitempty"`
	Groups         map[string]string          `json:"groups,omitempty"`
	ClearTokens    bool                       `json:"clear_tokens,omitempty"`
	AddTokens      []brazeToken               `json:"add_tokens,omitempty"`
	Standard       map[string]json.RawMessage `json:"standard,omitempty"`
	Custom         map[string]json.RawMessage `json:"custom,omitempty"`
}

func (*brazeAttributes) kind() string { return "crm.attributes" }

func (a *brazeAttributes) apply(st *state, e *effect) {
	if a.UpdateOnly && st.Braze.Profiles[a.ExternalID] == nil {
		return
	}
	p := st.Braze.make(a.ExternalID, e.At)
	if a.EmailSubscribe != "" {
		p.EmailSubscribe = a.EmailSubscribe
	}
	if a.PushSubscribe != "" {
		p.PushSubscribe = a.PushSubscribe
	}
	for id, value := range a.Groups {
		p.Groups[id] = value
	}
	if a.ClearTokens {
		p.Tokens = nil
	}
	for _, token := range a.AddTokens {
		p.Tokens = slices.DeleteFunc(p.Tokens, func(t brazeToken) bool { return t.AppID == token.AppID && t.Token == token.Token })
		p.Tokens = append(p.Tokens, token)
	}
	for field, value := range a.Standard {
		setOrRemove(p.Standard, field, value)
	}
	for field, value := range a.Custom {
		setOrRemove(p.Custom, field, brazeCustomValue(p.Custom[field], value))
	}
}

func setOrRemove(fields map[string]json.RawMessage, field string, value json.RawMessage) {
	if isNull(value) {
		delete(fields, field)
		return
	}
	fields[field] = value
}

// brazeCustomValue resolves {"inc":n}, {"add":[…]} and {"remove":[…]} against the value there was.
func brazeCustomValue(before, value json.RawMessage) json.RawMessage {
	op := objectOf(value)
	if len(op) != 1 {
		return value
	}
	for name, operand := range op {
		switch name {
		case "inc":
			return increased(before, operand, value)
		case "add", "remove":
			return listChanged(before, operand, name == "add", value)
		}
	}
	return value
}

func increased(before, by, otherwise json.RawMessage) json.RawMessage {
	sum, ok := new(big.Int).SetString(string(by), 10)
	if !ok {
		return otherwise
	}
	if old, ok := new(big.Int).SetString(string(before), 10); ok {
		sum.Add(sum, old)
	}
	return json.RawMessage(sum.String())
}

func listChanged(before, items json.RawMessage, add bool, otherwise json.RawMessage) json.RawMessage {
	var change, list []any
	if json.Unmarshal(items, &change) != nil {
		return otherwise
	}
	_ = json.Unmarshal(before, &list) // what was no list is replaced
	for _, item := range change {
		list = slices.DeleteFunc(list, func(old any) bool { return sameJSON(old, item) })
		if add {
			list = append(list, item)
		}
	}
	if list == nil {
		list = []any{}
	}
	out, err := json.Marshal(list)
	if err != nil {
		return otherwise
	}
	return out
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// brazeOccurrence is one event or purchase; there is no deduplication.
type brazeOccurrence struct {
	ExternalID string `json:"external_id"`
	Name       string `json:"name"`
	Purchase   bool   `json:"purchase,omitempty"`
}

func (*brazeOccurrence) kind() string { return "crm.occurrence" }

func (o *brazeOccurrence) apply(st *state, e *effect) {
	p := st.Braze.make(o.ExternalID, e.At)
	tallies := p.Events
	if o.Purchase {
		tallies = p.Purchases
	}
	tally := tallies[o.Name]
	if tally.Count == 0 {
		tally.First = e.At
	}
	tally.Count, tally.Last = tally.Count+1, e.At
	tallies[o.Name] = tally
}

// brazeGroupChange sets one group for the known among the people addressed; it creates nobody.
type brazeGroupChange struct {
	GroupID     string   `json:"group_id"`
	State       string   `json:"state"`
	ExternalIDs []string `json:"external_ids,omitempty"`
	Emails      []string `json:"emails,omitempty"`
	Phones      []string `json:"phones,omitempty"`
}

func (*brazeGroupChange) kind() string { return "crm.group" }

func (g *brazeGroupChange) apply(st *state, _ *effect) {
	ids := slices.Clone(g.ExternalIDs)
	for _, email := range g.Emails {
		ids = append(ids, st.Braze.having("email", email)...)
	}
	for _, phone := range g.Phones {
		ids = append(ids, st.Braze.having("phone", phone)...)
	}
	for _, id := range ids {
		if p := st.Braze.Profiles[id]; p != nil {
			p.Groups[g.GroupID] = g.State
		}
	}
}

type brazeDeletion struct {
	ExternalIDs []string `json:"external_ids"`
}

func (*brazeDeletion) kind() string { return "crm.delete" }

func (d *brazeDeletion) apply(st *state, _ *effect) {
	for _, id := range d.ExternalIDs {
		delete(st.Braze.Profiles, id)
	}
}

// brazeSet is the control call: only what is given is set, "" makes it unknown again.
type brazeSet struct {
	ExternalID     string            `json:"external_id"`
	EmailSubscribe *string           `json:"email_subscribe,omitempty"`
	Groups         map[string]string `json:"groups,omitempty"`
	Quiet          quietPut          `json:"quiet,omitzero"`
}

func (*brazeSet) kind() string { return "crm.set" }

func (c *brazeSet) apply(st *state, e *effect) {
	isNew := st.Braze.Profiles[c.ExternalID] == nil
	p := st.Braze.make(c.ExternalID, e.At)
	if isNew {
		p.EmailSubscribe = "" // a control call sets what it names, Braze's default included
	}
	if c.EmailSubscribe != nil {
		p.EmailSubscribe = *c.EmailSubscribe
	}
	for id, value := range c.Groups {
		if value == "" {
			delete(p.Groups, id)
		} else {
			p.Groups[id] = value
		}
	}
	if c.Quiet.QuietHours != nil {
		setOrRemove(p.Custom, quietHours, textOrNull(*c.Quiet.QuietHours))
	}
	if c.Quiet.TimeZone != nil {
		setOrRemove(p.Standard, "time_zone", textOrNull(*c.Quiet.TimeZone))
	}
	if p.EmailSubscribe == "" && len(p.Groups)+len(p.Custom)+len(p.Standard) == 0 { // somebody with nothing known is nobody Braze has heard of
		delete(st.Braze.Profiles, c.ExternalID)
	}
}

var _ = registerChange(
	func() change { return &brazeAttributes{} },
	func() change { return &brazeOccurrence{} },
	func() change { return &brazeGroupChange{} },
	func() change { return &brazeDeletion{} },
	func() change { return &brazeSet{} },
)
