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
func (a *Activities) Reach(ctx context.Context, in TargetInput) error {
	stop := heartbeat(ctx)
	defer stop()
	op, step, err := a.Steps.Step(ctx, in.Operation, in.Target)
	if err != nil {
		return toTemporal(err)
	}
	if op.Status != preference.Running && op.Status != preference.NeedsAttention {
		return toTemporal(fault.New(fault.Conflict, "not-running", "the operation is %s", op.Status))
	}
	if step != nil {
		// Still "applying" means that an attempt has ended without saying how.
		interrupted := step.State == ports.TargetApplying
		if err := a.Steps.MarkStep(ctx, op.ID, in.Target, ports.TargetApplying, "", interrupted || step.MaybeDone); err != nil {
			return toTemporal(err)
		}
	}
	wrote, err := a.reach(ctx, op, step, in.Target)
	if err == nil {
		return nil
	}
	if t, is := ports.AsTargetError(err); is {
		a.noteFailure(ctx, op.ID, t, wrote)
	} else if _, known := fault.As(err); !known && ctx.Err() == nil {
		a.Logger.ErrorContext(ctx, "reaching a target failed", "operation", op.ID, "target", in.Target, "error", err)
	}
	return toTemporal(err)
}

// reach is one attempt. wrote tells that the target has taken the write.
func (a *Activities) reach(ctx context.Context, op preference.Operation, step *ports.TargetStep, t preference.Target) (wrote bool, err error) {
	sys := a.Targets[t]
	before := preference.Restore(op.Customer, op.Before, a.Catalogue)
	after := preference.Restore(op.Customer, op.After, a.Catalogue)
	current, err := sys.Read(ctx, op.Customer)
	if err != nil {
		return false, err
	}
	if step == nil {
		if step, err = a.startStep(ctx, op, t, before, after, current); err != nil {
			return false, err
		}
	}
	missing := current.Missing(step.Assignment.Write)
	if len(missing) == 0 {
		return false, nil
	}
	if err := sys.Write(ctx, ports.TargetWrite{Customer: op.Customer, Operation: op.ID, Set: missing, Devices: devices(after, before)}); err != nil {
		return false, err
	}
	return true, readBack(ctx, sys, op.Customer, step.Assignment.Write)
}

// startStep stores what is there and what will be written, before it is.
func (a *Activities) startStep(ctx context.Context, op preference.Operation, t preference.Target,
	before, after preference.Preferences, current preference.Holding) (*ports.TargetStep, error) {
	moved, err := a.movedToken(ctx, op, t)
	if err != nil {
		return nil, err
	}
	stored, err := a.Steps.StartStep(ctx, op.ID, ports.TargetStep{Target: t, State: ports.TargetApplying, Moved: moved,
		Assignment: preference.Assign(t, op.Change, before, after, current)})
	return &stored, err
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
	stop := heartbeat(ctx)
	defer stop()
	op, step, err := a.Steps.Step(ctx, in.Operation, in.Target)
	if err != nil {
		return UndoResult{}, toTemporal(err)
	}
	if step == nil || (!step.MaybeDone && (step.State == ports.TargetRefused || step.State == ports.TargetPending)) {
		return UndoResult{}, nil
	}
	left, err := a.undo(ctx, op, step)
	if t, is := ports.AsTargetError(err); is {
		a.noteUndo(ctx, op.ID, in.Target, ports.TargetUndoing, t.Code)
		// Whatever the target says, leaving it half done is no outcome: keep asking, and show it.
		t.Class = ports.Transient
		return UndoResult{}, toTemporal(t)
	}
	if err != nil {
		return UndoResult{}, toTemporal(err)
	}
	a.noteUndo(ctx, op.ID, in.Target, ports.TargetRestored, "")
	return UndoResult{Left: left}, nil
}

func (a *Activities) undo(ctx context.Context, op preference.Operation, step *ports.TargetStep) ([]string, error) {
	sys := a.Targets[step.Target]
	before := preference.Restore(op.Customer, op.Before, a.Catalogue)
	after := preference.Restore(op.Customer, op.After, a.Catalogue)
	current, err := sys.Read(ctx, op.Customer)
	if err != nil {
		return nil, err
	}
	restore, leftItems := step.Assignment.Undo(current)
	for _, m := range step.Moved {
		item := deviceItem(m.Token)
		if _, ours := restore[item]; !ours || current.State(item) == preference.Unknown {
			continue
		}
		delete(restore, item) // giving it back takes it from us
		back := preference.Holding{item: m.State}
		if err := sys.Write(ctx, ports.TargetWrite{Customer: m.Owner, Operation: op.ID, Set: back, Devices: devices(before, after)}); err != nil {
			return nil, err
		}
		if err := readBack(ctx, sys, m.Owner, back); err != nil {
			return nil, err
		}
	}
	left := make([]string, 0, len(leftItems))
	for _, i := range leftItems {
		left = append(left, fmt.Sprintf("%s:%s", step.Target, i.Label()))
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

// readBackLimit is how long an attempt waits for a target that says "accepted" to show it. Then the attempt fails and
// the next one looks again.
const readBackLimit = 8 * time.Second

// readBack waits until the target shows what was written.
func readBack(ctx context.Context, sys ports.TargetSystem, customer preference.CustomerID, want preference.Holding) error {
	giveUp := time.NewTimer(readBackLimit)
	defer giveUp.Stop()
	for pause := 4 * time.Millisecond; ; pause = min(pause*2, 500*time.Millisecond) {
		current, err := sys.Read(ctx, customer)
		if err != nil {
			return err
		}
		if len(current.Missing(want)) == 0 {
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

// heartbeat keeps telling the server that the attempt is alive, so that a worker that died is noticed long before the
// attempt's limit.
func heartbeat(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(heartbeatLimit / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}
