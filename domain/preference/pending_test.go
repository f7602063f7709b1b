package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	. "accord/domain/preference"
)

// A grant that is under way may be taken back. What was withdrawn elsewhere before it, and is heard of meanwhile, must not be
// lost with it; nor may it undo the grant if that goes through.
func TestAWithdrawalMadeElsewhereBeforeAGrantThatIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		grant  func(*testing.T, *shelf)
		on     bool
		events []consent.Event
	}{
		"taken back": {func(t *testing.T, s *shelf) { s.compensate(t) }, false, []consent.Event{consent.Requested, consent.Applied}},
		"applied":    {func(t *testing.T, s *shelf) { s.finish(t) }, true, []consent.Event{consent.Requested, consent.Compensated}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			s.accept(t, register(t, "phone", "token", Granted), setEmail(t, Subscribed))
			s.finish(t)
			s.finish(t)
			withdrawn := s.now.Add(time.Second)
			s.tick(2 * time.Second)
			grant := s.accept(t, setEmail(t, Subscribed)) // once more
			s.tick(time.Second)
			require.NoError(t, s.hears(t, setEmail(t, Unsubscribed), withdrawn))
			require.ErrorIs(t, s.hears(t, setEmail(t, Subscribed), withdrawn.Add(time.Millisecond)), fault.New(fault.Conflict, "unchanged", ""),
				"a grant: the one under way is later")
			require.Equal(t, grant, s.turn)
			require.Len(t, s.load("").Holds(), 1, "nothing goes out while that is not clear")
			require.Equal(t, Subscribed, s.load("").Expected().Email().Status, "what is later counts")
			tc.grant(t, s)
			s.workOn(t, grant+1)
			require.Equal(t, tc.on, s.preferences().Email().Status == Subscribed)
			require.Equal(t, tc.events, s.events(t, grant+1))
			require.Empty(t, s.open())
			if tc.on {
				require.Equal(t, "superseded", s.op(grant+1).Reason.Code)
				require.Equal(t, "store", s.op(grant+1).Reason.Target)
			}
		})
	}
}

// A subscription that waits to be confirmed is no grant yet, and will be one by a link. What was withdrawn between two requests for it
// must not be lost when the later one is taken back: the link of the first would still subscribe.
func TestAWithdrawalMadeElsewhereBetweenTwoRequestsThatHaveToBeConfirmed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		later  func(*testing.T, *shelf)
		want   EmailStatus
		events []consent.Event
	}{
		"the later one is taken back": {func(t *testing.T, s *shelf) { s.compensate(t) }, Unsubscribed, []consent.Event{consent.Requested, consent.Applied}},
		"it is applied":               {func(t *testing.T, s *shelf) { s.finish(t) }, PendingConfirmation, []consent.Event{consent.Requested, consent.Compensated}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shelfOf(confirming(t))
			s.accept(t, setEmail(t, Subscribed))
			s.finish(t)
			withdrawn := s.now.Add(time.Second)
			s.tick(2 * time.Second)
			again := s.accept(t, setEmail(t, Subscribed))
			s.tick(time.Second)
			require.NoError(t, s.hears(t, setEmail(t, Unsubscribed), withdrawn))
			require.Equal(t, PendingConfirmation, s.load("").EmailState(s.now).Status, "what is later counts")
			tc.later(t, s)
			s.workOn(t, again+1)
			require.Equal(t, tc.want, s.preferences().Email().Status)
			require.Equal(t, tc.events, s.events(t, again+1))
			if tc.want == PendingConfirmation {
				require.Equal(t, "superseded", s.op(again+1).Reason.Code)
			}
			require.ErrorIs(t, s.hears(t, setEmail(t, Unsubscribed), start.Add(-time.Second)), fault.New(fault.Conflict, map[bool]string{true: "superseded", false: "unchanged"}[tc.want == PendingConfirmation], ""),
				"one from before all of it")
		})
	}
}

// Nor may it be lost with two grants under way of which one was made before it and goes through, and the later one does not.
func TestAWithdrawalMadeElsewhereBetweenTwoGrantsThatAreUnderWay(t *testing.T) {
	t.Parallel()
	for _, laterTakenBack := range []bool{true, false} {
		s := newShelf()
		s.accept(t, register(t, "phone", "token", Granted))
		s.finish(t)
		earlier := s.accept(t, setEmail(t, Subscribed))
		withdrawn := s.now.Add(time.Second)
		s.tick(2 * time.Second)
		later := s.accept(t, setEmail(t, Subscribed))
		s.tick(time.Second)
		require.NoError(t, s.hears(t, setEmail(t, Unsubscribed), withdrawn))
		require.Equal(t, earlier, s.turn)
		s.finish(t)
		require.Equal(t, later, s.turn)
		if laterTakenBack {
			s.compensate(t)
		} else {
			s.finish(t)
		}
		s.workOn(t, later+1)
		require.Equal(t, !laterTakenBack, s.preferences().Email().Status == Subscribed)
		require.Empty(t, s.open())
	}
}

// Of several things that were decided at once each is judged by itself.
func TestOfAMixedDecisionEachPartIsJudgedByItself(t *testing.T) {
	t.Parallel()
	for _, takenBack := range []bool{true, false} {
		s := newShelf()
		s.accept(t, register(t, "phone", "token", Granted), switchPush(t, nil, map[ChannelKey]bool{promotions: true, loyalty: true}))
		s.finish(t)
		s.finish(t)
		decided := s.now.Add(time.Second)
		s.tick(2 * time.Second)
		s.accept(t, switchPush(t, nil, map[ChannelKey]bool{promotions: true}))
		require.NoError(t, s.hears(t, switchPush(t, nil, map[ChannelKey]bool{promotions: false, loyalty: false}), decided))
		if takenBack {
			s.compensate(t)
		} else {
			s.finish(t)
		}
		s.finish(t)
		require.Equal(t, !takenBack, s.preferences().Channel(promotions).Enabled)
		require.False(t, s.preferences().Channel(loyalty).Enabled)
	}
}

// hears takes a decision that was made elsewhere.
func (s *shelf) hears(t *testing.T, c Change, at time.Time) error {
	t.Helper()
	return s.update(t, "", func(a *Account) error {
		r := s.request(c)
		r.Source, r.Elsewhere, r.DecidedAt = FromExternal, true, at
		_, _, err := a.Accept(r, s.now)
		return err
	})
}

// workOn begins the operation, and commits it when it is not over with that.
func (s *shelf) workOn(t *testing.T, number int64) {
	t.Helper()
	require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error {
		if err := a.Begin(op, s.run, s.now); err != nil || op.Status.Settled() {
			return err
		}
		return a.Commit(op, s.now)
	}))
}
