package sandbox

import (
	"encoding/json"
	"slices"
	"time"
)

// oneSignalProperties are changes to a user's properties; an empty tag value removes the tag.
type oneSignalProperties struct {
	Tags   map[string]string          `json:"tags,omitempty"`
	Others map[string]json.RawMessage `json:"others,omitempty"`
}

func (p oneSignalProperties) applyTo(u *oneSignalUser) {
	for key, value := range p.Tags {
		if value == "" {
			delete(u.Tags, key)
		} else {
			u.Tags[key] = value
		}
	}
	for field, value := range p.Others {
		setOrRemove(u.Properties, field, value)
	}
}

// oneSignalUpsert makes a user or changes one.
type oneSignalUpsert struct {
	UserID          string              `json:"user_id"`
	Aliases         map[string]string   `json:"aliases,omitempty"`
	Properties      oneSignalProperties `json:"properties"`
	Subscriptions   []oneSignalSpec     `json:"subscriptions,omitempty"`
	SubscriptionIDs []string            `json:"subscription_ids,omitempty"` // for those that are new
}

func (*oneSignalUpsert) kind() string { return "push.upsert" }

func (c *oneSignalUpsert) apply(st *state, e *effect) {
	u := st.OneSignal.makeUser(c.UserID)
	st.OneSignal.setAliases(u, c.Aliases)
	c.Properties.applyTo(u)
	for i, spec := range c.Subscriptions {
		st.OneSignal.put(u, spec, c.SubscriptionIDs[i], e.At)
	}
}

// oneSignalUserUpdate changes properties of a user that may be gone by then.
type oneSignalUserUpdate struct {
	UserID     string              `json:"user_id"`
	Properties oneSignalProperties `json:"properties"`
}

func (*oneSignalUserUpdate) kind() string { return "push.user" }

func (c *oneSignalUserUpdate) apply(st *state, _ *effect) {
	if u := st.OneSignal.Users[c.UserID]; u != nil {
		c.Properties.applyTo(u)
	}
}

type oneSignalUserDeletion struct {
	UserID string `json:"user_id"`
}

func (*oneSignalUserDeletion) kind() string { return "push.user_delete" }

func (c *oneSignalUserDeletion) apply(st *state, _ *effect) {
	o := &st.OneSignal
	u := o.Users[c.UserID]
	if u == nil {
		return
	}
	for _, id := range slices.Clone(u.Subscriptions) {
		o.remove(o.Subscriptions[id])
	}
	for label, value := range u.Aliases {
		delete(o.aliases, oneSignalAlias{label, value})
	}
	delete(o.Users, u.ID)
}

// oneSignalSubscriptionUpdate changes a subscription that may be gone by then.
type oneSignalSubscriptionUpdate struct {
	ID   string        `json:"id"`
	Spec oneSignalSpec `json:"spec"`
}

func (*oneSignalSubscriptionUpdate) kind() string { return "push.subscription" }

func (c *oneSignalSubscriptionUpdate) apply(st *state, _ *effect) {
	o := &st.OneSignal
	sub := o.Subscriptions[c.ID]
	if sub == nil {
		return
	}
	if c.Spec.Token != "" && o.byToken(sub.Type, c.Spec.Token) == nil {
		delete(o.tokens, sub.key())
		sub.Token = c.Spec.Token
		o.tokens[sub.key()] = sub.ID
	}
	sub.update(c.Spec)
}

type oneSignalSubscriptionDeletion struct {
	ID string `json:"id"`
}

func (*oneSignalSubscriptionDeletion) kind() string { return "push.subscription_delete" }

func (c *oneSignalSubscriptionDeletion) apply(st *state, _ *effect) {
	if sub := st.OneSignal.Subscriptions[c.ID]; sub != nil {
		st.OneSignal.remove(sub)
	}
}

type oneSignalTransfer struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
}

func (*oneSignalTransfer) kind() string { return "push.transfer" }

func (c *oneSignalTransfer) apply(st *state, e *effect) {
	sub, u := st.OneSignal.Subscriptions[c.ID], st.OneSignal.Users[c.UserID]
	if sub != nil && u != nil {
		st.OneSignal.move(sub, u, e.At)
	}
}

// oneSignalSet is the control call: the user's push devices become exactly these; others lose the tokens named.
type oneSignalSet struct {
	UserID          string          `json:"user_id"`
	Customer        string          `json:"customer"`
	Devices         []oneSignalSpec `json:"devices"`
	SubscriptionIDs []string        `json:"subscription_ids"`
	Keep            bool            `json:"keep,omitempty"` // the devices as they are
	Quiet           quietPut        `json:"quiet,omitzero"`
}

func (*oneSignalSet) kind() string { return "push.set" }

func (c *oneSignalSet) apply(st *state, e *effect) {
	o := &st.OneSignal
	u := o.Users[c.UserID]
	if u == nil && len(c.Devices) == 0 && valueOr(c.Quiet.QuietHours, "")+valueOr(c.Quiet.TimeZone, "") == "" {
		return // nobody without devices stays nobody
	}
	if u == nil {
		u = o.makeUser(c.UserID)
		o.setAliases(u, map[string]string{aliasExternalID: c.Customer})
	}
	if c.Quiet.QuietHours != nil {
		oneSignalProperties{Tags: map[string]string{quietHours: *c.Quiet.QuietHours}}.applyTo(u)
	}
	if c.Quiet.TimeZone != nil {
		setOrRemove(u.Properties, "timezone_id", textOrNull(*c.Quiet.TimeZone))
	}
	if c.Keep {
		return
	}
	for _, id := range slices.Clone(u.Subscriptions) {
		sub := o.Subscriptions[id]
		listed := slices.ContainsFunc(c.Devices, func(d oneSignalSpec) bool { return d.Token == sub.Token && d.Type == sub.Type })
		if sub.isPush() && !listed {
			o.remove(sub)
		}
	}
	for i, spec := range c.Devices {
		// A little apart, so that eviction and order follow the list.
		o.put(u, spec, c.SubscriptionIDs[i], e.At.Add(time.Duration(i)))
	}
	slices.SortStableFunc(u.Subscriptions, func(a, b string) int {
		return o.Subscriptions[a].LastSession.Compare(o.Subscriptions[b].LastSession)
	})
}

var _ = registerChange(
	func() change { return &oneSignalUpsert{} },
	func() change { return &oneSignalUserUpdate{} },
	func() change { return &oneSignalUserDeletion{} },
	func() change { return &oneSignalSubscriptionUpdate{} },
	func() change { return &oneSignalSubscriptionDeletion{} },
	func() change { return &oneSignalTransfer{} },
	func() change { return &oneSignalSet{} },
)
