package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// heardOf finds the webhook that an operation was accepted with: about its customer, from where the entry says, decided when it
// says, and saying what it says.
func (k *check) heardOf(p *person, o *operation) {
	c := k.byID[o.requested.Origin.RequestID]
	var t *told
	if c != nil {
		t = k.tells(c)
	}
	if t == nil {
		// What the reconciliation has found in the CRM has that as its source too, and no webhook.
		if o.source == "external" || o.source == "crm" && o.requested.Cause != "found_by_reconciliation" {
			k.held(RuleAsked)
			k.violated(RuleAsked, p.id, o.id+" was told by a webhook", fmt.Sprintf("its request is %q", o.requested.Origin.RequestID), c)
		}
		return
	}
	if o.source == "reconciliation" { // who told us of what does not hold is told what does
		return
	}
	k.held(RuleAsked)
	if c.About != p.id || o.source != t.source {
		k.violated(RuleAsked, p.id, fmt.Sprintf("%s is of %s, and from %s", o.id, c.About, t.source), fmt.Sprintf("it is of %s, and from %s", p.id, o.source), c)
		return
	}
	o.first, o.asked, o.told = c, t.asks(o.requested.After), t
	// Of a clock that is ahead the time is taken at which it was heard.
	if said := o.requested.DecidedAt; !said.Equal(t.at) && (said.IsZero() || !t.at.After(said) || said.Before(c.Invoked.Add(-sameClock))) {
		k.violated(RuleAsked, p.id, fmt.Sprintf("%s was decided at %s", o.id, t.at.UTC().Format(time.RFC3339Nano)), "the ledger says "+said.Format(time.RFC3339Nano), c)
	}
	for path := range o.requested.After {
		if _, said := t.items[path]; !said && !strings.HasPrefix(path, "purposes.") && path != "email.confirm_until" { // these follow
			k.violated(RuleAsked, p.id, "nothing but what was told", o.id+" changes "+path, c)
		}
	}
}

// sameClock is how much the clocks of processes on one machine differ at most.
const sameClock = time.Second

// decided is when what is told counts as of.
func (e *entry) decided() time.Time {
	if e.DecidedAt.IsZero() {
		return e.At
	}
	return e.DecidedAt
}

// decisions: one that was made elsewhere counts once, as of when it was made: what was decided later stays, and what was not is
// changed. Nothing that was heard is dropped.
func (k *check) decisions(p *person) {
	k.once(p)
	k.laterWins(p)
	for _, t := range p.told {
		if a, answered := t.answer(); answered {
			k.heard(p, t, a)
		}
	}
}

func (k *check) once(p *person) {
	made := map[string]*operation{}
	for _, o := range p.order {
		if o.told == nil || o.neverStarted() {
			continue
		}
		for _, path := range slices.Sorted(maps.Keys(o.told.items)) {
			if _, is := o.requested.After[path]; !is {
				continue
			}
			k.held(RuleOnce)
			key := o.source + " " + o.told.event + " " + path
			if other := made[key]; other != nil {
				k.violated(RuleOnce, p.id, fmt.Sprintf("one change of %s by the event %s", path, o.told.event), other.id+" and "+o.id, p.deliveries(o.told)...)
			}
			made[key] = o
		}
	}
}

// deliveries of the event.
func (p *person) deliveries(of *told) (out []*Call) {
	for _, t := range p.told {
		if t.source == of.source && t.event == of.event {
			out = append(out, t.call)
		}
	}
	return out
}

// laterWins: no decision that was made elsewhere replaces one that was made later, or at the same time and lets us send less.
func (k *check) laterWins(p *person) {
	type choice struct {
		value any
		by    *operation
	}
	holds := map[string]choice{}
	for _, e := range p.ledger {
		o := p.ops[e.Operation]
		if e.Event != "applied" || o == nil {
			continue
		}
		for path, value := range e.After {
			was, chosen := holds[path]
			if was.value != nil && !o.decides(path) {
				continue
			}
			holds[path] = choice{value, o}
			if o.told == nil || o.told.items[path] == nil || !chosen {
				continue
			}
			k.held(RuleLater)
			at, before := o.requested.decided(), was.by.requested.decided()
			if o.told.at.IsZero() {
				at = before // it cannot be told which is the later
			}
			if made, held := asLate(value, at), asLate(was.value, before); was.value != value && (made.Before(held) || made.Equal(held) && !off(value)) {
				k.violated(RuleLater, p.id, fmt.Sprintf("%s stays %v, decided at %s", path, was.value, before.Format(time.RFC3339Nano)),
					fmt.Sprintf("%s makes it %v, decided at %s", o.id, value, at.Format(time.RFC3339Nano)), was.by.first, o.first)
			}
		}
	}
}

// heard: what was answered well is made, or there is a decision that is as late or later.
func (k *check) heard(p *person, t *told, a outcome) {
	k.held(RuleHeard)
	if a.Operation != "" {
		if o := p.ops[a.Operation]; o == nil || o.source != t.source || o.told == nil || o.told.event != t.event {
			k.violated(RuleHeard, p.id, a.Operation+", which this was answered with, is in the ledger as made of it", "it is not", t.call)
			return
		}
	}
	if p.toldOfNoDevice(t, a) && !p.surelyHas(t) {
		return
	}
	if a.Outcome == "ignored" {
		k.violated(RuleHeard, p.id, "a decision that counts", "it is ignored: "+a.Reason, t.call)
		return
	}
	at := t.at // by a clock that may be ahead of ours
	if at.After(t.call.Invoked) {
		at = t.call.Invoked
	}
	for _, path := range slices.Sorted(maps.Keys(t.items)) {
		if off(t.items[path]) && p.wasOff(path, t) {
			continue // there was nothing to withdraw from
		}
		if t.token != "" && (t.items[path] == nil || t.items[path] == true && a.Outcome != "accepted") {
			continue // a device that is gone has gone with its token; and providers say "on" each time an app is opened, as it was
		}
		echo := a.Outcome == "echo" || a.Outcome == "duplicate" && p.repeatsAnEcho(t)
		if !slices.ContainsFunc(p.order, func(o *operation) bool { return p.answersFor(o, t, path, at, echo) }) {
			k.violated(RuleHeard, p.id, fmt.Sprintf("%s is %v as of %s, or a later decision", path, t.items[path], at.UTC().Format(time.RFC3339Nano)),
				"the ledger has neither", p.deliveries(t)...)
		}
	}
}

// decides tells an operation that says something of its own about a path. Whoever registers a device again, or switches a channel
// for it, does not say whether it gets anything at all.
func (o *operation) decides(path string) bool {
	return !strings.HasPrefix(path, devicePath) || o.asked == nil || o.asked.enabled != nil || o.asked.release
}

// toldOfNoDevice tells that nobody had the token by this answer, or by what it repeats. While a registration is under way that may change
// again; what the provider holds is compared later.
func (p *person) toldOfNoDevice(t *told, a outcome) bool {
	if a.Outcome != "duplicate" {
		return a.Reason == "unknown_device"
	}
	return t.token != "" && !slices.ContainsFunc(p.deliveries(t), func(c *Call) bool {
		first, answered := (&told{call: c}).answer()
		return answered && first.Outcome != "duplicate" && first.Reason != "unknown_device"
	})
}

// surelyHas tells that the device had the token all the time while the call was made.
func (p *person) surelyHas(t *told) bool {
	has := false
	for _, o := range p.order {
		for path := range t.items {
			value, names := o.requested.After[path]
			switch {
			case !names || o.requested.At.After(t.call.Answered.Add(sameClock)):
			case o.end == nil || o.end.At.After(t.call.Invoked.Add(-sameClock)):
				return false
			case o.applied():
				has = value != nil && o.end.tokens[path] == Fingerprint(t.token)
			}
		}
	}
	return has
}

// repeatsAnEcho tells that another delivery of the event was answered with echo, or may have been. Only what a target tells can be
// one.
func (p *person) repeatsAnEcho(t *told) bool {
	if t.source == "external" {
		return false
	}
	others := 0
	for _, c := range p.deliveries(t) {
		if a, answered := (&told{call: c}).answer(); answered && a.Outcome == "echo" {
			return true
		} else if answered && a.Outcome != "duplicate" {
			others++
		}
	}
	return others == 0
}

// answersFor tells that the operation is what was told of a path, or is a reason why nothing had to be made of it.
func (p *person) answersFor(o *operation, t *told, path string, at time.Time, echo bool) bool {
	if _, names := o.requested.After[path]; o.requested.At.After(t.call.Answered.Add(sameClock)) || !names && !echo {
		return false
	}
	switch {
	case echo:
		return o.mayEcho(t)
	case o.told != nil && o.told.source == t.source && o.told.event == t.event && !o.superseded():
		return !o.neverStarted() || p.answeredWith(o)
	case off(t.items[path]) && (o.superseded() || !o.applied() && !o.operator && o.kind == "grant"):
		return false // what was taken back is no decision that a withdrawal could be left out for
	}
	return !asLate(o.requested.After[path], o.requested.decided()).Before(asLate(t.items[path], at))
}

// asLate is when something was decided at the latest: what is told in whole seconds or milliseconds was decided in that time, and
// where the order is in doubt the withdrawal wins.
func asLate(value any, at time.Time) time.Time {
	switch {
	case !off(value) || at.IsZero():
		return at
	case at.Nanosecond() == 0:
		return at.Add(time.Second - time.Microsecond)
	case at.Nanosecond()%int(time.Millisecond) == 0:
		return at.Add(time.Millisecond - time.Microsecond)
	}
	return at
}

// wasOff tells that by all that was decided before, and went through, it was off already.
func (p *person) wasOff(path string, t *told) bool {
	is := path != "push.enabled" // until somebody chooses
	for _, e := range p.ledger {
		o := p.ops[e.Operation]
		value, names := e.After[path]
		if e.Event != "applied" || o == nil || !names || o.requested.At.After(t.call.Answered.Add(sameClock)) {
			continue
		}
		if t.at.IsZero() || !asLate(value, o.requested.decided()).After(asLate(t.items[path], t.at)) {
			is = off(value) || value == nil
		}
	}
	return is
}

// mayEcho tells an operation of which the source may repeat to us what we have written there ourselves: one at about the time of
// which it tells. A vendor's clock, and the time it takes, make that a matter of seconds; for what lets us send, and where it does
// not say when, the contract leaves more doubt.
func (o *operation) mayEcho(t *told) bool {
	at, doubt := t.at, 10*time.Second
	for _, value := range t.items {
		if !off(value) {
			doubt = 2 * time.Minute
		}
	}
	if at.IsZero() {
		at, doubt = t.call.Invoked, 15*time.Minute
	}
	doubt += 2 * sameClock
	return !o.stays(t.source) && !at.Before(o.requested.At.Add(-doubt)) && (o.end == nil || !at.After(o.end.At.Add(doubt)))
}

// overtaken tells that a part of the operation, which was told of, did not count any more when its turn came: what lets us send
// was decided later, and went through meanwhile.
func (p *person) overtaken(o *operation, path string) bool {
	value, is := o.end.After[path]
	want := o.told.items[path]
	if !is || !off(want) || off(value) || o.end.Before[path] != value {
		return false
	}
	return slices.ContainsFunc(p.order, func(other *operation) bool {
		held, names := other.requested.After[path]
		return other != o && names && !off(held) && other.applied() && other.end.Seq < o.end.Seq &&
			(o.told.at.IsZero() || other.requested.decided().After(asLate(want, o.told.at)))
	})
}

// superseded tells a decision made elsewhere that did not count any more when its turn came: what was under way when it was heard,
// and was decided later, has gone through.
func (o *operation) superseded() bool {
	return o.told != nil && o.end != nil && o.end.Event == "compensated" && o.end.Reason.Target == "store"
}

// answeredWith tells that a delivery was answered well with this operation. A repeat finds it also while another is being told
// that it cannot be started: then it is a grant that was accepted, and taken back.
func (p *person) answeredWith(o *operation) bool {
	return slices.ContainsFunc(p.told, func(t *told) bool {
		a, _ := t.answer()
		return a.Operation == o.id
	})
}

// echoWithin is how long after an operation a call of it may still come to a vendor: whoever makes it may have been paused, or its
// answer lost.
const echoWithin = time.Minute

// echoes: who told us is not told the same. What is written to a system for a customer is written by a change from elsewhere.
func (k *check) echoes(p *person) {
	for _, w := range k.final.Writes {
		if w.Customer != p.id {
			continue
		}
		k.held(RuleEcho)
		var about []*Call
		for _, o := range p.order {
			if !o.stays(w.Target) && !w.At.Before(o.requested.At.Add(-sameClock)) && (o.end == nil || w.At.Before(o.end.At.Add(echoWithin))) {
				about = nil
				break
			}
			if o.stays(w.Target) {
				about = append(about, o.first)
			}
		}
		if about != nil {
			k.violated(RuleEcho, p.id, "nothing is written to the "+w.Target+", which told us itself", fmt.Sprintf("%s %s at %s", w.Method, w.Path, w.At.UTC().Format(time.RFC3339Nano)),
				about[max(0, len(about)-5):]...)
		}
	}
}

// stays tells a decision that the target holds already. A subscription that has to be confirmed first is none that counts there, and a
// token that reaches nobody any more is taken out.
func (o *operation) stays(target string) bool {
	for path, value := range o.requested.After {
		if strings.HasPrefix(path, devicePath) && value == nil {
			return false
		}
	}
	return o.source == target && o.requested.After[emailPath] != pendingConfirmation
}
