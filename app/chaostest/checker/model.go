package checker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// channelSpec is one channel of the development stack's catalogue, as the contract gives it.
type channelSpec struct {
	required bool
	purpose  string
}

var catalogue = map[string]channelSpec{
	"promotions":    {purpose: "push-marketing"},
	"loyalty":       {},
	"news":          {},
	"order_updates": {required: true},
}

const emailPurpose = "email-marketing"

// preferences is what a customer's changes make, worked out from what was asked for.
type preferences struct {
	Version  int64
	Push     bool
	Channels map[string]bool
	Quiet    string // hours in which nothing is sent but what is required, as the ledger writes them; empty for none
	Email    string
	Devices  map[string]device
}

// defaults are those of a customer nobody has heard of.
func defaults() *preferences {
	p := &preferences{Push: true, Channels: map[string]bool{}, Email: "unsubscribed", Devices: map[string]device{}}
	for key, spec := range catalogue {
		p.Channels[key] = spec.required
	}
	return p
}

func (p *preferences) clone() *preferences {
	out := *p
	out.Channels, out.Devices = maps.Clone(p.Channels), maps.Clone(p.Devices)
	for id, d := range out.Devices {
		d.Channels = maps.Clone(d.Channels)
		out.Devices[id] = d
	}
	return &out
}

// apply makes the change that was asked for.
func (p *preferences) apply(r *request) {
	if r.push != nil {
		p.Push = *r.push
	}
	maps.Copy(p.Channels, r.channels)
	if r.quiet != nil {
		p.Quiet = *r.quiet
	}
	if r.email != "" {
		p.Email = r.email
	}
	d, known := p.Devices[r.device]
	switch {
	case r.release:
		delete(p.Devices, r.device)
	case r.register != nil:
		for id, other := range p.Devices { // a token addresses one installation
			if other.Token == r.register.Token && id != r.device {
				delete(p.Devices, id)
			}
		}
		if !known {
			d = device{Enabled: true}
		}
		d.Platform, d.Token, d.Permission = r.register.Platform, r.register.Token, r.register.Permission
		p.Devices[r.device] = d
	case r.device != "" && known:
		if r.enabled != nil {
			d.Enabled = *r.enabled
		}
		if d.Channels == nil {
			d.Channels = map[string]bool{}
		}
		maps.Copy(d.Channels, r.topics)
		p.Devices[r.device] = d
	}
}

// applyFacts makes a change nobody asked for by what the ledger says of it: a device that has lost its token, switches that
// were set elsewhere.
func (p *preferences) applyFacts(after map[string]any) {
	for path, value := range after {
		on, isBool := value.(bool)
		if id, is := strings.CutPrefix(path, devicePath); is && value == nil {
			delete(p.Devices, id)
		} else if d, known := p.Devices[id]; is && known && isBool {
			d.Enabled = on
			p.Devices[id] = d
		} else if key, is := strings.CutPrefix(path, "push.channels."); is && isBool {
			p.Channels[key] = on
		} else if path == "push.enabled" && isBool {
			p.Push = on
		} else if status, is := value.(string); path == emailPath && is {
			p.Email = status
		}
	}
}

// String is a form in which two can be compared and read.
func (p *preferences) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(p.Channels)) {
		parts = append(parts, fmt.Sprintf("%s %t", key, p.Channels[key]))
	}
	for _, id := range slices.Sorted(maps.Keys(p.Devices)) {
		d := p.Devices[id]
		text := fmt.Sprintf("device %s: %s, %s, token %s, %t", id, d.Platform, d.Permission, Fingerprint(d.Token), d.Enabled)
		for _, key := range slices.Sorted(maps.Keys(d.Channels)) {
			text += fmt.Sprintf(", %s %t", key, d.Channels[key])
		}
		parts = append(parts, text)
	}
	if p.Quiet != "" {
		parts = append(parts, "quiet "+p.Quiet)
	}
	return fmt.Sprintf("push %t, e-mail %s, %s", p.Push, p.Email, strings.Join(parts, "; "))
}

// Fingerprint is how the API tells tokens apart; one that is a fingerprint already stays so.
func Fingerprint(token string) string {
	if shown, is := strings.CutPrefix(token, shownPrefix); is {
		return shown
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

const shownPrefix = "fingerprint:"

// shownPush is the push part of an answer.
type shownPush struct {
	Enabled  bool            `json:"enabled"`
	Version  int64           `json:"version"`
	Channels map[string]flip `json:"channels"`
	Quiet    *quietHours     `json:"quiet_hours"`
	Devices  []struct {
		ID         string          `json:"device_id"`
		Platform   string          `json:"platform"`
		Permission string          `json:"permission"`
		Enabled    bool            `json:"enabled"`
		Channels   map[string]flip `json:"channels"`
		Token      string          `json:"token_fingerprint"`
	} `json:"devices"`
	Effective []shownEffect `json:"effective"`
}

type shownEffect struct {
	Channel     string   `json:"channel"`
	Device      string   `json:"device_id"`
	Deliverable bool     `json:"deliverable"`
	BlockedBy   []string `json:"blocked_by"`
}

type shownEmail struct {
	Marketing struct {
		Status string `json:"status"`
	} `json:"marketing"`
	Version int64 `json:"version"`
}

// shown is an answer about preferences: of all of them, of push alone or of e-mail alone.
type shown struct {
	version   int64
	push      *shownPush
	email     string
	effective []shownEffect
}

// shows reads an answer of 200, nil for one that shows no preferences.
func shows(c *Call) *shown {
	if c.Status != 200 || c.Customer == "" || c.Scope != "" {
		return nil
	}
	path, _, _ := strings.Cut(c.Path, "?")
	switch {
	case path == "/v1/preferences":
		return showsAll(c.Answer)
	case path == "/v1/preferences/push", strings.HasPrefix(path, "/v1/devices/"):
		p := &shownPush{}
		if json.Unmarshal(c.Answer, p) != nil {
			return nil
		}
		return &shown{version: p.Version, push: p, effective: p.Effective}
	case path == "/v1/preferences/email":
		var e shownEmail
		if json.Unmarshal(c.Answer, &e) != nil {
			return nil
		}
		return &shown{version: e.Version, email: e.Marketing.Status}
	}
	return nil
}

func showsAll(raw []byte) *shown {
	var all struct {
		Version int64      `json:"version"`
		Push    shownPush  `json:"push"`
		Email   shownEmail `json:"email"`
	}
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return &shown{version: all.Version, push: &all.Push, email: all.Email.Marketing.Status, effective: all.Push.Effective}
}

// differs from what the version is to be, "" when it does not. What is not shown is not compared.
func (s *shown) differs(want *preferences) string {
	got := want.clone()
	if s.push != nil {
		got.Push, got.Channels, got.Devices, got.Quiet = s.push.Enabled, plain(s.push.Channels), map[string]device{}, s.push.Quiet.String()
		for _, d := range s.push.Devices {
			got.Devices[d.ID] = device{Platform: d.Platform, Token: shownPrefix + d.Token, Permission: d.Permission, Enabled: d.Enabled, Channels: plain(d.Channels)}
		}
	}
	if s.email != "" {
		got.Email = s.email
	}
	if got.String() == want.String() {
		return ""
	}
	return got.String()
}

// replay works out what every version holds.
func (k *check) replay(p *person) {
	now := defaults()
	p.states[0] = now
	for _, e := range p.ledger {
		o := p.ops[e.Operation]
		if e.Event != "applied" || o == nil {
			continue
		}
		now = now.clone()
		if o.told != nil {
			now.apply(o.told.asks(p.counts(o)))
		} else if o.asked != nil {
			now.apply(o.asked)
		} else {
			now.applyFacts(e.After)
		}
		if status, is := e.After[emailPath].(string); is && k.final.DoubleOptIn {
			now.Email = status // what was asked for, or that it has to be confirmed; which of them is judged by itself
		}
		now.Version = e.Version
		p.states[e.Version] = now
	}
	p.last = now
}

// counts is what was told of with the operation, and counted when its turn came.
func (p *person) counts(o *operation) map[string]any {
	after := maps.Clone(o.requested.After)
	maps.DeleteFunc(after, func(path string, _ any) bool { return p.overtaken(o, path) })
	return after
}

// agreement: API, CRM, push provider and CMP hold what all the changes applied have made.
func (k *check) agreement(p *person) {
	k.held(RuleAgree)
	last := p.lastChange()
	s := showsAll(p.standing.Preferences)
	if s == nil {
		k.violated(RuleAgree, p.id, "preferences that can be read", shortened(p.standing.Preferences))
		return
	}
	if s.version != p.last.Version {
		k.violated(RuleAgree, p.id, fmt.Sprintf("version %d", p.last.Version), fmt.Sprintf("the API says %d", s.version), last)
	}
	if got := s.differs(p.last); got != "" {
		k.violated(RuleAgree, p.id, p.last.String(), "the API says "+got, last)
	}
	for _, e := range s.effective {
		if slices.Contains(e.BlockedBy, "hold") {
			k.violated(RuleAgree, p.id, "no hold when nothing is open", fmt.Sprintf("%s on %s is held", e.Channel, e.Device), last)
		}
	}
	for _, v := range p.last.vendors(p, p.standing.Vendors) {
		k.violated(RuleAgree, p.id, v[0], v[1], p.changesOf(v[2])...)
	}
}

// lastChange that was applied, for the account.
func (p *person) lastChange() *Call {
	for i := len(p.order) - 1; i >= 0; i-- {
		if p.order[i].applied() && p.order[i].first != nil {
			return p.order[i].first
		}
	}
	return nil
}

// changesOf are the requests that had to do with something, for the account of it: the last ones.
func (p *person) changesOf(word string) []*Call {
	var out []*Call
	for _, c := range p.calls {
		if asks(c) != nil && (word == "" || strings.Contains(c.Path+string(c.Body), word)) {
			out = append(out, c)
		}
	}
	const most = 12
	return out[max(0, len(out)-most):]
}
