package checker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FreshWithin is how long after being published a message may be missing.
const FreshWithin = 60 * time.Second

// check is one judgement under way.
type check struct {
	history *History
	final   *Final
	report  *Report

	byID      map[string]*Call
	customers map[string]*person
	devices   map[string]string // by token: the device that was registered with it
}

// person is all that is known of one customer.
type person struct {
	id       string
	standing *Standing
	calls    []*Call // by the time they were sent
	others   []*Call // of others about this customer: links in e-mails made and followed, an erasure
	told     []*told // by webhooks about this customer
	ledger   []*entry
	ops      map[string]*operation
	order    []*operation // as accepted
	states   map[int64]*preferences
	last     *preferences // what every change applied makes, nil when the ledger could not be followed
}

// operation is what the ledger says of one change.
type operation struct {
	id        string
	customer  string
	number    int64
	kind      string
	source    string
	requested *entry
	end       *entry // nil while there is none
	parked    bool
	operator  bool     // an operator had it compensated
	first     *Call    // the request that it was accepted with
	asked     *request // what that asked for, nil for what nobody asked for
	told      *told    // the webhook that this was, nil for any other
	version   int64    // that it made, 0 for none
}

func (o *operation) applied() bool { return o.end != nil && o.end.Event == "applied" }

// neverStarted tells a grant that was closed because it could not be started: its key is free again.
func (o *operation) neverStarted() bool {
	return o.end != nil && o.end.Event == "compensated" && o.end.Reason.Code == "unavailable"
}

// entry is one line of the ledger as the API shows it.
type entry struct {
	Seq       int64          `json:"seq"`
	Event     string         `json:"event"`
	At        time.Time      `json:"at"`
	Operation string         `json:"operation"`
	Number    int64          `json:"number"`
	Kind      string         `json:"kind"`
	Cause     string         `json:"cause"`
	Before    map[string]any `json:"before"`
	After     map[string]any `json:"after"`
	Version   int64          `json:"version"`
	DecidedAt time.Time      `json:"decided_at"` // zero where that is when it was asked for
	PrevHash  string         `json:"prev_hash"`
	Hash      string         `json:"hash"`
	NotUndone []string       `json:"not_undone"`
	Reason    struct {
		Code   string `json:"code"`
		Target string `json:"target"`
	} `json:"reason"`
	Actor struct {
		Type string `json:"type"`
	} `json:"actor"`
	Origin struct {
		Source    string `json:"source"`
		RequestID string `json:"request_id"`
	} `json:"origin"`

	tokens map[string]string // after it, by device: fingerprints
}

// plain leaves of each device whether it is switched on, and keeps the fingerprint of its token.
func (e *entry) plain() {
	e.tokens = map[string]string{}
	for _, facts := range []map[string]any{e.Before, e.After} {
		for path, value := range facts {
			if d, is := value.(map[string]any); is && strings.HasPrefix(path, devicePath) {
				facts[path] = d["enabled"]
				e.tokens[path], _ = d["token_fingerprint"].(string)
			}
		}
	}
}

// Check judges a history by what was left at its end.
func Check(h *History, f *Final) *Report {
	k := &check{history: h, final: f, report: &Report{Checked: map[string]int{}}, byID: map[string]*Call{}, customers: map[string]*person{}, devices: map[string]string{}}
	k.gather()
	k.quiet()
	k.internal()
	for _, p := range k.people() {
		if k.erased(p) {
			continue
		}
		k.ledger(p)
		k.answers(p)
		k.order(p)
		k.keys(p)
		k.matches(p)
		k.replay(p)
		k.agreement(p)
		k.reads(p)
		k.holds(p)
		k.followed(p)
		k.confirmed(p)
		k.decisions(p)
		k.echoes(p)
	}
	k.tokens()
	k.drifts()
	k.inboxes()
	return k.report
}

func (k *check) gather() {
	for _, c := range k.history.Calls {
		k.held(RuleRecordedOnce)
		if k.byID[c.ID] != nil {
			k.violated(RuleRecordedOnce, c.Customer, "one call with the id "+c.ID, "two", k.byID[c.ID], c)
		}
		k.byID[c.ID] = c
		if r := asks(c); r != nil && r.register != nil {
			k.devices[r.register.Token] = r.device
		}
	}
	for i := range k.final.Customers {
		s := &k.final.Customers[i]
		k.customers[s.Customer] = &person{id: s.Customer, standing: s, ops: map[string]*operation{}, states: map[int64]*preferences{}}
	}
	for _, c := range k.history.Calls {
		if p := k.customers[c.About]; p != nil {
			if t := k.tells(c); t != nil {
				p.told = append(p.told, t)
			} else {
				p.others = append(p.others, c)
			}
		}
		if c.Customer == "" || c.Scope != "" {
			continue
		}
		p := k.customers[c.Customer]
		if p == nil {
			k.violated(RuleRecordedOnce, c.Customer, "what is said at the end of everybody who has called", "nothing is said of this one", c)
			continue
		}
		p.calls = append(p.calls, c)
	}
	for _, p := range k.customers {
		slices.SortStableFunc(p.calls, func(a, b *Call) int { return a.Invoked.Compare(b.Invoked) })
	}
}

// people in a fixed order, so that the same history gets the same report.
func (k *check) people() []*person {
	var out []*person
	for i := range k.final.Customers {
		out = append(out, k.customers[k.final.Customers[i].Customer])
	}
	return out
}

func (k *check) quiet() {
	k.held(RuleQuiet)
	if !k.final.Quiet || len(k.final.Open) > 0 {
		k.violated(RuleQuiet, "", "no operation open after everything is healed", fmt.Sprintf("%s; %d are open: %s", k.final.Settled, len(k.final.Open),
			shortened(joined(k.final.Open))))
	}
	k.held(RuleAudit)
	if k.final.Audit.Exit != 0 {
		k.violated(RuleAudit, "", "`accord audit verify` ends with 0", fmt.Sprintf("%d: %s", k.final.Audit.Exit, shortened([]byte(k.final.Audit.Output))))
	}
}

func joined(raw []json.RawMessage) []byte {
	var parts []string
	for _, r := range raw {
		parts = append(parts, string(r))
	}
	return []byte(strings.Join(parts, ", "))
}

func (k *check) internal() {
	for _, c := range k.history.Calls {
		if !c.answered() || c.To == "sandbox" {
			continue
		}
		k.held(RuleInternal)
		if c.Status == 500 {
			k.violated(RuleInternal, c.Customer, "an answer of the contract", "500", c)
		}
	}
}
