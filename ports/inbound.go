package ports

import (
	"context"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
)

// Preferences is what app clients ask about one customer's preferences. The caller has made sure who the customer is.
type Preferences interface {
	// View is what holds now.
	View(ctx context.Context, customer preference.CustomerID) (PreferenceView, error)

	// Change accepts a change and waits for its outcome, up to c.Wait or ctx's end. Errors: those of Account.Accept,
	// and fault.Unavailable for a grant that could not be started (nothing was done; safe to send again). A repeat with
	// the same key answers the same.
	Change(ctx context.Context, c ChangeCommand) (ChangeResult, error)

	// Audit is the customer's own ledger, newest first, below the given seq (0 for the newest).
	Audit(ctx context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Line, error)

	// Operation of this customer; somebody else's is fault.NotFound like one that does not exist.
	Operation(ctx context.Context, customer preference.CustomerID, id string) (OperationState, error)
}

// ChangeCommand asks for a change.
type ChangeCommand struct {
	Customer    preference.CustomerID
	Change      preference.Change
	Source      preference.Source
	Actor       consent.Actor
	Origin      consent.Origin
	Key         string              // Idempotency-Key, empty for none
	Fingerprint string              // of the whole request, compared when the key is used again
	Unless      time.Time           // see preference.Request
	IfMatch     []string            // tags without quotes; nil for no condition
	Cause       string              // why, where nobody asked in so many words
	Only        []preference.Target // nil for those that the change concerns
	Elsewhere   bool                // decided elsewhere, at DecidedAt; see preference.Request
	DecidedAt   time.Time
	Wait        time.Duration
}

// ChangeResult is how far the change has come when the waiting ended. Status tells: Applied with View of what this
// change made, Compensated with Operation.Reason, else still under way.
type ChangeResult struct {
	Operation preference.Operation
	View      PreferenceView
	Replayed  bool
	Unchanged bool // what was asked for holds already, and nothing had to be done for it: there is no Operation
}

// PreferenceView is what a reader sees.
type PreferenceView struct {
	Preferences preference.Preferences
	Holds       []preference.Hold
	At          time.Time // as of when: quiet hours come and go without a change
	Tag         string    // ETag without quotes, of what is seen then
}

// Operators is what support, operators and other systems may ask. The caller has checked the scope.
type Operators interface {
	// Deliverability answers whether we may send: per channel (all when channel is empty), and marketing e-mail.
	// fault.NotFound for a channel that does not exist.
	Deliverability(ctx context.Context, customer preference.CustomerID, channel preference.ChannelKey) (DeliverabilityView, error)

	// Find reads any operation.
	Find(ctx context.Context, id string) (OperationState, error)

	// ByStatus lists operations, oldest first; see Operations.ByStatus.
	ByStatus(ctx context.Context, statuses []preference.Status, cursor string, limit int) ([]OperationState, string, error)

	// Decide retries or compensates a parked operation. fault.Conflict "not-parked" otherwise; repeating the same
	// decision changes nothing.
	Decide(ctx context.Context, id string, d preference.Decision, by consent.Actor) (OperationState, error)

	// RunLink is where to look at the operation's run, empty when there is nowhere.
	RunLink(op OperationState) string
}

// DeliverabilityView answers "may we send?".
type DeliverabilityView struct {
	Channels []preference.Deliverability
	Email    []preference.Blocker // why no marketing e-mail may be sent; empty when it may
	// EmailTopics says the same for each topic of marketing e-mail, in the order of the catalogue.
	EmailTopics []TopicDeliverability
}

// TopicDeliverability is why no marketing e-mail on a topic may be sent; empty when it may.
type TopicDeliverability struct {
	Topic     preference.TopicKey
	BlockedBy []preference.Blocker
}
