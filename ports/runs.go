package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// Run names the workflow run that holds a customer's turn.
type Run struct {
	Customer  preference.CustomerID
	Number    int64  // Account.Turn's run
	Operation string // to work on first
	Kind      preference.Kind
	Source    preference.Source
	Targets   []preference.Target
	Summary   string // one line for operators, without personal data
	Deadline  time.Time
	// Ahead: the operation was begun with its acceptance, so the run need not ask before it reaches its targets.
	Ahead bool
}

// RunOf is the run for an operation that has just been accepted: nil when somebody else has the turn, and will go on
// with it.
func RunOf(a *preference.Account, op *preference.Operation) *Run {
	turn, number := a.Turn()
	if turn != op.Number {
		return nil
	}
	return &Run{Customer: op.Customer, Number: number, Operation: op.ID, Kind: op.Kind, Source: op.Source, Targets: op.Targets,
		Summary: op.Change.Summary(), Deadline: op.Deadline, Ahead: op.Status == preference.Running}
}

// Runs starts and wakes workflow runs. Errors: fault.Unavailable when the executor can't be reached or does not answer in
// time; the run may exist all the same.
type Runs interface {
	// Start makes sure that a run with this customer and number is open. Repeating it while the run is open changes
	// nothing; when it is closed (ended, terminated by hand) another one is started.
	Start(ctx context.Context, r Run) error

	// Wake tells an open run that an operator has decided. A run that is not open is no error: the sweeper starts it,
	// and it reads the decision from the store.
	Wake(ctx context.Context, customer preference.CustomerID, number int64) error

	// Link is where an operator looks at the run, empty when no UI is configured.
	Link(customer preference.CustomerID, number int64) string
}
