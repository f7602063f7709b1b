package sandbox

import (
	"maps"
	"net/http"
	"slices"
)

// customerView is what every vendor holds of a customer, normalised.
type customerView struct {
	CRM  crmView  `json:"crm"`
	Push pushView `json:"push"`
	CMP  cmpView  `json:"cmp"`
}

type crmView struct {
	EmailMarketing string            `json:"email_marketing"`  // subscribed, unsubscribed, neutral or unknown
	Channels       map[string]string `json:"channels"`         // subscribed, unsubscribed or unknown, for every channel
	Topics         map[string]string `json:"topics,omitempty"` // the same, for every topic of e-mail
	quietView
}

type pushView struct {
	Devices []deviceView `json:"devices"`
	quietView
}

// quietView is left out where there are no quiet hours, and no zone is known.
type quietView struct {
	QuietHours string `json:"quiet_hours,omitempty"`
	TimeZone   string `json:"time_zone,omitempty"`
}

type deviceView struct {
	Token   string `json:"token"`
	Enabled bool   `json:"enabled"`
}

type cmpView struct {
	Purposes map[string]string `json:"purposes"` // granted, withdrawn or unknown, for every purpose
}

// customerPut is the body of PUT /_sandbox/customers/{customer}; what is not given stays as it is.
type customerPut struct {
	CRM *struct {
		EmailMarketing *string           `json:"email_marketing"`
		Channels       map[string]string `json:"channels"`
		quietPut
		Topics map[string]string `json:"topics"`
	} `json:"crm"`
	Push *struct {
		Devices *[]devicePut `json:"devices"`
		quietPut
	} `json:"push"`
	CMP *struct {
		Purposes map[string]string `json:"purposes"`
	} `json:"cmp"`
}

// quietPut sets what is given; "" is none.
type quietPut struct {
	QuietHours *string `json:"quiet_hours,omitempty"`
	TimeZone   *string `json:"time_zone,omitempty"`
}

func (q quietPut) given() bool { return q != quietPut{} }

type devicePut struct {
	Token   string `json:"token"`
	Enabled *bool  `json:"enabled"` // true when not given
	// Unregistered is a token that its platform does not know any more, as OneSignal finds out when it sends.
	Unregistered bool `json:"unregistered"`
	// Type is OneSignal's; without it the type the token has, or else AndroidPush.
	Type string `json:"type"`
}

// quietHours names Braze's custom attribute and OneSignal's tag.
const quietHours = "quiet_hours"

// emailStates maps the normalised e-mail state to Braze's.
var emailStates = map[string]string{
	"subscribed": brazeOptedIn, "unsubscribed": brazeUnsubscribed, "neutral": brazeSubscribed, stateUnknown: "",
}

var channelStates = map[string]string{
	"subscribed": brazeSubscribed, "unsubscribed": brazeUnsubscribed, stateUnknown: "",
}

func (s *Sandbox) getCustomer(r *http.Request) reply {
	var view customerView
	s.view(func(st *state) { view = st.customer(s.cfg, r.PathValue("customer")) })
	return ok(view)
}

// customer shows what a read of the vendors would: the applied state.
func (st *state) customer(cfg Config, id string) customerView {
	view := customerView{
		CRM:  crmView{EmailMarketing: stateUnknown, Channels: groupStates(cfg.Channels, st.Braze.Profiles[id]), Topics: groupStates(cfg.Topics, st.Braze.Profiles[id])},
		Push: pushView{Devices: []deviceView{}},
		CMP:  cmpView{Purposes: map[string]string{}},
	}
	profile := st.Braze.Profiles[id]
	if profile != nil {
		view.CRM.quietView = quietView{textOf(profile.Custom[quietHours]), textOf(profile.Standard["time_zone"])}
		for name, state := range emailStates {
			if state == profile.EmailSubscribe {
				view.CRM.EmailMarketing = name
			}
		}
	}
	if u := st.OneSignal.user(aliasExternalID, id); u != nil {
		view.Push.quietView = quietView{u.Tags[quietHours], textOf(u.Properties["timezone_id"])}
		for _, subID := range u.Subscriptions {
			if sub := st.OneSignal.Subscriptions[subID]; sub.isPush() {
				view.Push.Devices = append(view.Push.Devices, deviceView{sub.Token, sub.Enabled})
			}
		}
	}
	subject := st.OneTrust.Subjects[id]
	for _, p := range cfg.Purposes {
		view.CMP.Purposes[p.Name] = stateUnknown
		if subject != nil && subject.Purposes[p.OneTrustID] != nil {
			view.CMP.Purposes[p.Name] = consentOf(subject.Purposes[p.OneTrustID].Status)
		}
	}
	return view
}

func groupStates(all []Channel, profile *brazeProfile) map[string]string {
	out := map[string]string{}
	for _, ch := range all {
		out[ch.Key] = stateUnknown
		if profile != nil && profile.Groups[ch.BrazeGroupID] != "" {
			out[ch.Key] = profile.Groups[ch.BrazeGroupID]
		}
	}
	return out
}

// putCustomer sets what is given, at once and after everything that waits for the customer.
func (s *Sandbox) putCustomer(r *http.Request) reply {
	var in customerPut
	if bad := decodeStrict(r, &in); bad != nil {
		return badRequest(bad)
	}
	if bad := in.problems(s.cfg); bad != nil {
		return badRequest(bad)
	}
	id := r.PathValue("customer")
	return s.update(func(tx *writer) reply {
		var effects []*effect
		if ch := in.crmChange(s.cfg, id); ch != nil {
			effects = append(effects, tx.sync(targetCRM, []string{id}, ch))
		}
		if ch, keys := in.pushChange(&tx.st.OneSignal, id); ch != nil {
			effects = append(effects, tx.sync(targetPush, keys, ch))
		}
		if ch := in.cmpChange(s.cfg, id, tx); ch != nil {
			effects = append(effects, tx.sync(targetCMP, []string{id}, ch))
		}
		if len(effects) > 0 && tx.write(effects...) != nil {
			return unwritable()
		}
		return ok(tx.st.customer(s.cfg, id))
	})
}

func (in customerPut) problems(cfg Config) []fieldError {
	var bad []fieldError
	invalid := func(field, message string) { bad = append(bad, fieldError{field, "invalid", message}) }
	if in.CRM != nil {
		if email := in.CRM.EmailMarketing; email != nil && !has(emailStates, *email) {
			invalid("crm.email_marketing", "must be one of subscribed, unsubscribed, neutral, unknown")
		}
		bad = append(bad, groupProblems("channel", in.CRM.Channels, cfg.channel)...)
		bad = append(bad, groupProblems("topic", in.CRM.Topics, cfg.topic)...)
	}
	if in.Push != nil && in.Push.Devices != nil {
		bad = append(bad, deviceProblems(*in.Push.Devices)...)
	}
	if in.CMP != nil {
		for _, name := range slices.Sorted(maps.Keys(in.CMP.Purposes)) {
			state := in.CMP.Purposes[name]
			if _, known := cfg.purpose(func(p Purpose) bool { return p.Name == name }); !known {
				bad = append(bad, fieldError{"cmp.purposes." + name, "unknown", "is not a purpose"})
			} else if state != consentGranted && state != consentWithdrawn && state != stateUnknown {
				invalid("cmp.purposes."+name, "must be one of granted, withdrawn, unknown")
			}
		}
	}
	return bad
}

func groupProblems(kind string, given map[string]string, find func(string) (Channel, bool)) []fieldError {
	var bad []fieldError
	for _, key := range slices.Sorted(maps.Keys(given)) {
		field := "crm." + kind + "s." + key
		if _, known := find(key); !known {
			bad = append(bad, fieldError{field, "unknown", "is not a " + kind})
		} else if !has(channelStates, given[key]) {
			bad = append(bad, fieldError{field, "invalid", "must be one of subscribed, unsubscribed, unknown"})
		}
	}
	return bad
}

func deviceProblems(devices []devicePut) []fieldError {
	if len(devices) > oneSignalMaxSubscriptions {
		return []fieldError{{"push.devices", "invalid", "must be at most 20, as at the vendor"}}
	}
	var bad []fieldError
	seen := map[string]bool{}
	for _, d := range devices {
		switch {
		case d.Token == "":
			bad = append(bad, fieldError{"push.devices.token", "required", "must not be empty"})
		case seen[d.Token]:
			bad = append(bad, fieldError{"push.devices.token", "invalid", "must not be there twice"})
		case d.Type != "" && (!slices.Contains(oneSignalTypes, d.Type) || d.Type == "Email" || d.Type == "SMS"):
			bad = append(bad, fieldError{"push.devices.type", "invalid", "must be a push type of OneSignal"})
		}
		seen[d.Token] = true
	}
	return bad
}

func has(states map[string]string, state string) bool {
	_, known := states[state]
	return known
}

// crmChange is nil when nothing of the CRM is given.
func (in customerPut) crmChange(cfg Config, id string) change {
	if in.CRM == nil || in.CRM.EmailMarketing == nil && len(in.CRM.Channels) == 0 && len(in.CRM.Topics) == 0 && !in.CRM.given() {
		return nil
	}
	ch := &brazeSet{ExternalID: id, Groups: map[string]string{}, Quiet: in.CRM.quietPut}
	if in.CRM.EmailMarketing != nil {
		state := emailStates[*in.CRM.EmailMarketing]
		ch.EmailSubscribe = &state
	}
	for key, state := range in.CRM.Channels {
		known, _ := cfg.channel(key)
		ch.Groups[known.BrazeGroupID] = channelStates[state]
	}
	for key, state := range in.CRM.Topics {
		known, _ := cfg.topic(key)
		ch.Groups[known.BrazeGroupID] = channelStates[state]
	}
	return ch
}

// pushChange is nil when no devices are given; the keys are the users it touches.
func (in customerPut) pushChange(o *oneSignalState, id string) (change, []string) {
	if in.Push == nil || in.Push.Devices == nil && !in.Push.given() {
		return nil, nil
	}
	ch := &oneSignalSet{UserID: newID(), Customer: id}
	if u := o.user(aliasExternalID, id); u != nil {
		ch.UserID = u.ID
	}
	keys := []string{ch.UserID}
	ch.Quiet, ch.Keep = in.Push.quietPut, in.Push.Devices == nil
	for _, d := range valueOr(in.Push.Devices, nil) {
		kind := d.Type
		if kind == "" {
			kind = o.pushTypeOf(d.Token)
		}
		if sub := o.byToken(kind, d.Token); sub != nil {
			keys = append(keys, sub.User)
		}
		enabled := valueOr(d.Enabled, true)
		spec := oneSignalSpec{Type: kind, Token: d.Token, Enabled: &enabled}
		if d.Unregistered {
			off, reason := false, notificationsUnregistered
			spec.Enabled, spec.NotificationTypes = &off, &reason
		}
		ch.Devices = append(ch.Devices, spec)
		ch.SubscriptionIDs = append(ch.SubscriptionIDs, newID())
	}
	return ch, keys
}

func (o *oneSignalState) pushTypeOf(token string) string {
	for _, kind := range oneSignalTypes {
		if sub := o.byToken(kind, token); sub != nil && sub.isPush() {
			return kind
		}
	}
	return "AndroidPush"
}

// cmpChange is nil when no purposes are given.
func (in customerPut) cmpChange(cfg Config, id string, tx *writer) change {
	if in.CMP == nil || len(in.CMP.Purposes) == 0 {
		return nil
	}
	ch := &oneTrustSet{Identifier: id, Receipt: oneTrustReceipt{
		ID: newID(), At: tx.now, CollectionPoint: cfg.CollectionPointID, Interaction: tx.now.Format(receiptTime),
		Purposes: []oneTrustReceiptedItem{},
	}}
	for _, name := range slices.Sorted(maps.Keys(in.CMP.Purposes)) {
		p, _ := cfg.purpose(func(p Purpose) bool { return p.Name == name })
		item := oneTrustReceiptedItem{ID: p.OneTrustID, Name: p.Name, Type: "CONFIRMED"}
		switch in.CMP.Purposes[name] {
		case stateUnknown:
			ch.Forget = append(ch.Forget, p.OneTrustID)
			continue
		case consentWithdrawn:
			item.Type = "WITHDRAWN"
		}
		ch.Receipt.Purposes = append(ch.Receipt.Purposes, item)
	}
	return ch
}

// receiptTime is how a receipt's interactionDate is written.
const receiptTime = "2006-01-02T15:04:05.000Z"
