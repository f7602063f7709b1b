package temporal

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"accord/workflows/reconciliation"
)

const defaultReconcileEvery = 30 * time.Second

func (c *Connection) reconciliationSchedule(ctx context.Context) error {
	return c.schedule(ctx, reconciliation.Schedule, c.cfg.ReconcileEvery, &client.ScheduleWorkflowAction{ID: reconciliation.Schedule,
		Workflow: reconciliation.ReconcileWorkflow, TaskQueue: reconciliation.TaskQueue, Args: []any{reconciliation.Input{}},
		StaticSummary: "compare what the CRM, the push provider and the consent platform hold with what we hold"})
}

// ReconcileNow runs the schedule at once, unless it runs.
func (c *Connection) ReconcileNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	err := c.client.ScheduleClient().GetHandle(ctx, reconciliation.Schedule).Trigger(ctx,
		client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE})
	if err != nil {
		return c.unavailable(ctx, "run the reconciliation", err)
	}
	return nil
}
