package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// Reconciliation compares what targets hold with what we hold.
type Reconciliation interface {
	// Ask has customers checked at the next opportunity, which is at once where Temporal can be reached. At least one, at
	// most MaxAsked. Repeating it does no harm. Errors: fault.Unavailable.
	Ask(ctx context.Context, customers []preference.CustomerID) error
}

// MaxAsked is how many customers can be asked for at once.
const MaxAsked = 100

// ReconciliationUpkeep is the part of reconciliation that happens by itself.
type ReconciliationUpkeep interface {
	// Reconcile checks who is due, and goes on with the round over everybody, for at most about the given time. alive is
	// called now and then. What it does not get done is the next one's. Errors: fault.Unavailable when the database can't be
	// reached; a target that can't be is no error: its customers stay due.
	Reconcile(ctx context.Context, limit time.Duration, alive func(ReconciliationReport)) (ReconciliationReport, error)
}

// ReconciliationReport counts what a run has found, for people.
type ReconciliationReport struct {
	Checked    int `json:"checked"`     // customers, completely
	Postponed  int `json:"postponed"`   // a change was under way, or a target could not be read
	Drifts     int `json:"drifts"`      // items held differently
	Operations int `json:"operations"`  // changes accepted to end that
	RoundsDone int `json:"rounds_done"` // times that everybody was looked at
}

// ReconciliationStore keeps who is to be checked. Errors: fault.Unavailable when the database can't be reached.
type ReconciliationStore interface {
	// CollectDue makes customers due whose operations have settled since the last time: after each of the given times since.
	// What settles while it looks is found by the next call, so every operation is.
	CollectDue(ctx context.Context, after ...time.Duration) error

	// AskFor makes customers due now, those we have heard of.
	AskFor(ctx context.Context, customers []preference.CustomerID) error

	// DueChecks lists customers who are due, longest due first, at most limit.
	DueChecks(ctx context.Context, limit int) ([]DueCheck, error)

	// EndChecks ends checks: those that have come since they were listed stay. A postponed one is due again after the pause.
	EndChecks(ctx context.Context, done []DueCheck, postponed []DueCheck, pause time.Duration) error

	// NextInRound lists the next customers of the round over everybody, at most limit. A round begins no earlier than the window
	// after the one before did; until then there is nobody. ended tells that the round ends with these.
	NextInRound(ctx context.Context, window time.Duration, limit int) (customers []preference.CustomerID, ended bool, err error)

	// AdvanceRound records that everybody up to this customer (ended: everybody) was looked at in this round.
	AdvanceRound(ctx context.Context, upTo preference.CustomerID, ended bool) error

	// RoundAge is how long ago the last round ended that has looked at everybody: since the first one began, until it ends, and
	// zero before that.
	RoundAge(ctx context.Context) (time.Duration, error)
}

// DueCheck is a customer who is to be checked, and since when.
type DueCheck struct {
	Customer preference.CustomerID
	At       time.Time
}
