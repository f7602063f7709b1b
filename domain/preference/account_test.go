package preference_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	. "accord/domain/preference"
)

func TestAnAcceptedChangeWaitsWithAllThatIsKnownAboutIt(t *testing.T) {
	t.Parallel()
	s := newShelf()
	wording := &Wording{ID: "newsletter", Locale: "en"}
	r := s.request(must(SetEmail(Subscribed, wording)))
	r.Key, r.Fingerprint = "k", "f"
	require.NoError(t, s.update(t, "k", func(a *Account) error {
		op, replayed, err := a.Accept(r, s.now.Add(1500*time.Nanosecond))
		require.False(t, replayed)
		require.Equal(t, Accepted, op.Status)
		return err
	}))
	op := s.op(1)
	accepted := s.now.Add(time.Microsecond) // the store's resolution
	require.Equal(t, &Operation{ID: "op-1", Customer: ada, Number: 1, Kind: Grant, Status: Accepted, Change: r.Change, Source: FromApp,
		Actor: customerActor, Origin: r.Origin, Targets: []Target{CRM, CMP}, AcceptedAt: accepted, Deadline: accepted.Add(time.Minute),
		Before: op.Before, After: op.After, Key: "k", Fingerprint: "f"}, op)
	require.Equal(t, Subscribed, op.After.Email.Status)
	require.Equal(t, int64(1), op.After.Version)
	require.Zero(t, op.Before.Version)
	e := s.entries(t, 1)[0]
	require.Equal(t, &consent.Wording{ID: "newsletter", Locale: "en"}, e.Wording)
	require.Equal(t, customerActor, e.Actor)
	require.Equal(t, "unsubscribed", e.Before["email.marketing"])
	require.Equal(t, "subscribed", e.After["email.marketing"])
	turn, run := s.load("").Turn()
	require.Equal(t, []int64{1, 1}, []int64{turn, run})
	require.Zero(t, s.load("").Preferences().Version(), "nothing holds yet")
}

func TestTheSameKeyGivesTheSameOperationForever(t *testing.T) {
	t.Parallel()
	s := newShelf()
	r := s.request(setEmail(t, Subscribed))
	r.Key, r.Fingerprint, r.IfMatch = "k", "f", []string{"0"}
	ask := func() (op *Operation, replayed bool, err error) {
		err = s.update(t, r.Key, func(a *Account) error {
			op, replayed, err = a.Accept(r, s.now)
			return err
		})
		return op, replayed, err
	}
	_, replayed, err := ask()
	require.NoError(t, err)
	require.False(t, replayed)
	s.finish(t)
	s.tick(1000 * time.Hour)
	op, replayed, err := ask()
	require.NoError(t, err, "the tag does not match any more, and need not")
	require.True(t, replayed)
	require.Equal(t, Applied, op.Status)
	require.Equal(t, int64(1), s.lastNumber)

	r.Fingerprint = "g"
	_, _, err = ask()
	require.Equal(t, fault.Mismatch, fault.KindOf(err))
}

func TestTheTagNamesTheVersionAndWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := newShelf()
	require.Equal(t, "0", s.load("").Tag())
	s.accept(t, setEmail(t, Subscribed))
	require.Equal(t, "0+1", s.load("").Tag())
	s.accept(t, setEmail(t, Unsubscribed))
	require.Equal(t, "0+2", s.load("").Tag())
	s.finish(t)
	require.Equal(t, "1+2", s.load("").Tag())
	s.finish(t)
	require.Equal(t, "2", s.load("").Tag())
	s.accept(t, setEmail(t, Subscribed))
	s.compensate(t)
	require.Equal(t, "2", s.load("").Tag(), "nothing has changed")
}

func TestTheTurnGoesFromOneToTheNextInTheSameRun(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, setEmail(t, Subscribed), setEmail(t, Unsubscribed), setEmail(t, Subscribed))
	for n := int64(1); n <= 3; n++ {
		require.Equal(t, []int64{n, 1}, []int64{s.turn, s.run})
		require.Equal(t, n, s.load("").Next(1).Number)
		require.Nil(t, s.load("").Next(2), "another run works on nothing")
		s.finish(t)
	}
	require.Nil(t, s.load("").Next(1))
	s.accept(t, setEmail(t, Unsubscribed))
	require.Equal(t, []int64{4, 4}, []int64{s.turn, s.run})
	require.Nil(t, s.load("").Next(1), "the run before has given its turn back")
}

func TestOnlyTheRunThatHoldsTheTurnBegins(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, setEmail(t, Subscribed), setEmail(t, Unsubscribed))
	for _, tc := range []struct{ number, run int64 }{{1, 2}, {2, 1}, {2, 2}, {1, 0}} {
		err := s.step(t, tc.number, func(a *Account, op *Operation) error { return a.Begin(op, tc.run, s.now) })
		require.ErrorIs(t, err, fault.New(fault.Conflict, "turn-lost", ""), "%+v", tc)
	}
	s.begin(t)
	require.Equal(t, Running, s.op(1).Status)
	require.Equal(t, s.now, s.op(1).StartedAt)
}

func TestAWithdrawalIsNeverRefusedForALackOfRoom(t *testing.T) {
	t.Parallel()
	open := make([]*Operation, MaxQueue)
	s := newShelf()
	s.accept(t, setEmail(t, Unsubscribed))
	for i := range open {
		open[i] = s.op(1)
		open[i].Number = int64(i + 1)
	}
	a := RestoreAccount(Standing{Preferences: s.preferences(), Open: open, LastNumber: MaxQueue, Turn: 1, Run: 1, Chain: s.chain})
	_, _, err := a.Accept(s.request(setEmail(t, Subscribed)), s.now)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	_, _, err = a.Accept(s.request(setEmail(t, Unsubscribed)), s.now)
	require.NoError(t, err)
}

// What waits is judged by what will hold when its turn comes, as far as that is known: changes that are being taken
// back, or were, do not count.
func TestAWithdrawalIsNotRefusedForAChangeThatIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, takenBack := range map[string]func(*shelf){
		"while it is":  func(s *shelf) { s.startCompensation(t) },
		"after it was": func(s *shelf) { s.compensate(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			s.accept(t, register(t, "phone", "token-1", Granted))
			s.finish(t)
			s.accept(t, ReleaseDevice("phone"), setEmail(t, Subscribed))
			takenBack(s)
			number := s.accept(t, switchDevice(t, "phone", ptr(false), nil))
			require.Len(t, s.op(number).Before.Devices, 1)
			require.Equal(t, Subscribed, s.op(number).Before.Email.Status)
		})
	}
}

func TestAChangeThatIsNotValidAnyMoreIsCompensatedAtItsTurn(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, register(t, "phone", "token-1", Granted), switchDevice(t, "phone", ptr(false), nil), setEmail(t, Subscribed))
	s.compensate(t)
	number := s.begin(t)
	op := s.op(number)
	require.Equal(t, Compensated, op.Status)
	require.Equal(t, &consent.Reason{Code: "not-found", Target: "store", Detail: "no such device"}, op.Reason)
	require.True(t, op.StartedAt.IsZero())
	// The ledger tells what held, not what was hoped for.
	e := last(s.entries(t, number))
	require.Equal(t, map[string]any{"devices.phone": nil}, e.Before)
	require.Equal(t, map[string]any{"devices.phone": nil}, e.After)
	require.Empty(t, op.Before.Devices)
	s.finish(t)
	require.Equal(t, Applied, s.op(3).Status, "what came behind goes on")
}

func TestGrantsAreBounded(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, setEmail(t, Unsubscribed), setEmail(t, Subscribed), setEmail(t, Unsubscribed), setEmail(t, Subscribed))
	expire := func() { require.NoError(t, s.update(t, "", func(a *Account) error { return a.Expire(s.now) })) }
	s.tick(time.Minute)
	expire()
	require.Equal(t, Accepted, s.op(2).Status, "its time is not over")
	s.tick(time.Microsecond)
	expire()
	for _, n := range []int64{2, 4} {
		require.Equal(t, Compensated, s.op(n).Status)
		require.Equal(t, "budget-exhausted", s.op(n).Reason.Code)
		require.Equal(t, "unsubscribed", last(s.entries(t, n)).Before["email.marketing"])
	}
	for _, n := range []int64{1, 3} {
		require.Equal(t, Accepted, s.op(n).Status, "a withdrawal has all the time in the world")
	}
	s.finish(t)
	require.Equal(t, int64(3), s.turn)
	s.finish(t)

	s.accept(t, setEmail(t, Subscribed))
	s.tick(2 * time.Minute)
	expire()
	require.Equal(t, Accepted, s.op(5).Status, "who has the turn is left to its run")
	s.begin(t)
	require.Equal(t, Compensated, s.op(5).Status)
	require.Equal(t, "budget-exhausted", s.op(5).Reason.Code)
}

func TestAParkedWithdrawalWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	parked := func(t *testing.T) *shelf {
		s := newShelf()
		s.accept(t, setEmail(t, Unsubscribed), setEmail(t, Subscribed))
		s.begin(t)
		require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Park(op, refused, s.now) }))
		require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error {
			return a.Park(op, consent.Reason{Code: "refused", Target: "cmp"}, s.now)
		}))
		require.Equal(t, &refused, s.op(1).Reason, "the first reason stays")
		require.Len(t, s.load("").Holds(), 1, "and so does the hold")
		require.Equal(t, []int64{1, 1}, []int64{s.turn, s.run})
		return s
	}
	decide := func(s *shelf, d Decision) error {
		return s.step(t, 1, func(a *Account, op *Operation) error { return a.Decide(op, d, operatorActor, s.now) })
	}
	take := func(t *testing.T, s *shelf) (d Decision) {
		require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { d = a.TakeDecision(op); return nil }))
		return d
	}
	notParked := fault.New(fault.Conflict, "not-parked", "")

	t.Run("retried", func(t *testing.T) {
		t.Parallel()
		s := parked(t)
		require.Empty(t, take(t, s), "nobody has decided")
		require.NoError(t, decide(s, RetryIt))
		require.NoError(t, decide(s, RetryIt))
		require.ErrorContains(t, decide(s, CompensateIt), "already-decided: the decision to retry it")
		require.Equal(t, RetryIt, take(t, s))
		require.Equal(t, RetryIt, take(t, s), "the first answer may have been lost")
		require.Equal(t, Running, s.op(1).Status)
		require.Nil(t, s.op(1).Reason)
		require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Commit(op, s.now) }))
		require.Equal(t, []consent.Event{consent.Requested, consent.NeedsAttention, consent.RetryRequested, consent.Applied}, s.events(t, 1))
		require.Equal(t, operatorActor, s.entries(t, 1)[2].Actor)
		require.Empty(t, s.load("").Holds())
	})
	t.Run("compensated", func(t *testing.T) {
		t.Parallel()
		s := parked(t)
		start := func() error {
			return s.step(t, 1, func(a *Account, op *Operation) error {
				return a.StartCompensation(op, consent.Reason{Code: "operator"}, s.now)
			})
		}
		require.ErrorIs(t, start(), fault.New(fault.Conflict, "withdrawal-goes-forward", ""))
		require.NoError(t, decide(s, CompensateIt))
		require.Equal(t, CompensateIt, take(t, s))
		require.NoError(t, start())
		require.Empty(t, s.op(1).Decision, "it is acted upon")
		require.Equal(t, CompensateIt, take(t, s))
		require.NoError(t, s.step(t, 1, func(a *Account, op *Operation) error { return a.Compensate(op, []string{"crm:email"}, s.now) }))
		require.Equal(t, &refused, s.op(1).Reason)
		require.Equal(t, []consent.Event{consent.Requested, consent.NeedsAttention, consent.CompensationRequested, consent.Compensated}, s.events(t, 1))
		require.Equal(t, []string{"crm:email"}, last(s.entries(t, 1)).NotUndone)
		require.Equal(t, int64(2), s.turn)
	})
	t.Run("by a word that is no decision", func(t *testing.T) {
		t.Parallel()
		s := parked(t)
		require.Equal(t, fault.Invalid, fault.KindOf(decide(s, "")))
		require.Equal(t, fault.Invalid, fault.KindOf(decide(s, "forget")))
	})
	t.Run("not by deciding about another", func(t *testing.T) {
		t.Parallel()
		s := parked(t)
		require.ErrorIs(t, s.step(t, 2, func(a *Account, op *Operation) error { return a.Decide(op, RetryIt, operatorActor, s.now) }), notParked)
	})
}

func TestTheReleaseOfATokenThatMovedIsOnlyEverRetried(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, register(t, "phone", "token-1", Granted))
	s.finish(t)
	require.NoError(t, s.update(t, "", func(a *Account) error {
		r := s.request(ReleaseMovedToken("phone", "token-1", s.now))
		r.Source, r.Actor = FromTokenMove, System
		_, _, err := a.Accept(r, s.now)
		return err
	}))
	s.begin(t)
	require.NoError(t, s.step(t, 2, func(a *Account, op *Operation) error { return a.Park(op, refused, s.now) }))
	decide := func(d Decision) error {
		return s.step(t, 2, func(a *Account, op *Operation) error { return a.Decide(op, d, operatorActor, s.now) })
	}

	require.ErrorIs(t, decide(CompensateIt), fault.New(fault.Conflict, "token-moved", ""), "the token is with somebody else already")
	require.Empty(t, s.op(2).Decision)
	require.Equal(t, []consent.Event{consent.Requested, consent.NeedsAttention}, s.events(t, 2))
	require.NoError(t, decide(RetryIt))
	require.ErrorIs(t, decide(CompensateIt), fault.New(fault.Conflict, "already-decided", ""))
}

func TestAGrantThatCouldNotBeStartedLeavesItsKeyFree(t *testing.T) {
	t.Parallel()
	s := newShelf()
	neverStarted := func(number int64) error {
		return s.step(t, number, func(a *Account, op *Operation) error { return a.NeverStarted(op, false, s.now) })
	}
	r := s.request(setEmail(t, Subscribed))
	r.Key, r.Fingerprint = "k", "f"
	require.NoError(t, s.update(t, "k", func(a *Account) error { _, _, err := a.Accept(r, s.now); return err }))
	require.NoError(t, neverStarted(1))
	require.NoError(t, neverStarted(1), "the answer may have been lost")
	require.Equal(t, Compensated, s.op(1).Status)
	require.Equal(t, "unavailable", s.op(1).Reason.Code)
	require.Equal(t, []int64{0, 0}, []int64{s.turn, s.run})
	r.ID = "op-2"
	require.NoError(t, s.update(t, "k", func(a *Account) error {
		op, replayed, err := a.Accept(r, s.now)
		require.False(t, replayed)
		require.Equal(t, int64(2), op.Number)
		return err
	}))
	s.begin(t)
	started := fault.New(fault.Conflict, "already-started", "")
	require.ErrorIs(t, neverStarted(2), started)
	s.finish(t)
	require.ErrorIs(t, neverStarted(2), started)

	s.accept(t, setEmail(t, Subscribed))
	s.tick(time.Hour)
	s.begin(t)
	require.ErrorIs(t, neverStarted(3), started, "a run has closed it for another reason")
}

func TestAWithdrawalIsNeverClosedAsNeverStarted(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, setEmail(t, Unsubscribed))
	err := s.step(t, 1, func(a *Account, op *Operation) error { return a.NeverStarted(op, false, s.now) })
	require.ErrorIs(t, err, fault.New(fault.Conflict, "withdrawal-goes-forward", ""))
}

func TestEveryStepIsRefusedInTheWrongState(t *testing.T) {
	t.Parallel()
	steps := map[string]func(*Account, *Operation) error{
		"commit":     func(a *Account, op *Operation) error { return a.Commit(op, start) },
		"compensate": func(a *Account, op *Operation) error { return a.Compensate(op, nil, start) },
		"start":      func(a *Account, op *Operation) error { return a.StartCompensation(op, refused, start) },
		"park":       func(a *Account, op *Operation) error { return a.Park(op, refused, start) },
		"decide":     func(a *Account, op *Operation) error { return a.Decide(op, RetryIt, operatorActor, start) },
	}
	grant, withdrawal := setEmail(t, Subscribed), setEmail(t, Unsubscribed)
	for _, tc := range []struct {
		change  Change
		reach   func(*shelf)
		status  Status
		allowed []string
	}{
		{grant, func(s *shelf) {}, Accepted, nil},
		{grant, func(s *shelf) { s.begin(t) }, Running, []string{"commit", "start"}},
		{withdrawal, func(s *shelf) { s.begin(t) }, Running, []string{"commit", "park"}},
		{grant, func(s *shelf) { s.startCompensation(t) }, Compensating, []string{"compensate", "start"}},
		{withdrawal, func(s *shelf) { s.startCompensation(t) }, Compensating, []string{"compensate", "start"}},
		{grant, func(s *shelf) { s.finish(t) }, Applied, []string{"commit"}},
		{grant, func(s *shelf) { s.compensate(t) }, Compensated, []string{"compensate", "start"}},
	} {
		for name, step := range steps {
			t.Run(fmt.Sprint(tc.change.Kind(), " ", tc.status, " ", name), func(t *testing.T) {
				t.Parallel()
				s := newShelf()
				s.accept(t, tc.change)
				tc.reach(s)
				require.Equal(t, tc.status, s.op(1).Status)
				err := s.step(t, 1, step)
				if count(tc.allowed, name) == 1 {
					require.NoError(t, err)
					return
				}
				require.Equal(t, fault.Conflict, fault.KindOf(err))
			})
		}
	}
}
