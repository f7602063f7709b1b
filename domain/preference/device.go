package preference

import "time"

// Why a device goes without anybody asking for it in so many words; see Operation.Cause.
const (
	CauseSignedOut    = "signed_out"         // the person signed out in the app
	CauseUnregistered = "token_unregistered" // the platform does not know the token any more
	CauseStale        = "token_stale"        // nothing was heard of the device for long
)

// PruneDevice takes a device away whose token was found to reach nobody at the given time. It changes nothing when the
// device has another token by now, or has registered this one since.
func PruneDevice(id DeviceID, token string, found time.Time) Change {
	return ReleaseMovedToken(id, token, found)
}

// LastSeen is when the device was last heard of.
func (d Device) LastSeen() time.Time { return latest(d.TokenAt, d.UpdatedAt) }

// ByToken finds the device that has a token.
func (p Preferences) ByToken(token string) (Device, bool) {
	for _, d := range p.devices {
		if d.Token == token {
			return p.Device(d.ID)
		}
	}
	return Device{}, false
}

// stillHas: the device that is to go has the token still, and has not claimed it since.
func (p Preferences) stillHas(d changeDoc) bool {
	i, known := p.find(d.Release)
	return known && p.devices[i].Token == d.Token && !p.devices[i].TokenAt.After(d.Claimed)
}

// Repeats reports that the request registers a device exactly as it was registered, since the given time, with nothing under
// way that could change that: then there is nothing to be done. It is never so for a request with a key, which has to be
// remembered, nor for one whose condition fails.
func (a *Account) Repeats(r Request, since, now time.Time) bool {
	reg := r.Change.c.Register
	if reg == nil || r.Key != "" || len(a.open) > 0 || !a.meets(r.IfMatch) {
		return false
	}
	i, known := a.prefs.find(reg.Device)
	if !known {
		return false
	}
	d := a.prefs.devices[i]
	registered := Registration{Device: d.ID, Platform: d.Platform, Token: d.Token, Permission: d.Permission, AppVersion: d.AppVersion, Locale: d.Locale}
	return registered == *reg && d.TokenAt.After(since) && !d.TokenAt.After(now)
}
