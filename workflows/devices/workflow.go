// Package devices is what happens to registered devices by themselves: those that nothing was heard of for long are taken
// away, each by an operation of its customer that goes through the saga. The database knows which they are, so a run that is
// terminated or started twice does no harm.
package devices

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
	TaskQueue     = inbox.TaskQueue
	PruneWorkflow = "devices.PruneStale"
	PruneSchedule = "devices-prune-stale"
	pruneActivity = "devices.PruneStale"
)

// PruneInput is empty; it is there to be added to.
type PruneInput struct{}

// Activities is everything the workflow does to the world. All of it can be repeated.
type Activities struct {
	Upkeep ports.DeviceUpkeep
}

// Register makes the workflow and its activity known to a worker of TaskQueue.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflowWithOptions(PruneStale, workflow.RegisterOptions{Name: PruneWorkflow})
	w.RegisterActivityWithOptions(a.PruneStale, activity.RegisterOptions{Name: pruneActivity})
}

// PruneStale takes away some of the devices that nothing was heard of for too long. A schedule runs it; overlapping runs are
// skipped. What it does not get done is the next one's.
func PruneStale(ctx workflow.Context, in PruneInput) (ports.PrunedDevices, error) {
	var out ports.PrunedDevices
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		Summary:                "take away devices that nothing was heard of for long",
		RetryPolicy:            &temporal.RetryPolicy{MaximumInterval: 30 * time.Second},
	})
	err := workflow.ExecuteActivity(ctx, pruneActivity, in).Get(ctx, &out)
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("- devices found: %d\n- devices on their way out: %d\n", out.Found, out.Pruned))
	return out, err
}

// PruneStale does it.
func (a *Activities) PruneStale(ctx context.Context, _ PruneInput) (ports.PrunedDevices, error) {
	out, err := a.Upkeep.PruneStale(ctx)
	return out, scheduled.ToTemporal(err)
}
