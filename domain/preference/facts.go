package preference

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Facts is what the preferences say about everything the change speaks of, as a flat map from path to value. Taken
// before and after, it is the ledger's account of the change. Tokens are credentials: only their fingerprint is in it.
func (p Preferences) Facts(c Change) map[string]any {
	d, out := c.c, map[string]any{}
	if d.Push != nil {
		out["push.enabled"] = p.push.Enabled
	}
	if d.Quiet != nil {
		out["push.quiet_hours"] = nil
		if !p.quiet.IsNone() {
			out["push.quiet_hours"] = p.quiet.String()
		}
	}
	for key := range d.Channels {
		out["push.channels."+string(key)] = p.Channel(key).Enabled
		if ch, _ := p.catalogue.Channel(key); ch.Purpose != "" {
			out["purposes."+string(ch.Purpose)] = p.Purpose(ch.Purpose)
		}
	}
	p.emailFacts(out, d)
	if d.Register != nil {
		p.deviceFacts(out, d.Register.Device)
	}
	for _, id := range []DeviceID{d.Device, d.Release} {
		if id != "" {
			p.deviceFacts(out, id)
		}
	}
	for _, i := range d.Items {
		out["reaffirmed."+i.Label()] = p.desiredAnywhere(i)
	}
	return out
}

func (p Preferences) deviceFacts(out map[string]any, id DeviceID) {
	path := "devices." + string(id)
	dev, known := p.Device(id)
	if !known {
		out[path] = nil
		return
	}
	out[path] = map[string]any{"platform": dev.Platform, "permission": dev.Permission, "enabled": dev.Enabled,
		"channels": dev.Channels, "token_fingerprint": Fingerprint(dev.Token)}
}

// Fingerprint identifies a token without giving it away: the first 16 hex digits of its SHA-256.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// Pseudonym names a customer where people and other systems look on: the id itself when it is a plain handle, else
// (it could be an e-mail address or a phone number, or be made to look like such a hash) a hash of it.
func (c CustomerID) Pseudonym() string {
	if plainHandle(string(c)) {
		return string(c)
	}
	sum := sha256.Sum256([]byte("accord/customer/" + string(c)))
	return hashedPrefix + hex.EncodeToString(sum[:12])
}

const hashedPrefix = "h-"

func plainHandle(s string) bool {
	if strings.HasPrefix(s, hashedPrefix) {
		return false
	}
	letters := 0
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letters++
		case r >= '0' && r <= '9' || r == '-' || r == '_':
		default:
			return false
		}
	}
	return letters > 0 && len(s) <= 64
}
