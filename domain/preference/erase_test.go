package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

func TestErasingWithholdsEverythingFromTheStart(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.ahead(t, register(t, "phone", "token-1", Granted))
	require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Commit(op, s.now) }))
	s.ahead(t, Erase())
	require.Equal(t, Withdrawal, s.op(2).Kind)
	require.Equal(t, Targets, s.op(2).Targets, "also those that no preference concerns")
	a := s.load("")
	for _, effect := range a.Preferences().Effective(a.Holds(), time.Time{}) {
		require.Contains(t, effect.BlockedBy, BlockedByHold, "%s", effect.Channel)
	}
	require.Contains(t, a.Preferences().EmailBlockers("", a.Holds()), BlockedByHold)
}

func TestWhileAPersonIsErasedNothingIsGranted(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.ahead(t, setEmail(t, Subscribed), Erase())
	accept := func(c Change) (op *Operation, replayed bool, err error) {
		err = s.update(t, "", func(a *Account) error {
			op, replayed, err = a.Accept(s.request(c), s.now)
			return err
		})
		return op, replayed, err
	}
	_, _, err := accept(setEmail(t, Subscribed))
	require.ErrorIs(t, err, fault.New(fault.Conflict, "being-erased", ""))
	for _, c := range []Change{setEmail(t, Unsubscribed), Erase()} {
		op, replayed, err := accept(c)
		require.NoError(t, err)
		require.True(t, replayed)
		require.EqualValues(t, 2, op.Number, "what withdraws is part of the erasure")
	}
	require.Len(t, s.ops, 2)
}

func TestWhatATargetForgetsCanBeGivenBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreferences.Draw(t, "preferences")
		nobody, err := p.Apply(Erase(), start, FromOperator)
		require.NoError(t, err)
		require.Equal(t, p.Version()+1, nobody.Version())
		require.Empty(t, nobody.Devices())
		for _, target := range Targets {
			held := p.Desired(target)
			a := Assign(target, Erase(), p, nobody, held)
			require.Empty(t, Holding{}.Missing(a.Write), "%s holds nothing of it in the end", target)
			restore, left := a.Undo(Holding{})
			require.Empty(t, left)
			require.Equal(t, held, restore, "an operator has changed their mind")
		}
	})
}
