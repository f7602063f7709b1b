// Package reconciliation is the comparison of what the targets hold with what we hold, run by a schedule. The database knows
// who is due and how far the round over everybody is, so a run that is terminated or started twice does no harm: its changes
// are refused where somebody else has changed anything.
package reconciliation

import (
	"context"
	"fmt"
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
	TaskQueue         = inbox.TaskQueue
	ReconcileWorkflow = "reconciliation.Reconcile"
	Schedule          = "reconciliation"
	reconcileActivity = "reconciliation.Reconcile"
)

// Input is empty; it is there to be added to.
type Input struct{}

// Activities is everything the workflow does to the world. All of it can be repeated.
type Activities struct {
	Upkeep ports.ReconciliationUpkeep
}

// Register makes the workflow and its activity known to a worker of TaskQueue.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflowWithOptions(Reconcile, workflow.RegisterOptions{Name: ReconcileWorkflow})
	w.RegisterActivityWithOptions(a.Reconcile, activity.RegisterOptions{Name: reconcileActivity})
}

// runLimit is how long a run goes on; there is another one soon.
const runLimit = time.Minute

// Reconcile checks who is due and goes on with the round. A schedule runs it; overlapping runs are skipped.
func Reconcile(ctx workflow.Context, in Input) (ports.ReconciliationReport, error) {
	var out ports.ReconciliationReport
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    2 * runLimit, // it stops by itself after one, between two customers
		HeartbeatTimeout:       30 * time.Second,
		ScheduleToCloseTimeout: 5 * time.Minute,
		Summary:                "compare what the CRM, the push provider and the consent platform hold",
		RetryPolicy:            &temporal.RetryPolicy{MaximumInterval: 10 * time.Second},
	})
	err := workflow.ExecuteActivity(ctx, reconcileActivity, in).Get(ctx, &out)
	if err == nil {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d customers checked, %d put off, %d drifts found, %d changes asked for", out.Checked, out.Postponed, out.Drifts, out.Operations))
	}
	return out, err
}

// Reconcile does it.
func (a *Activities) Reconcile(ctx context.Context, _ Input) (ports.ReconciliationReport, error) {
	out, err := a.Upkeep.Reconcile(ctx, runLimit, func(r ports.ReconciliationReport) { activity.RecordHeartbeat(ctx, r) })
	return out, scheduled.ToTemporal(err)
}
