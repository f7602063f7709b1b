// Package ledger is what happens to the ledger by itself: what has been added is sealed, again and again. The database
// knows how far that is, so a run that is terminated or started twice does no harm.
package ledger

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
	TaskQueue    = inbox.TaskQueue
	SealWorkflow = "ledger.Seal"
	SealSchedule = "ledger-seal"
	sealActivity = "ledger.Seal"
)

// SealInput is empty; it is there to be added to.
type SealInput struct{}

// Activities is everything the workflow does to the world. All of it can be repeated.
type Activities struct {
	Upkeep ports.LedgerUpkeep
}

// Register makes the workflow and its activity known to a worker of TaskQueue.
func Register(w worker.Registry, a *Activities) {
	w.RegisterWorkflowWithOptions(Seal, workflow.RegisterOptions{Name: SealWorkflow})
	w.RegisterActivityWithOptions(a.Seal, activity.RegisterOptions{Name: sealActivity})
}

// Seal makes checkpoints of what has been added. A schedule runs it; overlapping runs are skipped. What it does not get done
// in its time is the next one's.
func Seal(ctx workflow.Context, in SealInput) (ports.Sealed, error) { return seal(ctx, in) }

// seal is the activity's typed stub.
func seal(ctx workflow.Context, in SealInput) (out ports.Sealed, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    2 * time.Minute,
		ScheduleToCloseTimeout: 10 * time.Minute,
		Summary:                "seal what was added to the ledger, hand out checkpoints",
		RetryPolicy:            &temporal.RetryPolicy{MaximumInterval: 10 * time.Second},
	})
	err = workflow.ExecuteActivity(ctx, sealActivity, in).Get(ctx, &out)
	return out, err
}

// Seal does it.
func (a *Activities) Seal(ctx context.Context, _ SealInput) (ports.Sealed, error) {
	out, err := a.Upkeep.Seal(ctx)
	return out, scheduled.ToTemporal(err)
}
