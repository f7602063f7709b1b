package preferences

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"accord/domain/preference"
)

// Change is the run that holds a customer's turn: it settles the operation it was started for and every one that came
// in meanwhile. It never fails: what can't be finished yet is retried and visible.
//
// Source of truth is the database, so terminating, resetting or repeating a run is safe: the sweeper starts another
// one, which goes on from what was done.
func Change(ctx workflow.Context, in ChangeInput) (ChangeOutput, error) {
	r := newRun(ctx, in.Run)
	ahead := in.Plan
	for operation := in.Operation; operation != ""; ahead = nil {
		next, err := r.settle(operation, ahead)
		if err != nil {
			return r.output, err
		}
		operation = next
		if operation != "" && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return r.output, workflow.NewContinueAsNewError(ctx, ChangeWorkflow, ChangeInput{Operation: operation, Run: in.Run})
		}
	}
	return r.output, nil
}

// run is the state of one execution.
type run struct {
	ctx       workflow.Context // not cancelled with the run: nothing may be left half done
	cancelled bool             // an operator has cancelled the run
	decisions workflow.ReceiveChannel
	number    int64
	first     bool
	unasked   bool                         // goes by the plan it was started with
	targets   map[preference.Target]string // for the details shown to operators
	shown     string                       // AttrOutcome as it is now, empty for unset
	output    ChangeOutput
}

func newRun(ctx workflow.Context, number int64) *run {
	detached, _ := workflow.NewDisconnectedContext(ctx)
	r := &run{
		ctx: detached,
		decisions: workflow.GetSignalChannelWithOptions(ctx, DecisionSignal, workflow.SignalChannelOptions{
			Description: "an operator has decided about the parked operation"}),
		number: number,
		first:  workflow.GetInfo(ctx).ContinuedExecutionRunID == "", // else the attributes are those of the run before
	}
	workflow.Go(detached, func(gctx workflow.Context) {
		ctx.Done().Receive(gctx, nil)
		r.cancelled = true
	})
	return r
}

// settle brings one operation to its end and answers with which one to go on. What was begun ahead needs no asking, unless
// its time was over before there was anybody to work on it.
func (r *run) settle(operation string, ahead *Plan) (next string, err error) {
	if ahead != nil && (ahead.Kind != preference.Grant || workflow.Now(r.ctx).Before(ahead.Deadline)) {
		r.unasked = true
		r.announce(*ahead)
		return r.follow(*ahead)
	}
	r.unasked = false
	plan, err := r.ask(r.ctx, operation)
	if err != nil {
		return "", err
	}
	r.announce(plan)
	return r.follow(plan)
}

// ask finds out what there is to do for an operation, which is begun by that if it was not.
func (r *run) ask(ctx workflow.Context, operation string) (Plan, error) {
	in := r.input(operation)
	in.Tried = r.unasked
	plan, err := begin(ctx, in)
	r.unasked = r.unasked && err != nil
	return plan, err
}

func (r *run) input(operation string) OperationInput {
	return OperationInput{Operation: operation, Run: r.number}
}

// follow does what the plan says.
func (r *run) follow(plan Plan) (next string, err error) {
	switch plan.Do {
	case doReach:
		return r.forward(plan)
	case doUndo:
		return r.compensate(plan, ReasonInput{}) // the run that gave up knew why
	case doWait:
		if err := r.show(plan, OutcomeNeedsAttention); err != nil {
			return "", err
		}
		return r.afterDecision(plan)
	case doNext:
		return plan.Next, nil
	}
	return "", nil
}

// afterDecision waits for the operator when a run finds its operation parked, as one does that the sweeper has started.
func (r *run) afterDecision(plan Plan) (string, error) {
	decision, err := r.awaitDecision(r.ctx, plan, func() bool { return false })
	if err != nil {
		return "", err
	}
	if decision == preference.CompensateIt {
		return r.giveUp(plan, ReasonInput{Operation: plan.Operation, Code: "operator-decision"})
	}
	return r.forward(plan)
}

// awaitDecision returns when an operator has decided, or with none when it is over. A decision made before we wait is found
// at once. Who waits for nothing any more must not stay: it would take the signal that is meant for whoever waits next.
func (r *run) awaitDecision(ctx workflow.Context, plan Plan, over func() bool) (preference.Decision, error) {
	for !over() {
		decision, err := takeDecision(ctx, r.input(plan.Operation))
		if err != nil || decision != "" {
			return decision, err
		}
		if err := workflow.Await(ctx, func() bool { return over() || r.decisions.Len() > 0 }); err != nil {
			return "", err
		}
		if !over() {
			r.decisions.ReceiveAsync(nil)
		}
	}
	return "", nil
}

// forward reaches every target, then commits; or takes everything back.
func (r *run) forward(plan Plan) (string, error) {
	a := r.reachAll(plan)
	switch {
	case a.applied != nil:
		return r.applied(plan, a.applied.Next)
	case a.broken != nil:
		return "", a.broken
	case a.instead != nil:
		return r.follow(*a.instead)
	case a.failure != nil:
		return r.giveUp(plan, *a.failure)
	}
	done, err := commit(r.ctx, r.input(plan.Operation))
	if err != nil {
		return "", err
	}
	return r.applied(plan, done.Next)
}

// applied shows it, and goes on with the next operation.
func (r *run) applied(plan Plan, next string) (string, error) {
	r.ended(plan, OutcomeApplied, ReasonInput{})
	return next, r.show(plan, OutcomeApplied)
}

// giveUp records why, which also stops late writers, and compensates; unless the last target had it just before.
func (r *run) giveUp(plan Plan, why ReasonInput) (string, error) {
	why.Run = r.number
	stopped, err := startCompensation(r.ctx, why)
	if err != nil {
		return "", err
	}
	if stopped.Applied {
		return r.applied(plan, stopped.Next)
	}
	return r.compensate(plan, why)
}

// compensate puts back every target whose apply may have started, all at once: they are different systems, and one
// that is down must not keep the others wrong. Undo finds out for itself whether there is anything to do.
func (r *run) compensate(plan Plan, why ReasonInput) (string, error) {
	if err := r.show(plan, OutcomeCompensating); err != nil {
		return "", err
	}
	var left []string
	var failed error
	wg := workflow.NewWaitGroup(r.ctx)
	for _, t := range plan.Targets {
		wg.Add(1)
		workflow.Go(r.ctx, func(ctx workflow.Context) {
			defer wg.Done()
			r.note(plan, t, "putting back")
			out, err := undo(ctx, plan, t)
			if err != nil {
				failed = err // only when the run itself can't go on
				return
			}
			r.note(plan, t, "put back")
			left = append(left, out.Left...)
		})
	}
	wg.Wait(r.ctx)
	if failed != nil {
		return "", temporal.NewApplicationError("compensation stopped; the sweeper goes on with it", "compensation-stopped")
	}
	slices.Sort(left)
	done, err := finishCompensation(r.ctx, FinishInput{plan.Operation, r.number, left})
	if err != nil {
		return "", err
	}
	r.ended(plan, OutcomeCompensated, why)
	return done.Next, r.show(plan, OutcomeCompensated)
}

func (r *run) ended(plan Plan, outcome string, why ReasonInput) {
	settled := append(r.output.Settled, Settlement{Operation: plan.Operation, Outcome: outcome, Code: why.Code, Target: why.Target})
	r.output.Settled = settled[max(0, len(settled)-maxSettlements):]
}

// announce shows the operation in the run's search attributes. The first one is there from the start.
func (r *run) announce(plan Plan) {
	r.targets, r.shown = map[preference.Target]string{}, ""
	r.details(plan)
	if r.first {
		r.first = false
		return
	}
	// A failure here is a bug in the names, shown by the worker's log; it must not stop a change.
	attributes := append(AttributesOf(plan.Operation, plan.Kind, plan.Source, plan.Targets), AttrOutcome.ValueUnset())
	if err := workflow.UpsertTypedSearchAttributes(r.ctx, attributes...); err != nil {
		workflow.GetLogger(r.ctx).Error("search attributes not set", "error", err)
	}
}

// show keeps the details and AttrOutcome right. The attribute is left alone as long as things go their ordinary way: the
// run's own status says as much, and an upsert in every run costs Temporal more than an activity does.
func (r *run) show(plan Plan, outcome string) error {
	r.targets[""] = outcome
	r.details(plan)
	unusual := outcome
	if outcome == OutcomeRunning || outcome == OutcomeApplied {
		unusual = ""
	}
	if unusual == r.shown {
		return nil
	}
	r.shown = unusual
	if unusual == "" {
		return workflow.UpsertTypedSearchAttributes(r.ctx, AttrOutcome.ValueUnset())
	}
	return workflow.UpsertTypedSearchAttributes(r.ctx, AttrOutcome.ValueSet(unusual))
}

func (r *run) note(plan Plan, t preference.Target, state string) {
	r.targets[t] = state
	r.details(plan)
}

// details is what the Temporal UI shows on top of a run, for a person who has never seen the code.
func (r *run) details(plan Plan) {
	b := fmt.Appendf(nil, "**%s**: %s  \noperation `%s`, asked by `%s`\n\n", plan.Kind, plan.Summary, plan.Operation, plan.Source)
	if outcome := r.targets[""]; outcome != "" {
		b = fmt.Appendf(b, "**%s**\n\n", outcome)
	}
	for _, t := range plan.Targets {
		state := r.targets[t]
		if state == "" {
			state = "waiting"
		}
		b = fmt.Appendf(b, "- %s: %s\n", t, state)
	}
	workflow.SetCurrentDetails(r.ctx, string(b))
}
