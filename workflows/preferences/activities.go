package preferences

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Activities is everything the workflows do to the world. All of it can be repeated.
type Activities struct {
	Accounts   ports.Accounts
	Operations ports.Operations
	Steps      ports.Steps
	Outcomes   ports.Outcomes
	Runs       ports.Runs
	Restarts   ports.Runs // starts what the sweeper finds without a run, to be told from what is started in its time; nil for Runs
	Erasures   ports.Erasures
	Targets    map[preference.Target]ports.TargetSystem
	Catalogue  *preference.Catalogue
	Now        func() time.Time
	NewID      func() string
	Logger     *slog.Logger

	arrivals arrivals
}

// Register makes the workflows and activities known to a worker.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflowWithOptions(Change, workflow.RegisterOptions{Name: ChangeWorkflow})
	w.RegisterWorkflowWithOptions(Sweep, workflow.RegisterOptions{Name: SweepWorkflow})
	for name, fn := range map[string]any{
		beginActivity: a.Begin, reachActivity: a.Reach, undoActivity: a.Undo, commitActivity: a.Commit,
		startUndoActivity: a.StartCompensation, finishUndoActivity: a.FinishCompensation, parkActivity: a.Park,
		takeDecisionActivity: a.TakeDecision, sweepActivity: a.SweepTurns,
	} {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// Begin makes the operation running, or finds out how far it is.
func (a *Activities) Begin(ctx context.Context, in OperationInput) (Plan, error) {
	ctx = ports.About(ctx, in.Operation)
	var plan Plan
	var settled *preference.Operation // here
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		wasSettled := op.Status.Settled()
		if in.Tried {
			acc.WentAhead(op)
		}
		err := acc.Begin(op, in.Run, a.Now())
		if f, is := fault.As(err); is && f.Code == "turn-lost" {
			plan = Plan{Operation: op.ID, Do: doNothing}
			return nil
		}
		if settled = nil; !wasSettled && op.Status.Settled() {
			settled = op
		}
		plan = planOf(acc, op, in.Run)
		return err
	})
	if f, is := fault.As(err); is && f.Kind == fault.NotFound {
		return Plan{Operation: in.Operation, Do: doNothing}, nil // the person is erased, and this with it
	}
	if err == nil && settled != nil {
		a.Outcomes.Announce(ctx, *settled)
	}
	return plan, toTemporal(err)
}

func planOf(acc *preference.Account, op *preference.Operation, run int64) Plan {
	p := Plan{Operation: op.ID, Kind: op.Kind, Source: op.Source, Targets: op.Targets, Deadline: op.Deadline, Summary: op.Change.Summary()}
	switch op.Status {
	case preference.Running:
		p.Do = doReach
	case preference.Compensating:
		p.Do = doUndo
	case preference.NeedsAttention:
		p.Do = doWait
	default:
		p.Do, p.Next = doNext, nextID(acc, run)
	}
	return p
}

func nextID(acc *preference.Account, run int64) string {
	if next := acc.Next(run); next != nil {
		return next.ID
	}
	return ""
}

// Commit makes the change hold and hands the turn on. What follows it (telling those who wait, releasing a token that
// has moved) cannot fail the change.
func (a *Activities) Commit(ctx context.Context, in OperationInput) (Settled, error) {
	ctx = ports.About(ctx, in.Operation)
	var out Settled
	var done preference.Operation
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		if done = *op; op.Change.Erases() {
			return nil // its commit is another one
		}
		if err := acc.Commit(op, a.Now()); err != nil {
			return err
		}
		out.Next, done = nextID(acc, in.Run), *op
		return nil
	})
	if f, is := fault.As(err); done.Change.Erases() || is && f.Kind == fault.NotFound {
		return out, toTemporal(a.forget(ctx, in.Operation, done))
	}
	if err != nil {
		return out, toTemporal(err)
	}
	a.Outcomes.Announce(ctx, done)
	return out, toTemporal(a.releaseMovedToken(ctx, done))
}

// StartCompensation records why, and fences late writers off; unless the change was applied by then.
func (a *Activities) StartCompensation(ctx context.Context, in ReasonInput) (Progress, error) {
	ctx = ports.About(ctx, in.Operation)
	var out Progress
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		if out = (Progress{}); op.Status == preference.Applied {
			out = Progress{Applied: true, Next: nextID(acc, in.Run)}
			return nil
		}
		return acc.StartCompensation(op, in.reason(), a.Now())
	})
	return out, toTemporal(err)
}

// FinishCompensation ends the operation and hands the turn on.
func (a *Activities) FinishCompensation(ctx context.Context, in FinishInput) (Settled, error) {
	ctx = ports.About(ctx, in.Operation)
	var out Settled
	var done preference.Operation
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		if err := acc.Compensate(op, in.Left, a.Now()); err != nil {
			return err
		}
		out.Next, done = nextID(acc, in.Run), *op
		return nil
	})
	if err == nil {
		a.Outcomes.Announce(ctx, done)
	}
	return out, toTemporal(err)
}

// Park shows a withdrawal that a target refuses to the operators.
func (a *Activities) Park(ctx context.Context, in ReasonInput) error {
	ctx = ports.About(ctx, in.Operation)
	var parked preference.Operation
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		err := acc.Park(op, in.reason(), a.Now())
		parked = *op
		return err
	})
	if err == nil {
		a.Logger.WarnContext(ctx, "an operation needs attention", "operation", in.Operation, "target", in.Target, "code", in.Code)
		a.Outcomes.Announce(ctx, parked)
	}
	return toTemporal(err)
}

// TakeDecision answers what the operator has decided, and puts a retried operation back to running.
func (a *Activities) TakeDecision(ctx context.Context, in OperationInput) (DecisionResult, error) {
	ctx = ports.About(ctx, in.Operation)
	var out DecisionResult
	err := a.Accounts.UpdateOperation(ctx, in.Operation, func(acc *preference.Account, op *preference.Operation) error {
		out.Decision = acc.TakeDecision(op)
		return nil
	})
	return out, toTemporal(err)
}

func (in ReasonInput) reason() consent.Reason {
	return consent.Reason{Code: in.Code, Target: string(in.Target), Detail: in.Detail}
}

// releaseMovedToken takes the token away from everybody else who has registered it, or is about to, as an operation of theirs with its
// own ledger entries. Whoever claimed it last has it: when that is somebody else (two people registered it at once),
// the one who loses it is this operation's customer. The keys make it happen once.
func (a *Activities) releaseMovedToken(ctx context.Context, op preference.Operation) error {
	token := op.Change.Token()
	if token == "" {
		return nil
	}
	holders, err := a.Steps.Holders(ctx, token, op.Customer)
	if err != nil {
		return err
	}
	mine := ports.Holder{Customer: op.Customer, Device: preference.Device{ID: op.Change.Registered(), TokenAt: op.AcceptedAt}}
	// Who claimed it before and still waits in a queue would look when their turn comes, and by then we may have given it up.
	waiting, err := a.Steps.Claimants(ctx, token, op.Customer)
	if err != nil {
		return err
	}
	waiting = slices.DeleteFunc(waiting, func(h ports.Holder) bool { return claimedLater(h, mine) })
	for _, h := range append(holders, waiting...) {
		loser, claimed := h, mine.Device.TokenAt
		if claimedLater(h, mine) {
			loser, claimed = mine, h.Device.TokenAt
		}
		if err := a.submit(ctx, loser.Customer, preference.Request{
			ID: a.NewID(), Change: preference.ReleaseMovedToken(loser.Device.ID, token, claimed), Source: preference.FromTokenMove,
			Actor: preference.System, Origin: consent.Origin{Source: string(preference.FromTokenMove)},
			Key: "token-move/" + op.ID, Fingerprint: op.ID,
		}); err != nil {
			return err
		}
	}
	return nil
}

// claimedLater orders the claims to a token the same way for everybody who asks.
func claimedLater(a, b ports.Holder) bool {
	if c := a.Device.TokenAt.Compare(b.Device.TokenAt); c != 0 {
		return c > 0
	}
	return a.Customer > b.Customer
}

// submit queues a change of our own and starts its run when the turn was free. The sweeper starts what could not be.
func (a *Activities) submit(ctx context.Context, customer preference.CustomerID, r preference.Request) error {
	var start *ports.Run
	err := a.Accounts.Update(ctx, customer, r.Key, func(acc *preference.Account) error {
		start = nil
		op, replayed, err := acc.Accept(r, a.Now())
		if err != nil || replayed {
			return err
		}
		acc.BeginAhead(op)
		start = ports.RunOf(acc, op)
		return nil
	})
	if f, is := fault.As(err); is && (f.Kind == fault.NotFound || f.Code == "unchanged") {
		return nil // the device is gone already
	}
	if err != nil || start == nil {
		return err
	}
	if err := a.Runs.Start(ctx, *start); err != nil {
		a.Logger.WarnContext(ctx, "run not started; the sweeper will", "operation", start.Operation, "error", err)
	}
	return nil
}
