package preference

import (
	"slices"
	"time"
)

// Blocker is a reason why a notification may not be sent.
type Blocker string

// In the order in which they are named.
const (
	BlockedByPermission    Blocker = "os_permission"
	BlockedByDevice        Blocker = "device_disabled"
	BlockedByDeviceChannel Blocker = "device_channel_disabled"
	BlockedByPush          Blocker = "push_disabled"
	BlockedByChannel       Blocker = "channel_disabled"
	BlockedByConsent       Blocker = "consent_withdrawn"
	BlockedByHold          Blocker = "hold"
	BlockedByQuietHours    Blocker = "quiet_hours"
)

// Effect says whether one channel reaches one device, and names every reason that stands in the way.
type Effect struct {
	Channel     ChannelKey
	Device      DeviceID
	Deliverable bool
	BlockedBy   []Blocker
}

// Hold is a "do not send" that a withdrawal under way imposes. The zero value withholds nothing.
type Hold struct {
	all        bool
	push       bool
	email      bool
	emailTopic map[TopicKey]bool
	channel    map[ChannelKey]bool
	device     map[DeviceID]bool
	topic      map[DeviceID]map[ChannelKey]bool
	hours      QuietHours
}

// Hold is what the change withholds from the moment it is accepted until it ends.
func (c Change) Hold() Hold {
	d := c.c
	h := Hold{all: d.Erase, push: d.Push != nil && !*d.Push, email: d.Email == Unsubscribed, emailTopic: offs(d.EmailTopics), channel: offs(d.Channels), device: map[DeviceID]bool{}}
	if d.Quiet != nil {
		h.hours = *d.Quiet
	}
	switch {
	case d.Release != "":
		h.device[d.Release] = true
	case d.Register != nil && !d.Register.Permission.Delivers():
		h.device[d.Register.Device] = true
	case d.Enabled != nil && !*d.Enabled:
		h.device[d.Device] = true
	}
	if topics := offs(d.Topics); len(topics) > 0 {
		h.topic = map[DeviceID]map[ChannelKey]bool{d.Device: topics}
	}
	return h
}

func offs[K comparable](m map[K]bool) map[K]bool {
	out := map[K]bool{}
	for k, on := range m {
		if !on {
			out[k] = true
		}
	}
	return out
}

func (h Hold) covers(ch Channel, id DeviceID, now time.Time) bool {
	return h.all || h.push || h.channel[ch.Key] || h.device[id] || h.topic[id][ch.Key] || h.quiet(ch, now)
}

// Effective lists every channel on every device, as of a moment (zero leaves quiet hours out): channels in catalogue order,
// devices by id.
func (p Preferences) Effective(holds []Hold, now time.Time) []Effect {
	out := make([]Effect, 0, len(p.catalogue.channels)*len(p.devices))
	for _, ch := range p.catalogue.channels {
		for _, dev := range p.devices {
			blocked := p.blockers(ch, dev, holds, now)
			out = append(out, Effect{Channel: ch.Key, Device: dev.ID, Deliverable: len(blocked) == 0, BlockedBy: blocked})
		}
	}
	return out
}

func (p Preferences) blockers(ch Channel, dev Device, holds []Hold, now time.Time) []Blocker {
	var out []Blocker
	add := func(yes bool, b Blocker) {
		if yes {
			out = append(out, b)
		}
	}
	topic, switched := dev.Channels[ch.Key]
	add(!dev.Permission.Delivers(), BlockedByPermission)
	add(!dev.Enabled, BlockedByDevice)
	add(switched && !topic && !ch.Required, BlockedByDeviceChannel)
	return append(out, p.channelBlockers(ch, dev.ID, holds, now)...)
}

// channelBlockers are the reasons that do not depend on the device, but for a hold on it.
func (p Preferences) channelBlockers(ch Channel, id DeviceID, holds []Hold, now time.Time) []Blocker {
	var out []Blocker
	add := func(yes bool, b Blocker) {
		if yes {
			out = append(out, b)
		}
	}
	held := false
	for _, h := range holds {
		held = held || h.covers(ch, id, now)
	}
	add(!p.push.Enabled, BlockedByPush)
	add(!p.Channel(ch.Key).Enabled, BlockedByChannel)
	add(ch.Purpose != "" && p.Purpose(ch.Purpose) == ConsentWithdrawn, BlockedByConsent)
	add(held, BlockedByHold)
	_, quiet := p.quiet.Until(now)
	add(quiet && !ch.Required, BlockedByQuietHours)
	return out
}

// Deliverability answers "may we send on this channel, and if not, why": deliverable when at least one device can be
// reached. BlockedBy then is empty; otherwise it names the reasons of the device that comes closest.
type Deliverability struct {
	Channel     ChannelKey
	Deliverable bool
	BlockedBy   []Blocker
	Until       time.Time // when the quiet hours that stand in the way end; zero when none do
	Devices     []Effect
}

// Deliverability of one channel at a moment (zero leaves quiet hours out). It agrees with Effective: both are made of the same blockers.
func (p Preferences) Deliverability(ch Channel, holds []Hold, now time.Time) Deliverability {
	out := Deliverability{Channel: ch.Key, BlockedBy: append([]Blocker{BlockedByPermission}, p.channelBlockers(ch, "", holds, now)...)}
	for i, dev := range p.devices {
		blocked := p.blockers(ch, dev, holds, now)
		out.Devices = append(out.Devices, Effect{Channel: ch.Key, Device: dev.ID, Deliverable: len(blocked) == 0, BlockedBy: blocked})
		if i == 0 || len(blocked) < len(out.BlockedBy) {
			out.BlockedBy = blocked
		}
	}
	out.Deliverable = len(out.BlockedBy) == 0
	if slices.Contains(out.BlockedBy, BlockedByQuietHours) {
		out.Until, _ = p.quiet.Until(now)
	}
	return out
}
