package inbox

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// Activities is everything the workflows do to the world. All of it can be repeated.
type Activities struct {
	Upkeep ports.InboxUpkeep
	Now    func() time.Time
	Logger *slog.Logger
}

// Register makes the workflows and activities known to a worker.
func Register(w worker.Registry, a *Activities) {
	for name, fn := range map[string]any{DeliverWorkflow: Deliver, PullWorkflow: PullCampaigns, CleanUpWorkflow: CleanUp} {
		w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
	}
	for name, fn := range map[string]any{
		deliverActivity: a.DeliverBatches, resumeActivity: a.ResumeDeliveries, pullActivity: a.PullCampaigns, cleanUpActivity: a.CleanUpBatches,
	} {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// DeliverBatches takes batches for a while, each a transaction of its own. A message that is not there any more has no
// recipients who wait.
func (a *Activities) DeliverBatches(ctx context.Context, in DeliveryInput) (DeliveryProgress, error) {
	var out DeliveryProgress
	id, err := inbox.ParseMessageID(in.Message)
	if err != nil {
		return out, toTemporal(err)
	}
	if activity.HasHeartbeatDetails(ctx) { // what an attempt that failed has done is done
		if err := activity.GetHeartbeatDetails(ctx, &out); err != nil {
			out = DeliveryProgress{}
		}
	}
	now, err := a.Upkeep.Delivery(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		out.Left = 0
		return out, nil
	}
	if err != nil {
		return out, toTemporal(err)
	}
	out.Task = now.Task
	for until, idle := a.Now().Add(stepTime), 0; ; {
		done, left, err := a.Upkeep.Deliver(ctx, id)
		if fault.KindOf(err) == fault.NotFound {
			out.Left = 0
			return out, nil
		}
		if err != nil {
			return out, toTemporal(err)
		}
		out.Done, out.Left = out.Done+done, left
		activity.RecordHeartbeat(ctx, out)
		if left == 0 || !a.Now().Before(until) {
			return out, nil
		}
		if idle++; done > 0 {
			idle = 0
		}
		if idle > maxIdle {
			return out, temporal.NewApplicationError("a delivery makes no progress", "no-progress")
		}
	}
}

// maxIdle batches in a row may change nothing; more of them, and it is tried again later, not at once.
const maxIdle = 100

// ResumeDeliveries starts a run for every delivery that has been waiting; an open run makes that a no-op.
func (a *Activities) ResumeDeliveries(ctx context.Context, _ PullInput) (Resumed, error) {
	n, err := a.Upkeep.ResumeDeliveries(ctx)
	return Resumed{Deliveries: n}, toTemporal(err)
}

// PullCampaigns reads the campaign feed on. Upstream's failure is a result: the next pull is at hand.
func (a *Activities) PullCampaigns(ctx context.Context, _ PullInput) (PullOutput, error) {
	p, err := a.Upkeep.PullCampaigns(ctx)
	out := PullOutput{Pages: p.Pages, Published: p.Published, Edited: p.Edited, Retracted: p.Retracted, Refused: p.Refused, Accepted: p.Accepted, Complete: p.Complete}
	if t, is := ports.AsTargetError(err); is {
		a.Logger.WarnContext(ctx, "the campaign feed was not read", "error", t)
		out.Failure = t.Code
		return out, nil
	}
	return out, toTemporal(err)
}

// CleanUpBatches forgets batch after batch for a while.
func (a *Activities) CleanUpBatches(ctx context.Context, _ CleanUpInput) (CleanUpOutput, error) {
	var out CleanUpOutput
	for until := a.Now().Add(stepTime); ; {
		c, err := a.Upkeep.CleanUp(ctx)
		if err != nil {
			return out, toTemporal(err)
		}
		out.Messages, out.Items, out.Repaired, out.More = out.Messages+c.Messages, out.Items+c.Items, out.Repaired+c.Repaired, c.More
		activity.RecordHeartbeat(ctx, out)
		if !c.More || !a.Now().Before(until) {
			return out, nil
		}
	}
}
