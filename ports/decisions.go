package ports

import (
	"context"
	"time"

	"accord/domain/preference"
	"accord/domain/webhook"
)

// Decisions is what systems outside tell us.
type Decisions interface {
	// Receive takes one message from a source: it is held against the source's secrets, read, and what it says becomes
	// operations, whose outcome nobody waits for. Repeating it, whole or in parts, changes nothing more. Errors: NotFound
	// for a source that is not set up, Denied "invalid-signature", Invalid naming the field, Unavailable when any part
	// could not be taken (send it again).
	Receive(ctx context.Context, source string, m WebhookMessage) (WebhookReceipt, error)
}

// WebhookMessage is one as it came. Header names are in lower case.
type WebhookMessage struct {
	Header    func(name string) string
	Body      []byte
	RequestID string
}

// WebhookReceipt says what became of each event, in their order.
type WebhookReceipt struct {
	Events []ReceivedEvent
}

// ReceivedEvent is an event that was dealt with.
type ReceivedEvent struct {
	Source    string
	ID        string
	Customer  preference.CustomerID // empty where it names none
	Outcome   DecisionOutcome
	Reason    string // why, where it was ignored
	Operation string // that follows from it, empty for none
}

// DecisionOutcome is what became of an event.
type DecisionOutcome string

const (
	DecisionAccepted   DecisionOutcome = "accepted"   // an operation follows from it
	DecisionUnchanged  DecisionOutcome = "unchanged"  // it says what holds
	DecisionSuperseded DecisionOutcome = "superseded" // a later decision holds; the origin is told that one
	DecisionEcho       DecisionOutcome = "echo"       // of what we have written there ourselves
	DecisionRequired   DecisionOutcome = "required"   // a channel that cannot be switched off; the origin is told so
	DecisionIgnored    DecisionOutcome = "ignored"    // nothing that we know of; see Reason
	DecisionDuplicate  DecisionOutcome = "duplicate"  // was received before
)

// WebhookReader reads one source's words.
type WebhookReader interface {
	// Read takes a body apart. Errors: Invalid, naming the field. What is not about preferences, or about nobody, is an
	// event with Ignored.
	Read(body []byte) ([]WebhookEvent, error)
}

// WebhookEvent is what one event says.
type WebhookEvent struct {
	ID      string // the source's own, empty where it has none
	Told    preference.Told
	Ignored string // why nothing follows from it, empty where something may
}

// DecisionStore remembers what was received, and knows what we have written where. Errors: fault.Unavailable.
type DecisionStore interface {
	// Received lists those of the source's events that were recorded before.
	Received(ctx context.Context, source string, ids []string) (map[string]bool, error)

	// Record remembers events. One that is recorded already stays as it is.
	Record(ctx context.Context, events []ReceivedEvent) error

	// WrittenTo lists what operations of a customer have written to a target, or may still write, at some moment between
	// the two times; the newest 200 of them.
	WrittenTo(ctx context.Context, customer preference.CustomerID, t preference.Target, from, to time.Time) ([]preference.Written, error)
}

// WebhookSource is one source as it is set up.
type WebhookSource struct {
	Reader WebhookReader
	From   preference.Source
	// Secrets of Standard Webhooks signatures, and secrets that are sent as they are in a header. Any of them will do;
	// with neither the source is not there.
	Secrets []webhook.Secret
	Shared  []string
	Header  string // of the shared secrets; authorization, with Bearer or as the password of Basic, when empty
}

// outcomes by how much they tell of an event with several parts.
var telling = map[DecisionOutcome]int{DecisionAccepted: 7, DecisionSuperseded: 6, DecisionRequired: 5, DecisionEcho: 4, DecisionUnchanged: 3, DecisionIgnored: 2}

// Add joins what became of one more part of the event: the outcome that tells most, and the first operation.
func (e *ReceivedEvent) Add(outcome DecisionOutcome, reason, operation string) {
	if telling[outcome] > telling[e.Outcome] {
		e.Outcome, e.Reason = outcome, reason
	}
	if e.Operation == "" {
		e.Operation = operation
	}
}
