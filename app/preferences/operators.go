package preferences

import (
	"context"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Deliverability implements ports.Operators.
func (s *Service) Deliverability(ctx context.Context, customer preference.CustomerID, channel preference.ChannelKey) (ports.DeliverabilityView, error) {
	wanted := s.Catalogue.Channels()
	if channel != "" {
		ch, known := s.Catalogue.Channel(channel)
		if !known {
			return ports.DeliverabilityView{}, fault.New(fault.NotFound, "not-found", "no such channel")
		}
		wanted = []preference.Channel{ch}
	}
	acc, err := s.Accounts.Load(ctx, customer)
	if err != nil {
		return ports.DeliverabilityView{}, err
	}
	holds, now := acc.Holds(), s.Now()
	p := acc.Preferences().AsOf(now)
	out := ports.DeliverabilityView{Email: p.EmailBlockers("", holds)}
	for _, t := range s.Catalogue.Topics() {
		out.EmailTopics = append(out.EmailTopics, ports.TopicDeliverability{Topic: t.Key, BlockedBy: p.EmailBlockers(t.Key, holds)})
	}
	for _, ch := range wanted {
		out.Channels = append(out.Channels, acc.Preferences().Deliverability(ch, holds, now))
	}
	return out, nil
}

// Find implements ports.Operators.
func (s *Service) Find(ctx context.Context, id string) (ports.OperationState, error) {
	return s.Operations.Operation(ctx, id)
}

// ByStatus implements ports.Operators.
func (s *Service) ByStatus(ctx context.Context, statuses []preference.Status, cursor string, limit int) ([]ports.OperationState, string, error) {
	return s.Operations.ByStatus(ctx, statuses, cursor, limit)
}

// Decide implements ports.Operators. The decision is in the store before the run is woken: when the wake-up is lost,
// the sweeper wakes it again.
func (s *Service) Decide(ctx context.Context, id string, d preference.Decision, by consent.Actor) (ports.OperationState, error) {
	var customer preference.CustomerID
	var run int64
	err := s.Accounts.UpdateOperation(ctx, id, func(acc *preference.Account, op *preference.Operation) error {
		customer = op.Customer
		_, run = acc.Turn()
		return acc.Decide(op, d, by, s.Now())
	})
	if err != nil {
		return ports.OperationState{}, err
	}
	if err := s.Runs.Wake(ctx, customer, run); err != nil {
		s.Logger.WarnContext(ctx, "run not woken; the sweeper will", "operation", id, "error", err)
	}
	return s.Operations.Operation(ctx, id)
}

// RunLink implements ports.Operators.
func (s *Service) RunLink(op ports.OperationState) string { return s.Runs.Link(op.Customer, op.Run) }
