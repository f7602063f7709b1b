package temporal

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"accord/ports"
	"accord/workflows/inbox"
)

var _ ports.Deliveries = (*Connection)(nil)

const (
	defaultPullEvery = 20 * time.Second
	cleanUpEvery     = 10 * time.Minute
)

// StartDelivery implements ports.Deliveries. A run that is open goes on; one that is closed is no reason not to have
// another.
func (c *Connection) StartDelivery(ctx context.Context, d ports.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	in := inbox.DeliverInput{Message: d.Message.String(), Task: d.Task, Of: d.Recipients}
	options := client.StartWorkflowOptions{
		ID:                       inbox.DeliveryID(d.Message),
		TaskQueue:                inbox.TaskQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            inbox.DeliverySummary(in),
		TypedSearchAttributes:    temporal.NewSearchAttributes(inbox.AttrMessage.ValueSet(in.Message)),
	}
	if err := c.start(ctx, options, inbox.DeliverWorkflow, in); err != nil {
		return c.unavailable(ctx, "start delivery", err)
	}
	return nil
}

// inboxSchedules makes what the inbox does by itself happen.
func (c *Connection) inboxSchedules(ctx context.Context) error {
	pull := &client.ScheduleWorkflowAction{ID: inbox.PullSchedule, Workflow: inbox.PullWorkflow, TaskQueue: inbox.TaskQueue,
		Args: []any{inbox.PullInput{}}, StaticSummary: "read the campaign feed on, start deliveries that have no run"}
	if err := c.schedule(ctx, inbox.PullSchedule, c.cfg.PullEvery, pull); err != nil {
		return err
	}
	cleanUp := &client.ScheduleWorkflowAction{ID: inbox.CleanUpSchedule, Workflow: inbox.CleanUpWorkflow, TaskQueue: inbox.TaskQueue,
		Args: []any{inbox.CleanUpInput{}}, StaticSummary: "forget messages that have ended"}
	return c.schedule(ctx, inbox.CleanUpSchedule, cleanUpEvery, cleanUp)
}
