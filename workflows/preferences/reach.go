package preferences

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"accord/domain/preference"
)

// attempt is what happens to all targets of one operation together.
type attempt struct {
	run     *run
	plan    Plan
	stop    workflow.CancelFunc
	failure *ReasonInput // first reason to take everything back
	broken  error        // the run itself can't go on
	instead *Plan        // what there is to do, when it turns out that it is not to reach the targets
	applied *Progress    // committed with the last target; nothing else matters then

	parked    int // targets that wait for the operator
	decided   int // decisions taken so far
	abandoned bool
}

// reachAll reaches every target at once. Each has the change when nothing else is said; there is a failure when it must be
// taken back. A grant fails with its first target; a withdrawal only by an operator's decision: a target that refuses
// it is parked, while the others go on. A run that goes by the plan it was started with may learn from its first failure
// that there is something else to do instead.
func (r *run) reachAll(plan Plan) *attempt {
	ctx, stop := workflow.WithCancel(r.ctx)
	defer stop()
	a := &attempt{run: r, plan: plan, stop: stop}
	wg := workflow.NewWaitGroup(ctx)
	for _, t := range plan.Targets {
		wg.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer wg.Done()
			a.drive(ctx, t)
		})
	}
	finished := false
	if plan.Kind == preference.Grant {
		workflow.Go(r.ctx, func(ctx workflow.Context) { a.watchCancel(ctx, &finished) })
	} else {
		workflow.Go(r.ctx, func(ctx workflow.Context) { a.watchDecisions(ctx, &finished) })
	}
	wg.Wait(r.ctx)
	finished = true
	if a.failure != nil && a.broken == nil && a.applied == nil {
		a.stillOurs(r.ctx) // cancelled before anything has failed
	}
	return a
}

// stillOurs asks what has become of the operation, if that was never done: it may have been closed as never started when the
// answer to the start was lost, or settled by a run before this one.
func (a *attempt) stillOurs(ctx workflow.Context) bool {
	if !a.run.unasked {
		return true
	}
	detached, done := workflow.NewDisconnectedContext(ctx) // another target's failure must not keep the answer from us
	defer done()
	plan, err := a.run.ask(detached, a.plan.Operation)
	switch {
	case err != nil:
		a.broken = err
	case plan.Do == doReach, plan.Do == doWait: // parked for another target
		return true
	default:
		a.instead = &plan
	}
	a.abandoned = true
	a.stop()
	return false
}

// drive brings one target to the end, or gives up for all of them.
func (a *attempt) drive(ctx workflow.Context, t preference.Target) {
	for {
		a.run.note(a.plan, t, "reaching")
		out, err := reach(ctx, a.plan, TargetInput{a.plan.Operation, t, a.run.number})
		if err == nil {
			if out.Applied {
				a.applied = &out
			}
			a.run.note(a.plan, t, "has it")
			return
		}
		if a.abandoned || ctx.Err() != nil {
			return
		}
		asked := !a.run.unasked
		if !a.stillOurs(ctx) {
			return
		}
		why := reasonOf(err)
		if !asked && why.Code == notRunning {
			continue // it is, by now
		}
		why.Operation, why.Target = a.plan.Operation, t
		a.run.note(a.plan, t, "refused: "+why.Code)
		if a.plan.Kind == preference.Grant {
			a.abandon(why)
			return
		}
		if !a.waitParked(ctx, why) {
			return
		}
	}
}

// waitParked parks the withdrawal and waits. It answers true when the operator wants a retry.
func (a *attempt) waitParked(ctx workflow.Context, why ReasonInput) bool {
	seen := a.decided
	detached, done := workflow.NewDisconnectedContext(ctx) // parking must not be lost to another target's failure
	defer done()
	if err := park(detached, why); err != nil {
		a.broken = err
		a.stop()
		return false
	}
	if err := a.run.show(a.plan, OutcomeNeedsAttention); err != nil {
		a.broken = err
		a.stop()
		return false
	}
	a.parked++
	err := workflow.Await(ctx, func() bool { return a.decided > seen })
	return err == nil && !a.abandoned
}

// watchDecisions takes the operator's decisions while any target is parked.
func (a *attempt) watchDecisions(ctx workflow.Context, finished *bool) {
	over := func() bool { return *finished || a.abandoned }
	for {
		if err := workflow.Await(ctx, func() bool { return over() || a.parked > 0 }); err != nil || over() {
			return
		}
		decision, err := a.run.awaitDecision(ctx, a.plan, over)
		if over() {
			return
		}
		if err != nil {
			a.broken = err
			a.stop()
			return
		}
		if decision == preference.CompensateIt {
			a.abandon(ReasonInput{Operation: a.plan.Operation, Code: "operator-decision"})
		} else if err := a.run.show(a.plan, OutcomeRunning); err != nil {
			a.broken = err
			a.stop()
			return
		}
		a.decided, a.parked = a.decided+1, 0 // everyone who waits goes on
		if a.abandoned {
			return
		}
	}
}

// watchCancel turns a cancellation of the run (an operator's, in the Temporal UI) into a compensation. A withdrawal
// has no such watcher: it goes forward.
func (a *attempt) watchCancel(ctx workflow.Context, finished *bool) {
	err := workflow.Await(ctx, func() bool { return *finished || a.run.cancelled })
	if err == nil && !*finished {
		a.run.cancelled = false // it was meant for this operation, not for those that wait behind it
		a.abandon(ReasonInput{Operation: a.plan.Operation, Code: "cancelled", Detail: "the run was cancelled by an operator"})
	}
}

// abandon keeps the first reason and stops the other targets, each after the attempt it is in.
func (a *attempt) abandon(why ReasonInput) {
	if a.failure == nil {
		a.failure = &why
	}
	a.abandoned = true
	a.stop()
}

// reasonOf reads the stable code out of an activity's failure. Running out of time is one reason, and the last failure
// before it the detail.
func reasonOf(err error) ReasonInput {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	why := ReasonInput{Code: "unknown"}
	if errors.As(err, &app) {
		why.Code, why.Detail = app.Type(), app.Message()
		if !app.NonRetryable() {
			why.Code, why.Detail = "budget-exhausted", app.Type()
		}
		return why
	}
	if errors.As(err, &timeout) {
		why.Code, why.Detail = "budget-exhausted", "timeout"
	}
	return why
}
