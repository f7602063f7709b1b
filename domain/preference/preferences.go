// Package preference is the customer's choices about push and e-mail, what they mean for sending, and the life of a
// change from request to outcome. It is pure: time and ids come in as arguments, nothing is read or written.
package preference

import (
	"maps"
	"slices"
	"time"
)

// Device is a registered push token. Enabled and Channels are the device-level switches: they narrow what the
// customer's own switches allow and never widen it.
type Device struct {
	ID           DeviceID            `json:"id"`
	Platform     Platform            `json:"platform"`
	Token        string              `json:"token"`
	Permission   Permission          `json:"permission"`
	AppVersion   string              `json:"app_version,omitempty"`
	Locale       string              `json:"locale,omitempty"`
	Enabled      bool                `json:"enabled"`
	Channels     map[ChannelKey]bool `json:"channels,omitempty"` // only those switched at least once
	TokenAt      time.Time           `json:"token_at,omitzero"`  // when the token was last claimed; of two customers the later one has it
	RegisteredAt time.Time           `json:"registered_at"`
	SwitchedAt   time.Time           `json:"switched_at,omitzero"` // when it was decided whether it is enabled; zero in what was stored before this was kept
	UpdatedAt    time.Time           `json:"updated_at"`
}

// ConsentState is what the customer said about a purpose.
type ConsentState string

const (
	ConsentUnknown   ConsentState = "unknown"
	ConsentGranted   ConsentState = "granted"
	ConsentWithdrawn ConsentState = "withdrawn"
)

// Preferences are one customer's choices at one version. They are a value: Apply returns the next one and leaves the
// receiver as it is.
type Preferences struct {
	customer  CustomerID
	version   int64
	push      Choice
	channels  map[ChannelKey]Choice
	devices   []Device // ordered by id
	email     Email
	quiet     QuietChoice
	purposes  map[PurposeID]ConsentState
	catalogue *Catalogue
}

// Defaults are the preferences of a customer nobody has heard of: version 0, push not switched off, every optional
// channel off until chosen, required ones on, not subscribed to e-mail.
func Defaults(customer CustomerID, catalogue *Catalogue) Preferences {
	return Preferences{
		customer:  customer,
		push:      Choice{Enabled: true, Source: FromDefault},
		channels:  map[ChannelKey]Choice{},
		email:     Email{Status: Unsubscribed, Source: FromDefault},
		purposes:  map[PurposeID]ConsentState{},
		catalogue: catalogue,
	}
}

// Snapshot is the stored form of Preferences.
type Snapshot struct {
	Version  int64                      `json:"version"`
	Push     Choice                     `json:"push"`
	Channels map[ChannelKey]Choice      `json:"channels,omitempty"`
	Devices  []Device                   `json:"devices,omitempty"`
	Email    Email                      `json:"email"`
	Quiet    QuietChoice                `json:"quiet_hours,omitzero"`
	Purposes map[PurposeID]ConsentState `json:"purposes,omitempty"`
}

// Snapshot copies the preferences out.
func (p Preferences) Snapshot() Snapshot {
	return Snapshot{Version: p.version, Push: p.push, Channels: maps.Clone(p.channels), Devices: p.Devices(),
		Email: p.Email(), Quiet: p.quiet, Purposes: maps.Clone(p.purposes)}
}

// Restore rebuilds stored preferences under today's catalogue. It never refuses: a channel that left the catalogue is
// kept and no longer shown, a rule made since does not apply to what was chosen before it.
func Restore(customer CustomerID, s Snapshot, catalogue *Catalogue) Preferences {
	p := Defaults(customer, catalogue)
	p.version, p.push, p.email, p.quiet = s.Version, s.Push, s.Email, s.Quiet
	maps.Copy(p.channels, s.Channels)
	maps.Copy(p.purposes, s.Purposes)
	p.devices = cloneDevices(s.Devices)
	slices.SortFunc(p.devices, byDeviceID)
	return p
}

// Customer whose preferences these are.
func (p Preferences) Customer() CustomerID { return p.customer }

// Version grows by one with each applied change; 0 is a customer nobody has heard of.
func (p Preferences) Version() int64 { return p.version }

// Push is the global switch. It masks the channels and never changes them.
func (p Preferences) Push() Choice { return p.push }

// Email is the e-mail marketing subscription.
func (p Preferences) Email() Email {
	e := p.email
	e.Topics = maps.Clone(e.Topics)
	return e
}

// Catalogue under which these preferences are read.
func (p Preferences) Catalogue() *Catalogue { return p.catalogue }

// Channel is the customer's choice for a channel: off until chosen, and always on when it is required.
func (p Preferences) Channel(key ChannelKey) Choice {
	choice, chosen := p.channels[key]
	if !chosen {
		choice = Choice{Source: FromDefault}
	}
	if ch, ok := p.catalogue.Channel(key); ok && ch.Required {
		choice.Enabled = true
	}
	return choice
}

// Purpose is what the customer said about a purpose.
func (p Preferences) Purpose(id PurposeID) ConsentState {
	if s, ok := p.purposes[id]; ok {
		return s
	}
	return ConsentUnknown
}

// Devices ordered by id.
func (p Preferences) Devices() []Device { return cloneDevices(p.devices) }

// Device finds a device by its id.
func (p Preferences) Device(id DeviceID) (Device, bool) {
	i, ok := p.find(id)
	if !ok {
		return Device{}, false
	}
	dev := p.devices[i]
	dev.Channels = maps.Clone(dev.Channels)
	return dev, true
}

func (p Preferences) find(id DeviceID) (int, bool) {
	return slices.BinarySearchFunc(p.devices, id, func(d Device, id DeviceID) int {
		return byDeviceID(d, Device{ID: id})
	})
}

func (p Preferences) clone() Preferences {
	p.channels, p.purposes, p.devices = maps.Clone(p.channels), maps.Clone(p.purposes), cloneDevices(p.devices)
	return p
}

func cloneDevices(in []Device) []Device {
	out := slices.Clone(in)
	for i := range out {
		out[i].Channels = maps.Clone(out[i].Channels)
	}
	return out
}

func byDeviceID(a, b Device) int {
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}
