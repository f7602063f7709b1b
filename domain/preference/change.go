package preference

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"accord/domain/fault"
)

// Kind tells a change that lets us send more from one that lets us send less.
type Kind string

const (
	Grant      Kind = "grant"
	Withdrawal Kind = "withdrawal"
)

// Registration is what an app tells about a device.
type Registration struct {
	Device     DeviceID   `json:"device"`
	Platform   Platform   `json:"platform"`
	Token      string     `json:"token"`
	Permission Permission `json:"permission"`
	AppVersion string     `json:"app_version,omitempty"`
	Locale     string     `json:"locale,omitempty"`
}

// Change is one requested change. It says what shall hold afterwards, not what differs, so repeating it changes
// nothing. Build it with SwitchPush, SetQuietHours, SwitchDevice, RegisterDevice, ReleaseDevice, SetEmail, SwitchEmail,
// ConfirmEmail, Reaffirm or Erase; the zero value is refused everywhere.
type Change struct{ c changeDoc }

type changeDoc struct {
	Push        *bool               `json:"push,omitempty"`
	Quiet       *QuietHours         `json:"quiet_hours,omitempty"` // empty removes them
	Channels    map[ChannelKey]bool `json:"channels,omitempty"`
	Register    *Registration       `json:"register,omitempty"`
	Device      DeviceID            `json:"device,omitempty"`
	Enabled     *bool               `json:"device_enabled,omitempty"`
	Topics      map[ChannelKey]bool `json:"device_channels,omitempty"`
	Release     DeviceID            `json:"release,omitempty"`
	Token       string              `json:"release_token,omitempty"`
	Claimed     time.Time           `json:"release_claimed,omitzero"`
	Email       EmailStatus         `json:"email,omitempty"`
	Asked       *asked              `json:"email_asked,omitempty"`
	Confirms    string              `json:"email_confirms,omitempty"`
	EmailTopics map[TopicKey]bool   `json:"email_topics,omitempty"`
	Wording     *Wording            `json:"wording,omitempty"`
	Reaffirm    Kind                `json:"reaffirm,omitempty"`
	Items       []Item              `json:"items,omitempty"`
	Erase       bool                `json:"erase,omitempty"`
}

// SwitchPush sets the global switch (nil leaves it) and channels. At least one of them must be given.
func SwitchPush(enabled *bool, channels map[ChannelKey]bool, wording *Wording) (Change, error) {
	if enabled == nil && len(channels) == 0 {
		return Change{}, fault.OnField("", "empty_change", "must set enabled, quiet_hours or at least one channel")
	}
	return withWording(changeDoc{Push: copied(enabled), Channels: maps.Clone(channels)}, wording)
}

// SwitchDevice sets the device-level switches (nil leaves one). At least one of them must be given.
func SwitchDevice(id DeviceID, enabled *bool, channels map[ChannelKey]bool) (Change, error) {
	if enabled == nil && len(channels) == 0 {
		return Change{}, fault.OnField("", "empty_change", "must set enabled or at least one channel")
	}
	return Change{changeDoc{Device: id, Enabled: copied(enabled), Topics: maps.Clone(channels)}}, nil
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

var (
	localePattern   = regexp.MustCompile(`^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$`)
	textHashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// RegisterDevice registers or refreshes a device. Every broken rule is reported at once.
func RegisterDevice(r Registration) (Change, error) {
	var bad []fault.Field
	if r.Platform != IOS && r.Platform != Android && r.Platform != Web {
		bad = append(bad, fault.Field{Path: "platform", Code: "not_allowed", Message: "must be ios, android or web"})
	}
	if r.Token == "" || len(r.Token) > 4096 || !storable(r.Token) || strings.Contains(r.Token, " ") {
		bad = append(bad, fault.Field{Path: "token", Code: "invalid_token", Message: "must be 1 to 4096 bytes without white space"})
	}
	if !slices.Contains([]Permission{Granted, Denied, Provisional, Undetermined}, r.Permission) {
		bad = append(bad, fault.Field{Path: "permission", Code: "not_allowed", Message: "must be granted, denied, provisional or undetermined"})
	}
	if len(r.AppVersion) > 64 {
		bad = append(bad, fault.Field{Path: "app_version", Code: "too_long", Message: "must be at most 64 bytes"})
	} else if !storable(r.AppVersion) {
		bad = append(bad, fault.Field{Path: "app_version", Code: "invalid_text", Message: "must be text without control characters"})
	}
	if r.Locale != "" && (len(r.Locale) > 35 || !localePattern.MatchString(r.Locale)) {
		bad = append(bad, fault.Field{Path: "locale", Code: "invalid_locale", Message: "must be a language tag such as en or de-CH"})
	}
	if len(bad) > 0 {
		return Change{}, fault.OnFields(bad...)
	}
	return Change{changeDoc{Register: &r}}, nil
}

// ReleaseDevice signs a device out: its token is released.
func ReleaseDevice(id DeviceID) Change { return Change{changeDoc{Release: id}} }

// ReleaseMovedToken takes a device away whose token somebody else has claimed, by registering it at the given time. It
// changes nothing when the device has another token by now, or has claimed this one itself since: of two who claim a
// token at once, only the earlier loses it.
func ReleaseMovedToken(id DeviceID, token string, claimed time.Time) Change {
	return Change{changeDoc{Release: id, Token: token, Claimed: claimed.UTC()}}
}

// SetEmail subscribes or unsubscribes from e-mail marketing.
func SetEmail(status EmailStatus, wording *Wording) (Change, error) {
	if status == "" {
		return Change{}, fault.OnField("marketing.status", "not_allowed", "must be subscribed or unsubscribed")
	}
	return SwitchEmail(status, nil, wording)
}

func withWording(doc changeDoc, w *Wording) (Change, error) {
	if w != nil {
		var bad []fault.Field
		if w.ID == "" || len(w.ID) > 255 || !storable(w.ID) {
			bad = append(bad, fault.Field{Path: "wording.id", Code: "invalid_id", Message: "must be 1 to 255 bytes without control characters"})
		}
		if len(w.Locale) > 35 || !localePattern.MatchString(w.Locale) {
			bad = append(bad, fault.Field{Path: "wording.locale", Code: "invalid_locale", Message: "must be a language tag such as en or de-CH"})
		}
		if w.TextHash != "" && !textHashPattern.MatchString(w.TextHash) {
			bad = append(bad, fault.Field{Path: "wording.text_sha256", Code: "invalid_hash", Message: "must be a SHA-256 in 64 lower-case hex digits"})
		}
		if len(bad) > 0 {
			return Change{}, fault.OnFields(bad...)
		}
		doc.Wording = copied(w)
	}
	return Change{doc}, nil
}

// storable text comes back from its stored form as it went in: what is not UTF-8 would be replaced there, and the
// database refuses NUL.
func storable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// AppVersion is that of the device that the change registers, empty for others.
func (c Change) AppVersion() string {
	if c.c.Register == nil {
		return ""
	}
	return c.c.Register.AppVersion
}

// Wording the person was shown, nil when none was named.
func (c Change) Wording() *Wording { return c.c.Wording }

// IsZero reports a Change nobody built.
func (c Change) IsZero() bool {
	d := c.c
	return d.Push == nil && d.Quiet == nil && len(d.Channels) == 0 && d.Register == nil && d.Device == "" && d.Release == "" && d.Email == "" && len(d.EmailTopics) == 0 && len(d.Items) == 0 && !d.Erase
}

// Kind is Withdrawal as soon as the change says "off" anywhere. It does not look at what held before: whoever repeats
// a withdrawal means it, and a change that waits in the queue cannot turn from one kind into the other.
func (c Change) Kind() Kind {
	d := c.c
	off := func(m map[ChannelKey]bool) bool { return slices.Contains(slices.Collect(maps.Values(m)), false) }
	topicOff := slices.Contains(slices.Collect(maps.Values(d.EmailTopics)), false)
	switch {
	case d.Erase, d.Reaffirm == Withdrawal, d.Release != "", d.Email == Unsubscribed, d.Push != nil && !*d.Push, d.Quiet != nil && !d.Quiet.IsNone(), d.Enabled != nil && !*d.Enabled,
		off(d.Channels), off(d.Topics), topicOff, d.Register != nil && !d.Register.Permission.Delivers():
		return Withdrawal
	}
	return Grant
}

// Targets the change must reach, in the order of Targets: the CRM always, the push provider for anything about push
// or devices, the CMP where a purpose is linked; never the one it came from.
func (c Change) Targets(cat *Catalogue, source Source) []Target {
	if c.Erases() {
		return slices.Clone(Targets)
	}
	cmp := c.c.Email != "" && cat.EmailPurpose() != ""
	for key := range c.c.Channels {
		ch, _ := cat.Channel(key)
		cmp = cmp || ch.Purpose != ""
	}
	concerned := map[Target]bool{CRM: true, Push: c.c.Email == "" && len(c.c.EmailTopics) == 0, CMP: cmp}
	var out []Target
	for _, t := range Targets {
		// Whoever tells of a subscription that is not confirmed holds what does not count, and is put right.
		if concerned[t] && (t != source.Origin() || c.c.Asked != nil) {
			out = append(out, t)
		}
	}
	return out
}

// Registered device, empty when the change registers none.
func (c Change) Registered() DeviceID {
	if c.c.Register == nil {
		return ""
	}
	return c.c.Register.Device
}

// Token registered by the change, empty when it registers none.
func (c Change) Token() string {
	if c.c.Register == nil {
		return ""
	}
	return c.c.Register.Token
}

// Summary is one line for operators, without personal data.
func (c Change) Summary() string {
	d := c.c
	var parts []string
	onOff := map[bool]string{true: "on", false: "off"}
	list := func(prefix string, m map[ChannelKey]bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf("%s %s %s", prefix, k, onOff[m[k]]))
		}
	}
	if d.Push != nil {
		parts = append(parts, "push "+onOff[*d.Push])
	}
	list("channel", d.Channels)
	if d.Quiet != nil {
		parts = append(parts, "quiet hours "+onOff[!d.Quiet.IsNone()])
	}
	if d.Register != nil {
		parts = append(parts, fmt.Sprintf("register %s device, permission %s", d.Register.Platform, d.Register.Permission))
	}
	if d.Enabled != nil {
		parts = append(parts, "device "+onOff[*d.Enabled])
	}
	list("device channel", d.Topics)
	if d.Release != "" {
		parts = append(parts, "release device")
	}
	if d.Email != "" {
		parts = append(parts, "e-mail marketing "+string(d.Email))
	}
	if d.Erase {
		parts = append(parts, "erase everything")
	}
	for _, k := range slices.Sorted(maps.Keys(d.EmailTopics)) {
		parts = append(parts, fmt.Sprintf("e-mail topic %s %s", k, onOff[d.EmailTopics[k]]))
	}
	for _, i := range d.Items {
		parts = append(parts, "put right "+i.Label())
	}
	return strings.Join(parts, ", ")
}

// MarshalJSON is the stored form.
func (c Change) MarshalJSON() ([]byte, error) { return json.Marshal(c.c) }

// UnmarshalJSON reads the stored form back without checking today's rules.
func (c *Change) UnmarshalJSON(b []byte) error {
	c.c = changeDoc{} // what the receiver held must not shine through where b is silent
	return json.Unmarshal(b, &c.c)
}
