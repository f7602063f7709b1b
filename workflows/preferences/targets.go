package preferences

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Reach makes one target hold what the operation says. The first attempt looks at what the target holds and stores
// that, with what it is going to write, before it writes; every later attempt goes by what was stored. An attempt that
// finds the target holding it all writes nothing, so a lost answer costs no second write.
//
// The attempt that reaches the last target commits. One that finds the change applied has been here before.
func (a *Activities) Reach(ctx context.Context, in TargetInput) (Progress, error) {
	ctx = ports.About(ctx, in.Operation)
	first := activity.GetInfo(ctx).Attempt == 1
	a.arrivals.leave(in)
	var out Progress
	err := underLease(ctx, func(ctx context.Context) error {
		op, err := a.reachOnce(ctx, in, first)
		if err == nil {
			out = a.commitAsLast(ctx, in, op)
		}
		return err
	})
	return out, toTemporal(err)
}

// reachOnce is one attempt, with what it has come to recorded; op is as it was before. The first one finds no step, nearly
// always, and does not look for it before it has one to store.
func (a *Activities) reachOnce(ctx context.Context, in TargetInput, first bool) (op preference.Operation, err error) {
	var step *ports.TargetStep
	if first {
		op, err = a.Steps.Begun(ctx, in.Operation)
	} else {
		op, step, err = a.Steps.Step(ctx, in.Operation, in.Target)
	}
	if err != nil || op.Status == preference.Applied {
		return op, err
	}
	if op.Status != preference.Running && op.Status != preference.NeedsAttention {
		return op, fault.New(fault.Conflict, notRunning, "the operation is %s", op.Status)
	}
	if step != nil {
		if err := a.takeUp(ctx, op, step); err != nil {
			return op, err
		}
	}
	wrote, err := a.reach(ctx, op, &step, in.Target)
	if err == nil {
		return op, nil
	}
	if t, is := ports.AsTargetError(err); is {
		if step == nil && first {
			// A run that was lost may have left a step. Whether it has done something must be recorded before this
			// failure, which has not.
			if _, step, stepErr := a.Steps.Step(ctx, in.Operation, in.Target); stepErr != nil {
				return op, err // not recorded; the next attempt looks
			} else if step != nil && a.takeUp(ctx, op, step) != nil {
				return op, err
			}
		}
		a.noteFailure(ctx, op.ID, t, wrote)
	} else if _, known := fault.As(err); !known && ctx.Err() == nil {
		a.Logger.ErrorContext(ctx, "reaching a target failed", "operation", op.ID, "target", in.Target, "error", err)
	}
	return op, err
}

// notRunning is the code of what an operation refuses that is settled, or being taken back.
const notRunning = "not-running"

// takeUp goes on with a step that attempts before this one have left.
func (a *Activities) takeUp(ctx context.Context, op preference.Operation, step *ports.TargetStep) error {
	// Still "applying" means that an attempt has ended without saying how.
	interrupted := step.State == ports.TargetApplying
	return a.Steps.MarkStep(ctx, op.ID, step.Target, ports.TargetApplying, "", interrupted || step.MaybeDone)
}

// reach reads, writes and reads back, and stores the step where there is none. wrote tells that the target has taken the
// write.
func (a *Activities) reach(ctx context.Context, op preference.Operation, known **ports.TargetStep, t preference.Target) (wrote bool, err error) {
	sys := a.Targets[t]
	before := preference.Restore(op.Customer, op.Before, a.Catalogue)
	after := preference.Restore(op.Customer, op.After, a.Catalogue)
	current, err := a.firstRead(ctx, op, sys)
	if err != nil {
		return false, err
	}
	resumed := *known != nil
	if t == preference.Push && !resumed && !op.Change.Erases() { // once, and not while what was decided is brought about
		defer func(read time.Time) {
			if err == nil {
				a.pruneUnregistered(ctx, op, current, read)
			}
		}(a.Now())
	}
	if !resumed {
		if *known, err = a.startStep(ctx, op, t, before, after, current); err != nil {
			return false, err
		}
	}
	step := *known
	if op.Change.Erases() {
		return a.erase(ctx, op, step, current)
	}
	if resumed {
		if err := a.lookAfterHandOvers(ctx, op, step.Assignment.Write, current); err != nil {
			return false, err
		}
	}
	missing := current.Missing(step.Assignment.Write)
	if err := a.handOver(ctx, op, step, current, missing); err != nil {
		return true, err
	}
	if len(missing) == 0 {
		return false, nil
	}
	if err := sys.Write(ctx, ports.TargetWrite{Customer: op.Customer, Operation: op.ID, Set: missing, Devices: devices(after, before)}); err != nil {
		return false, err
	}
	return true, readBack(ctx, sys, op.Customer, step.Assignment.Write)
}

// showsAfter is how long an operation may show as accepted while its targets are read. A healthy one answers before that,
// and then the step that is stored shows that it runs.
const showsAfter = 300 * time.Millisecond

func (a *Activities) firstRead(ctx context.Context, op preference.Operation, sys ports.TargetSystem) (preference.Holding, error) {
	if op.StartedAt.IsZero() {
		slow := time.AfterFunc(showsAfter, func() {
			if err := a.Steps.ShowBegun(ctx, op.ID); err != nil && ctx.Err() == nil {
				a.Logger.WarnContext(ctx, "an operation that runs shows as accepted", "operation", op.ID, "error", err)
			}
		})
		defer slow.Stop()
	}
	return sys.Read(ctx, op.Customer)
}

// startStep stores what is there and what will be written, before it is.
func (a *Activities) startStep(ctx context.Context, op preference.Operation, t preference.Target,
	before, after preference.Preferences, current preference.Holding) (*ports.TargetStep, error) {
	moved, err := a.movedToken(ctx, op, t)
	if err != nil {
		return nil, err
	}
	stored, first, err := a.Steps.StartStep(ctx, op.ID, ports.TargetStep{Target: t, State: ports.TargetApplying, Moved: moved,
		Assignment: preference.Assign(t, op.Change, before, after, current)})
	if err == nil && !first {
		err = a.takeUp(ctx, op, &stored)
	}
	if err != nil {
		return nil, err
	}
	return &stored, nil
}

// movedToken looks up what the push provider holds for the customer who has the token now, so that it can go back.
func (a *Activities) movedToken(ctx context.Context, op preference.Operation, t preference.Target) ([]ports.MovedToken, error) {
	token := op.Change.Token()
	if t != preference.Push || token == "" {
		return nil, nil
	}
	holders, err := a.Steps.Holders(ctx, token, op.Customer)
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		holding, err := a.Targets[t].Read(ctx, h.Customer)
		if err != nil {
			return nil, err
		}
		if s := holding.State(deviceItem(token)); s != preference.Unknown {
			return []ports.MovedToken{{Token: token, Owner: h.Customer, State: s}}, nil
		}
	}
	return nil, nil
}

// noteFailure shows the failure on the operation, and whether it leaves any doubt: as long as every attempt was clearly
// without effect, the undo need not ask a target that answers nothing or refuses everything.
func (a *Activities) noteFailure(ctx context.Context, operation string, t *ports.TargetError, wrote bool) {
	doubt := wrote || t.MaybeDone
	state := ports.TargetPending
	switch {
	case t.Class == ports.Refused:
		state = ports.TargetRefused
	case doubt:
		state = ports.TargetApplying
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := a.Steps.MarkStep(ctx, operation, t.Target, state, t.Code, doubt); err != nil {
		a.Logger.WarnContext(ctx, "progress not recorded", "operation", operation, "target", t.Target, "error", err)
	}
}

// Undo puts one target back to what it held before, where it still holds what we wrote.
func (a *Activities) Undo(ctx context.Context, in TargetInput) (UndoResult, error) {
	ctx = ports.About(ctx, in.Operation)
	var out UndoResult
	err := underLease(ctx, func(ctx context.Context) (err error) {
		out.Left, err = a.undoOnce(ctx, in)
		return err
	})
	return out, toTemporal(err)
}

// undoOnce is one attempt, with what it has come to recorded.
func (a *Activities) undoOnce(ctx context.Context, in TargetInput) (left []string, err error) {
	op, step, err := a.Steps.Step(ctx, in.Operation, in.Target)
	if err != nil {
		return nil, err
	}
	if step == nil || (!step.MaybeDone && (step.State == ports.TargetRefused || step.State == ports.TargetPending)) {
		return nil, nil
	}
	left, err = a.undo(ctx, op, step)
	if t, is := ports.AsTargetError(err); is {
		a.noteUndo(ctx, op.ID, in.Target, ports.TargetUndoing, t.Code)
		// Whatever the target says, leaving it half done is no outcome: keep asking, and show it.
		t.Class = ports.Transient
		return nil, t
	}
	if err != nil {
		return nil, err
	}
	a.noteUndo(ctx, op.ID, in.Target, ports.TargetRestored, "")
	return left, nil
}

func (a *Activities) undo(ctx context.Context, op preference.Operation, step *ports.TargetStep) (left []string, err error) {
	sys := a.Targets[step.Target]
	before := preference.Restore(op.Customer, op.Before, a.Catalogue)
	after := preference.Restore(op.Customer, op.After, a.Catalogue)
	current, err := sys.Read(ctx, op.Customer)
	if err != nil {
		return nil, err
	}
	if step.Assignment.Unseen(current) {
		if current, err = readAgain(ctx, sys, op.Customer); err != nil {
			return nil, err
		}
	}
	if err := a.lookAfterHandOvers(ctx, op, step.Assignment.Restore, current); err != nil {
		return nil, err
	}
	restore, kept := step.Assignment.Undo(current)
	for _, i := range kept {
		left = append(left, fmt.Sprintf("%s:%s", step.Target, i.Label()))
	}
	for _, i := range step.Assignment.Lossy(restore) {
		left = append(left, fmt.Sprintf("%s:%s was unknown", step.Target, i.Label()))
	}
	if err := a.handOver(ctx, op, step, current, restore); err != nil {
		return nil, err
	}
	if len(restore) == 0 {
		return left, nil
	}
	if err := sys.Write(ctx, ports.TargetWrite{Customer: op.Customer, Operation: op.ID, Set: restore, Devices: devices(before, after)}); err != nil {
		return nil, err
	}
	return left, readBack(ctx, sys, op.Customer, restore)
}

func (a *Activities) noteUndo(ctx context.Context, operation string, t preference.Target, s ports.TargetState, code string) {
	if err := a.Steps.MarkStep(ctx, operation, t, s, code, true); err != nil {
		a.Logger.WarnContext(ctx, "progress not recorded", "operation", operation, "target", t, "error", err)
	}
}

// settleTime is how long a target may take to show what it has accepted. An undo that sees nothing of our write looks
// again after it, before it believes that the write never arrived.
const settleTime = time.Second

func readAgain(ctx context.Context, sys ports.TargetSystem, customer preference.CustomerID) (preference.Holding, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settleTime):
		return sys.Read(ctx, customer)
	}
}

// readBackLimit is how long an attempt waits for a target that says "accepted" to show it. Then the attempt fails and
// the next one looks again.
const readBackLimit = 8 * time.Second

// readBack waits until the target shows what was written.
func readBack(ctx context.Context, sys ports.TargetSystem, customer preference.CustomerID, want preference.Holding) error {
	return readUntil(ctx, sys, customer, func(now preference.Holding) bool { return len(now.Missing(want)) == 0 })
}

func readUntil(ctx context.Context, sys ports.TargetSystem, customer preference.CustomerID, shows func(preference.Holding) bool) error {
	giveUp := time.NewTimer(readBackLimit)
	defer giveUp.Stop()
	for pause := 4 * time.Millisecond; ; pause = min(pause*2, 500*time.Millisecond) {
		current, err := sys.Read(ctx, customer)
		if err != nil {
			return err
		}
		if shows(current) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-giveUp.C:
			return &ports.TargetError{Target: sys.Name(), Class: ports.Transient, Code: "not_visible", MaybeDone: true}
		case <-time.After(pause):
		}
	}
}

func deviceItem(token string) preference.Item {
	return preference.Item{Kind: preference.DeviceItem, Key: token}
}

// devices tells the push provider about every device that a write may have to create; the first one given wins.
func devices(of ...preference.Preferences) map[string]ports.TargetDevice {
	out := map[string]ports.TargetDevice{}
	for _, p := range of {
		for _, d := range p.Devices() {
			if _, known := out[d.Token]; !known {
				out[d.Token] = ports.TargetDevice{Platform: d.Platform, AppVersion: d.AppVersion, Locale: d.Locale}
			}
		}
	}
	return out
}
