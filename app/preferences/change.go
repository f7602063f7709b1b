package preferences

import (
	"context"
	"time"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Change implements ports.Preferences. What if …
//   - we crash before the commit: nothing has happened, the client repeats;
//   - we crash after the commit, before the start: the turn is taken and the sweeper starts its run;
//   - the answer is lost: the same key finds the same operation.
func (s *Service) Change(ctx context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	if view, repeated, err := s.repeats(ctx, c); err != nil || repeated {
		return ports.ChangeResult{View: view, Unchanged: repeated}, err
	}
	id := s.NewID()
	var settled <-chan preference.Operation
	unwatch := func() {}
	defer func() { unwatch() }()
	if c.Wait > 0 {
		settled, unwatch = s.Outcomes.Watch(id)
	}
	op, start, replayed, err := s.accept(ctx, id, c)
	if f, is := fault.As(err); is && f.Code == "outcome-unknown" {
		op, err = s.lookFor(ctx, id, err)
	}
	if err != nil {
		return ports.ChangeResult{}, err
	}
	if op.ID != id && c.Wait > 0 {
		unwatch()
		settled, unwatch = s.Outcomes.Watch(op.ID)
	}
	ctx = ports.About(ctx, op.ID)
	result := ports.ChangeResult{Operation: op, Replayed: replayed}
	if start != nil {
		if err := s.begin(ctx, op, *start, c.Wait > 0); err != nil {
			return ports.ChangeResult{}, err
		}
	}
	// A watch catches what happens after it was set; what had happened before shows in the operation.
	if !op.Status.Settled() && c.Wait > 0 {
		if result.Operation, err = s.await(ctx, op, settled, c.Wait, replayed); err != nil {
			return result, err
		}
	}
	result.View = s.viewAfter(result.Operation)
	return result, nil
}

// accept is the one transaction that makes the change durable. Where the change takes the turn it is begun with it, so that
// its run need not; it is told to be accepted until that run is at it.
func (s *Service) accept(ctx context.Context, id string, c ports.ChangeCommand) (op preference.Operation, start *ports.Run, replayed bool, err error) {
	request := preference.Request{ID: id, Change: c.Change, Source: c.Source, Actor: c.Actor, Origin: c.Origin, Key: c.Key,
		Fingerprint: c.Fingerprint, IfMatch: c.IfMatch, Budget: s.GrantBudget, Cause: c.Cause, Only: c.Only, Unless: c.Unless, Elsewhere: c.Elsewhere, DecidedAt: c.DecidedAt}
	err = s.Accounts.Update(ctx, c.Customer, c.Key, func(acc *preference.Account) error {
		start = nil
		accepted, again, err := acc.Accept(request, s.Now())
		if err != nil {
			return err
		}
		op, replayed = *accepted, again
		if !again {
			acc.BeginAhead(accepted)
			start = ports.RunOf(acc, accepted)
		}
		return nil
	})
	return op, start, replayed, err
}

// lookFor finds out whether a change was accepted when the answer to its commit was lost, and answers why otherwise: a commit
// that does not show may still be on its way.
func (s *Service) lookFor(ctx context.Context, id string, why error) (preference.Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	now, err := s.Operations.Operation(ctx, id)
	if err != nil {
		return now.Operation, why
	}
	return now.Operation, nil
}

// begin starts the run. A withdrawal is accepted whatever Temporal does; a grant that can't be started is closed and
// refused, so that the customer knows at once.
func (s *Service) begin(ctx context.Context, op preference.Operation, r ports.Run, waiting bool) error {
	if op.Kind == preference.Withdrawal {
		if waiting {
			// Beside the waiting, not in front of it: Temporal may be slow to say that it is down.
			s.workers.Go(func() { s.start(context.WithoutCancel(ctx), r) })
			return nil
		}
		select {
		case s.starts <- queued{context.WithoutCancel(ctx), r}:
		default: // the sweeper takes it
		}
		return nil
	}
	if err := s.Runs.Start(ctx, r); err != nil {
		return s.neverStarted(context.WithoutCancel(ctx), op)
	}
	return nil
}

// neverStarted closes a grant. The failed start may have happened all the same: when the run's first step was there
// before, the change goes on; when it was not, no step starts any more, and the run finds the grant closed.
func (s *Service) neverStarted(ctx context.Context, op preference.Operation) error {
	err := s.Accounts.UpdateStill(ctx, op.ID, func(acc *preference.Account, op *preference.Operation, reached bool) error {
		return acc.NeverStarted(op, reached, s.Now())
	})
	if f, is := fault.As(err); is && f.Code == "already-started" {
		return nil
	}
	if fault.KindOf(err) == fault.Unavailable { // it is stored, and whoever sweeps starts it
		return fault.New(fault.Unavailable, "outcome-unknown", "the change could neither be started nor closed; it may be made later")
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "unavailable", "the change could not be started; nothing was changed, try again")
}

// await waits until the operation settles or is parked, at most for the given time, and answers how far it is then.
func (s *Service) await(ctx context.Context, op preference.Operation, settled <-chan preference.Operation, limit time.Duration, look bool) (preference.Operation, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var again <-chan time.Time
	for {
		if look {
			now, err := s.latest(ctx, op)
			if err != nil || now.Status.Settled() || now.Status == preference.NeedsAttention {
				return now, err
			}
		}
		select {
		case outcome, known := <-settled:
			if known { // it was settled in this process
				return outcome, nil
			}
			// A closed channel stays closed. Were it early, only looking now and then would help.
			settled, again, look = nil, time.Tick(50*time.Millisecond), true
		case <-again:
		case <-timer.C:
			return s.latest(ctx, op)
		case <-s.draining:
			return s.latest(ctx, op)
		case <-ctx.Done():
			return op, ctx.Err()
		}
	}
}

// latest is how far the operation is as far as can be told: what is accepted stays so while the store can't be asked.
func (s *Service) latest(ctx context.Context, op preference.Operation) (preference.Operation, error) {
	now, err := s.Operations.Operation(ctx, op.ID)
	if f, is := fault.As(err); is && f.Kind == fault.Unavailable {
		return op, nil
	} else if is && f.Kind == fault.NotFound { // it was accepted, so it was there: only an erasure takes operations with it
		op.Status = preference.Applied
		return op, nil
	}
	if err != nil {
		return op, err
	}
	return now.Operation, nil
}

// viewAfter is the answer to an applied change: what this change made, not what holds by now, so that repeating the
// request repeats the answer. Quiet hours are told as of when it was applied.
func (s *Service) viewAfter(op preference.Operation) ports.PreferenceView {
	p := preference.Restore(op.Customer, op.After, s.Catalogue)
	return viewOf(p, nil, preference.Tag(p.Version(), 0), op.SettledAt)
}
