package preferences

import (
	"context"
	"slices"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// handOver gives every token that is to leave this customer to the one who has it by our own records, and takes it out
// of set: registering a token moves it, while deleting it would leave nobody with it. step may know in which state the
// other customer had it.
func (a *Activities) handOver(ctx context.Context, op preference.Operation, step *ports.TargetStep, current, set preference.Holding) error {
	for item, state := range set {
		if item.Kind != preference.DeviceItem || state != preference.Unknown || current.State(item) == preference.Unknown {
			continue
		}
		holders, err := a.Steps.Holders(ctx, item.Key, op.Customer)
		if err != nil {
			return err
		}
		if len(holders) == 0 {
			continue // it is to be deleted
		}
		owner := ownerOf(holders)
		acc, err := a.Accounts.Load(ctx, owner)
		if err != nil {
			return err
		}
		theirs := preference.Holding{item: acc.Preferences().Desired(preference.Push).State(item)}
		if theirs[item] == preference.Unknown {
			continue // they have just given it up themselves: it is to be deleted
		}
		for _, m := range step.Moved {
			if m.Token == item.Key && m.Owner == owner {
				theirs[item] = m.State
			}
		}
		sys := a.Targets[step.Target]
		if err := sys.Write(ctx, ports.TargetWrite{Customer: owner, Operation: op.ID, Set: theirs, Devices: devices(acc.Preferences())}); err != nil {
			return err
		}
		if err := readBack(ctx, sys, owner, theirs); err != nil {
			return err
		}
		if err := a.lookAfter(ctx, op, owner, item); err != nil {
			return err
		}
		delete(set, item)
	}
	return nil
}

// ownerOf is whoever claimed the token last. There is at least one holder.
func ownerOf(holders []ports.Holder) preference.CustomerID {
	return slices.MaxFunc(holders, func(a, b ports.Holder) int { return a.Device.TokenAt.Compare(b.Device.TokenAt) }).Customer
}

// lookAfterHandOvers is for an attempt that goes on where another one has ended, perhaps between giving a token away and
// looking after it. set is what was to be written then: what is gone from this customer by now may be with somebody else.
func (a *Activities) lookAfterHandOvers(ctx context.Context, op preference.Operation, set, current preference.Holding) error {
	for item, state := range set {
		if item.Kind != preference.DeviceItem || state != preference.Unknown || current.State(item) != preference.Unknown {
			continue
		}
		holders, err := a.Steps.Holders(ctx, item.Key, op.Customer)
		if err != nil {
			return err
		}
		if len(holders) > 0 {
			if err := a.lookAfter(ctx, op, ownerOf(holders), item); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAfter makes sure that a token does not stay with somebody who is giving it up. To hand it over is to write outside of
// their turn: a change of theirs that gives the token up may have looked at the provider before it was there, and then
// nobody takes it away again. Such a change was stored before it looked. So when there is none after the hand-over, any
// that comes will see the token; and when there is one, or it is through, the token is put right once more, in their own
// turn and behind it. The key makes it happen once.
func (a *Activities) lookAfter(ctx context.Context, op preference.Operation, owner preference.CustomerID, item preference.Item) error {
	acc, err := a.Accounts.Load(ctx, owner)
	if err != nil || acc.Keeps(item.Key) {
		return err
	}
	again, err := preference.Reaffirm(preference.Withdrawal, []preference.Item{item})
	if err != nil {
		return err
	}
	return a.submit(ctx, owner, preference.Request{ID: a.NewID(), Change: again, Source: preference.FromTokenMove,
		Actor: preference.System, Origin: consent.Origin{Source: string(preference.FromTokenMove)}, Cause: "given-up-meanwhile",
		Only: []preference.Target{preference.Push}, Key: "token-left/" + op.ID + "/" + preference.Fingerprint(item.Key), Fingerprint: op.ID})
}
