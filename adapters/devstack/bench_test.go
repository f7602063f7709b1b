package devstack

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// BenchmarkTemporalSettings shows what each setting of the development server does to a change's latency: two local
// activities around three parallel ones, which is the shape of a preference change, and the same with four in sequence
// and with a timer. docs/decisions/0001-embedded-temporal-and-postgres.md quotes it.
func BenchmarkTemporalSettings(b *testing.B) {
	stock := map[string]string{"history.transferProcessorMaxPollRPS": "20", "system.enableActivityEagerExecution": "false"}
	with := func(more map[string]string) map[string]string {
		config := maps.Clone(stock)
		maps.Copy(config, more)
		return config
	}
	for _, set := range []struct {
		name   string
		config map[string]string
	}{
		{"stock", stock},
		{"transfer", with(map[string]string{"history.transferProcessorMaxPollRPS": "1000"})},
		{"eager", with(map[string]string{"system.enableActivityEagerExecution": "true"})},
		{"tuned", nil},
		{"tuned+timer", map[string]string{"history.timerProcessorMaxPollRPS": "1000"}},
		{"tuned+visibility", map[string]string{"history.visibilityProcessorMaxPollRPS": "1000"}},
		{"tuned+onepartition", map[string]string{"matching.numTaskqueueReadPartitions": "1", "matching.numTaskqueueWritePartitions": "1"}},
	} {
		b.Run(set.name, func(b *testing.B) { benchmarkSettings(b, set.config) })
	}
}

func benchmarkSettings(b *testing.B, config map[string]string) {
	s, err := StartTemporal(b.Context(), TemporalOptions{BinDir: "../../.accord/bin", DBFile: b.TempDir() + "/temporal.db", DynamicConfig: config})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Stop(context.Background())) }()
	c, err := client.Dial(client.Options{HostPort: s.Address(), Logger: quiet})
	require.NoError(b, err)
	defer c.Close()
	w := worker.New(c, "bench", worker.Options{})
	for _, f := range []any{parallelWorkflow, sequentialWorkflow, timerWorkflow} {
		w.RegisterWorkflow(f)
	}
	w.RegisterActivity(step)
	require.NoError(b, w.Start())
	defer w.Stop()

	for _, shape := range []struct {
		name     string
		workflow any
	}{{"parallel", parallelWorkflow}, {"sequence", sequentialWorkflow}, {"timer", timerWorkflow}} {
		b.Run(shape.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				run, err := c.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{TaskQueue: "bench"}, shape.workflow)
				require.NoError(b, err)
				require.NoError(b, run.Get(b.Context(), nil))
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100])/1e6, "p95-ms")
		})
	}
}

func step(context.Context) error { return nil }

func parallelWorkflow(ctx workflow.Context) error {
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteLocalActivity(local, step).Get(ctx, nil); err != nil {
		return err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	var steps []workflow.Future
	for range 3 {
		steps = append(steps, workflow.ExecuteActivity(ctx, step))
	}
	for _, s := range steps {
		if err := s.Get(ctx, nil); err != nil {
			return err
		}
	}
	return workflow.ExecuteLocalActivity(local, step).Get(ctx, nil)
}

func sequentialWorkflow(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range 4 {
		if err := workflow.ExecuteActivity(ctx, step).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func timerWorkflow(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Second) }
