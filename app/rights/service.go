// Package rights holds the use cases of what a person may demand: an export of everything held about them, and its
// erasure.
package rights

import (
	"context"
	"slices"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use cases need. All of it is mandatory.
type Config struct {
	Preferences ports.Preferences
	Operators   ports.Operators
	Ledger      ports.Ledger
	Inbox       ports.Inbox
	Data        ports.PersonalData
	Erasures    ports.Erasures
	Now         func() time.Time
}

// Service implements ports.Rights.
type Service struct{ Config }

var _ ports.Rights = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg} }

// Erase implements ports.Rights. What if we crash, or the answer is lost? It is an operation like any other: durable when
// it is accepted, and found again while it is under way.
func (s *Service) Erase(ctx context.Context, c ports.ChangeCommand) (ports.ErasureState, error) {
	c.Change = preference.Erase()
	result, err := s.Preferences.Change(ctx, c)
	if err != nil {
		return ports.ErasureState{}, err
	}
	if result.Operation.Status.Settled() {
		return s.Erasure(ctx, result.Operation.ID)
	}
	return ports.ErasureState{Operation: ports.OperationState{Operation: result.Operation}}, nil
}

// Erasure implements ports.Rights.
func (s *Service) Erasure(ctx context.Context, operation string) (ports.ErasureState, error) {
	op, err := s.Operators.Find(ctx, operation)
	if f, is := fault.As(err); is && f.Kind == fault.NotFound {
		proof, err := s.Erasures.Erasure(ctx, operation)
		return ports.ErasureState{Proof: &proof}, err
	}
	if err == nil && !op.Change.Erases() {
		err = fault.New(fault.NotFound, "not-found", "no such erasure")
	}
	return ports.ErasureState{Operation: op}, err
}

// page is how much is read at once.
const page = 100

// Export implements ports.Rights.
func (s *Service) Export(ctx context.Context, customer preference.CustomerID) (ports.Export, error) {
	out := ports.Export{Customer: customer, At: s.Now().UTC(), Recipients: map[preference.Target]preference.Holding{}}
	var err error
	if out.View, err = s.Preferences.View(ctx, customer); err != nil {
		return out, err
	}
	for _, t := range preference.Targets {
		out.Recipients[t] = out.View.Preferences.Desired(t)
	}
	if out.Operations, err = s.operations(ctx, customer); err != nil {
		return out, err
	}
	if out.Ledger, err = s.ledger(ctx, customer); err != nil {
		return out, err
	}
	viewer := inbox.CustomerViewer(customer)
	for _, view := range []inbox.View{inbox.ViewAll, inbox.ViewArchived} {
		if out.Messages, err = s.messages(ctx, viewer, view, out.Messages); err != nil {
			return out, err
		}
	}
	out.Activity, err = s.Data.ActivityOf(ctx, viewer)
	return out, err
}

func (s *Service) operations(ctx context.Context, customer preference.CustomerID) (all []ports.OperationState, err error) {
	for after, more := int64(0), true; more; {
		part, err := s.Data.OperationsOf(ctx, customer, after, page)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if more = len(part) == page; more {
			after = part[len(part)-1].Number
		}
	}
	return all, nil
}

// ledger is read from its end, and turned round.
func (s *Service) ledger(ctx context.Context, customer preference.CustomerID) (all []consent.Line, err error) {
	for below, more := int64(0), true; more; {
		part, err := s.Ledger.Entries(ctx, customer, below, page)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if more = len(part) == page && part[len(part)-1].Seq > 1; more {
			below = part[len(part)-1].Seq
		}
	}
	slices.Reverse(all)
	return all, nil
}

func (s *Service) messages(ctx context.Context, viewer inbox.Viewer, view inbox.View, into []ports.FeedEntry) ([]ports.FeedEntry, error) {
	for cursor := ""; ; {
		feed, err := s.Inbox.Feed(ctx, ports.FeedQuery{Viewer: viewer, Filter: inbox.Filter{View: view}, Cursor: cursor, Limit: page})
		if err != nil {
			return nil, err
		}
		into = append(into, feed.Messages...)
		if cursor = feed.Next; cursor == "" {
			return into, nil
		}
	}
}
