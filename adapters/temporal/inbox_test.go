package temporal_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"

	"accord/adapters/devstack/stacktest"
	"accord/adapters/temporal"
	domain "accord/domain/inbox"
	"accord/ports"
	"accord/ports/mocks"
	"accord/workflows/inbox"
	"accord/workflows/ledger"
)

// record writes the histories for workflows/inbox's replay tests:
//
//	go test ./adapters/temporal -run TestTheInboxOnARealServer -record v1
var record = flag.String("record", "", "write the histories of this test's runs to the testdata of the workflows, with this release in their names")

func TestMain(m *testing.M) { stacktest.Main(m) }

func TestTheInboxOnARealServer(t *testing.T) {
	t.Parallel()
	ctx, c := setUp(t)
	require.NoError(t, c.Setup(ctx), "repeating it changes nothing")
	for id, every := range map[string]time.Duration{inbox.PullSchedule: 20 * time.Second, ledger.SealSchedule: time.Minute, inbox.CleanUpSchedule: 10 * time.Minute} {
		s, err := c.Client().ScheduleClient().GetHandle(ctx, id).Describe(ctx)
		require.NoError(t, err)
		require.Equal(t, every, s.Schedule.Spec.Intervals[0].Every)
		require.Equal(t, enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, s.Schedule.Policy.Overlap)
		require.Equal(t, time.Minute, s.Schedule.Policy.CatchupWindow)
	}

	upkeep := mocks.NewMockInboxUpkeep(gomock.NewController(t))
	const message domain.MessageID = 7
	takeOut := ports.Delivery{Message: message, Task: ports.TakingOut, Recipients: 4000}
	upkeep.EXPECT().Delivery(gomock.Any(), message).Return(takeOut, nil).AnyTimes()
	left, steps := 4, make(chan struct{})
	upkeep.EXPECT().Deliver(gomock.Any(), message).DoAndReturn(func(ctx context.Context, _ domain.MessageID) (int, int, error) {
		select {
		case <-steps:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
		left--
		return 1000, left * 1000, nil
	}).Times(4)
	upkeep.EXPECT().ResumeDeliveries(gomock.Any()).Return(0, nil).AnyTimes()
	upkeep.EXPECT().PullCampaigns(gomock.Any()).Return(ports.CampaignPull{Pages: 1, Published: 1, Complete: true}, nil).AnyTimes()
	upkeep.EXPECT().CleanUp(gomock.Any()).Return(ports.CleanedUp{Messages: 1, Items: 2}, nil).AnyTimes()
	// Every look at the clock is far later, so that each batch is a step of its own.
	looks := time.Now()
	w := worker.New(c.Client(), inbox.TaskQueue, worker.Options{MaxConcurrentActivityExecutionSize: 1, DisableRegistrationAliasing: true})
	inbox.Register(w, &inbox.Activities{Upkeep: upkeep, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { looks = looks.Add(time.Minute); return looks }})
	sealer := mocks.NewMockLedgerUpkeep(gomock.NewController(t))
	sealer.EXPECT().Seal(gomock.Any()).Return(ports.Sealed{Checkpoints: 1, Size: 7}, nil).AnyTimes()
	ledger.Register(w, &ledger.Activities{Upkeep: sealer})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)

	require.NoError(t, c.StartDelivery(ctx, takeOut))
	steps <- struct{}{}
	run := c.Client().GetWorkflow(ctx, inbox.DeliveryID(message), "").GetRunID()
	require.NoError(t, c.StartDelivery(ctx, takeOut), "one that is open goes on")
	for range 3 {
		steps <- struct{}{}
	}
	var out inbox.DeliverOutput
	delivery := c.Client().GetWorkflow(ctx, inbox.DeliveryID(message), run)
	require.NoError(t, delivery.Get(ctx, &out))
	require.Equal(t, 4000, out.Done)
	found, err := c.Client().DescribeWorkflowExecution(ctx, inbox.DeliveryID(message), "")
	require.NoError(t, err)
	for name, want := range map[string]string{"AccordMessage": `"` + message.String() + `"`, "AccordDelivered": "4000", "AccordLeft": "0"} {
		require.Equal(t, want, string(found.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[name].GetData()), name)
	}
	var summary string
	require.NoError(t, converter.GetDefaultDataConverter().FromPayload(found.GetExecutionConfig().GetUserMetadata().GetSummary(), &summary))
	require.Equal(t, "take message "+message.String()+" out of the inboxes of its 4000 recipients", summary)
	keep(t, c.Client(), "delivered", inbox.DeliveryID(message))

	upkeep.EXPECT().Deliver(gomock.Any(), message).Return(0, 0, nil)
	require.NoError(t, c.StartDelivery(ctx, takeOut), "and one that is closed is followed by another")
	require.NoError(t, c.Client().GetWorkflow(ctx, inbox.DeliveryID(message), "").Get(ctx, &out))
	require.Zero(t, out.Done)

	for name, in := range map[string]any{inbox.PullWorkflow: inbox.PullInput{}, inbox.CleanUpWorkflow: inbox.CleanUpInput{}, ledger.SealWorkflow: ledger.SealInput{}} {
		id := map[string]string{inbox.PullWorkflow: "pulled", inbox.CleanUpWorkflow: "cleaned-up", ledger.SealWorkflow: "sealed"}[name]
		started, err := c.Client().ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: inbox.TaskQueue}, name, in)
		require.NoError(t, err)
		require.NoError(t, started.Get(ctx, nil))
		keep(t, c.Client(), id, id)
	}
}

// setUp connects to a namespace of the test's own and makes there what Accord needs.
func setUp(t *testing.T) (context.Context, *temporal.Connection) {
	t.Helper()
	address, namespace := stacktest.TemporalNamespace(t)
	c, err := temporal.Connect(temporal.Config{Address: address, Namespace: namespace, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, c.Setup(ctx))
	return ctx, c
}

func keep(t *testing.T, c client.Client, name, id string) {
	t.Helper()
	if *record == "" {
		return
	}
	history := &historypb.History{}
	for events := c.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, e)
	}
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(history)
	require.NoError(t, err)
	of, _, _ := strings.Cut(history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName(), ".")
	require.NoError(t, os.WriteFile(filepath.Join("../../workflows", of, "testdata", name+"-"+*record+".json"), raw, 0o644))
}

func TestADeliveryThatCanNotBeStartedIsForTheSweep(t *testing.T) {
	t.Parallel()
	c, err := temporal.Connect(temporal.Config{Address: "127.0.0.1:1", StartTimeout: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Error(t, c.StartDelivery(t.Context(), ports.Delivery{Message: 1}))
}
