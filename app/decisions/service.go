// Package decisions takes what systems outside tell us: that a person has decided something there. It becomes the same
// operation as any other change, skips the system it came from, and counts as of when the person decided.
package decisions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Config is what the use case needs. All of it is mandatory.
type Config struct {
	Sources     map[string]ports.WebhookSource // by the name in the address
	Preferences ports.Preferences
	Accounts    ports.Accounts
	Store       ports.DecisionStore
	Now         func() time.Time
	Observe     func(source string, outcome string)
	Logger      *slog.Logger
}

// Service implements ports.Decisions.
type Service struct{ Config }

var _ ports.Decisions = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg} }

// atOnce bounds how many customers of one message are worked on at a time.
const atOnce = 8

// Receive implements ports.Decisions. What if …
//   - the database or Temporal is down: what was taken stays taken, the sender is asked to send all of it again;
//   - we crash after an operation was accepted and before the event is recorded: its repeat finds the operation by its key;
//   - the answer is lost: the repeat finds the recorded events.
func (s *Service) Receive(ctx context.Context, name string, m ports.WebhookMessage) (ports.WebhookReceipt, error) {
	src, known := s.Sources[name]
	if !known || len(src.Secrets) == 0 && len(src.Shared) == 0 {
		return ports.WebhookReceipt{}, fault.New(fault.NotFound, "not-found", "no such source of webhooks")
	}
	if err := verify(src, m, s.Now()); err != nil {
		s.Observe(name, "refused")
		return ports.WebhookReceipt{}, err
	}
	events, err := src.Reader.Read(m.Body)
	if err != nil {
		s.Observe(name, "invalid")
		return ports.WebhookReceipt{}, err
	}
	identify(events, m, s.Now())
	return s.take(ctx, delivery{name, src, m.RequestID}, events)
}

// verify accepts a signature of Standard Webhooks, or else a secret that is sent as it is.
func verify(src ports.WebhookSource, m ports.WebhookMessage, now time.Time) error {
	signed := webhook.Signed{ID: m.Header(webhook.HeaderID), Timestamp: m.Header(webhook.HeaderTimestamp), Signature: m.Header(webhook.HeaderSignature)}
	if len(src.Secrets) > 0 && signed.Signature != "" {
		return signed.Verify(src.Secrets, m.Body, now)
	}
	if len(src.Shared) > 0 && webhook.SameSecret(sharedSecret(src, m), src.Shared) {
		return nil
	}
	return fault.New(fault.Denied, "invalid-signature", "the message is not signed as this source signs")
}

// identify gives events that have no id of their own that of the message, or one that follows from what it says. What says
// neither who it is nor when it was may be said again in earnest, so it is no repeat of anything.
func identify(events []ports.WebhookEvent, m ports.WebhookMessage, now time.Time) {
	message, signed := m.Header(webhook.HeaderID), m.Header(webhook.HeaderSignature) != ""
	if !signed || message == "" || len(message) > maxID || !storable(message) {
		sum := sha256.Sum256(m.Body)
		message, signed = "body:"+hex.EncodeToString(sum[:16]), false
	}
	for i := range events {
		switch id := events[i].ID; {
		case id == "" && !signed && events[i].Told.At.IsZero():
			events[i].ID = fmt.Sprintf("%s:%d:%d", message, i, now.UnixNano())
		case id == "" && len(events) == 1:
			events[i].ID = message
		case id == "":
			events[i].ID = fmt.Sprintf("%s:%d", message, i)
		case len(id) > maxID, !storable(id):
			sum := sha256.Sum256([]byte(id))
			events[i].ID = "long:" + hex.EncodeToString(sum[:])
		}
	}
}

const maxID = 160

// storable is an id that the database takes. One with a NUL in it would have all of its message refused, for good.
func storable(id string) bool {
	return utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// delivery is what all events of a message have in common.
type delivery struct {
	name      string
	src       ports.WebhookSource
	requestID string
}

// take works on each customer's events in their order, and on several customers at once.
func (s *Service) take(ctx context.Context, d delivery, events []ports.WebhookEvent) (ports.WebhookReceipt, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	before, err := s.Store.Received(ctx, d.name, ids)
	if err != nil {
		return ports.WebhookReceipt{}, err
	}
	out := make([]ports.ReceivedEvent, len(events))
	failures := make([]error, len(events))
	queues, order := map[preference.CustomerID][]int{}, []preference.CustomerID(nil)
	for i, e := range events {
		out[i] = ports.ReceivedEvent{Source: d.name, ID: e.ID, Customer: e.Told.Customer}
		switch {
		case before[e.ID]:
			out[i].Outcome = ports.DecisionDuplicate
		case e.Ignored != "":
			out[i].Outcome, out[i].Reason = ports.DecisionIgnored, e.Ignored
		default:
			if queues[e.Told.Customer] == nil {
				order = append(order, e.Told.Customer)
			}
			queues[e.Told.Customer] = append(queues[e.Told.Customer], i)
		}
		before[e.ID] = true // twice in one message
	}
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, customer := range order {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			for _, i := range queues[customer] {
				if failures[i] = s.decide(ctx, d, events[i], &out[i]); failures[i] != nil {
					return // what was decided later must not be taken first
				}
			}
		})
	}
	wg.Wait()
	return s.close(ctx, out, failures)
}

// close records what was dealt with, and tells whether all was.
func (s *Service) close(ctx context.Context, out []ports.ReceivedEvent, failures []error) (ports.WebhookReceipt, error) {
	var done []ports.ReceivedEvent
	var failed error
	for i, e := range out {
		switch {
		case failures[i] != nil:
			failed = worse(failed, failures[i])
			s.Observe(e.Source, "failed")
		case e.Outcome == "": // behind one that failed
		default:
			s.Observe(e.Source, string(e.Outcome))
			if e.Outcome != ports.DecisionDuplicate {
				done = append(done, e)
			}
		}
	}
	if len(done) > 0 {
		failed = worse(failed, s.Store.Record(ctx, done))
	}
	return ports.WebhookReceipt{Events: out}, failed
}

// worse keeps a failure that is our own in front of one that passes by itself.
func worse(a, b error) error {
	if a == nil || b != nil && fault.KindOf(a) == fault.Unavailable {
		if b == nil {
			return a
		}
		return b
	}
	return a
}
