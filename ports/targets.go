package ports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"accord/domain/preference"
)

// TargetSystem is one system outside that must hold what the customer chose: the CRM, the push provider's device
// registry or the CMP. Both methods answer failures with *TargetError (or ctx.Err()).
type TargetSystem interface {
	// Name says which target it is.
	Name() preference.Target

	// Read answers what the target holds of the customer now, in our words. Nothing but items the target has heard of
	// is in it; a person it has never heard of is an empty Holding and no error. Safe to repeat.
	Read(ctx context.Context, customer preference.CustomerID) (preference.Holding, error)

	// Write makes the target hold every item of w.Set and touches no other. Unknown takes an item away (a device) or
	// says "no choice" as closely as the target can. It may return before the target shows it: the caller reads back.
	// Safe to repeat; not atomic over several items.
	Write(ctx context.Context, w TargetWrite) error

	// Forget makes the target forget the customer as a person, with everything it holds of them. A person it has never
	// heard of is no error. It may return before the target has done it: the caller reads back, until nothing is held.
	// Safe to repeat.
	Forget(ctx context.Context, customer preference.CustomerID) error
}

// TargetWrite is what one write says.
type TargetWrite struct {
	Customer  preference.CustomerID
	Operation string // goes into the target's own record where it has a place for it, so that support can match them
	Set       preference.Holding
	Devices   map[string]TargetDevice // by token, for every device of Set that may have to be created
}

// TargetDevice is what a device registry wants to know beyond the token.
type TargetDevice struct {
	Platform   preference.Platform
	AppVersion string
	Locale     string
}

// TargetErrorClass says what a failed call means for the saga.
type TargetErrorClass string

const (
	// Transient failures pass by themselves: time-outs, cut connections, 408, 429, 5xx, answers that make no sense.
	Transient TargetErrorClass = "transient"
	// Refused is for good: the target understood the call and will not do it (other 4xx).
	Refused TargetErrorClass = "refused"
)

// TargetError is the only kind of failure a TargetSystem answers. Its text holds no personal data and no body.
type TargetError struct {
	Target     preference.Target
	Class      TargetErrorClass
	Code       string        // stable: timeout, connection, rate_limited, server_error, malformed, refused, circuit_open, …
	Status     int           // HTTP status, 0 without an answer
	RetryAfter time.Duration // the target asked to wait this long; 0 when it did not
	// MaybeDone is true when the call may have had its effect although it failed (no answer, 5xx, malformed).
	MaybeDone bool
	Err       error // cause, for our logs only; may be nil
}

func (e *TargetError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%s: %s (HTTP %d)", e.Target, e.Code, e.Status)
	}
	return fmt.Sprintf("%s: %s", e.Target, e.Code)
}

func (e *TargetError) Unwrap() error { return e.Err }

// AsTargetError finds a *TargetError in err's chain.
func AsTargetError(err error) (*TargetError, bool) {
	var t *TargetError
	ok := errors.As(err, &t)
	return t, ok
}

// VendorAPI is a vendor's HTTP JSON API under our outbound policy (time-outs, rate limit, circuit breaker, the one
// place that decides what is retryable). The vendor adapters speak through it, so none of them has a policy of its own.
type VendorAPI interface {
	// Call sends one request and decodes the JSON answer into c.Out. It never retries: that is the workflow's. Any
	// failure is a *TargetError; an answer with a status in c.Expect is none and is left to the caller.
	Call(ctx context.Context, c VendorCall) (VendorAnswer, error)
}

// VendorCall is one request.
type VendorCall struct {
	// Name of the vendor's operation, such as "users.track". Logs and metrics show it in place of the path, which may
	// hold a customer's id.
	Name   string
	Method string
	Path   string // under the vendor's base address, already escaped
	Query  map[string][]string
	Header map[string]string
	In     any               // encoded as JSON; nil for no body
	Form   map[string]string // sent form-encoded instead of In, for OAuth token calls
	Out    any               // decoded from a 2xx answer; nil to ignore it
	Expect []int             // statuses other than 2xx that the caller handles
	// Declined is decoded from an answer with a status in Expect, when that is JSON of its shape; nil to ignore it.
	Declined any
	Write    bool // changes the vendor's state: a failure without a clear refusal is MaybeDone
}

// VendorAnswer is what came back.
type VendorAnswer struct {
	Status int
	Header map[string][]string
}
