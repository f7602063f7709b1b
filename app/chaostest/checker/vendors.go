package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// vendors compares what the vendors hold. Each finding: expected, found, what it is about.
func (p *preferences) vendors(who *person, raw []byte) (out [][3]string) {
	var v struct {
		CRM struct {
			Email    string            `json:"email_marketing"`
			Channels map[string]string `json:"channels"`
			heldQuiet
		} `json:"crm"`
		Push struct {
			heldQuiet
			Devices []struct {
				Token   string `json:"token"`
				Enabled bool   `json:"enabled"`
			} `json:"devices"`
		} `json:"push"`
		CMP struct {
			Purposes map[string]string `json:"purposes"`
		} `json:"cmp"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return [][3]string{{"what the vendors hold", err.Error(), ""}}
	}
	find := func(about, expected, found string) { out = append(out, [3]string{expected, found, about}) }

	subscription := func(what, about string, on bool, got string) {
		want := map[bool]string{true: "subscribed", false: "unsubscribed"}[on]
		// A person no change of whom was applied may be unknown to the CRM still.
		if got != want && (p.Version > 0 || got != "unknown") {
			find(about, fmt.Sprintf("the CRM has %s %s", what, want), got)
		}
	}
	subscription("e-mail marketing", "email", p.Email == "subscribed", v.CRM.Email)
	for _, key := range slices.Sorted(maps.Keys(p.Channels)) {
		subscription("channel "+key, key, p.Channels[key], v.CRM.Channels[key])
	}

	for _, t := range []struct {
		name string
		held heldQuiet
	}{{"CRM", v.CRM.heldQuiet}, {"push provider", v.Push.heldQuiet}} {
		if t.held.Quiet != p.Quiet || p.Quiet != "" && !strings.HasSuffix(p.Quiet, " "+t.held.Zone) {
			find("quiet_hours", fmt.Sprintf("the %s has the quiet hours %q", t.name, p.Quiet), fmt.Sprintf("%q in %q", t.held.Quiet, t.held.Zone))
		}
	}

	want, got := map[string]bool{}, map[string]bool{}
	for _, d := range p.Devices {
		want[d.Token] = p.Push && d.Enabled && d.delivers()
	}
	for _, d := range v.Push.Devices {
		got[d.Token] = d.Enabled
	}
	if !maps.Equal(want, got) || len(v.Push.Devices) != len(got) {
		find("device", fmt.Sprintf("the push provider has %v", want), fmt.Sprint(v.Push.Devices))
	}

	for purpose, on := range map[string]bool{"push-marketing": p.Channels["promotions"], emailPurpose: p.Email == "subscribed"} {
		state := v.CMP.Purposes[purpose]
		said := who.anyApplied(func(o *operation) bool {
			if o.asked == nil {
				_, named := o.end.After["purposes."+purpose]
				return named
			}
			_, named := o.asked.channels["promotions"]
			return purpose == emailPurpose && o.asked.email != "" && o.end.After[emailPath] != pendingConfirmation || purpose != emailPurpose && named
		})
		expected := "unknown"
		if said {
			expected = map[bool]string{true: "granted", false: "withdrawn"}[on]
		}
		about := map[bool]string{true: "marketing", false: "promotions"}[purpose == emailPurpose]
		if state != expected {
			find(about, fmt.Sprintf("the CMP has %s %s", purpose, expected), state)
		}
	}
	return out
}

func (p *person) anyApplied(is func(*operation) bool) bool {
	return slices.ContainsFunc(p.order, func(o *operation) bool { return o.applied() && is(o) })
}
