package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Violation is one promise that was broken.
type Violation struct {
	Rule     string    `json:"rule"`
	Customer string    `json:"customer,omitempty"`
	Expected string    `json:"expected"`
	Found    string    `json:"found"`
	At       time.Time `json:"at,omitzero"` // of the first call that shows it, where there is one
	Calls    []*Call   `json:"calls,omitempty"`
}

// Rules that can be broken, with what each promises.
const (
	RuleQuiet        = "nothing-left"         // nothing is open once all is healed
	RuleAudit        = "audit-verifies"       // `accord audit verify` finds nothing
	RuleChain        = "ledger-chained"       // entries without a gap, each with the hash of the one before
	RuleComplete     = "ledger-complete"      // every accepted operation: requested, then exactly one end
	RuleAsked        = "ledger-as-asked"      // an entry says what somebody asked for, and nobody else's
	RuleAnswer       = "answer-kept"          // what was answered is what came of it
	RuleWithdrawal   = "withdrawal-kept"      // an accepted withdrawal is applied, unless an operator says otherwise
	RuleRefused      = "refused-means-undone" // what was refused was not done
	RuleOrder        = "in-order"             // one at a time, in the order of acceptance
	RuleKey          = "one-key-one-change"   // Idempotency-Key
	RuleMatch        = "one-of-two-wins"      // If-Match
	RuleAgree        = "same-everywhere"      // API, CRM, push provider and CMP agree with the changes applied
	RuleToken        = "one-owner"            // of a token: the customer who registered it last
	RuleRead         = "reads-are-current"    // no read is older than what its reader was told before
	RuleHeard        = "decisions-heard"      // a decision that was told by webhook is made, or a later one holds
	RuleOnce         = "told-twice-made-once" // however often it is delivered
	RuleLater        = "later-decision-wins"  // whatever is heard first; at the same time the withdrawal
	RuleEcho         = "no-echo"              // who told us is not told the same
	RuleDrift        = "nothing-drifts"       // the comparison finds nothing to mend where nobody decides elsewhere
	RuleErased       = "erased-for-good"      // nothing is held of somebody who was erased, and it is proved
	RuleHold         = "held-at-once"         // nothing is sent from the moment a withdrawal is accepted
	RuleHours        = "quiet-hours-kept"     // nothing but what is required is deliverable in them, from the moment they are asked for
	RuleConfirmed    = "confirmed-by-a-link"  // where a subscription has to be confirmed, nothing else makes one
	RuleForeign      = "own-operations-only"  // somebody else's are not there
	RuleMessages     = "own-messages-only"    // nobody sees another's messages, nor any that nobody published
	RulePaging       = "pages-whole"          // no page repeats or skips a message
	RuleCounts       = "counts-equal-lists"   // in each answer
	RuleFresh        = "published-shows"      // what was published is there, within the bound
	RuleGone         = "retracted-is-gone"    // what was retracted is nowhere
	RuleReceipts     = "receipts-kept"        // what was acknowledged stays acknowledged
	RuleChanges      = "changes-add-up"       // the changes since a version lead to the list as it is
	RuleStream       = "streams-catch-up"     // a stream is told of the last version
	RuleInternal     = "no-internal-error"    // 500 is a bug
	RuleRecordedOnce = "recorded-once"        // the history is fit to be judged
)

// Rules lists all of them.
var Rules = []string{RuleQuiet, RuleAudit, RuleChain, RuleComplete, RuleAsked, RuleAnswer, RuleWithdrawal, RuleRefused, RuleOrder, RuleKey,
	RuleMatch, RuleAgree, RuleToken, RuleRead, RuleHeard, RuleOnce, RuleLater, RuleEcho, RuleDrift, RuleErased, RuleHold, RuleHours, RuleConfirmed, RuleForeign, RuleMessages, RulePaging, RuleCounts, RuleFresh, RuleGone, RuleReceipts,
	RuleChanges, RuleStream, RuleInternal, RuleRecordedOnce}

// Report is the verdict, with what it rests on: a rule that nothing was held against has proved nothing.
type Report struct {
	Violations []Violation    `json:"violations"`
	Checked    map[string]int `json:"checked"` // how often each rule was held against something
}

// most violations of one rule that are told; after that it is the same thing again.
const mostTold = 20

func (k *check) violated(rule, customer, expected, found string, calls ...*Call) {
	v := Violation{Rule: rule, Customer: customer, Expected: expected, Found: found}
	for _, c := range calls {
		if c != nil {
			v.Calls = append(v.Calls, c)
		}
	}
	slices.SortFunc(v.Calls, func(a, b *Call) int { return a.Invoked.Compare(b.Invoked) })
	if len(v.Calls) > 0 {
		v.At = v.Calls[0].Invoked
	}
	k.report.Violations = append(k.report.Violations, v)
}

func (k *check) held(rule string) { k.report.Checked[rule]++ }

// Account tells a violation to a person: which customer, which requests in order, what was expected and what was found, and
// what was done to the system meanwhile.
func (v Violation) Account(h *History) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", v.Rule)
	if v.Customer != "" {
		fmt.Fprintf(&b, ", customer %s", v.Customer)
	}
	fmt.Fprintf(&b, "\n  expected: %s\n  found:    %s\n", v.Expected, v.Found)
	for _, c := range v.Calls {
		fmt.Fprintf(&b, "    %s\n", c)
		if len(c.Answer) > 0 && c.Status >= 400 {
			fmt.Fprintf(&b, "      %s\n", shortened(c.Answer))
		}
	}
	if h == nil || v.At.IsZero() {
		return b.String()
	}
	last := v.Calls[len(v.Calls)-1].Invoked.Add(30 * time.Second)
	for _, d := range h.Disturbances {
		if d.To.After(v.At.Add(-5*time.Second)) && d.From.Before(last) {
			fmt.Fprintf(&b, "    meanwhile, %s to %s: %s\n", d.From.UTC().Format("15:04:05.000"), d.To.UTC().Format("15:04:05.000"), d.What)
		}
	}
	return b.String()
}

// Told is the whole verdict for a person.
func (r *Report) Told(h *History) string {
	var b strings.Builder
	byRule := map[string]int{}
	vs := slices.Clone(r.Violations)
	slices.SortStableFunc(vs, func(a, b Violation) int {
		return cmp.Compare(slices.Index(Rules, a.Rule), slices.Index(Rules, b.Rule))
	})
	for _, v := range vs {
		if byRule[v.Rule]++; byRule[v.Rule] <= mostTold {
			b.WriteString(v.Account(h))
		}
	}
	for _, rule := range Rules {
		fmt.Fprintf(&b, "%-22s held against %6d, broken by %d\n", rule, r.Checked[rule], byRule[rule])
	}
	return b.String()
}
