package preferences

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"accord/domain/preference"
)

// Names of the activities, fixed so that renaming a Go method strands no open run.
const (
	beginActivity        = "preferences.Begin"
	reachActivity        = "preferences.Reach"
	undoActivity         = "preferences.Undo"
	commitActivity       = "preferences.Commit"
	startUndoActivity    = "preferences.StartCompensation"
	finishUndoActivity   = "preferences.FinishCompensation"
	parkActivity         = "preferences.Park"
	takeDecisionActivity = "preferences.TakeDecision"
	sweepActivity        = "preferences.SweepTurns"
)

// OperationInput names the operation and the run that works on it.
type OperationInput struct {
	Operation string `json:"operation"`
	Run       int64  `json:"run"`
	Tried     bool   `json:"tried,omitempty"` // the run has gone by the plan it was started with
}

// Plan is what the run shall do with an operation.
type Plan struct {
	Operation string              `json:"operation"`
	Do        string              `json:"do"` // one of the do constants
	Kind      preference.Kind     `json:"kind"`
	Source    preference.Source   `json:"source"`
	Targets   []preference.Target `json:"targets"`
	Deadline  time.Time           `json:"deadline,omitzero"`
	Summary   string              `json:"summary"`
	Next      string              `json:"next,omitempty"` // operation to go on with when this one is settled
}

const (
	doReach   = "reach"
	doUndo    = "undo"
	doWait    = "wait"    // parked: an operator decides
	doNext    = "next"    // settled: go on with Next
	doNothing = "nothing" // the turn is another run's
)

// TargetInput names one operation at one target, and the run that reaches it: none where it is put back.
type TargetInput struct {
	Operation string            `json:"operation"`
	Target    preference.Target `json:"target"`
	Run       int64             `json:"run,omitempty"`
}

// Progress tells a run that its operation is applied already, and with which one it goes on then.
type Progress struct {
	Applied bool   `json:"applied,omitempty"`
	Next    string `json:"next,omitempty"`
}

// ReasonInput says why an operation is parked or compensated. Detail is a code or an HTTP status, never a body.
type ReasonInput struct {
	Operation string            `json:"operation"`
	Run       int64             `json:"run,omitempty"`
	Code      string            `json:"code"`
	Target    preference.Target `json:"target,omitempty"`
	Detail    string            `json:"detail,omitempty"`
}

// FinishInput ends a compensation. Left lists what was not put back, as "target:kind".
type FinishInput struct {
	Operation string   `json:"operation"`
	Run       int64    `json:"run"`
	Left      []string `json:"left,omitempty"`
}

// Settled tells with which operation the run goes on, empty for none.
type Settled struct {
	Next string `json:"next,omitempty"`
}

// UndoResult lists what was left alone because it was changed elsewhere meanwhile.
type UndoResult struct {
	Left []string `json:"left,omitempty"`
}

// DecisionResult is the operator's decision, empty while there is none.
type DecisionResult struct {
	Decision preference.Decision `json:"decision,omitempty"`
}

// Our own short transactions run as local activities: no queue hop, few events. They are retried until the database
// answers, however long that takes, because nothing they do may be dropped.
func local[Out any](ctx workflow.Context, name, summary string, in any) (Out, error) {
	var out Out
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: 10 * 365 * 24 * time.Hour,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 2,
			MaximumInterval: 5 * time.Second},
		Summary: summary,
	})
	return out, workflow.ExecuteLocalActivity(ctx, name, in).Get(ctx, &out)
}

func begin(ctx workflow.Context, in OperationInput) (Plan, error) {
	return local[Plan](ctx, beginActivity, "take the turn, or find out how far it is", in)
}

func commit(ctx workflow.Context, in OperationInput) (Settled, error) {
	return local[Settled](ctx, commitActivity, "every target has it", in)
}

func startCompensation(ctx workflow.Context, in ReasonInput) (Progress, error) {
	return local[Progress](ctx, startUndoActivity, "record why, let nobody write any more", in)
}

func finishCompensation(ctx workflow.Context, in FinishInput) (Settled, error) {
	return local[Settled](ctx, finishUndoActivity, "every target is put back", in)
}

func park(ctx workflow.Context, in ReasonInput) error {
	_, err := local[struct{}](ctx, parkActivity, "show it to the operators", in)
	return err
}

func takeDecision(ctx workflow.Context, in OperationInput) (preference.Decision, error) {
	out, err := local[DecisionResult](ctx, takeDecisionActivity, "what has the operator decided?", in)
	return out.Decision, err
}

// An attempt at a target: three vendor calls and a read-back. A healthy one takes milliseconds; a worker that dies in
// the middle of a longer one is noticed by its missing heartbeat.
const (
	attemptLimit   = 30 * time.Second
	heartbeatLimit = 6 * time.Second
)

// reach applies the operation at one target. A grant has until its deadline, a withdrawal has for ever.
func reach(ctx workflow.Context, p Plan, in TargetInput) (Progress, error) {
	var out Progress
	opts := workflow.ActivityOptions{
		StartToCloseTimeout: attemptLimit,
		HeartbeatTimeout:    heartbeatLimit,
		// An attempt under way may still write: compensation must not overtake it.
		WaitForCancellation: true,
		Summary:             fmt.Sprintf("%s: %s", in.Target, p.Summary),
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	}
	if p.Kind == preference.Grant {
		opts.RetryPolicy.MaximumInterval = 10 * time.Second
		opts.ScheduleToCloseTimeout = max(p.Deadline.Sub(workflow.Now(ctx)), time.Second)
	}
	ctx = workflow.WithActivityOptions(ctx, opts)
	return out, workflow.ExecuteActivity(ctx, reachActivity, in).Get(ctx, &out)
}

// undo puts one target back. It has no limit, because leaving it half done is not an outcome.
func undo(ctx workflow.Context, p Plan, t preference.Target) (UndoResult, error) {
	var out UndoResult
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: attemptLimit,
		HeartbeatTimeout:    heartbeatLimit,
		Summary:             fmt.Sprintf("%s: put back", t),
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 1.6, MaximumInterval: 10 * time.Minute},
	})
	return out, workflow.ExecuteActivity(ctx, undoActivity, TargetInput{Operation: p.Operation, Target: t}).Get(ctx, &out)
}
