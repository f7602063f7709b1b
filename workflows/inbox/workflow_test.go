package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"accord/domain/fault"
	domain "accord/domain/inbox"
	"accord/ports"
	"accord/ports/mocks"
	"accord/workflows/inbox"
)

const message domain.MessageID = 7

func down() error { return fault.New(fault.Unavailable, "unavailable", "the database is down") }

// rig is the workflows with their activities over upkeep that a test scripts. now passes by a second with each look.
func rig(t *testing.T) (*testsuite.TestWorkflowEnvironment, *mocks.MockInboxUpkeep) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	upkeep := mocks.NewMockInboxUpkeep(gomock.NewController(t))
	var mu sync.Mutex
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	inbox.Register(env, &inbox.Activities{Upkeep: upkeep, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}})
	return env, upkeep
}

func output[T any](t *testing.T, env *testsuite.TestWorkflowEnvironment) (out T) {
	t.Helper()
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	require.NoError(t, env.GetWorkflowResult(&out))
	return out
}

func TestADeliveryGoesOnUntilNobodyWaits(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	left := 35 // more than one step takes
	upkeep.EXPECT().Deliver(gomock.Any(), message).DoAndReturn(func(context.Context, domain.MessageID) (int, int, error) {
		left--
		return 10, left * 10, nil
	}).Times(35)
	steps := 0
	env.SetOnActivityCompletedListener(func(*activity.Info, converter.EncodedValue, error) { steps++ })
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String(), Done: 5})
	require.Equal(t, inbox.DeliverOutput{Done: 355}, output[inbox.DeliverOutput](t, env))
	require.Equal(t, 4, steps, "and shows how far it is in between")
}

func TestADeliveryOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	gomock.InOrder(
		upkeep.EXPECT().Deliver(gomock.Any(), message).Return(10, 20, nil),
		upkeep.EXPECT().Deliver(gomock.Any(), message).Return(0, 0, down()).Times(8),
		upkeep.EXPECT().Deliver(gomock.Any(), message).Return(20, 0, nil),
	)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String()})
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
}

func TestADeliveryWithoutProgressIsNotHurried(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	calls := 0
	upkeep.EXPECT().Deliver(gomock.Any(), message).DoAndReturn(func(context.Context, domain.MessageID) (int, int, error) {
		calls++
		if calls > 30 {
			return 5, 0, nil
		}
		return 0, 5, nil
	}).AnyTimes()
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String()})
	require.Equal(t, 5, output[inbox.DeliverOutput](t, env).Done)
	require.Equal(t, 31, calls)
}

func TestALongDeliveryGoesOnInAnotherRun(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	upkeep.EXPECT().Deliver(gomock.Any(), message).Return(1, 100, nil).AnyTimes()
	env.SetContinueAsNewSuggested(true)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String(), Done: 3})
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &again)
	var in inbox.DeliverInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))
	require.Equal(t, message.String(), in.Message)
	require.Greater(t, in.Done, 3)
}

func TestADeliveryOfNothingEnds(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	upkeep.EXPECT().Deliver(gomock.Any(), message).Return(0, 0, fault.New(fault.NotFound, "not-found", "no such message"))
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String()})
	require.Zero(t, output[inbox.DeliverOutput](t, env).Done)

	env, _ = rig(t)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: "not an id"})
	var failed *temporal.ApplicationError
	require.ErrorAs(t, env.GetWorkflowError(), &failed)
	require.True(t, failed.NonRetryable(), "trying again does not make it one")
}

func TestAPullResumesDeliveriesWhateverUpstreamDoes(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	upkeep.EXPECT().ResumeDeliveries(gomock.Any()).Return(2, nil)
	upkeep.EXPECT().PullCampaigns(gomock.Any()).Return(ports.CampaignPull{Pages: 1, Published: 3},
		&ports.TargetError{Target: "engagement", Class: ports.Transient, Code: "timeout", Err: errors.New("of ada@example.com")})
	env.ExecuteWorkflow(inbox.PullWorkflow, inbox.PullInput{})
	require.Equal(t, inbox.PullOutput{Resumed: 2, Pages: 1, Published: 3, Failure: "timeout"}, output[inbox.PullOutput](t, env), "the next pull is at hand")
}

func TestAPullIsTriedAgainWhileTheDatabaseIsDownButNotForLong(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	upkeep.EXPECT().ResumeDeliveries(gomock.Any()).Return(0, down()).MinTimes(2)
	gomock.InOrder(upkeep.EXPECT().PullCampaigns(gomock.Any()).Return(ports.CampaignPull{}, down()),
		upkeep.EXPECT().PullCampaigns(gomock.Any()).Return(ports.CampaignPull{Complete: true}, nil))
	env.ExecuteWorkflow(inbox.PullWorkflow, inbox.PullInput{})
	require.ErrorContains(t, env.GetWorkflowError(), "the database is down")
}

func TestCleaningUpGoesOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	gomock.InOrder(upkeep.EXPECT().CleanUp(gomock.Any()).Return(ports.CleanedUp{Messages: 1, Items: 10, More: true}, nil).Times(25),
		upkeep.EXPECT().CleanUp(gomock.Any()).Return(ports.CleanedUp{Repaired: 1}, nil))
	env.ExecuteWorkflow(inbox.CleanUpWorkflow, inbox.CleanUpInput{})
	require.Equal(t, inbox.CleanUpOutput{Messages: 25, Items: 250, Repaired: 1}, output[inbox.CleanUpOutput](t, env))
}

func TestCleaningUpLeavesTheRestForTheNextTime(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	upkeep.EXPECT().CleanUp(gomock.Any()).Return(ports.CleanedUp{Items: 1, More: true}, nil).MinTimes(100)
	env.ExecuteWorkflow(inbox.CleanUpWorkflow, inbox.CleanUpInput{})
	require.True(t, output[inbox.CleanUpOutput](t, env).More)
}
