// Package metrics is what happens to the measures by itself: what has happened is added up, again and again. The database
// knows how far that is, so a run that is terminated or started twice does no harm.
package metrics

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/ports"
	"accord/workflows/inbox"
	"accord/workflows/scheduled"
)

// Names under which the outside knows the workflow. Renaming one strands the runs that are open.
const (
	TaskQueue      = inbox.TaskQueue
	RollUpWorkflow = "metrics.RollUp" //nolint:gosec // no credential
	RollUpSchedule = "engagement-roll-up"
	rollUpActivity = "metrics.RollUp"
)

// RollUpInput is empty; it is there to be added to.
type RollUpInput struct{}

// Activities is everything the workflow does to the world. All of it can be repeated.
type Activities struct {
	Upkeep ports.MetricsUpkeep
}

// Register makes the workflow and its activity known to a worker of TaskQueue.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflowWithOptions(RollUp, workflow.RegisterOptions{Name: RollUpWorkflow})
	w.RegisterActivityWithOptions(a.RollUp, activity.RegisterOptions{Name: rollUpActivity})
}

// RollUp adds up what has happened. A schedule runs it; overlapping runs are skipped. What it does not get done in its
// time is the next one's.
func RollUp(ctx workflow.Context, in RollUpInput) (ports.RolledUp, error) {
	var out ports.RolledUp
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    2 * time.Minute, // it stops by itself after half a minute, between two transactions
		ScheduleToCloseTimeout: 5 * time.Minute,
		Summary:                "add up what has happened, forget marks that are no longer needed",
		RetryPolicy:            &temporal.RetryPolicy{MaximumInterval: 10 * time.Second},
	})
	err := workflow.ExecuteActivity(ctx, rollUpActivity, in).Get(ctx, &out)
	return out, err
}

// RollUp does it.
func (a *Activities) RollUp(ctx context.Context, _ RollUpInput) (ports.RolledUp, error) {
	out, err := a.Upkeep.RollUp(ctx)
	return out, scheduled.ToTemporal(err)
}
