package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// PrivacySignals is told what the browsers of signed-in customers say about Global Privacy Control. Safe for concurrent use.
type PrivacySignals interface {
	// Seen tells of one request whether it carried the signal. It returns at once and never fails: what is to be done is done
	// beside the request, and what can't be is logged, counted and tried with the next request.
	Seen(r SignalledRequest)
}

// SignalledRequest is what of a request matters to the signal. Installation is empty where the client names none.
type SignalledRequest struct {
	Customer     preference.CustomerID
	Installation string
	Signal       bool
	RequestID    string
}

// PrivacySignal is one that stands: each request of this browser has carried it since then.
type PrivacySignal struct {
	Since    time.Time
	Honoured bool // acted on, or there was nothing to act on
}

// SignalStore keeps which signals stand. Errors of every method: fault.Unavailable when the database can't be reached.
type SignalStore interface {
	// SignalStands notes that the browser sends the signal, and answers since when. Repeating it changes nothing.
	SignalStands(ctx context.Context, customer preference.CustomerID, installation string) (PrivacySignal, error)

	// SignalHonoured notes that a signal was acted on. Nothing is changed where it is gone, or another by now.
	SignalHonoured(ctx context.Context, customer preference.CustomerID, installation string, since time.Time) error

	// SignalGone notes that the browser does not send it any more. Repeating it changes nothing.
	SignalGone(ctx context.Context, customer preference.CustomerID, installation string) error
}
