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
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
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

// does makes upkeep say what Deliver does, step by step; the last goes on.
func does(upkeep *mocks.MockInboxUpkeep, tasks ...ports.DeliveryTask) {
	var mu sync.Mutex
	upkeep.EXPECT().Delivery(gomock.Any(), message).DoAndReturn(func(context.Context, domain.MessageID) (ports.Delivery, error) {
		mu.Lock()
		defer mu.Unlock()
		now := tasks[0]
		if len(tasks) > 1 {
			tasks = tasks[1:]
		}
		return ports.Delivery{Message: message, Task: now}, nil
	}).AnyTimes()
}

func TestADeliveryGoesOnUntilNobodyWaits(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	does(upkeep, ports.BringingIn)
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
	does(upkeep, ports.BringingIn)
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
	does(upkeep, ports.BringingIn)
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
	does(upkeep, ports.BringingIn)
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
	missing := fault.New(fault.NotFound, "not-found", "no such message")
	upkeep.EXPECT().Delivery(gomock.Any(), message).Return(ports.Delivery{}, missing)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String()})
	require.Zero(t, output[inbox.DeliverOutput](t, env).Done)

	env, upkeep = rig(t) // it may be forgotten a moment later, too
	does(upkeep, ports.TakingOut)
	upkeep.EXPECT().Deliver(gomock.Any(), message).Return(0, 0, missing)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String()})
	require.Zero(t, output[inbox.DeliverOutput](t, env).Done)

	env, _ = rig(t)
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: "not an id"})
	var failed *temporal.ApplicationError
	require.ErrorAs(t, env.GetWorkflowError(), &failed)
	require.True(t, failed.NonRetryable(), "trying again does not make it one")
}

func TestPeopleAreShownWhatADeliveryDoes(t *testing.T) {
	t.Parallel()
	env, upkeep := rig(t)
	seen := &watcher{}
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{seen}})
	does(upkeep, ports.BringingIn, ports.TakingOut) // retracted meanwhile
	gomock.InOrder(upkeep.EXPECT().Deliver(gomock.Any(), message).Return(100, 2900, nil).Times(10),
		upkeep.EXPECT().Deliver(gomock.Any(), message).Return(50, 450, nil).Times(10),
		upkeep.EXPECT().Deliver(gomock.Any(), message).Return(500, 0, nil))
	env.ExecuteWorkflow(inbox.DeliverWorkflow, inbox.DeliverInput{Message: message.String(), Task: ports.BringingIn, Of: 4000})
	require.Equal(t, 2000, output[inbox.DeliverOutput](t, env).Done)
	require.Equal(t, []string{"bringing it in: 0 of 4000 inboxes done", "bringing it in: 1000 of 3900 inboxes done", "taking it out: 500 of 950 inboxes done"}, seen.summaries)
	require.Len(t, seen.details, 3)
	require.Contains(t, seen.details[0], "bringing it in\n\n- inboxes done: 1000 of 3900\n- left: 2900")
	require.Contains(t, seen.details[1], "taking it out\n\n- inboxes done: 500 of 950\n- left: 450")
	require.Contains(t, seen.details[2], "**100 %**")
}

func TestADeliveryIsSummedUpInOneLine(t *testing.T) {
	t.Parallel()
	for task, want := range map[ports.DeliveryTask]string{
		ports.BringingIn: "bring message m into the inboxes of its 12 recipients",
		ports.TakingOut:  "take message m out of the inboxes of its 12 recipients",
		ports.PassingOn:  "pass on the edit of message m to the inboxes of its 12 recipients",
		"":               "deliver message m to the inboxes of its 12 recipients", // begun by an earlier release
	} {
		require.Equal(t, want, inbox.DeliverySummary(inbox.DeliverInput{Message: "m", Task: task, Of: 12}))
	}
}

// watcher keeps what the Temporal UI would show: the summary of each activity, and the details after each step.
type watcher struct {
	interceptor.WorkerInterceptorBase
	summaries, details []string
}

func (w *watcher) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &watchedIn{WorkflowInboundInterceptorBase: interceptor.WorkflowInboundInterceptorBase{Next: next}, seen: w}
}

type watchedIn struct {
	interceptor.WorkflowInboundInterceptorBase
	seen *watcher
}

func (w *watchedIn) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&watchedOut{WorkflowOutboundInterceptorBase: interceptor.WorkflowOutboundInterceptorBase{Next: next}, seen: w.seen})
}

type watchedOut struct {
	interceptor.WorkflowOutboundInterceptorBase
	seen *watcher
}

func (w *watchedOut) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	w.seen.summaries = append(w.seen.summaries, workflow.GetActivityOptions(ctx).Summary)
	return w.Next.ExecuteActivity(ctx, name, args...)
}

func (w *watchedOut) UpsertTypedSearchAttributes(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) error {
	w.seen.details = append(w.seen.details, workflow.GetCurrentDetails(ctx))
	return w.Next.UpsertTypedSearchAttributes(ctx, updates...)
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
