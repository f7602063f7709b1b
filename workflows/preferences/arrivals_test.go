package preferences

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports/mocks"
)

func last(k *arrivals, op preference.Operation, t preference.Target) bool {
	_, all := k.arrive(op, t)
	return all
}

func TestTheLastTargetIsToldOnce(t *testing.T) {
	t.Parallel()
	var k arrivals
	op := preference.Operation{ID: "op", Targets: []preference.Target{preference.CRM, preference.Push, preference.CMP}}
	require.False(t, last(&k, op, preference.CRM))
	require.False(t, last(&k, op, preference.CRM), "twice the same is no other one")
	require.False(t, last(&k, op, preference.CMP))
	require.True(t, last(&k, op, preference.Push))
	require.False(t, last(&k, op, preference.Push), "what was told is forgotten")
}

func TestATargetThatIsReachedAgainDoesNotCountUntilItIs(t *testing.T) {
	t.Parallel()
	var k arrivals
	op := preference.Operation{ID: "op", Targets: []preference.Target{preference.CRM, preference.Push}}
	k.leave(TargetInput{Operation: "op", Target: preference.CRM})
	require.False(t, last(&k, op, preference.CRM))
	k.leave(TargetInput{Operation: "op", Target: preference.CRM})
	require.False(t, last(&k, op, preference.Push))
	require.True(t, last(&k, op, preference.CRM))
}

func TestOperationsThatNeverEndHereAreForgotten(t *testing.T) {
	t.Parallel()
	var k arrivals
	for i := range 2 * maxArrivals {
		k.arrive(preference.Operation{ID: fmt.Sprint(i), Targets: preference.Targets}, preference.CRM)
	}
	require.Len(t, k.known, maxArrivals)
	require.LessOrEqual(t, len(k.oldest), maxArrivals)
}

// lastRig is an operation of which the CRM is the only target, and what comes of committing it.
func lastRig(t *testing.T, commit error) (*Activities, preference.Operation) {
	t.Helper()
	ctrl := gomock.NewController(t)
	accounts, outcomes := mocks.NewMockAccounts(ctrl), mocks.NewMockOutcomes(ctrl)
	accounts.EXPECT().UpdateOperation(gomock.Any(), "op", gomock.Any()).AnyTimes().Return(commit)
	outcomes.EXPECT().Announce(gomock.Any(), gomock.Any()).AnyTimes()
	change, err := preference.SetEmail(preference.Subscribed, nil)
	require.NoError(t, err)
	return &Activities{Accounts: accounts, Outcomes: outcomes, Now: time.Now, Logger: slog.New(slog.DiscardHandler)},
		preference.Operation{ID: "op", Status: preference.Running, Change: change, Targets: []preference.Target{preference.CRM}}
}

var lastIn = TargetInput{Operation: "op", Target: preference.CRM, Run: 1}

func TestTheLastTargetCommits(t *testing.T) {
	t.Parallel()
	a, op := lastRig(t, nil)
	require.Equal(t, Progress{Applied: true}, a.commitAsLast(t.Context(), lastIn, op))
}

// The target has the change whatever becomes of the commit: the attempt must not fail for it.
func TestACommitThatFailsIsLeftToTheRun(t *testing.T) {
	t.Parallel()
	a, op := lastRig(t, fault.New(fault.Unavailable, "unavailable", "down"))
	require.Equal(t, Progress{}, a.commitAsLast(t.Context(), lastIn, op))
}

func TestTheRunCommitsWhatHasMoreToBeDoneAfterwards(t *testing.T) {
	t.Parallel()
	device, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "token", Permission: preference.Granted})
	require.NoError(t, err)
	for name, with := range map[string]func(*preference.Operation, *TargetInput){
		"a token":        func(op *preference.Operation, _ *TargetInput) { op.Change = device },
		"an erasure":     func(op *preference.Operation, _ *TargetInput) { op.Change = preference.Erase() },
		"another target": func(op *preference.Operation, _ *TargetInput) { op.Targets = preference.Targets },
		"parked":         func(op *preference.Operation, _ *TargetInput) { op.Status = preference.NeedsAttention },
		"applied":        func(op *preference.Operation, _ *TargetInput) { op.Status = preference.Applied },
		"an older run":   func(_ *preference.Operation, in *TargetInput) { in.Run = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, op := lastRig(t, nil)
			in := lastIn
			with(&op, &in)
			require.Equal(t, Progress{}, a.commitAsLast(t.Context(), in, op))
		})
	}
}

// An attempt that was told again after the commit has nothing to do, and nothing to say against it.
func TestAnAttemptThatFindsTheChangeAppliedIsThrough(t *testing.T) {
	t.Parallel()
	steps := mocks.NewMockSteps(gomock.NewController(t)) // Targets is nil: nothing may be asked of one
	steps.EXPECT().Step(gomock.Any(), "op", preference.CRM).Return(preference.Operation{ID: "op", Status: preference.Applied}, nil, nil)
	_, err := (&Activities{Steps: steps}).reachOnce(t.Context(), lastIn, false)
	require.NoError(t, err)
}

// In a bubble no time passes while anybody can go on: none has passed unless somebody has waited it out.
func TestAnswersOfTheTargetsComeTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, op := lastRig(t, nil)
		op.Targets = []preference.Target{preference.CRM, preference.CMP}
		began := time.Now()
		var first Progress
		var both sync.WaitGroup
		both.Go(func() { first = a.commitAsLast(t.Context(), lastIn, op) })
		synctest.Wait() // it has come, and waits
		require.Equal(t, Progress{Applied: true}, a.commitAsLast(t.Context(), TargetInput{Operation: "op", Target: preference.CMP, Run: 1}, op))
		both.Wait()
		require.Equal(t, Progress{}, first)
		require.Zero(t, time.Since(began))
	})
}

func TestNobodyWaitsLongForATargetThatTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, op := lastRig(t, nil)
		op.Targets = []preference.Target{preference.CRM, preference.CMP}
		began := time.Now()
		require.Equal(t, Progress{}, a.commitAsLast(t.Context(), lastIn, op))
		require.Equal(t, linger, time.Since(began))
		gone, leave := context.WithCancel(t.Context())
		leave()
		a.arrivals.leave(lastIn)
		require.Equal(t, Progress{}, a.commitAsLast(gone, lastIn, op), "and not at all when the attempt is over")
		require.Equal(t, linger, time.Since(began))
	})
}
