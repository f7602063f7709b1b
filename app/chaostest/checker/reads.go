package checker

import (
	"fmt"
	"slices"
)

// reads: an answer shows the version it names as the changes have made it, and no older one than was known to have been
// reached before it was asked for.
func (k *check) reads(p *person) {
	type seen struct {
		c *Call
		s *shown
	}
	var all []seen
	for _, c := range p.calls {
		if s := shows(c); s != nil {
			all = append(all, seen{c, s})
		}
	}
	byEnd := slices.Clone(all)
	slices.SortStableFunc(byEnd, func(a, b seen) int { return a.c.Answered.Compare(b.c.Answered) })
	var latest seen
	next := 0
	for _, r := range all {
		k.held(RuleRead)
		for next < len(byEnd) && byEnd[next].c.Answered.Before(r.c.Invoked) {
			if latest.c == nil || byEnd[next].s.version > latest.s.version {
				latest = byEnd[next]
			}
			next++
		}
		// What a change is answered with is what it made, also when it is told again much later.
		if (r.c.Method == "GET" || r.c.given("Accord-Operation") == "") && latest.c != nil && r.s.version < latest.s.version {
			k.violated(RuleRead, p.id, fmt.Sprintf("version %d or later, which was seen before", latest.s.version), fmt.Sprintf("version %d", r.s.version), latest.c, r.c)
		}
		want := p.states[r.s.version]
		if want == nil {
			k.violated(RuleRead, p.id, "a version that a change has made", fmt.Sprintf("version %d", r.s.version), r.c)
			continue
		}
		if got := r.s.differs(want); got != "" {
			k.violated(RuleRead, p.id, fmt.Sprintf("version %d: %s", r.s.version, want), got, p.madeBy(r.s.version), r.c)
		}
		k.quietly(p, r.c, r.s, want.Quiet, p.madeBy(r.s.version))
	}
}

func (p *person) madeBy(version int64) *Call {
	for _, o := range p.order {
		if o.version == version {
			return o.first
		}
	}
	return nil
}

// holds: once a withdrawal was acknowledged, nothing it is about is deliverable, whether it is through or not.
func (k *check) holds(p *person) {
	for _, o := range p.order {
		if o.asked == nil || !o.asked.withdraws() || !o.acknowledged() {
			continue
		}
		for _, c := range p.calls {
			if !o.first.before(c) || c.Method != "GET" {
				continue
			}
			s := shows(c)
			if s == nil || s.push == nil || k.over(p, o, s) {
				continue
			}
			k.held(RuleHold)
			for _, e := range s.effective {
				if e.Deliverable && o.asked.withholds(e.Channel, e.Device) {
					k.violated(RuleHold, p.id, fmt.Sprintf("nothing on %s to %s from when %s was accepted", e.Channel, e.Device, o.id), "it is deliverable", o.first, c)
				}
			}
			if o.asked.quiet != nil {
				k.quietly(p, c, s, *o.asked.quiet, o.first)
			}
		}
	}
}

// acknowledged tells that the answer to the first request has named the operation.
func (o *operation) acknowledged() bool {
	if o.first == nil || !o.first.answered() {
		return false
	}
	if o.told != nil {
		a, _ := o.told.answer()
		return a.Operation == o.id
	}
	return o.first.given("Accord-Operation") == o.id
}

// over tells that what is shown may be later than the withdrawal's end: its own version says what holds then. One that came
// to nothing, because there was nothing to withdraw from or an operator took it back, holds until then only.
func (k *check) over(p *person, o *operation, s *shown) bool {
	return !o.applied() || s.version >= o.version
}
