package preference

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Item is one thing a target holds about a customer, such as the CRM's state of a channel.
type Item struct {
	Kind ItemKind
	Key  string // channel, token or purpose; empty for the kinds there is only one of
}

// ItemKind says what an Item is about.
type ItemKind string

const (
	EmailItem     ItemKind = "email"     // crm: the e-mail subscription
	PushItem      ItemKind = "push"      // crm: the global push switch
	ReachableItem ItemKind = "reachable" // crm: is there any device a push could reach
	ChannelItem   ItemKind = "channel"   // crm and push: a channel
	DeviceItem    ItemKind = "device"    // push: a token
	PurposeItem   ItemKind = "purpose"   // cmp: a consent
	// crm and push: quiet hours as QuietHours.String, and the zone that they are in. Both have these words, and no On and
	// Off, as their states. A target may know a zone that we know nothing of.
	QuietItem ItemKind = "quiet_hours"
	ZoneItem  ItemKind = "time_zone"
)

// ItemKinds are those that each target may hold.
var ItemKinds = map[Target][]ItemKind{
	CRM:  {EmailItem, EmailTopicItem, PushItem, ReachableItem, ChannelItem, QuietItem, ZoneItem},
	Push: {DeviceItem, ChannelItem, QuietItem, ZoneItem},
	CMP:  {PurposeItem},
}

// State is what a target holds for an Item. Every target's own words are translated into these.
type State string

const (
	On      State = "on"      // subscribed, enabled, granted
	Off     State = "off"     // unsubscribed, disabled, withdrawn
	Neutral State = "neutral" // the CRM's "neither in nor out"
	Unknown State = "unknown" // the target has never heard of it
	// Unregistered is a token that its platform does not know any more, as far as the push provider has found out. It gets
	// nothing, and is only ever read.
	Unregistered State = "unregistered"
)

// Words reports a state in words of its own, such as quiet hours.
func (s State) Words() bool {
	switch s {
	case "", On, Off, Neutral, Unknown, Unregistered:
		return false
	}
	return true
}

// InWords reads what a target says in words of its own, such as quiet hours. Nothing, one of our own states, what is longer
// than any of it can be and what can't be written down say nothing: false.
func InWords(text string) (State, bool) {
	s := State(text)
	return s, s.Words() && len(text) <= 255 && storable(text)
}

// Storable reports whether the item is named by what can be written down. Nothing of ours has another name.
func (i Item) Storable() bool { return storable(i.Key) }

// Holding is what a target holds, or shall hold, about one customer. An Item that is not listed is Unknown.
type Holding map[Item]State

// State of one item.
func (h Holding) State(i Item) State {
	if s, ok := h[i]; ok {
		return s
	}
	return Unknown
}

// Missing is the part of want that h does not hold.
func (h Holding) Missing(want Holding) Holding {
	out := Holding{}
	for i, s := range want {
		if held := h.State(i); held != s && (held != Unregistered || s != Off) {
			out[i] = s
		}
	}
	return out
}

func onOff(on bool) State {
	if on {
		return On
	}
	return Off
}

// Desired is everything a target shall hold for these preferences.
func (p Preferences) Desired(t Target) Holding {
	h := Holding{}
	switch t {
	case CRM:
		h[Item{Kind: EmailItem}] = onOff(p.email.Status == Subscribed)
		h[Item{Kind: PushItem}] = onOff(p.push.Enabled)
		if p.push.Enabled && p.push.At.IsZero() {
			h[Item{Kind: PushItem}] = Neutral // never chosen: claiming an opt-in would be a lie
		}
		h[Item{Kind: ReachableItem}] = onOff(p.reachable())
		p.desireChannels(h, nowhere)
		p.desireQuietHours(h)
		p.desireTopics(h)
	case Push:
		for _, d := range p.devices {
			h[Item{DeviceItem, d.Token}] = onOff(p.delivers(d))
		}
		p.desireChannels(h, p.silencedEverywhere)
		p.desireQuietHours(h)
	case CMP:
		for purpose, s := range p.purposes {
			h[Item{PurposeItem, string(purpose)}] = onOff(s == ConsentGranted)
		}
	}
	return h
}

func (p Preferences) desireChannels(h Holding, silenced func(Channel) bool) {
	for _, ch := range p.catalogue.channels {
		consented := ch.Purpose == "" || p.Purpose(ch.Purpose) != ConsentWithdrawn
		h[Item{ChannelItem, string(ch.Key)}] = onOff(p.Channel(ch.Key).Enabled && consented && !silenced(ch))
	}
}

func nowhere(Channel) bool { return false }

// silencedEverywhere: the push provider knows a channel per person, not per device. Where each device that would get the
// channel has it switched off, it is told that the channel is off.
func (p Preferences) silencedEverywhere(ch Channel) bool {
	heard, silent := false, false
	for _, d := range p.devices {
		if !p.delivers(d) {
			continue
		}
		if on, switched := d.Channels[ch.Key]; switched && !on && !ch.Required {
			silent = true
		} else {
			heard = true
		}
	}
	return silent && !heard
}

func (p Preferences) delivers(d Device) bool {
	return p.push.Enabled && d.Enabled && d.Permission.Delivers()
}

func (p Preferences) reachable() bool {
	for _, d := range p.devices {
		if p.delivers(d) {
			return true
		}
	}
	return false
}

// Assignment is what an operation writes to one target and how to take it back. It is fixed before the first write and
// never made again, because a snapshot taken after a write whose answer was lost would show our own change.
type Assignment struct {
	Write   Holding `json:"write"`   // shall hold after apply
	Saw     Holding `json:"saw"`     // held when the snapshot was taken
	Restore Holding `json:"restore"` // shall hold after an undo
}

// Assign decides what going from before to after means for a target that holds current. It writes what differs between
// the two, what the change says, and what the target has never heard of (so that the first change creates the person
// with exactly our state and not with the vendor's defaults). What else the target holds differently is drift: not this
// change's to overwrite.
func Assign(t Target, c Change, before, after Preferences, current Holding) Assignment {
	if c.Erases() {
		return assignNothing(current)
	}
	was, shall := before.Desired(t), after.Desired(t)
	a := Assignment{Write: Holding{}, Saw: Holding{}, Restore: Holding{}}
	put := func(i Item, s State) {
		a.Write[i] = s
		a.Saw[i], a.Restore[i] = current.State(i), current.State(i)
		if a.Restore[i] == Unregistered {
			a.Restore[i] = Off // nobody can be told that
		}
		// A target cannot be told to forget a person. Where it had never heard of an item, our own state before is
		// the closest thing to restore; but what it never had and we only take away stays away.
		if prior, ours := was[i]; a.Restore[i] == Unknown && ours && s != Unknown {
			a.Restore[i] = prior
		}
	}
	for i, s := range shall {
		if current.State(i) == Unregistered && c.Token() != i.Key {
			continue // it gets nothing whatever is written, and is to go: see PruneDevice
		}
		if was.State(i) != s || current.State(i) == Unknown || c.names(i, t, after) {
			put(i, s)
		}
	}
	if quiet := (Item{Kind: QuietItem}); c.removesQuietHours() && t != CMP && current.State(quiet) != Unknown {
		put(quiet, Unknown)
	}
	for i := range was {
		if _, still := shall[i]; !still && i.Kind != ZoneItem {
			put(i, Unknown)
		}
	}
	for _, i := range c.c.Items { // held there, and nothing that we know of
		if _, ours := shall[i]; !ours {
			put(i, Unknown)
		}
	}
	return a
}

// names reports whether the change itself speaks about an item.
func (c Change) names(i Item, t Target, after Preferences) bool {
	d := c.c
	if slices.Contains(d.Items, i) {
		return true
	}
	switch i.Kind {
	case EmailItem:
		return d.Email != ""
	case QuietItem, ZoneItem:
		return d.Quiet != nil
	case PushItem:
		return d.Push != nil
	case EmailTopicItem:
		_, named := d.EmailTopics[TopicKey(i.Key)]
		return named
	case ChannelItem:
		_, named := d.Channels[ChannelKey(i.Key)]
		return named
	case DeviceItem:
		if d.Push != nil || (d.Register != nil && d.Register.Token == i.Key) {
			return true
		}
		dev, ok := after.Device(d.Device)
		return ok && dev.Token == i.Key
	case PurposeItem:
		for key := range d.Channels {
			if ch, _ := after.catalogue.Channel(key); string(ch.Purpose) == i.Key {
				return true
			}
		}
		return d.Email != "" && string(after.catalogue.emailPurpose) == i.Key
	default:
		return false
	}
}

// Unseen reports that the target shows something as it was before we wrote. Either the write never arrived, or it is
// on its way still: looking again a little later tells more.
func (a Assignment) Unseen(current Holding) bool {
	for i, wrote := range a.Write {
		if now := current.State(i); now != wrote && now == a.Saw.State(i) {
			return true
		}
	}
	return false
}

// Undo is what puts a target back: every item that still holds what we wrote, or what was there before (our write may
// be on its way still; saying again what holds does no harm). What the target had never heard of and still has not is
// not told to it now. Whatever else it holds came from elsewhere meanwhile and is left alone, and returned as such, in a
// fixed order.
func (a Assignment) Undo(current Holding) (restore Holding, left []Item) {
	restore = Holding{}
	for i, wrote := range a.Write {
		prior, now := a.Restore.State(i), current.State(i)
		switch {
		case prior == wrote && now == wrote: // nothing to take back
		case now == Unknown && a.Saw.State(i) == Unknown: // it never arrived
		case now == Unregistered && a.Saw.State(i) == Unregistered: // neither did this, and it gets nothing as it is
		case now == wrote, now == prior, now == a.Saw.State(i):
			restore[i] = prior
		default:
			left = append(left, i)
		}
	}
	slices.SortFunc(left, byItem)
	return restore, left
}

// Lossy are the items of restore that the target cannot be given back exactly: it had never heard of them, and cannot
// be told to forget.
func (a Assignment) Lossy(restore Holding) []Item {
	var out []Item
	for i, s := range restore {
		if s != Unknown && a.Saw.State(i) == Unknown {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, byItem)
	return out
}

func byItem(a, b Item) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) }

// MarshalText writes "kind/key".
func (i Item) MarshalText() ([]byte, error) { return []byte(string(i.Kind) + "/" + i.Key), nil }

// UnmarshalText reads "kind/key".
func (i *Item) UnmarshalText(b []byte) error {
	kind, key, ok := strings.Cut(string(b), "/")
	if !ok {
		return fmt.Errorf("item %q has no kind", kind)
	}
	i.Kind, i.Key = ItemKind(kind), key
	return nil
}

// Label names an item for operators and the ledger. A token is shown by its fingerprint.
func (i Item) Label() string {
	switch {
	case i.Key == "":
		return string(i.Kind)
	case i.Kind == DeviceItem:
		return string(i.Kind) + "/" + Fingerprint(i.Key)
	}
	return string(i.Kind) + "/" + i.Key
}
