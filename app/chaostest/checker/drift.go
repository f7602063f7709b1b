package checker

import (
	"fmt"
	"slices"
	"time"
)

// drifts: where nobody decides in another system, and nobody passes on a token, all systems hold what the changes have made
// of them as soon as each is settled. So the comparison finds nothing to mend. What a saga leaves behind it would mend, as a
// rule before anybody looks at the end.
func (k *check) drifts() {
	claimed := map[string]string{} // by token: who has registered it
	shared := map[string]bool{}    // customers
	for _, c := range k.history.Calls {
		r := asks(c)
		if c.Customer == "" || r == nil || r.register == nil {
			continue
		}
		if other, is := claimed[r.register.Token]; is && other != c.Customer {
			shared[c.Customer], shared[other] = true, true
		}
		claimed[r.register.Token] = c.Customer
	}
	for _, p := range k.people() {
		if len(p.order) == 0 || shared[p.id] || p.elsewhere() {
			continue
		}
		k.held(RuleDrift)
		for _, o := range p.order {
			if o.source == "reconciliation" && o.requested.Cause == "drift" {
				k.violated(RuleDrift, p.id, "the comparison finds nothing to mend", fmt.Sprintf("%s mends something, a %s, at %s", o.id, o.kind,
					o.requested.At.Format(time.RFC3339Nano)), p.before(o)...)
			}
		}
	}
}

// elsewhere tells that something about the customer was decided in a system that holds it too, or left there as it was, or that
// a token of theirs went to somebody else.
func (p *person) elsewhere() bool {
	return slices.ContainsFunc(p.told, func(t *told) bool { return t.source != "external" }) || slices.ContainsFunc(p.order, func(o *operation) bool {
		return slices.Contains([]string{"crm", "push", "cmp", "token_move"}, o.source) || o.end != nil && len(o.end.NotUndone) > 0
	})
}

// before are the requests of the operations just before this one.
func (p *person) before(o *operation) []*Call {
	var out []*Call
	for _, other := range p.order {
		if other.number < o.number && other.first != nil {
			out = append(out, other.first)
		}
	}
	return out[max(0, len(out)-5):]
}
