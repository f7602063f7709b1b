package inbox

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"accord/ports"
)

// Names of the activities, fixed so that renaming a Go method strands no open run.
const (
	deliverActivity = "inbox.DeliverBatches"
	resumeActivity  = "inbox.ResumeDeliveries"
	pullActivity    = "inbox.PullCampaigns"
	cleanUpActivity = "inbox.CleanUpBatches"
)

// DeliveryInput names the message.
type DeliveryInput struct {
	Message string `json:"message"`
}

// DeliveryProgress is how far a delivery has come: what this step does, inboxes changed by it, and about how many are left.
type DeliveryProgress struct {
	Task ports.DeliveryTask `json:"task,omitempty"`
	Done int                `json:"done"`
	Left int                `json:"left"`
}

// Resumed says how many deliveries were started.
type Resumed struct {
	Deliveries int `json:"deliveries"`
}

// A step works for stepTime and then lets the run show how far it is. Its heartbeat comes with each batch, which takes
// well under a second.
const (
	stepTime       = 10 * time.Second
	stepLimit      = 2 * time.Minute
	heartbeatLimit = 30 * time.Second
)

// deliver has no limit: recipients who wait are not given up.
func deliver(ctx workflow.Context, in DeliveryInput, summary string) (out DeliveryProgress, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: stepLimit,
		HeartbeatTimeout:    heartbeatLimit,
		Summary:             summary,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
	return out, workflow.ExecuteActivity(ctx, deliverActivity, in).Get(ctx, &out)
}

// scheduled steps end before long: the schedule comes again.
func scheduled[Out any](ctx workflow.Context, name, summary string, limit time.Duration, in any) (out Out, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    limit,
		ScheduleToCloseTimeout: 2 * limit,
		HeartbeatTimeout:       heartbeatLimit,
		Summary:                summary,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second},
	})
	return out, workflow.ExecuteActivity(ctx, name, in).Get(ctx, &out)
}

func resumeDeliveries(ctx workflow.Context, in PullInput) (Resumed, error) {
	return scheduled[Resumed](ctx, resumeActivity, "start deliveries that have no run", time.Minute, in)
}

func pullCampaigns(ctx workflow.Context, in PullInput) (PullOutput, error) {
	return scheduled[PullOutput](ctx, pullActivity, "read the campaign feed on", time.Minute, in)
}

func cleanUp(ctx workflow.Context, in CleanUpInput) (CleanUpOutput, error) {
	return scheduled[CleanUpOutput](ctx, cleanUpActivity, "forget what has ended", stepLimit, in)
}
