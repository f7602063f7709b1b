package ports

import (
	"context"

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
