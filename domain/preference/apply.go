package preference

import (
	"maps"
	"slices"
	"time"

	"accord/domain/fault"
)

// Apply decides whether the change is valid on these preferences and returns the next version. Errors: Invalid names
// the field (unknown channel), NotFound an unknown device, Conflict "channel-required" and
// "push-permission-required". A withdrawal is refused only for what does not exist or may not be switched off.
func (p Preferences) Apply(c Change, at time.Time, source Source) (Preferences, error) {
	if c.IsZero() {
		return p, fault.OnField("", "empty_change", "nothing to change")
	}
	if c.reaffirms() {
		return p, nil // nothing of ours changes, so neither does the version
	}
	if c.Erases() {
		nobody := Defaults(p.customer, p.catalogue)
		nobody.version = p.version + 1
		return nobody, nil
	}
	next := p.clone()
	next.version++
	for _, step := range []func(*Preferences, changeDoc, time.Time, Source) error{
		applySwitches, applyQuietHours, applyRegistration, applyDeviceSwitches, applyRelease, applyEmail,
	} {
		if err := step(&next, c.c, at.UTC(), source); err != nil {
			return p, err
		}
	}
	next.consent(c.c)
	return next, nil
}

func applySwitches(p *Preferences, d changeDoc, at time.Time, source Source) error {
	turnsOn := d.Push != nil && *d.Push
	if d.Push != nil {
		p.push = Choice{Enabled: *d.Push, At: at, Source: source}
	}
	if err := p.catalogue.allows(d.Channels); err != nil {
		return err
	}
	for key, on := range d.Channels {
		turnsOn = turnsOn || on
		p.channels[key] = Choice{Enabled: on, At: at, Source: source}
	}
	// What is switched off in the same breath goes first: a withdrawal is never refused, and without the permission a
	// channel that is on reaches nobody anyway.
	if turnsOn && (Change{d}).Kind() == Grant && source == FromApp && !p.hasPermission() {
		return fault.New(fault.Conflict, "push-permission-required",
			"turning push or a channel on needs a device whose OS permission is granted")
	}
	return nil
}

// allows names every channel that does not exist, else the first required one that would go off. The same switches
// always get the same answer.
func (c *Catalogue) allows(switches map[ChannelKey]bool) error {
	var unknown []fault.Field
	keys := slices.Sorted(maps.Keys(switches))
	for _, key := range keys {
		if _, known := c.Channel(key); !known {
			unknown = append(unknown, fault.Field{Path: "channels." + string(key), Code: "unknown_channel", Message: "is not a channel of the catalogue"})
		}
	}
	if len(unknown) > 0 {
		return fault.OnFields(unknown...)
	}
	for _, key := range keys {
		if ch, _ := c.Channel(key); ch.Required && !switches[key] {
			return fault.New(fault.Conflict, "channel-required", "channel %s is required and cannot be switched off", key)
		}
	}
	return nil
}

func (p Preferences) hasPermission() bool {
	for _, d := range p.devices {
		if d.Permission == Granted {
			return true
		}
	}
	return false
}

func applyRegistration(p *Preferences, d changeDoc, at time.Time, _ Source) error {
	r := d.Register
	if r == nil {
		return nil
	}
	// A token addresses one installation: a device that comes back under a new id takes its token along.
	kept := p.devices[:0]
	for _, other := range p.devices {
		if other.Token != r.Token || other.ID == r.Device {
			kept = append(kept, other)
		}
	}
	p.devices = kept
	dev := Device{ID: r.Device, Enabled: true, RegisteredAt: at, SwitchedAt: at}
	i, known := p.find(r.Device)
	if known {
		dev = p.devices[i]
	}
	dev.Platform, dev.Token, dev.Permission, dev.AppVersion, dev.Locale, dev.UpdatedAt, dev.TokenAt =
		r.Platform, r.Token, r.Permission, r.AppVersion, r.Locale, at, at
	if known {
		p.devices[i] = dev
		return nil
	}
	if len(p.devices) >= MaxDevices {
		return fault.New(fault.Conflict, "too-many-devices", "a customer has at most %d devices; release one first", MaxDevices)
	}
	p.devices = append(p.devices[:i], append([]Device{dev}, p.devices[i:]...)...)
	return nil
}

// MaxDevices per customer is the push provider's own limit: it drops the oldest subscription past it, unasked.
const MaxDevices = 20

func applyDeviceSwitches(p *Preferences, d changeDoc, at time.Time, _ Source) error {
	if d.Device == "" {
		return nil
	}
	i, known := p.find(d.Device)
	if !known {
		return errNoDevice
	}
	dev := &p.devices[i]
	if d.Enabled != nil {
		dev.Enabled, dev.SwitchedAt = *d.Enabled, at
	}
	if err := p.catalogue.allows(d.Topics); err != nil {
		return err
	}
	for key, on := range d.Topics {
		if dev.Channels == nil {
			dev.Channels = map[ChannelKey]bool{}
		}
		dev.Channels[key] = on
	}
	dev.UpdatedAt = at
	return nil
}

var errNoDevice = fault.New(fault.NotFound, "not-found", "no such device")

func applyRelease(p *Preferences, d changeDoc, _ time.Time, _ Source) error {
	if d.Release == "" {
		return nil
	}
	i, known := p.find(d.Release)
	if d.Token != "" {
		if p.stillHas(d) {
			p.devices = append(p.devices[:i], p.devices[i+1:]...)
		}
		return nil
	}
	if !known {
		return errNoDevice
	}
	p.devices = append(p.devices[:i], p.devices[i+1:]...)
	return nil
}

// consent derives the purposes that the change speaks about. A purpose that several channels share is granted while
// any of them is on.
func (p *Preferences) consent(d changeDoc) {
	touched := map[PurposeID]bool{}
	for key := range d.Channels {
		if ch, _ := p.catalogue.Channel(key); ch.Purpose != "" {
			touched[ch.Purpose] = true
		}
	}
	if d.Email != "" && p.catalogue.emailPurpose != "" {
		touched[p.catalogue.emailPurpose] = true
	}
	for purpose := range touched {
		if d.Email == PendingConfirmation && p.Purpose(purpose) == ConsentUnknown {
			continue // asked is neither granted nor withdrawn
		}
		p.purposes[purpose] = ConsentWithdrawn
		if p.wants(purpose) {
			p.purposes[purpose] = ConsentGranted
		}
	}
}

func (p Preferences) wants(purpose PurposeID) bool {
	for _, ch := range p.catalogue.channels {
		if ch.Purpose == purpose && p.Channel(ch.Key).Enabled {
			return true
		}
	}
	return p.catalogue.emailPurpose == purpose && p.email.Status == Subscribed
}
