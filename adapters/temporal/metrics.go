package temporal

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"accord/workflows/metrics"
)

// rollUpEvery bounds how many facts a question about the measures has to add up by itself.
const rollUpEvery = time.Minute

// metricsSchedule makes what has happened be added up.
func (c *Connection) metricsSchedule(ctx context.Context) error {
	return c.schedule(ctx, metrics.RollUpSchedule, rollUpEvery, &client.ScheduleWorkflowAction{ID: metrics.RollUpSchedule,
		Workflow: metrics.RollUpWorkflow, TaskQueue: metrics.TaskQueue, Args: []any{metrics.RollUpInput{}},
		StaticSummary: "add up what has happened for the measures"})
}
