package preferences

import (
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

var erasing = preference.Operation{ID: "op", Customer: "ada", Status: preference.Running, Change: preference.Erase()}

// A token that somebody else has by our records goes to them before the person is forgotten, or nobody would have it.
func TestATargetForgetsThePersonAndNotTheirTokens(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	steps, accounts, push := mocks.NewMockSteps(ctrl), mocks.NewMockAccounts(ctrl), mocks.NewMockTargetSystem(ctrl)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	grace := preference.Restore("grace", preference.Snapshot{Push: preference.Choice{Enabled: true},
		Devices: []preference.Device{{ID: "phone", Token: "taken", Permission: preference.Granted, Enabled: true}}}, cat)
	steps.EXPECT().Holders(gomock.Any(), "taken", gomock.Any()).Return([]ports.Holder{{Customer: "grace", Device: grace.Devices()[0]}}, nil)
	steps.EXPECT().Holders(gomock.Any(), "own", gomock.Any()).Return(nil, nil)
	accounts.EXPECT().Load(gomock.Any(), preference.CustomerID("grace")).Times(2).Return(preference.RestoreAccount(preference.Standing{Preferences: grace}), nil)
	theirs := preference.Holding{deviceItem("taken"): preference.On}
	gomock.InOrder(
		push.EXPECT().Write(gomock.Any(), gomock.Any()).Return(nil),
		push.EXPECT().Read(gomock.Any(), preference.CustomerID("grace")).Return(theirs, nil),
		push.EXPECT().Forget(gomock.Any(), preference.CustomerID("ada")).Return(nil),
		push.EXPECT().Read(gomock.Any(), preference.CustomerID("ada")).Return(preference.Holding{deviceItem("own"): preference.On}, nil),
		push.EXPECT().Read(gomock.Any(), preference.CustomerID("ada")).Return(preference.Holding{}, nil),
	)
	a := &Activities{Steps: steps, Accounts: accounts, Targets: map[preference.Target]ports.TargetSystem{preference.Push: push}}
	wrote, err := a.erase(t.Context(), erasing, &ports.TargetStep{Target: preference.Push},
		preference.Holding{deviceItem("taken"): preference.On, deviceItem("own"): preference.On})
	require.NoError(t, err)
	require.True(t, wrote)
}

// erasureRig is Commit for an operation that the account finds, or not.
func erasureRig(t *testing.T, found error) (*Activities, *mocks.MockErasures, *mocks.MockOutcomes) {
	t.Helper()
	ctrl := gomock.NewController(t)
	accounts, erasures, outcomes := mocks.NewMockAccounts(ctrl), mocks.NewMockErasures(ctrl), mocks.NewMockOutcomes(ctrl)
	op := erasing
	accounts.EXPECT().UpdateOperation(gomock.Any(), "op", gomock.Any()).DoAndReturn(
		func(_ any, _ string, fn func(*preference.Account, *preference.Operation) error) error {
			if found != nil {
				return found
			}
			return fn(nil, &op)
		})
	return &Activities{Accounts: accounts, Erasures: erasures, Outcomes: outcomes, Now: func() time.Time { return time.Unix(7, 0) }}, erasures, outcomes
}

func TestTheCommitOfAnErasureForgetsThePerson(t *testing.T) {
	t.Parallel()
	a, erasures, outcomes := erasureRig(t, nil)
	erasures.EXPECT().Forget(gomock.Any(), "op", time.Unix(7, 0)).Return(ports.ErasureProof{ErasedAt: time.Unix(7, 0)}, nil)
	outcomes.EXPECT().Announce(gomock.Any(), gomock.Any()).Do(func(_ any, op preference.Operation) {
		require.Equal(t, preference.Applied, op.Status, "who waits is told")
	})
	out, err := a.Commit(t.Context(), OperationInput{Operation: "op", Run: 1})
	require.NoError(t, err)
	require.Empty(t, out.Next)
}

// The answer to a commit may be lost, and then the operation is gone.
func TestRepeatingTheCommitOfAnErasureFindsItDone(t *testing.T) {
	t.Parallel()
	gone := fault.New(fault.NotFound, "not-found", "no such operation")
	a, erasures, _ := erasureRig(t, gone)
	erasures.EXPECT().Forget(gomock.Any(), "op", gomock.Any()).Return(ports.ErasureProof{}, nil)
	_, err := a.Commit(t.Context(), OperationInput{Operation: "op", Run: 1})
	require.NoError(t, err)

	a, erasures, _ = erasureRig(t, gone)
	erasures.EXPECT().Forget(gomock.Any(), "op", gomock.Any()).Return(ports.ErasureProof{}, gone)
	_, err = a.Commit(t.Context(), OperationInput{Operation: "op", Run: 1})
	require.Error(t, err, "there never was such an operation")
}

func TestARunThatFindsItsOperationErasedDoesNothing(t *testing.T) {
	t.Parallel()
	a, _, _ := erasureRig(t, fault.New(fault.NotFound, "not-found", "no such operation"))
	plan, err := a.Begin(t.Context(), OperationInput{Operation: "op", Run: 1})
	require.NoError(t, err)
	require.Equal(t, doNothing, plan.Do)
}
