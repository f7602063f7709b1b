package inbox

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"accord/ports"
)

// Deliver brings a message to many into their inboxes, or its edit or retraction, batch by batch. Whatever is left when a
// run ends is in the database, and another run goes on from there.
func Deliver(ctx workflow.Context, in DeliverInput) (DeliverOutput, error) {
	out := DeliverOutput{Done: in.Done}
	shown := progress{task: in.Task, done: in.Done, left: max(0, in.Of-in.Done)}
	for {
		step, err := deliver(ctx, DeliveryInput{Message: in.Message}, shown.summary())
		if err != nil {
			return out, err
		}
		out.Done += step.Done
		shown.add(step)
		showProgress(ctx, in.Message, out.Done, shown)
		if step.Left == 0 {
			return out, nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			next := DeliverInput{Message: in.Message, Done: out.Done, Task: shown.task, Of: in.Of}
			return out, workflow.NewContinueAsNewError(ctx, DeliverWorkflow, next)
		}
	}
}

// progress is what people are shown: the inboxes done with the task at hand, and left of it. A message that is retracted
// while it is brought in is taken out by the same run, from the start.
type progress struct {
	task       ports.DeliveryTask
	done, left int
}

func (p *progress) add(step DeliveryProgress) {
	if step.Task != "" && step.Task != p.task {
		p.task, p.done = step.Task, 0
	}
	p.done, p.left = p.done+step.Done, step.Left
}

// summary is of the step that comes next.
func (p *progress) summary() string {
	if p.done+p.left == 0 {
		return doing(p.task)
	}
	return fmt.Sprintf("%s: %d of %d inboxes done", doing(p.task), p.done, p.done+p.left)
}

// showProgress is for whoever looks at the run in the Temporal UI.
func showProgress(ctx workflow.Context, message string, done int, p progress) {
	percent := 100
	if p.left > 0 {
		percent = p.done * 100 / (p.done + p.left)
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%d %%** of message `%s`: %s\n\n- inboxes done: %d of %d\n- left: %d\n",
		percent, message, doing(p.task), p.done, p.done+p.left, p.left))
	// A failure here is a bug in the names, shown by the worker's log; it must not stop a delivery.
	if err := workflow.UpsertTypedSearchAttributes(ctx, AttrMessage.ValueSet(message), AttrDelivered.ValueSet(int64(done)), AttrLeft.ValueSet(int64(p.left))); err != nil {
		workflow.GetLogger(ctx).Error("search attributes not set", "error", err)
	}
}

// PullCampaigns starts what the sweep finds and reads the campaign feed on. A schedule runs it; overlapping runs are
// skipped. That the one fails does not keep the other from being done.
func PullCampaigns(ctx workflow.Context, in PullInput) (PullOutput, error) {
	resumed, errResume := resumeDeliveries(ctx, in)
	out, errPull := pullCampaigns(ctx, in)
	out.Resumed = resumed.Deliveries
	if out.Failure != "" {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("upstream failed: `%s`", out.Failure))
	}
	return out, errors.Join(errResume, errPull)
}

// cleanUpSteps bounds one run: what is left then is the next one's.
const cleanUpSteps = 30

// CleanUp forgets what has ended, step by step. A schedule runs it; overlapping runs are skipped.
func CleanUp(ctx workflow.Context, in CleanUpInput) (CleanUpOutput, error) {
	var out CleanUpOutput
	for range cleanUpSteps {
		step, err := cleanUp(ctx, in)
		if err != nil {
			return out, err
		}
		out.Messages, out.Items, out.Repaired, out.More = out.Messages+step.Messages, out.Items+step.Items, out.Repaired+step.Repaired, step.More
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("- messages forgotten: %d\n- items forgotten: %d\n- inboxes repaired: %d\n", out.Messages, out.Items, out.Repaired))
		if !step.More {
			break
		}
	}
	return out, nil
}
