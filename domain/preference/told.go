package preference

import (
	"maps"
	"slices"
	"time"

	"accord/domain/fault"
)

// Told is what a system outside says that a person has decided. What it does not speak of is nil or empty.
type Told struct {
	Customer CustomerID
	At       time.Time // when the person decided; zero where that is not known
	Cause    string    // a stable code, empty for none
	Push     *bool
	Channels map[ChannelKey]bool
	Purposes map[PurposeID]bool
	Email    EmailStatus
	Devices  map[DeviceID]bool
	Tokens   map[string]bool // whether the device that has it gets notifications
	Gone     []string        // tokens that reach nobody any more
	Wording  *Wording
}

// Part is one change that follows from what we were told. Why is set instead where none does: unknown_channel,
// unknown_purpose, unknown_device, channel_required, unchanged.
type Part struct {
	Name   string // unique among the parts, and the same whenever the same is told
	Change Change
	Why    string
	// What the origin holds according to this, where it is a target; no Says where it does not follow.
	Item Item
	Says State
}

// Told takes apart what we were told into changes on these preferences, in a fixed order. What comes from a target makes
// a part for each item that it holds, so that each is held against what we have written there ourselves.
func (p Preferences) Told(t Told, origin Target) []Part {
	parts := p.toldSwitches(t, origin)
	for _, purpose := range slices.Sorted(maps.Keys(t.Purposes)) {
		parts = append(parts, p.toldPurpose(t, purpose, origin)...)
	}
	if t.Email != "" {
		part := Part{Name: "email", Item: Item{Kind: EmailItem}, Says: onOff(t.Email == Subscribed)}
		part.take(SetEmail(t.Email, t.Wording))
		parts = append(parts, part.from(origin == CRM))
	}
	for _, id := range slices.Sorted(maps.Keys(t.Devices)) {
		parts = append(parts, p.toldDevice("device/"+string(id), id, t.Devices[id]).from(false))
	}
	for _, token := range slices.Sorted(maps.Keys(t.Tokens)) {
		id, _ := p.having(token)
		part := p.toldDevice("token/"+Fingerprint(token), id, t.Tokens[token])
		part.Item = Item{DeviceItem, token}
		parts = append(parts, part.from(origin == Push))
	}
	for _, token := range slices.Sorted(slices.Values(t.Gone)) {
		part := Part{Name: "gone/" + Fingerprint(token), Why: "unknown_device"}
		if id, known := p.having(token); known {
			part.Why, part.Change = "", ReleaseMovedToken(id, token, orElse(t.At, maxTime))
		}
		parts = append(parts, part)
	}
	return parts
}

// maxTime is later than anything: whoever does not say when means whatever holds now.
var maxTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// take is the result of one of the functions that build a Change.
func (part *Part) take(c Change, err error) {
	if part.Change = c; err != nil {
		part.Why = "invalid"
		if f, is := fault.As(err); is && len(f.Fields) > 0 {
			part.Why = f.Fields[0].Code
		}
	}
}

// from leaves out what the origin holds where it does not follow from what it says.
func (part Part) from(follows bool) Part {
	if !follows {
		part.Item, part.Says = Item{}, ""
	}
	return part
}

func (p Preferences) toldSwitches(t Told, origin Target) (parts []Part) {
	together := Part{Name: "switches"}
	switches := map[ChannelKey]bool{}
	for _, key := range slices.Sorted(maps.Keys(t.Channels)) {
		on := t.Channels[key]
		part := Part{Name: "channel/" + string(key), Item: Item{ChannelItem, string(key)}, Says: onOff(on)}
		ch, known := p.catalogue.Channel(key)
		switch {
		case !known:
			part.Why, part.Says = "unknown_channel", ""
		case ch.Required && on:
			part.Why = "unchanged"
		case ch.Required:
			part.Why = "channel_required"
		case origin == "":
			switches[key] = on
			continue
		default:
			part.take(SwitchPush(nil, map[ChannelKey]bool{key: on}, t.Wording))
		}
		parts = append(parts, part.from(origin == CRM || origin == Push))
	}
	switch {
	case origin == "" && (t.Push != nil || len(switches) > 0):
		together.take(SwitchPush(t.Push, switches, t.Wording))
		parts = append(parts, together)
	case t.Push != nil:
		part := Part{Name: "push", Item: Item{Kind: PushItem}, Says: onOff(*t.Push)}
		part.take(SwitchPush(t.Push, nil, t.Wording))
		parts = append(parts, part.from(origin == CRM))
	}
	return parts
}

// toldPurpose switches what the purpose is linked to. Consent to a purpose of which something is on already switches
// nothing else on: nobody has asked for that.
func (p Preferences) toldPurpose(t Told, purpose PurposeID, origin Target) (parts []Part) {
	granted := t.Purposes[purpose]
	of := func(part Part) Part {
		part.Item, part.Says = Item{PurposeItem, string(purpose)}, onOff(granted)
		return part.from(origin == CMP)
	}
	switches := map[ChannelKey]bool{}
	for _, ch := range p.catalogue.channels {
		if ch.Purpose == purpose && !ch.Required && !(granted && p.wants(purpose) && !p.Channel(ch.Key).Enabled) {
			switches[ch.Key] = granted
		}
	}
	if len(switches) > 0 {
		part := Part{Name: "purpose/" + string(purpose) + "/channels"}
		part.take(SwitchPush(nil, switches, t.Wording))
		parts = append(parts, of(part))
	}
	if p.catalogue.emailPurpose == purpose && !(granted && p.wants(purpose) && p.email.Status != Subscribed) {
		part := Part{Name: "purpose/" + string(purpose) + "/email"}
		part.take(SetEmail(map[bool]EmailStatus{true: Subscribed, false: Unsubscribed}[granted], t.Wording))
		parts = append(parts, of(part))
	}
	if len(parts) == 0 {
		return []Part{{Name: "purpose/" + string(purpose), Why: "unknown_purpose"}}
	}
	return parts
}

func (p Preferences) toldDevice(name string, id DeviceID, on bool) Part {
	part := Part{Name: name, Says: onOff(on)}
	if dev, known := p.Device(id); !known {
		part.Why, part.Says = "unknown_device", ""
	} else if dev.Enabled && on {
		part.Why = "unchanged" // providers say so each time the app is opened
	} else {
		part.take(SwitchDevice(id, &on, nil))
	}
	return part
}

func (p Preferences) having(token string) (DeviceID, bool) {
	for _, d := range p.devices {
		if d.Token == token {
			return d.ID, true
		}
	}
	return "", false
}

// Written is what an operation has written to a target, or may have.
type Written struct {
	Write   Holding
	Restore Holding // what was put back, nil while nothing is
	From    time.Time
	Until   time.Time // zero while it may go on
}

// A vendor's clock, and the time it takes to apply what it has accepted, let what we wrote seem to have been decided
// outside the time in which we wrote it. For what lets us send more the doubt goes further, and where the vendor does not
// say when, as far as its repeats may reach.
const (
	echoOfGrant      = 2 * time.Minute
	echoOfWithdrawal = 10 * time.Second
	echoOfUnknown    = 15 * time.Minute
)

// EchoWindow is how far from the time of a decision a write can be that it echoes.
const EchoWindow = echoOfUnknown

// isEcho reports that a target which says that it holds something since the given time (zero where it does not tell)
// only repeats what we have written there. An echo is no decision, however late it comes: above all not that of a grant
// that was taken back since.
func isEcho(i Item, says State, at, now time.Time, written []Written) bool {
	doubt := echoOfGrant
	if says == Off {
		doubt = echoOfWithdrawal
	}
	if at.IsZero() {
		at, doubt = now, echoOfUnknown
	}
	return slices.ContainsFunc(written, func(w Written) bool {
		s, wrote := w.Write[i]
		back, restored := w.Restore[i]
		if !(wrote && s == says || restored && back == says) {
			return false
		}
		return !at.Before(w.From.Add(-doubt)) && !at.After(orElse(w.Until, now).Add(doubt))
	})
}

// Echoes reports that the origin only repeats what we have written there, like isEcho. What the person has switched on there
// since then, and switches off again, is no repeat: whatever the clocks say, the origin holds it off.
func (p Preferences) Echoes(i Item, says State, at, now time.Time, origin Target, written []Written) bool {
	if on := p.switchedOnAt(i, origin); says == Off && !on.IsZero() {
		written = slices.DeleteFunc(slices.Clone(written), func(w Written) bool { return !w.Until.IsZero() && w.Until.Before(on) })
	}
	return isEcho(i, says, at, now, written)
}

// switchedOnAt is when the person has last switched the item on at the origin, where it is that what holds; else zero.
func (p Preferences) switchedOnAt(i Item, origin Target) (at time.Time) {
	look := func(on bool, source Source, when time.Time) {
		if on && source.Origin() == origin && when.After(at) {
			at = when
		}
	}
	email := func() { look(p.email.Status == Subscribed, p.email.Source, p.email.At) }
	channel := func(key ChannelKey) {
		ch := p.Channel(key)
		look(ch.Enabled, ch.Source, ch.At)
	}
	switch i.Kind {
	case EmailItem:
		email()
	case PushItem:
		look(p.push.Enabled, p.push.Source, p.push.At)
	case ChannelItem:
		channel(ChannelKey(i.Key))
	case PurposeItem:
		if string(p.catalogue.emailPurpose) == i.Key {
			email()
		}
		for _, ch := range p.catalogue.channels {
			if string(ch.Purpose) == i.Key {
				channel(ch.Key)
			}
		}
	default:
	}
	return at
}

// Disagrees reports that a target which holds what it says holds something else than it shall, and of which kind it is to
// put that right: a Withdrawal where it would send and must not.
func (p Preferences) Disagrees(t Target, i Item, says State) (Kind, bool) {
	shall, ours := p.Desired(t)[i]
	switch {
	case !ours || says == "" || shall == says:
		return "", false
	case says == On && shall == Off:
		return Withdrawal, true
	case says == Off && shall == On:
		return Grant, true
	}
	return "", false
}

// Expected are the preferences once everything that is accepted is applied.
func (a *Account) Expected() Preferences { return a.expected() }
