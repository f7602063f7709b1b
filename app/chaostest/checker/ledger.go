package checker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ledger reads what the ledger says of a customer and holds it against itself, and against what was asked.
func (k *check) ledger(p *person) {
	for _, raw := range p.standing.Ledger {
		e := &entry{}
		if err := json.Unmarshal(raw, e); err != nil {
			k.violated(RuleChain, p.id, "entries that can be read", err.Error())
			return
		}
		e.plain()
		p.ledger = append(p.ledger, e)
	}
	prev := strings.Repeat("0", 64)
	for i, e := range p.ledger {
		k.held(RuleChain)
		if e.Seq != int64(i+1) {
			k.violated(RuleChain, p.id, fmt.Sprintf("entry %d", i+1), fmt.Sprintf("entry %d", e.Seq))
			return
		}
		if e.PrevHash != prev {
			k.violated(RuleChain, p.id, fmt.Sprintf("entry %d follows %s", e.Seq, prev), "it follows "+e.PrevHash)
		}
		prev = e.Hash
		k.follow(p, e)
	}
	for _, o := range p.order {
		k.held(RuleComplete)
		if o.end == nil {
			k.violated(RuleComplete, p.id, o.id+" has ended", "the ledger has no end of it", o.first)
		}
		k.asked(p, o)
	}
}

// follow puts an entry to its operation.
func (k *check) follow(p *person, e *entry) {
	o := p.ops[e.Operation]
	if e.Event == "requested" {
		if o != nil {
			k.violated(RuleComplete, p.id, e.Operation+" is requested once", fmt.Sprintf("again by entry %d", e.Seq), o.first)
			return
		}
		o = &operation{id: e.Operation, customer: p.id, number: e.Number, kind: e.Kind, source: e.Origin.Source, requested: e}
		p.ops[o.id], p.order = o, append(p.order, o)
		return
	}
	if o == nil {
		k.violated(RuleComplete, p.id, e.Operation+" is requested first", fmt.Sprintf("entry %d says %s", e.Seq, e.Event))
		return
	}
	if o.end != nil {
		k.violated(RuleComplete, p.id, o.id+" ends once", fmt.Sprintf("%s by entry %d, then %s by entry %d", o.end.Event, o.end.Seq, e.Event, e.Seq), o.first)
		return
	}
	switch e.Event {
	case "applied":
		o.end, o.version = e, e.Version
	case "compensated":
		o.end = e
	case "needs_attention":
		o.parked = true
	case "compensation_requested":
		o.operator = true
	}
}

// asked finds the request that an operation was accepted with: of its customer, and saying what the entry says.
func (k *check) asked(p *person, o *operation) {
	if o.source != "app" {
		k.heardOf(p, o)
		if o.told != nil {
			k.saysAsAsked(p, o)
		}
		return
	}
	k.held(RuleAsked)
	c := k.byID[o.requested.Origin.RequestID]
	if c == nil || c.Customer != p.id {
		k.violated(RuleAsked, p.id, o.id+" is what this customer asked for", fmt.Sprintf("its request is %q", o.requested.Origin.RequestID), c)
		return
	}
	r := asks(c)
	if r == nil {
		k.violated(RuleAsked, p.id, o.id+" comes from a change", "this is none", c)
		return
	}
	o.first, o.asked = c, r
	k.saysAsAsked(p, o)
}

// saysAsAsked compares the entries of an operation with what was asked for.
func (k *check) saysAsAsked(p *person, o *operation) {
	if kind := map[bool]string{true: "withdrawal", false: "grant"}[o.asked.withdraws()]; o.kind != kind {
		k.violated(RuleAsked, p.id, "a "+kind, "the ledger calls it a "+o.kind, o.first)
	}
	if !o.applied() {
		return
	}
	for path, want := range o.asked.facts() {
		if path == emailPath && want == "subscribed" && k.final.DoubleOptIn && o.end.Before[path] != "subscribed" {
			want = pendingConfirmation
		}
		got, is := o.end.After[path]
		if o.told != nil && p.overtaken(o, path) {
			continue
		}
		if !is || got != want {
			k.violated(RuleAsked, p.id, fmt.Sprintf("%s is applied as asked: %s %v", o.id, path, want), fmt.Sprintf("the ledger says %v", got), o.first)
		}
	}
}

// facts is what the ledger has to say after the change, by path.
func (r *request) facts() map[string]any {
	out := map[string]any{}
	if r.push != nil {
		out["push.enabled"] = *r.push
	}
	for key, on := range r.channels {
		out["push.channels."+key] = on
	}
	if r.quiet != nil {
		out["push.quiet_hours"] = nil
		if *r.quiet != "" {
			out["push.quiet_hours"] = *r.quiet
		}
	}
	if r.email != "" {
		out[emailPath] = r.email
	}
	return out
}

// answers holds what each change was answered against what the ledger says came of it.
func (k *check) answers(p *person) {
	for _, c := range p.calls {
		if !c.answered() {
			continue
		}
		if asks(c) != nil {
			k.answer(p, c)
		}
		if id, is := strings.CutPrefix(c.Path, "/v1/operations/"); is && c.Method == "GET" {
			k.held(RuleForeign)
			if c.Status == 200 && p.ops[id] == nil {
				k.violated(RuleForeign, p.id, "404 for an operation of somebody else", "200", c)
			}
		}
	}
	for _, o := range p.order {
		if o.kind != "withdrawal" || !slices.Contains([]string{"app", "email_link", "external", "crm", "push"}, o.source) || o.end == nil {
			continue
		}
		k.held(RuleWithdrawal)
		// When its turn came there may have been nothing to withdraw from: the device was signed out before.
		if !o.applied() && !o.operator && o.end.Reason.Target != "store" {
			k.violated(RuleWithdrawal, p.id, "an accepted withdrawal is applied", fmt.Sprintf("%s was compensated: %s %s", o.id, o.end.Reason.Code, o.end.Reason.Target), o.first)
		}
	}
}

func (k *check) answer(p *person, c *Call) {
	id := c.given("Accord-Operation")
	if id == "" && c.saysNothingNew() {
		return
	}
	if id == "" {
		k.refused(p, c)
		return
	}
	k.held(RuleAnswer)
	o := p.ops[id]
	if o == nil {
		k.violated(RuleAnswer, p.id, id+", which this was answered with, is in the ledger", "it is not", c)
		return
	}
	if o.asked != nil && !same(o.first, c) {
		k.violated(RuleAnswer, p.id, "an operation for what was asked", id+" is for another request", o.first, c)
	}
	want := map[int]string{200: "applied", 502: "compensated", 409: "compensated"}[c.Status]
	if want != "" && o.end != nil && o.end.Event != want {
		k.violated(RuleAnswer, p.id, fmt.Sprintf("%d means that %s is %s", c.Status, id, want), "the ledger says "+o.end.Event, o.first, c)
	}
}

// saysNothingNew tells a registration without a key that was answered with the device as it says it is already. Whether that is so
// is for the reads to tell.
func (c *Call) saysNothingNew() bool {
	r := asks(c)
	if c.Status != 200 || r.register == nil || c.Header["Idempotency-Key"] != "" {
		return false
	}
	s := shows(c)
	if s == nil || s.push == nil {
		return false
	}
	for _, d := range s.push.Devices {
		if d.ID == r.device {
			return d.Platform == r.register.Platform && d.Permission == r.register.Permission && d.Token == Fingerprint(r.register.Token)
		}
	}
	return false
}

// refused: what was answered without an operation has not been done.
func (k *check) refused(p *person, c *Call) {
	k.held(RuleRefused)
	if c.Status < 300 {
		k.violated(RuleAnswer, p.id, "an accepted change names its operation", fmt.Sprintf("%d without one", c.Status), c)
		return
	}
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(c.Answer, &problem) == nil && problem.Code == "outcome-unknown" {
		return // the database has gone with the answer to the commit: as good as no answer
	}
	for _, o := range p.order {
		if o.first == c && o.applied() {
			k.violated(RuleRefused, p.id, fmt.Sprintf("%d means that nothing was done", c.Status), o.id+" was applied", c)
		}
	}
}
