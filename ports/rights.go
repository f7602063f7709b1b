package ports

import (
	"context"
	"time"

	"accord/domain/consent"
	"accord/domain/inbox"
	"accord/domain/preference"
)

// Rights is what a person may demand of us: everything that is held about them, and that it be erased. The caller has
// checked the scope.
type Rights interface {
	// Export collects everything held about a customer. It is not of one moment: each part is. Nothing is changed.
	// Errors: fault.Unavailable. A customer nobody has heard of has the defaults and nothing else.
	Export(ctx context.Context, customer preference.CustomerID) (Export, error)

	// Erase makes every target forget the person, and then us; it is the operation of preference.Erase, and waits like
	// Preferences.Change. Repeating it while it is under way gives the same one; after it, the person is one nobody has
	// heard of, and is looked for at the targets again. Errors: fault.Unavailable.
	Erase(ctx context.Context, c ChangeCommand) (ErasureState, error)

	// Erasure tells how far an erasure is; once it is done, from what is kept of it as proof. Errors: fault.NotFound.
	Erasure(ctx context.Context, operation string) (ErasureState, error)
}

// Export is everything held about a customer.
type Export struct {
	Customer   preference.CustomerID
	At         time.Time
	View       PreferenceView
	Operations []OperationState                         // in the order of acceptance
	Ledger     []consent.Line                           // oldest first
	Messages   []FeedEntry                              // everything in the inbox, archived messages too
	Activity   []ClientActivity                         // as the measures have it
	Recipients map[preference.Target]preference.Holding // who was told, and what
}

// ClientActivity is one thing that the measures remember somebody by.
type ClientActivity struct {
	Kind string // client_event, viewer_present, inbox_opened or link_conversion
	ID   string // of the client's event or of the message, empty for none
	At   time.Time
}

// ErasureState is how far an erasure is. Proof is nil until it is done, Operation is empty but for its id then.
type ErasureState struct {
	Operation OperationState
	Proof     *ErasureProof
}

// ErasureProof is all that is left of an erased person: that there was one, and that their ledger's chain was closed.
type ErasureProof struct {
	Operation   string
	Chain       string // pseudonym under which the ledger goes on to verify
	InClear     int64  // entries from before entries were sealed: they name the customer still, and cannot be taken away
	Entries     int64  // in the chain, with the last one, which records the erasure
	Head        consent.Hash
	By          consent.Actor
	Targets     []preference.Target // that have forgotten the person
	RequestedAt time.Time
	ErasedAt    time.Time
}

// Erasures lets people go. Errors: fault.NotFound, and those of Accounts.
type Erasures interface {
	// Forget ends the operation of preference.Erase that is running, every target having forgotten the person: in one
	// transaction, under the customer's lock, the chain gets its last entry, its key is destroyed, and everything that
	// names the customer is removed. It is the erasure's Commit. Repeating it answers the same proof. Errors:
	// fault.Conflict "not-running" for an operation that is not running or not of that kind.
	Forget(ctx context.Context, operation string, now time.Time) (ErasureProof, error)

	// Erasure reads the proof of one that is done; fault.NotFound otherwise.
	Erasure(ctx context.Context, operation string) (ErasureProof, error)
}

// PersonalData reads what is held about one customer beside the account, the ledger and the inbox.
type PersonalData interface {
	// OperationsOf lists a customer's operations by number, after the given one (0 for the start).
	OperationsOf(ctx context.Context, customer preference.CustomerID, after int64, limit int) ([]OperationState, error)
	// ActivityOf lists what the measures remember of a viewer, oldest first.
	ActivityOf(ctx context.Context, viewer inbox.Viewer) ([]ClientActivity, error)
}
