package preference

import (
	"maps"
	"slices"
)

// Drift is one item that a target holds differently from what it shall hold.
type Drift struct {
	Item         Item
	Ours, Theirs State
	Remedy       Remedy
}

// Remedy is what follows from a drift.
type Remedy string

const (
	// Withhold: the target sends where we may not, or holds what we know nothing of. It is told, for as long as it takes.
	Withhold Remedy = "withhold"
	// Restate: the target holds less than it may, and nobody has withdrawn anything by that. It is told.
	Restate Remedy = "restate"
	// Adopt: the customer has withdrawn it at the target, after we had last made sure of it there. It holds everywhere.
	Adopt Remedy = "adopt"
	// Discard: the token's platform does not know it any more. The device goes; see PruneDevice.
	Discard Remedy = "discard"
)

// Drift compares what a target holds with what it shall hold, in a fixed order. We hold what every target has confirmed, so
// an "off" where we hold "on" came later: it is the customer's withdrawal, and wins. Where it cannot be one (a required
// channel, a mark that customers do not set) the target is put right.
func (p Preferences) Drift(t Target, held Holding) []Drift {
	shall := p.Desired(t)
	if len(held) == 0 && !p.spokenOf(t) {
		return nil // nor has the target, which sends them nothing
	}
	var out []Drift
	for i, ours := range shall {
		if theirs := held.State(i); theirs != ours {
			out = append(out, Drift{i, ours, theirs, p.remedy(t, i, ours, theirs)})
		}
	}
	for i, theirs := range held {
		if _, ours := shall[i]; !ours && i.Kind == QuietItem { // fewer may be sent than we know of
			out = append(out, Drift{i, Unknown, theirs, Restate})
		} else if !ours && (i.Kind == DeviceItem || i.Kind == PurposeItem && theirs == On) {
			out = append(out, Drift{i, Unknown, theirs, Withhold})
		}
	}
	if p.version == 0 { // nothing holds of them that a target could lack; what one would send they have not agreed to
		out = slices.DeleteFunc(out, func(d Drift) bool { return d.Remedy != Withhold })
	}
	slices.SortFunc(out, func(a, b Drift) int { return byItem(a.Item, b.Item) })
	return out
}

// Drift of a person's preferences; none of somebody that we have not heard of, whose matter with the target is not ours.
func (a *Account) Drift(t Target, held Holding) []Drift {
	if a.lastNumber == 0 {
		return nil
	}
	return a.prefs.Drift(t, held)
}

// spokenOf reports that something was ever chosen, or registered, of which the target is told.
func (p Preferences) spokenOf(t Target) bool {
	return t != Push || len(p.devices) > 0 || !p.quiet.At.IsZero() || !p.push.At.IsZero() ||
		slices.ContainsFunc(p.catalogue.channels, func(ch Channel) bool { return !p.Channel(ch.Key).At.IsZero() })
}

func (p Preferences) remedy(t Target, i Item, ours, theirs State) Remedy {
	switch {
	case theirs == Unregistered:
		return Discard
	case i.Kind == QuietItem:
		return Withhold // it would send when we may not
	case ours == Off && theirs != Unknown:
		return Withhold
	case theirs == Off && p.withdrawable(t, i):
		return Adopt
	}
	return Restate
}

// withdrawable reports that an "off" there may be the customer's own doing.
func (p Preferences) withdrawable(t Target, i Item) bool {
	switch i.Kind {
	case EmailItem, EmailTopicItem, PushItem, DeviceItem, PurposeItem:
		return true
	case ChannelItem:
		ch, known := p.catalogue.Channel(ChannelKey(i.Key))
		return t == CRM && known && !ch.Required // at the push provider they are our own marks
	default:
		return false
	}
}

// Adopted are the changes that take over what customers have withdrawn at a target.
func (p Preferences) Adopted(drifts []Drift) []Change {
	var push, topics changeDoc
	var email, devices []Change
	off := func(key ChannelKey) {
		if push.Channels == nil {
			push.Channels = map[ChannelKey]bool{}
		}
		push.Channels[key] = false
	}
	no := false
	for _, d := range drifts {
		if d.Remedy != Adopt {
			continue
		}
		switch d.Item.Kind {
		case EmailItem:
			email = []Change{{changeDoc{Email: Unsubscribed}}}
		case EmailTopicItem:
			if topics.EmailTopics == nil {
				topics.EmailTopics = map[TopicKey]bool{}
			}
			topics.EmailTopics[TopicKey(d.Item.Key)] = false
		case PushItem:
			push.Push = &no
		case ChannelItem:
			off(ChannelKey(d.Item.Key))
		case PurposeItem:
			for _, ch := range p.catalogue.channels {
				if string(ch.Purpose) == d.Item.Key && p.Channel(ch.Key).Enabled && !ch.Required {
					off(ch.Key)
				}
			}
			if string(p.catalogue.emailPurpose) == d.Item.Key {
				email = []Change{{changeDoc{Email: Unsubscribed}}}
			}
		case DeviceItem:
			for _, dev := range p.devices {
				if dev.Token == d.Item.Key {
					devices = append(devices, Change{changeDoc{Device: dev.ID, Enabled: &no}})
				}
			}
		default:
		}
	}
	out := slices.Concat(email, devices)
	for _, c := range []Change{{topics}, {push}} {
		if !c.IsZero() {
			out = append(out, c)
		}
	}
	return out
}

// Discarded are the changes that take away what reaches nobody: each device as it was registered when it was looked at.
func (p Preferences) Discarded(drifts []Drift) []Change {
	var out []Change
	for _, d := range drifts {
		if dev, known := p.ByToken(d.Item.Key); known && d.Remedy == Discard {
			out = append(out, PruneDevice(dev.ID, dev.Token, dev.TokenAt))
		}
	}
	return out
}

// PutRight are the changes that tell a target what it holds wrong: one that goes forward, where it would send, and one that
// is given up in time.
func PutRight(drifts []Drift) []Change {
	items := map[Kind][]Item{}
	for _, d := range drifts {
		switch d.Remedy {
		case Withhold:
			items[Withdrawal] = append(items[Withdrawal], d.Item)
		case Restate:
			items[Grant] = append(items[Grant], d.Item)
		case Adopt, Discard:
		}
	}
	var out []Change
	for _, kind := range slices.Sorted(maps.Keys(items)) {
		if c, err := Reaffirm(kind, items[kind]); err == nil {
			out = append(out, c)
		}
	}
	slices.Reverse(out) // withdrawals first
	return out
}

// SeenTwice are the drifts that both looks have found: what the first alone has was on its way.
func SeenTwice(first, second []Drift) []Drift {
	return slices.DeleteFunc(slices.Clone(second), func(d Drift) bool { return !slices.Contains(first, d) })
}
