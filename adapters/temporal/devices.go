package temporal

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"accord/workflows/devices"
)

// pruneEvery with what one run takes away at most bounds how fast devices go that nothing is heard of.
const pruneEvery = 10 * time.Minute

// devicesSchedule makes devices that nothing was heard of for long be taken away.
func (c *Connection) devicesSchedule(ctx context.Context) error {
	return c.schedule(ctx, devices.PruneSchedule, pruneEvery, &client.ScheduleWorkflowAction{ID: devices.PruneSchedule,
		Workflow: devices.PruneWorkflow, TaskQueue: devices.TaskQueue, Args: []any{devices.PruneInput{}},
		StaticSummary: "take away devices that nothing was heard of for long"})
}
