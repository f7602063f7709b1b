package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// Accounts keeps every customer's account. Errors: fault.NotFound for an operation nobody has heard of,
// fault.Unavailable when the database can't be reached (nothing was stored, but for the code "outcome-unknown": the answer to
// the commit was lost, and it may show even later), an error of fn as it is.
type Accounts interface {
	// Load reads an account without a lock: one consistent moment. A customer nobody has heard of has an account with
	// the defaults.
	Load(ctx context.Context, customer preference.CustomerID) (*preference.Account, error)

	// Update loads the account (with the operation that has used key, when key is not empty), runs fn and stores all that
	// fn did, as if nobody else touched the account meanwhile. When fn fails nothing is stored. fn may run more than once,
	// on an account that turns out to be outdated too, and must only touch the account.
	Update(ctx context.Context, customer preference.CustomerID, key string, fn func(*preference.Account) error) error

	// UpdateOperation is Update for the account of an operation, and hands over that operation too. When the operation
	// is settled it is the settled one, and fn must not change it.
	UpdateOperation(ctx context.Context, operation string, fn func(*preference.Account, *preference.Operation) error) error

	// UpdateStill is UpdateOperation while everything at the operation's targets stands still: reached tells whether
	// any step has been recorded, and none can be until what fn did is stored. It is for what rests on nothing having
	// been done yet.
	UpdateStill(ctx context.Context, operation string, fn func(a *preference.Account, op *preference.Operation, reached bool) error) error
}

// Operations reads operations. One that was begun ahead shows as accepted until its run has begun to work on it. Same
// errors as Accounts.
type Operations interface {
	// Operation reads one, with what each target is at.
	Operation(ctx context.Context, id string) (OperationState, error)

	// ByStatus lists operations with any of the statuses, oldest first, after the cursor (empty for the start).
	// The next cursor is empty on the last page.
	ByStatus(ctx context.Context, statuses []preference.Status, cursor string, limit int) (ops []OperationState, next string, err error)

	// OpenCounts counts operations that are not settled, by status and kind, and tells when the oldest of each was accepted.
	// What there is none of is not in it.
	OpenCounts(ctx context.Context) (map[OpenKind]OpenCount, error)

	// Stalled lists the turns whose operation has been held since before the given time, those looked at longest ago
	// first, and marks them as looked at. The sweeper makes sure each has an open run.
	Stalled(ctx context.Context, before time.Time, limit int) ([]StalledTurn, error)

	// Overdue lists customers who have a grant waiting behind another operation past its deadline.
	Overdue(ctx context.Context, now time.Time, limit int) ([]preference.CustomerID, error)
}

// OpenKind is what open operations are counted by.
type OpenKind struct {
	Status preference.Status
	Kind   preference.Kind
}

// OpenCount is a number of operations and the acceptance of the oldest.
type OpenCount struct {
	Count  int
	Oldest time.Time
}

// StalledTurn is a turn that may have lost its run. Decided is set when an operator's decision waits to be taken.
type StalledTurn struct {
	Run     Run
	Decided bool
}

// OperationState is an operation with its progress at each target.
type OperationState struct {
	preference.Operation
	Run      int64 // that holds, or held, the turn for it; 0 while it waits
	Progress map[preference.Target]TargetProgress
}

// TargetProgress is where one target is.
type TargetProgress struct {
	State    TargetState
	Attempts int
	Code     string // of the last failure, empty for none
	At       time.Time
}

// TargetState of one target in one operation.
type TargetState string

const (
	TargetPending  TargetState = "pending"
	TargetApplying TargetState = "applying"
	TargetApplied  TargetState = "applied"
	TargetRefused  TargetState = "refused"
	TargetUndoing  TargetState = "undoing"
	TargetRestored TargetState = "restored" // holds what it held before
	TargetSkipped  TargetState = "skipped"  // never written to
)

// Steps keeps what an operation has done at each target, so that a step that is repeated after a crash goes on from
// there. Same errors as Accounts.
type Steps interface {
	// Begun reads an operation that is running, for the first attempt at each of its targets: one query for all of
	// them. What is read may be as old as the first of these calls in this process (StartStep is the fence), but for the
	// status it does not change any more.
	Begun(ctx context.Context, operation string) (preference.Operation, error)

	// ShowBegun lets an operation that was begun with its acceptance show that it runs, while there is no step and no
	// failure that does. Repeating it changes nothing, and nothing rests on it: a crash may take it back.
	ShowBegun(ctx context.Context, operation string) error

	// Step reads the operation with its preferences before and after, and this target's step (nil before the first
	// attempt). One query.
	Step(ctx context.Context, operation string, t preference.Target) (preference.Operation, *TargetStep, error)

	// StartStep stores the step before the target is written to for the first time. The first one stored wins: a
	// repeat answers with the stored one, and first is false. fault.Conflict "not-running" when the operation is not running (any more), so
	// that a worker that woke up late writes nothing.
	StartStep(ctx context.Context, operation string, s TargetStep) (stored TargetStep, first bool, err error)

	// MarkStep records progress: state, and the code of a failure (empty for none). Attempts grows by one with each
	// call that has a code.
	MarkStep(ctx context.Context, operation string, t preference.Target, s TargetState, code string, maybeDone bool) error

	// Holders lists who else has registered the token, latest first.
	Holders(ctx context.Context, token string, except preference.CustomerID) ([]Holder, error)

	// Claimants lists who else is about to register the token: their registration is accepted and not settled. Of the device
	// there are its ID, the token and TokenAt, which is when it was accepted.
	Claimants(ctx context.Context, token string, except preference.CustomerID) ([]Holder, error)
}

// TargetStep is an operation's step at one target.
type TargetStep struct {
	Target     preference.Target
	State      TargetState
	Assignment preference.Assignment
	Moved      []MovedToken // tokens that another customer held before
	MaybeDone  bool         // some attempt that has ended may have had its effect; once true it stays true
	Attempts   int
}

// MovedToken is a token that the push provider moves to the customer on registration, and what its owner before had.
type MovedToken struct {
	Token string                `json:"token"`
	Owner preference.CustomerID `json:"owner"`
	State preference.State      `json:"state"`
}

// Holder is a customer's device that has a token.
type Holder struct {
	Customer preference.CustomerID
	Device   preference.Device
}

// Outcomes tells when operations settle.
type Outcomes interface {
	// Watch must be called before the operation can settle or be followed by a look at it: done is closed when the
	// operation has settled or was parked since, and may be closed early; look again then. Who is in the process that
	// has settled it receives it first, as it was stored, and need not look. Call stop when no longer interested.
	Watch(operation string) (done <-chan preference.Operation, stop func())

	// Announce tells watchers that the operation has settled or was parked: those in this process, or else those in all
	// others. Best effort: who misses it finds out by looking, which a watch does by itself.
	Announce(ctx context.Context, op preference.Operation)
}

// Readiness is asked by /readyz. A nil error means the thing can serve.
type Readiness interface {
	Ready(ctx context.Context) error
}
