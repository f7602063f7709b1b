package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	. "accord/domain/preference"
)

// ahead accepts changes in one transaction each, the way the use case does: begun at once where the turn is free.
func (s *shelf) ahead(t require.TestingT, changes ...Change) (begun []bool) {
	for _, c := range changes {
		require.NoError(t, s.update(t, "", func(a *Account) error {
			op, _, err := a.Accept(s.request(c), s.now)
			if err == nil {
				begun = append(begun, a.BeginAhead(op))
			}
			return err
		}))
	}
	return begun
}

func TestOnlyWhoTakesTheTurnIsBegunAhead(t *testing.T) {
	t.Parallel()
	s := newShelf()
	require.Equal(t, []bool{true, false}, s.ahead(t, setEmail(t, Subscribed), setEmail(t, Unsubscribed)))
	require.Equal(t, []Status{Running, Accepted}, []Status{s.op(1).Status, s.op(2).Status})
	require.True(t, s.op(1).StartedAt.IsZero(), "nobody is known to have started it")
	require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Commit(op, s.now) }))
	require.Equal(t, s.op(1).AcceptedAt, s.op(1).StartedAt)
	require.NoError(t, s.update(t, "", func(a *Account) error {
		require.False(t, a.BeginAhead(s.find(a, 2)), "what came behind is begun by the run: what it rests on was not known")
		require.False(t, a.BeginAhead(s.find(a, 1)))
		return nil
	}))
}

// A start whose answer was lost leaves a run that may be anywhere.
func TestAGrantBegunAheadIsClosedAsNeverStartedOnlyBeforeItsFirstStep(t *testing.T) {
	t.Parallel()
	neverStarted := func(s *shelf, reached bool) error {
		return s.step(t, 1, func(a *Account, op *Operation) error { return a.NeverStarted(op, reached, s.now) })
	}
	started := fault.New(fault.Conflict, "already-started", "")
	s := newShelf()
	s.ahead(t, setEmail(t, Subscribed))
	require.ErrorIs(t, neverStarted(s, true), started, "a target may have it")
	require.NoError(t, neverStarted(s, false))
	require.NoError(t, neverStarted(s, false), "the answer may have been lost")
	require.Equal(t, Compensated, s.op(1).Status)
	require.Equal(t, []consent.Event{consent.Requested, consent.Compensated}, s.events(t, 1))
	require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Begin(op, 1, s.now) }), "the run that was open after all")
	require.Equal(t, Compensated, s.op(1).Status)

	s = newShelf()
	s.ahead(t, setEmail(t, Subscribed))
	s.begin(t)
	require.Equal(t, s.now, s.op(1).StartedAt)
	require.ErrorIs(t, neverStarted(s, false), started, "a run is at it")

	s = newShelf()
	s.ahead(t, setEmail(t, Unsubscribed))
	require.ErrorIs(t, neverStarted(s, false), fault.New(fault.Conflict, "withdrawal-goes-forward", ""))
}

// Its run was lost, and the next one comes too late: what the lost one has done must be put back.
func TestAGrantBegunAheadThatIsLateIsCompensatedStepByStep(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.ahead(t, setEmail(t, Subscribed))
	s.tick(time.Minute + time.Microsecond)
	s.begin(t)
	require.Equal(t, Compensating, s.op(1).Status)
	require.Equal(t, "budget-exhausted", s.op(1).Reason.Code)
	require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Compensate(op, nil, s.now) }))
	require.Equal(t, []consent.Event{consent.Requested, consent.Compensated}, s.events(t, 1))

	s = newShelf()
	s.ahead(t, setEmail(t, Subscribed))
	s.tick(time.Minute + time.Microsecond)
	require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error {
		a.WentAhead(op)
		return a.Begin(op, s.run, s.now)
	}))
	require.Equal(t, Running, s.op(1).Status, "its run is at it, and knows the target that has taken so long")
	require.ErrorIs(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.NeverStarted(op, false, s.now) }),
		fault.New(fault.Conflict, "already-started", ""))

	s = newShelf()
	s.ahead(t, setEmail(t, Unsubscribed))
	s.tick(time.Hour)
	s.begin(t)
	require.Equal(t, Running, s.op(1).Status, "a withdrawal has all the time in the world")
}
