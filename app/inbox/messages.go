package inbox

import (
	"context"
	"slices"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// Publish implements ports.Messages. What has the source of the customers' own feed, and is not listed there, would be taken
// for ended by the next pull; so that source is refused, at any time and not only then.
func (s *Service) Publish(ctx context.Context, d inbox.Draft) (ports.StoredMessage, bool, error) {
	if s.cfg.Customers != nil && d.Source == s.cfg.Customers.Source() {
		return ports.StoredMessage{}, false, fault.OnField("source", "reserved_source", "belongs to the customers' own feed; use another")
	}
	m, created, same, err := s.store(ctx, d)
	if err == nil && !same {
		return ports.StoredMessage{}, false, fault.New(fault.Conflict, "message-exists", "there is a message of this source and external_id with other content")
	}
	return m, created, err
}

// store publishes the draft unless there is a message of its name; same tells whether that was made from it, too.
func (s *Service) store(ctx context.Context, d inbox.Draft) (m ports.StoredMessage, created, same bool, err error) {
	if err := d.CheckName(); err != nil { // it is looked for before the rest is checked
		return m, false, false, err
	}
	if len(d.Recipients) > 1 {
		d.Recipients = slices.Compact(slices.Sorted(slices.Values(d.Recipients)))
	}
	m, created, err = s.cfg.Messages.PublishMessage(ctx, d.Source, d.ExternalID, d.Recipients, s.cfg.Limits.Inline,
		func(links *inbox.Links, now time.Time) (*inbox.Message, error) { return d.Publish(links, now) })
	if err == nil && created {
		s.follow(ctx, m)
	}
	return m, created, created || m.Fingerprint == d.Fingerprint(), err
}

// follow does what a change of a message brings with it: whoever reads next in this process finds it, and what is left for
// Deliver is begun. When that fails, the sweep does it.
func (s *Service) follow(ctx context.Context, m ports.StoredMessage) {
	many := m.Recipients > s.cfg.Limits.Inline
	if many || m.Audience == inbox.Global {
		s.globals.changed(ctx)
	}
	if !many && m.Undelivered == 0 {
		return
	}
	s.tasks.start(ctx, time.Minute, func(ctx context.Context) {
		if err := s.cfg.Deliveries.StartDelivery(ctx, ports.DeliveryOf(m)); err != nil {
			s.cfg.Logger.WarnContext(ctx, "delivery not started; the sweep will", "message", m.ID.String(), "error", err)
		}
	})
}

// Message implements ports.Messages.
func (s *Service) Message(ctx context.Context, id inbox.MessageID) (ports.StoredMessage, error) {
	return s.cfg.Messages.Message(ctx, id)
}

// Edit implements ports.Messages.
func (s *Service) Edit(ctx context.Context, id inbox.MessageID, edit func(inbox.Message) (inbox.Edit, error)) (ports.StoredMessage, error) {
	return s.edit(ctx, id, func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
		e, err := edit(m)
		if err != nil {
			return nil, err
		}
		return m.Edited(e, links, now)
	})
}

func (s *Service) edit(ctx context.Context, id inbox.MessageID, fn func(inbox.Message, *inbox.Links, time.Time) (*inbox.Message, error)) (ports.StoredMessage, error) {
	m, err := s.cfg.Messages.EditMessage(ctx, id, fn)
	if err == nil {
		s.follow(ctx, m)
	}
	return m, err
}

// Retract implements ports.Messages.
func (s *Service) Retract(ctx context.Context, id inbox.MessageID) (ports.StoredMessage, error) {
	m, err := s.cfg.Messages.RetractMessage(ctx, id)
	if err == nil {
		s.follow(ctx, m)
	}
	return m, err
}

// Targets implements ports.LinkTargets.
func (s *Service) Targets(ctx context.Context) ([]inbox.LinkTarget, error) {
	return s.cfg.Messages.Targets(ctx)
}

// Target implements ports.LinkTargets.
func (s *Service) Target(ctx context.Context, key inbox.TargetKey) (inbox.LinkTarget, error) {
	all, err := s.cfg.Messages.Targets(ctx)
	if err != nil {
		return inbox.LinkTarget{}, err
	}
	for _, t := range all {
		if t.Key == key {
			return t, nil
		}
	}
	return inbox.LinkTarget{}, fault.New(fault.NotFound, "not-found", "there is no such deep-link target")
}

// PutTarget implements ports.LinkTargets.
func (s *Service) PutTarget(ctx context.Context, t inbox.LinkTarget) (inbox.LinkTarget, bool, error) {
	stored, created, err := s.cfg.Messages.PutTarget(ctx, t)
	if err == nil {
		s.globals.changed(ctx)
	}
	return stored, created, err
}

// DeleteTarget implements ports.LinkTargets.
func (s *Service) DeleteTarget(ctx context.Context, key inbox.TargetKey) error {
	err := s.cfg.Messages.DeleteTarget(ctx, key)
	if err == nil {
		s.globals.changed(ctx)
	}
	return err
}

// Deliver implements ports.InboxUpkeep.
func (s *Service) Deliver(ctx context.Context, id inbox.MessageID) (done, left int, err error) {
	return s.cfg.Messages.Deliver(ctx, id)
}

// Delivery implements ports.InboxUpkeep.
func (s *Service) Delivery(ctx context.Context, id inbox.MessageID) (ports.Delivery, error) {
	m, err := s.cfg.Messages.Message(ctx, id)
	if err != nil {
		return ports.Delivery{}, err
	}
	return ports.DeliveryOf(m), nil
}

// resumed bounds the deliveries that one sweep starts.
const resumed = 500

// ResumeDeliveries implements ports.InboxUpkeep.
func (s *Service) ResumeDeliveries(ctx context.Context) (int, error) {
	waiting, err := s.cfg.Messages.Undelivered(ctx, s.cfg.Now().Add(-s.cfg.Limits.DeliveryWaits), resumed)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range waiting {
		d, err := s.Delivery(ctx, id)
		if fault.KindOf(err) == fault.NotFound { // forgotten meanwhile
			continue
		}
		if err != nil {
			return n, err
		}
		if err := s.cfg.Deliveries.StartDelivery(ctx, d); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// CleanUp implements ports.InboxUpkeep.
func (s *Service) CleanUp(ctx context.Context) (ports.CleanedUp, error) {
	out, err := s.cfg.Messages.CleanUp(ctx, s.cfg.Now().Add(-s.cfg.Limits.Retention), s.cfg.Limits.CleanUpBatch)
	if err == nil && out.Repaired > 0 {
		s.cfg.Logger.ErrorContext(ctx, "counts differed from the list and were repaired", "inboxes", out.Repaired)
	}
	return out, err
}
