// Package preferences is the saga: one requested change, brought to every target or taken back everywhere.
//
// Postgres holds the queue and the turn, a run executes. A run is started for the operation that has the customer's
// turn, works on it to the end, and goes on with whatever came in meanwhile; when nothing is left the turn is given
// back in the transaction that ends the last operation, and the run closes.
//
//	Begin ─┬─ reach crm ──┐
//	       ├─ reach push ─┼─ all applied ──────────────── Commit ──────────────┐
//	       └─ reach cmp ──┘                                                    ├─ next operation, or end
//	              │ a grant's time is over, or a target refuses it             │
//	              ├─ StartCompensation ─ undo crm, push, cmp ─ FinishCompensation
//	              │ a target refuses a withdrawal for good
//	              └─ Park ─ wait for an operator ─ retry, or compensate
//
// An operation that took the turn when it was accepted was begun in that transaction: its run starts with the targets, and
// asks (Begin) only when a step fails, for it may have been closed as never started, or settled by a run before.
//
// Every step can be repeated: what was done is in the database before the next thing is done, and each step looks
// there first. Workflow code calls nothing but the typed stubs in stubs.go. Inputs hold ids, never personal data.
package preferences

import (
	"slices"
	"strconv"
	"strings"

	"go.temporal.io/sdk/temporal"

	"accord/domain/preference"
	"accord/ports"
)

// Names under which the outside knows the workflows. Renaming one strands the runs that are open.
const (
	TaskQueue      = "preferences"
	ChangeWorkflow = "preferences.Change"
	SweepWorkflow  = "preferences.Sweep"
	SweepSchedule  = "preferences-sweep"
	DecisionSignal = "decision" // no payload: the decision is in the store, the signal only wakes the run
)

// ChangeInput starts a run. Fields are only ever added.
type ChangeInput struct {
	Operation string `json:"operation"`
	Run       int64  `json:"run"`
	// Plan is what to do when the operation was begun with its acceptance. Without it the run begins by asking.
	Plan *Plan `json:"plan,omitempty"`
}

// InputFor is the input of a run that is to be started.
func InputFor(r ports.Run) ChangeInput {
	in := ChangeInput{Operation: r.Operation, Run: r.Number}
	if r.Ahead && len(r.Targets) > 0 { // a first step tells whether the operation may still be worked on
		in.Plan = &Plan{Operation: r.Operation, Do: doReach, Kind: r.Kind, Source: r.Source, Targets: r.Targets, Deadline: r.Deadline, Summary: r.Summary}
	}
	return in
}

// ChangeOutput tells what became of the operations that a run has settled, the latest ones last. It is for people; the
// store is the truth.
type ChangeOutput struct {
	Settled []Settlement `json:"settled"`
}

// Settlement is the end of one operation. Code and Target say why it was compensated.
type Settlement struct {
	Operation string            `json:"operation"`
	Outcome   string            `json:"outcome"`
	Code      string            `json:"code,omitempty"`
	Target    preference.Target `json:"target,omitempty"`
}

// maxSettlements bounds what a run carries along.
const maxSettlements = 50

// WorkflowID of the run that holds a customer's turn. The customer is named by a pseudonym.
func WorkflowID(customer preference.CustomerID, run int64) string {
	return "preferences/" + customer.Pseudonym() + "/" + strconv.FormatInt(run, 10)
}

// Search attributes that make runs findable in the Temporal UI. None holds personal data. The targets are one keyword and
// not a list of them, which costs Temporal as much as all the others together; see targetSet for how to find one.
var (
	AttrOperation = temporal.NewSearchAttributeKeyKeyword("AccordOperation")
	AttrKind      = temporal.NewSearchAttributeKeyKeyword("AccordKind")
	AttrSource    = temporal.NewSearchAttributeKeyKeyword("AccordSource")
	AttrTargets   = temporal.NewSearchAttributeKeyKeyword("AccordTargetSet")
	AttrOutcome   = temporal.NewSearchAttributeKeyKeyword("AccordOutcome")
)

// AttributesOf a run while it works on an operation. AttrOutcome is apart, as it is left out in the ordinary course.
func AttributesOf(operation string, kind preference.Kind, source preference.Source, targets []preference.Target) []temporal.SearchAttributeUpdate {
	return []temporal.SearchAttributeUpdate{AttrOperation.ValueSet(operation), AttrKind.ValueSet(string(kind)),
		AttrSource.ValueSet(string(source)), AttrTargets.ValueSet(targetSet(targets))}
}

// targetSet names targets in one word, the push provider first: runs that reach it are found by STARTS_WITH "push", those
// that reach the CMP by one of four words. Nearly all reach the CRM.
func targetSet(targets []preference.Target) string {
	var names []string
	for _, t := range []preference.Target{preference.Push, preference.CMP, preference.CRM} {
		if slices.Contains(targets, t) {
			names = append(names, string(t))
		}
	}
	return strings.Join(names, ",")
}

// Outcomes as details and results show them. AttrOutcome shows those that somebody would look for: needs_attention,
// compensating and compensated. Without one of them, the run's own status tells: Running, or Completed for applied.
const (
	OutcomeRunning        = "running"
	OutcomeNeedsAttention = "needs_attention"
	OutcomeCompensating   = "compensating"
	OutcomeApplied        = "applied"
	OutcomeCompensated    = "compensated"
)
