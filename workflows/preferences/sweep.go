package preferences

import (
	"context"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"accord/domain/preference"
	"accord/ports"
)

// A turn older than this without an open run has lost it: the start was lost in a crash, Temporal could not be reached,
// or somebody has terminated the run.
const sweepAge = 3 * time.Second

const sweepBatch = 500

// SweepInput is empty; it is there to be added to.
type SweepInput struct{}

// SweepResult counts what a sweep looked at.
type SweepResult struct {
	Turns   int `json:"turns"`
	Expired int `json:"expired"`
}

// Sweep makes sure that every turn has an open run. A schedule runs it; overlapping runs are skipped.
func Sweep(ctx workflow.Context, in SweepInput) (SweepResult, error) {
	var out SweepResult
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 2 * time.Minute,
		Summary:                "start runs for turns that have none",
		RetryPolicy:            &temporal.RetryPolicy{MaximumInterval: 10 * time.Second},
	})
	err := workflow.ExecuteActivity(ctx, sweepActivity, in).Get(ctx, &out)
	return out, err
}

// SweepTurns looks at the turns held for a while, those looked at longest ago first, and starts a run for each; an
// open run makes that a no-op. Grants whose time is over while they wait behind another operation end here.
func (a *Activities) SweepTurns(ctx context.Context, _ SweepInput) (SweepResult, error) {
	out, err := a.sweep(ctx, sweepAge)
	return out, toTemporal(err)
}

// SweepNow is a sweep that spares no turn for its youth, for a process that starts.
func (a *Activities) SweepNow(ctx context.Context) (SweepResult, error) { return a.sweep(ctx, 0) }

func (a *Activities) sweep(ctx context.Context, age time.Duration) (SweepResult, error) {
	var out SweepResult
	now := a.Now()
	turns, err := a.Operations.Stalled(ctx, now.Add(-age), sweepBatch)
	if err != nil {
		return out, err
	}
	restarts := a.Restarts
	if restarts == nil {
		restarts = a.Runs
	}
	for _, t := range turns {
		if err := restarts.Start(ports.About(ctx, t.Run.Operation), t.Run); err != nil {
			return out, err
		}
		if t.Decided {
			if err := a.Runs.Wake(ctx, t.Run.Customer, t.Run.Number); err != nil {
				return out, err
			}
		}
		out.Turns++
	}
	return out, a.expire(ctx, now, &out)
}

func (a *Activities) expire(ctx context.Context, now time.Time, out *SweepResult) error {
	customers, err := a.Operations.Overdue(ctx, now, sweepBatch)
	if err != nil {
		return err
	}
	for _, c := range customers {
		var ended []*preference.Operation
		if err := a.Accounts.Update(ctx, c, "", func(acc *preference.Account) error {
			if err := acc.Expire(now); err != nil {
				return err
			}
			ended, _ = acc.Pending()
			return nil
		}); err != nil {
			return err
		}
		for _, op := range ended {
			a.Outcomes.Announce(ctx, *op)
			out.Expired++
		}
	}
	return nil
}
