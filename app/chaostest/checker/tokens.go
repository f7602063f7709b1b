package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// tokens: each is at the provider with the customer who registered it last, and with nobody else.
func (k *check) tokens() {
	type claim struct {
		p      *person
		device string
		o      *operation
	}
	last, held := map[string]claim{}, map[string][]string{}
	for _, p := range k.people() {
		for _, o := range p.order {
			if o.asked == nil || o.asked.register == nil || !o.applied() {
				continue
			}
			token := o.asked.register.Token
			if was, is := last[token]; !is || was.o.requested.At.Before(o.requested.At) {
				last[token] = claim{p, o.asked.device, o}
			}
		}
		var v struct {
			Push struct {
				Devices []struct {
					Token string `json:"token"`
				} `json:"devices"`
			} `json:"push"`
		}
		_ = json.Unmarshal(p.standing.Vendors, &v) // reported where the vendors are compared
		for _, d := range v.Push.Devices {
			held[d.Token] = append(held[d.Token], p.id)
		}
	}
	for _, token := range slices.Sorted(maps.Keys(held)) {
		k.held(RuleToken)
		c, claimed := last[token]
		switch {
		case !claimed:
			k.violated(RuleToken, held[token][0], "a token whose registration was applied", token+" was never registered")
		case len(held[token]) > 1 || held[token][0] != c.p.id:
			k.violated(RuleToken, c.p.id, fmt.Sprintf("%s belongs to %s, who registered it last, at %s", token, c.p.id, c.o.requested.At.Format(time.RFC3339Nano)),
				fmt.Sprintf("the push provider has it with %v", held[token]), k.mentions(token)...)
		}
	}
	for _, token := range slices.Sorted(maps.Keys(last)) {
		c := last[token]
		d, has := c.p.last.Devices[c.device]
		if has && d.Token == token && len(held[token]) == 0 {
			k.violated(RuleToken, c.p.id, token+" is at the push provider", "nobody has it", k.mentions(token)...)
		}
		if has && d.Token == token || c.p.lost(c.device, token, c.o) {
			continue
		}
		k.violated(RuleToken, c.p.id, fmt.Sprintf("%s has %s, registered last by %s", c.p.id, token, c.o.id), "it is not there", k.mentions(token)...)
	}
}

// lost tells that the customer has given the token up after registering it: by a change of their own, or as it reached nobody any
// more.
func (p *person) lost(id, token string, since *operation) bool {
	for _, o := range p.order {
		r := o.asked
		if !o.applied() || o.number <= since.number {
			continue
		}
		if value, named := o.end.After[devicePath+id]; named && value == nil && o.source != "token_move" {
			return true
		}
		if r == nil {
			continue
		}
		if r.release && r.device == id || r.register != nil && r.device == id && r.register.Token != token {
			return true
		}
	}
	return false
}

func (k *check) mentions(token string) (out []*Call) {
	for _, c := range k.history.Calls {
		if r := asks(c); r != nil && r.register != nil && r.register.Token == token {
			out = append(out, c)
		}
	}
	const most = 20
	return out[max(0, len(out)-most):]
}
