package temporal

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"accord/workflows/inbox"
	"accord/workflows/preferences"
)

// sweepEvery bounds how long a change waits whose run could not be started.
const sweepEvery = 10 * time.Second

// Setup makes the search attributes and the schedules, and waits until they are usable. Repeating it changes nothing. It
// fails while Temporal can't be reached.
func (c *Connection) Setup(ctx context.Context) error {
	if err := c.searchAttributes(ctx); err != nil {
		return fmt.Errorf("search attributes: %w", err)
	}
	if err := c.sweeper(ctx); err != nil {
		return fmt.Errorf("sweeper's schedule: %w", err)
	}
	if err := c.inboxSchedules(ctx); err != nil {
		return fmt.Errorf("the inbox's schedules: %w", err)
	}
	if err := c.devicesSchedule(ctx); err != nil {
		return fmt.Errorf("the devices' schedule: %w", err)
	}
	if err := c.metricsSchedule(ctx); err != nil {
		return fmt.Errorf("the measures' schedule: %w", err)
	}
	if err := c.reconciliationSchedule(ctx); err != nil {
		return fmt.Errorf("reconciliation's schedule: %w", err)
	}
	if err := c.ledgerSchedule(ctx); err != nil {
		return fmt.Errorf("the ledger's schedule: %w", err)
	}
	return nil
}

func (c *Connection) searchAttributes(ctx context.Context) error {
	want := map[string]enumspb.IndexedValueType{}
	for _, k := range append(inbox.Attributes(), preferences.AttrOperation, preferences.AttrKind, preferences.AttrSource,
		preferences.AttrTargets, preferences.AttrOutcome) {
		want[k.GetName()] = k.GetValueType()
	}
	op := c.client.OperatorService()
	have, err := op.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.cfg.Namespace})
	if err != nil {
		return err
	}
	for name := range have.GetCustomAttributes() {
		delete(want, name)
	}
	if len(want) == 0 {
		return nil
	}
	_, err = op.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: c.cfg.Namespace, SearchAttributes: want})
	var exists *serviceerror.AlreadyExists
	if errors.As(err, &exists) {
		return nil
	}
	return err
}

func (c *Connection) sweeper(ctx context.Context) error {
	return c.schedule(ctx, preferences.SweepSchedule, sweepEvery, &client.ScheduleWorkflowAction{ID: preferences.SweepSchedule,
		Workflow: preferences.SweepWorkflow, TaskQueue: preferences.TaskQueue, Args: []any{preferences.SweepInput{}},
		StaticSummary: "start runs for turns that have none"})
}

// schedule runs the action every so often, but not while it still runs, and after an outage once, not for every time that
// was missed. One that is there is brought up to date; an operator's pause stays.
func (c *Connection) schedule(ctx context.Context, id string, every time.Duration, action *client.ScheduleWorkflowAction) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := c.client.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: id, Spec: spec, Action: action,
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: time.Minute})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	return c.client.ScheduleClient().GetHandle(ctx, id).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			s := in.Description.Schedule
			s.Spec, s.Action = &spec, action
			return &client.ScheduleUpdate{Schedule: &s}, nil
		},
	})
}
