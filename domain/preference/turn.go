package preference

import (
	"slices"
	"strconv"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
)

// System is the actor of what Accord does by itself.
var System = consent.Actor{Type: "system", ID: "accord"}

// Tag of a version with the number of the last change under way on top of it (0 for none).
func Tag(version, lastOpen int64) string {
	tag := strconv.FormatInt(version, 10)
	if lastOpen > 0 {
		tag += "+" + strconv.FormatInt(lastOpen, 10)
	}
	return tag
}

// BeginAhead begins an operation that has just been accepted and has the turn, before there is a run: what it goes from
// and to is fixed, and its first step may start without anybody asking here first. It has no StartedAt as long as nothing
// but that is known about it. False, and nothing done, when somebody else has the turn.
func (a *Account) BeginAhead(op *Operation) bool {
	if op.Status != Accepted || a.turn != op.Number || a.run != op.Number {
		return false
	}
	op.Status = Running // before and after are those that it was accepted with: nothing was ahead of it
	a.touch(op)
	return true
}

// WentAhead is called by the run that has tried to reach the targets of an operation begun ahead, before it asks by Begin
// what has become of it: that its time is over by now is for the run to say, which knows the target that has taken it.
func (a *Account) WentAhead(op *Operation) {
	if op.ahead() {
		op.goesOn()
		a.touch(op)
	}
}

// Begin is called by the run that holds the turn, before it works on an operation, and again after a crash. Afterwards
// the operation is running, or further on. An operation that cannot start (its time is over, or it is not valid any
// more on what was really applied before it, or was decided before that) is compensated here, with no target touched; the caller goes on with Next.
// One that was begun ahead may have touched targets already: when its time is over it is compensated step by step.
// Errors: Conflict "turn-lost" when the run does not hold the turn.
func (a *Account) Begin(op *Operation, run int64, now time.Time) error {
	if op.Status.Settled() {
		return nil
	}
	if a.run != run || a.turn != op.Number {
		return fault.New(fault.Conflict, "turn-lost", "operation %d has the turn in run %d", a.turn, a.run)
	}
	now = now.UTC().Truncate(time.Microsecond)
	late := op.Kind == Grant && now.After(op.Deadline)
	switch {
	case op.ahead() && late:
		return a.StartCompensation(op, tooLate, now)
	case op.ahead():
		op.StartedAt = now
		a.touch(op)
		return nil
	case op.Status != Accepted:
		return nil
	case late:
		why := tooLate
		return a.settle(op, Compensated, &why, nil, now)
	}
	after, err := a.prefs.after(op)
	if f, is := fault.As(err); is {
		return a.settle(op, Compensated, &consent.Reason{Code: f.Code, Target: "store", Detail: f.Message}, nil, now)
	} else if err != nil {
		return err
	}
	op.Before, op.After = a.prefs.Snapshot(), after.Snapshot()
	op.Status, op.StartedAt = Running, now
	a.touch(op)
	return nil
}

var tooLate = consent.Reason{Code: "budget-exhausted", Detail: "its time was over before its turn came"}

// ahead: it was begun with its acceptance, and no more is known.
func (o *Operation) ahead() bool { return o.Status == Running && o.StartedAt.IsZero() }

// goesOn fills in when an operation that was begun ahead has started: when it had the turn.
func (o *Operation) goesOn() {
	if o.ahead() {
		o.StartedAt = o.AcceptedAt
	}
}

// Keeps reports that one of the customer's devices has the token, and that no change under way takes it from them.
func (a *Account) Keeps(token string) bool {
	has := func(p Preferences) bool {
		return slices.ContainsFunc(p.devices, func(d Device) bool { return d.Token == token })
	}
	now := a.prefs
	for _, op := range a.open {
		if !has(now) {
			return false
		}
		if next, err := now.after(op); err == nil {
			now = next
		}
	}
	return has(now)
}

// Next is the operation that the run shall work on after op is settled, nil when the turn was given back or now
// belongs to another run.
func (a *Account) Next(run int64) *Operation {
	if a.run != run || a.turn == 0 {
		return nil
	}
	i := slices.IndexFunc(a.open, func(o *Operation) bool { return o.Number == a.turn })
	if i < 0 {
		return nil
	}
	return a.open[i]
}

// Commit makes the change hold: every target has it. Repeating it changes nothing.
func (a *Account) Commit(op *Operation, now time.Time) error {
	switch op.Status {
	case Applied:
		return nil
	case Running:
	default:
		return fault.New(fault.Conflict, "not-running", "a change that is %s cannot be applied", op.Status)
	}
	a.prefs = Restore(op.Customer, op.After, a.prefs.catalogue)
	op.goesOn()
	op.Reason = nil
	return a.settle(op, Applied, nil, nil, now)
}

// StartCompensation stops further writes of the change and says why. Repeating it keeps the first reason.
func (a *Account) StartCompensation(op *Operation, why consent.Reason, now time.Time) error {
	switch op.Status {
	case Compensating, Compensated:
		return nil
	case Running, NeedsAttention:
	default:
		return fault.New(fault.Conflict, "not-running", "a change that is %s cannot be compensated", op.Status)
	}
	if op.Kind == Withdrawal && op.Decision != CompensateIt {
		return fault.New(fault.Conflict, "withdrawal-goes-forward", "a withdrawal is compensated only by an operator's decision")
	}
	if op.Reason == nil {
		op.Reason = &why
	}
	op.goesOn()
	op.Status, op.Decision = Compensating, ""
	a.touch(op)
	return nil
}

// Compensate ends a compensation: every target holds what it held before, but for what was changed elsewhere
// meanwhile (left). Repeating it changes nothing.
func (a *Account) Compensate(op *Operation, left []string, now time.Time) error {
	switch op.Status {
	case Compensated:
		return nil
	case Compensating:
		return a.settle(op, Compensated, op.Reason, left, now)
	default:
		return fault.New(fault.Conflict, "not-compensating", "a change that is %s cannot end as compensated", op.Status)
	}
}

// Park marks a withdrawal that a target refuses for good. Its hold stays. Repeating it for another target keeps the
// first reason.
func (a *Account) Park(op *Operation, why consent.Reason, now time.Time) error {
	switch {
	case op.Status == NeedsAttention:
		return nil
	case op.Status != Running || op.Kind != Withdrawal:
		return fault.New(fault.Conflict, "not-running", "a %s that is %s cannot be parked", op.Kind, op.Status)
	}
	op.goesOn()
	op.Status, op.Reason = NeedsAttention, &why
	a.touch(op)
	return a.record(op, consent.NeedsAttention, System, nil, now)
}

// Decide is the operator's decision about a parked operation. Repeating the same decision changes nothing. Errors:
// Conflict "not-parked", "already-decided" or "token-moved", Invalid when it is neither retry nor compensate.
func (a *Account) Decide(op *Operation, d Decision, by consent.Actor, now time.Time) error {
	if d != RetryIt && d != CompensateIt {
		return fault.OnField("decision", "not_allowed", "must be retry or compensate")
	}
	if op.Decision == d {
		return nil
	}
	if op.Status == NeedsAttention && op.Decision != "" {
		return fault.New(fault.Conflict, "already-decided", "the decision to %s it is under way", op.Decision)
	}
	if op.Status != NeedsAttention {
		return fault.New(fault.Conflict, "not-parked", "only an operation in needs_attention waits for a decision; this one is %s", op.Status)
	}
	if d == CompensateIt && op.Source == FromTokenMove { // or two people would have the token, and pushes would reach whoever had it
		return fault.New(fault.Conflict, "token-moved", "the token is with somebody else by now; its release can only be retried")
	}
	event := consent.RetryRequested
	if d == CompensateIt {
		event = consent.CompensationRequested
	}
	op.Decision = d
	a.touch(op)
	return a.record(op, event, by, nil, now)
}

// TakeDecision hands the operator's decision to the run. A retry puts the operation back to running; after a
// compensation decision the run calls StartCompensation. Empty when nobody has decided yet. It answers the same when
// repeated, also after the decision was acted upon, because the answer to the first call may have been lost.
func (a *Account) TakeDecision(op *Operation) Decision {
	switch op.Status {
	case Running, Applied:
		return RetryIt
	case Compensating, Compensated:
		return CompensateIt
	case Accepted, NeedsAttention: // not acted upon yet
	}
	d := op.Decision
	if d == RetryIt {
		op.Status, op.Decision, op.Reason = Running, "", nil
		a.touch(op)
	}
	return d
}

// NeverStarted closes a grant whose run could not be started, so that the customer can be told at once. Its key is
// free again, since nothing was done under it. reached tells whether any step of it has started, and none may start until
// what is done here is stored. Repeating it changes nothing. Errors: Conflict "already-started" when a run has begun,
// reached a target or closed it meanwhile, Conflict "withdrawal-goes-forward" for a withdrawal.
func (a *Account) NeverStarted(op *Operation, reached bool, now time.Time) error {
	switch {
	case op.Kind == Withdrawal:
		return fault.New(fault.Conflict, "withdrawal-goes-forward", "a withdrawal waits until it can be started")
	case op.Status == Compensated && op.StartedAt.IsZero() && op.Reason != nil && op.Reason.Code == neverStarted:
		return nil
	case reached || (op.Status != Accepted && !op.ahead()):
		return fault.New(fault.Conflict, "already-started", "the operation has begun meanwhile")
	}
	op.Key, op.Fingerprint = "", ""
	why := consent.Reason{Code: neverStarted, Detail: "the change could not be started"}
	return a.settle(op, Compensated, &why, nil, now)
}

const neverStarted = "unavailable" // the reason's code

// Expire compensates the grants that wait behind another operation and whose time is over. None of them has touched a
// target yet.
func (a *Account) Expire(now time.Time) error {
	for _, op := range a.Open() {
		if op.Kind == Grant && op.Status == Accepted && op.Number != a.turn && now.After(op.Deadline) {
			why := tooLate
			if err := a.settle(op, Compensated, &why, nil, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle ends an operation and hands the turn on.
func (a *Account) settle(op *Operation, s Status, why *consent.Reason, left []string, now time.Time) error {
	if op.Status == Accepted { // never begun: the ledger tells what holds, not what was expected to
		op.Before = a.prefs.Snapshot()
	}
	op.Status, op.Reason, op.Decision = s, why, ""
	op.SettledAt = now.UTC().Truncate(time.Microsecond)
	event := consent.Applied
	if s == Compensated {
		event = consent.Compensated
	}
	if err := a.record(op, event, System, left, op.SettledAt); err != nil {
		return err
	}
	a.touch(op)
	a.open = slices.DeleteFunc(a.open, func(o *Operation) bool { return o.Number == op.Number })
	if a.turn != op.Number {
		return nil
	}
	a.turn = 0
	if len(a.open) > 0 {
		a.turn = a.open[0].Number
		return nil
	}
	a.run = 0
	return nil
}
