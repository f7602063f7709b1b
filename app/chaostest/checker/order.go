package checker

import (
	"fmt"
	"slices"
)

// order: changes are numbered in the order in which they were accepted, which is that of their acknowledgements where these do
// not overlap, and applied in that order.
func (k *check) order(p *person) {
	var number, version, applied int64
	for _, e := range p.ledger {
		switch e.Event {
		case "requested":
			k.held(RuleOrder)
			if e.Number <= number {
				k.violated(RuleOrder, p.id, fmt.Sprintf("a number above %d", number), fmt.Sprintf("%s has %d", e.Operation, e.Number), p.asking(e.Operation))
			}
			number = e.Number
		case "applied":
			k.held(RuleOrder)
			if e.Number < applied {
				k.violated(RuleOrder, p.id, fmt.Sprintf("what was accepted first is applied first: nothing before %d after it", applied),
					fmt.Sprintf("%d is applied after it", e.Number), p.asking(e.Operation))
			}
			if e.Version != version && e.Version != version+1 {
				k.violated(RuleOrder, p.id, fmt.Sprintf("version %d or the next", version), fmt.Sprintf("%s made %d", e.Operation, e.Version), p.asking(e.Operation))
			}
			applied, version = e.Number, e.Version
		}
	}
	k.acknowledged(p)
}

// asking is the request that an operation was accepted with, nil when it is not known.
func (p *person) asking(operation string) *Call {
	if o := p.ops[operation]; o != nil {
		return o.first
	}
	return nil
}

// acknowledged: a change that was told to be accepted before another one was asked for comes before it.
func (k *check) acknowledged(p *person) {
	type accepted struct {
		o *operation
		c *Call
	}
	var all []accepted
	for _, c := range p.calls {
		if o := p.ops[c.given("Accord-Operation")]; o != nil && o.first == c {
			all = append(all, accepted{o, c})
		}
	}
	slices.SortStableFunc(all, func(a, b accepted) int { return a.c.Answered.Compare(b.c.Answered) })
	var asked []*operation
	for _, o := range p.order {
		if o.first != nil {
			asked = append(asked, o)
		}
	}
	slices.SortStableFunc(asked, func(a, b *operation) int { return a.first.Invoked.Compare(b.first.Invoked) })
	var latest accepted
	next := 0
	for _, o := range asked {
		for next < len(all) && all[next].c.Answered.Before(o.first.Invoked) {
			if latest.o == nil || all[next].o.number > latest.o.number {
				latest = all[next]
			}
			next++
		}
		if latest.o == nil {
			continue
		}
		k.held(RuleOrder)
		if o.number < latest.o.number {
			k.violated(RuleOrder, p.id, fmt.Sprintf("%s, asked for after %s was accepted, comes after it", o.id, latest.o.id),
				fmt.Sprintf("its number is %d, the other's %d", o.number, latest.o.number), latest.c, o.first)
		}
	}
}

// keys: one Idempotency-Key is one operation and one answer; with another request it is 422.
func (k *check) keys(p *person) {
	byKey := map[string][]*Call{}
	var order []string
	for _, c := range p.calls {
		if key := c.Header["Idempotency-Key"]; key != "" && asks(c) != nil {
			if byKey[key] == nil {
				order = append(order, key)
			}
			byKey[key] = append(byKey[key], c)
		}
	}
	for _, key := range order {
		k.key(p, key, byKey[key])
	}
}

func (k *check) key(p *person, key string, calls []*Call) {
	k.held(RuleKey)
	var kept []*operation // what was really accepted under the key
	for _, o := range p.order {
		if o.first != nil && o.first.Header["Idempotency-Key"] == key && !o.neverStarted() {
			kept = append(kept, o)
		}
	}
	if len(kept) > 1 {
		k.violated(RuleKey, p.id, "one operation for the key "+key, fmt.Sprintf("%s and %s", kept[0].id, kept[1].id), calls...)
		return
	}
	if len(kept) == 0 {
		return
	}
	o := kept[0]
	var applied *Call
	for _, c := range calls {
		if !c.answered() {
			continue
		}
		id := c.given("Accord-Operation")
		switch {
		case !same(c, o.first):
			// Before the first one was accepted, this may have been refused by itself.
			if id != "" || c.Status == 200 || c.Status == 202 {
				k.violated(RuleKey, p.id, "422 for another request with the key "+key, fmt.Sprint(c.Status), o.first, c)
			} else if o.acknowledgedBefore(c, calls) && c.Status != 422 && c.Status < 500 && c.Status != 429 {
				k.violated(RuleKey, p.id, "422 for another request with the key "+key, fmt.Sprint(c.Status), o.first, c)
			}
		case id != "" && id != o.id && !p.ops[id].closed():
			k.violated(RuleKey, p.id, "the same operation for the same request with the key "+key, id+" and "+o.id, o.first, c)
		case c.Status == 422:
			k.violated(RuleKey, p.id, "the same answer for the same request with the key "+key, "422", o.first, c)
		case c.Status == 200:
			k.held(RuleKey)
			if applied != nil && canonical(applied.Answer) != canonical(c.Answer) {
				k.violated(RuleKey, p.id, "the same answer for the same request with the key "+key, "another one", applied, c)
			}
			applied = c
		}
	}
}

// closed: nil-safe neverStarted.
func (o *operation) closed() bool { return o != nil && o.neverStarted() }

// acknowledgedBefore tells whether anybody knew of the operation before the call was sent.
func (o *operation) acknowledgedBefore(c *Call, calls []*Call) bool {
	return slices.ContainsFunc(calls, func(other *Call) bool { return other.given("Accord-Operation") == o.id && other.before(c) })
}

// matches: of the edits of one version, one at most is applied.
func (k *check) matches(p *person) {
	won := map[string]*operation{}
	for _, o := range p.order {
		if o.first == nil || o.first.Header["If-Match"] == "" || !o.applied() {
			continue
		}
		k.held(RuleMatch)
		tag := o.first.Header["If-Match"]
		if other := won[tag]; other != nil {
			k.violated(RuleMatch, p.id, "one edit of the version "+tag, other.id+" and "+o.id+" were both applied", other.first, o.first)
		}
		won[tag] = o
	}
}
