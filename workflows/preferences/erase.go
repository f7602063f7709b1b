package preferences

import (
	"context"
	"maps"

	"accord/domain/preference"
	"accord/ports"
)

// erase makes a target forget the person, and waits until it has. Tokens that somebody else has by our records go to them
// first: they must not be forgotten with the person.
func (a *Activities) erase(ctx context.Context, op preference.Operation, step *ports.TargetStep, current preference.Holding) (wrote bool, err error) {
	// What has come since the snapshot goes too.
	leaving := maps.Clone(current)
	for i := range leaving {
		leaving[i] = preference.Unknown
	}
	if err := a.handOver(ctx, op, step, current, leaving); err != nil {
		return true, err
	}
	sys := a.Targets[step.Target]
	// Also where nothing is held in our words: the target may know the person by other things.
	if err := sys.Forget(ctx, op.Customer); err != nil {
		return false, err
	}
	return true, readGone(ctx, sys, op.Customer)
}

// readGone waits until the target shows nothing of the person.
func readGone(ctx context.Context, sys ports.TargetSystem, customer preference.CustomerID) error {
	return readUntil(ctx, sys, customer, func(now preference.Holding) bool { return len(now) == 0 })
}

// forget is the commit of an erasure: we forget the person, too. Nothing waits behind it, as nothing is accepted while it is
// under way. done is the operation as it was; it is empty when a commit before this one has taken it along.
func (a *Activities) forget(ctx context.Context, operation string, done preference.Operation) error {
	proof, err := a.Erasures.Forget(ctx, operation, a.Now())
	if err != nil || done.ID == "" {
		return err
	}
	done.Status, done.SettledAt = preference.Applied, proof.ErasedAt
	a.Outcomes.Announce(ctx, done)
	return nil
}
