package temporal

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/adapters/devstack/stacktest"
	"accord/ports"
	"accord/workflows/inbox"
	"accord/workflows/ledger"
	"accord/workflows/metrics"
	"accord/workflows/preferences"
)

func recorded() (*tracetest.SpanRecorder, *sdktrace.TracerProvider) {
	recorder := tracetest.NewSpanRecorder()
	return recorder, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
}

// TestHistoriesReplayWhileTracing: switching tracing on must not strand runs that were started without it.
func TestHistoriesReplayWhileTracing(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../workflows/*/testdata/*.json")
	require.NoError(t, err)
	require.Greater(t, len(files), 6)
	for _, file := range files {
		_, provider := recorded()
		traced, err := interceptors(provider.Tracer(""))
		require.NoError(t, err)
		replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
			Interceptors: []interceptor.WorkerInterceptor{traced[0].(interceptor.WorkerInterceptor)}})
		require.NoError(t, err)
		for name, fn := range map[string]any{preferences.ChangeWorkflow: preferences.Change, preferences.SweepWorkflow: preferences.Sweep,
			inbox.DeliverWorkflow: inbox.Deliver, inbox.PullWorkflow: inbox.PullCampaigns, inbox.CleanUpWorkflow: inbox.CleanUp, metrics.RollUpWorkflow: metrics.RollUp,
			ledger.SealWorkflow: ledger.Seal} {
			replayer.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
		}
		require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file), file)
	}
}

// TestTheSweepersStartsAreTracesOfTheirOwn, linked to the sweep; other starts belong to who asked.
func TestTheSweepersStartsAreTracesOfTheirOwn(t *testing.T) {
	t.Parallel()
	recorder, provider := recorded()
	outcomes := map[bool][]string{}
	address, namespace := stacktest.TemporalNamespace(t)
	c, err := Connect(Config{Address: address, Namespace: namespace, Logger: slog.New(slog.DiscardHandler),
		Tracer: provider.Tracer("test"), Started: func(restart bool, outcome string) { outcomes[restart] = append(outcomes[restart], outcome) }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.Setup(t.Context())) // else the first start is tried twice
	ctx, asking := provider.Tracer("test").Start(t.Context(), "asking")
	require.NoError(t, c.Start(ctx, ports.Run{Customer: "ada", Number: 1}))
	require.NoError(t, c.Restarts().Start(ctx, ports.Run{Customer: "ada", Number: 1}))
	require.NoError(t, c.Restarts().Start(ctx, ports.Run{Customer: "ada", Number: 2}))
	require.Equal(t, map[bool][]string{false: {"started"}, true: {"open", "started"}}, outcomes)

	ended := recorder.Ended()
	require.Len(t, ended, 5)
	require.Equal(t, asking.SpanContext().TraceID(), ended[0].SpanContext().TraceID())
	require.Equal(t, []string{"StartWorkflow:preferences.Change", "StartWorkflow:preferences.Change", "restart"}, []string{ended[0].Name(), ended[1].Name(), ended[2].Name()})
	root := ended[2]
	require.NotEqual(t, asking.SpanContext().TraceID(), root.SpanContext().TraceID())
	require.Equal(t, root.SpanContext().SpanID(), ended[1].Parent().SpanID())
	require.Equal(t, asking.SpanContext(), root.Links()[0].SpanContext)
}

// TestSchedulesCarryNoTrace: all their runs would belong to it.
func TestSchedulesCarryNoTrace(t *testing.T) {
	t.Parallel()
	recorder, provider := recorded()
	address, namespace := stacktest.TemporalNamespace(t)
	c, err := Connect(Config{Address: address, Namespace: namespace, Logger: slog.New(slog.DiscardHandler), Tracer: provider.Tracer("test")})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.Setup(t.Context()))
	require.Empty(t, recorder.Ended())
	sweeper, err := c.Client().ScheduleClient().GetHandle(t.Context(), preferences.SweepSchedule).Describe(t.Context())
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(sweeper.Schedule.Action), "_tracer-data")
}
