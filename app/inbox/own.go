package inbox

import (
	"context"
	"slices"
	"sync"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// ownPulls are the customers' own feeds that this process reads upstream right now: each once, and so many at most.
type ownPulls struct {
	mu    sync.Mutex
	open  map[preference.CustomerID]*call[bool] // true when it was read to its end
	tries *limiter                              // of readers who do not ask for it
	slots chan struct{}
}

// ownDue reports whether a reader should find out what upstream has for the customer.
func (s *Service) ownDue(viewer inbox.Viewer, h ports.InboxHead) bool {
	return s.cfg.Customers != nil && viewer.Customer != "" && h.PulledAt.Before(h.Now.Add(-s.cfg.Limits.OwnTTL))
}

// pullWithinBudget reads the customer's own feed, or waits for somebody who does, and reports whether that was done in
// time. Whoever comes later waits only for what is left of the time. read is when it was found due, by the database's clock.
func (s *Service) pullWithinBudget(ctx context.Context, customer preference.CustomerID, read time.Time) bool {
	now := s.cfg.Now()
	c := s.own.find(customer)
	if c == nil {
		if !s.own.tries.allow(string(customer), now) {
			return false
		}
		c, _ = s.startPull(ctx, customer, read.Add(-s.cfg.Limits.OwnTTL), read.Add(-s.cfg.Limits.PullTimeout))
	}
	if c == nil {
		return false
	}
	pulled, _ := c.waitFor(ctx, s.cfg.Limits.PullBudget-now.Sub(c.began))
	return pulled
}

func (p *ownPulls) find(customer preference.CustomerID) *call[bool] {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[customer]
}

// startPull joins the one that is under way, or starts one that reads the feed if it was read before olderThan and nobody
// else has begun to since abandoned; ours tells which. nil when too many are under way.
func (s *Service) startPull(ctx context.Context, customer preference.CustomerID, olderThan, abandoned time.Time) (c *call[bool], ours bool) {
	p := s.own
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.open[customer]; c != nil {
		return c, false
	}
	select {
	case p.slots <- struct{}{}:
	default:
		return nil, false
	}
	c = &call[bool]{began: s.cfg.Now(), done: make(chan struct{})}
	started := s.tasks.start(ctx, s.cfg.Limits.PullTimeout, func(ctx context.Context) {
		defer close(c.done)
		defer p.end(customer)
		c.value, c.err = s.pullOwn(ctx, customer, olderThan, abandoned)
		if c.err != nil {
			s.cfg.Logger.WarnContext(ctx, "a customer's feed was not read", "customer", customer.Pseudonym(), "error", c.err)
		}
	})
	if !started {
		<-p.slots
		return nil, false
	}
	p.open[customer] = c
	return c, true
}

func (p *ownPulls) end(customer preference.CustomerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, customer)
	<-p.slots
}

// pullOwn takes over what upstream has for the customer. What if …
//   - it is listed and new, or different: published, edited;
//   - it is here and not listed: it has ended. Only what was here before upstream was asked counts, or what another process
//     has just found out would be taken for ended;
//   - it breaks a rule: left out, and tried again the next time;
//   - we are interrupted: it is not recorded as read, and the next one does all of it again.
func (s *Service) pullOwn(ctx context.Context, customer preference.CustomerID, olderThan, abandoned time.Time) (bool, error) {
	claimed, err := s.cfg.Inboxes.ClaimPull(ctx, customer, olderThan, abandoned)
	if err != nil || !claimed {
		return false, err
	}
	source, began := s.cfg.Customers.Source(), s.cfg.Now()
	before, err := s.cfg.Feeds.OwnMessages(ctx, source, customer)
	if err != nil {
		return false, err
	}
	drafts, err := s.cfg.Customers.CustomerMessages(ctx, customer)
	if err != nil {
		return false, err
	}
	listed, err := s.takeOwn(ctx, customer, source, drafts, before)
	if err != nil {
		return false, err
	}
	for name, id := range before {
		if !listed[name] {
			if _, err := s.Retract(ctx, id); notMissing(err) != nil {
				return false, err
			}
		}
	}
	return true, s.cfg.Inboxes.Pulled(ctx, customer, began)
}

// takeOwn publishes and edits, and tells which names upstream has listed. What has not changed costs one read for all.
func (s *Service) takeOwn(ctx context.Context, customer preference.CustomerID, source string, drafts []inbox.Draft, before map[string]inbox.MessageID) (map[string]bool, error) {
	listed := make(map[string]bool, len(drafts))
	ids := make([]inbox.MessageID, 0, len(drafts))
	for _, d := range drafts {
		listed[d.ExternalID] = true
		if id, known := before[d.ExternalID]; known {
			ids = append(ids, id)
		}
	}
	var known map[inbox.MessageID]*inbox.Message
	if len(ids) > 0 {
		var err error
		if known, err = s.cfg.Messages.Messages(ctx, ids); err != nil {
			return nil, err
		}
	}
	refused := map[string]int{}
	for _, d := range drafts {
		if m := known[before[d.ExternalID]]; m != nil && m.Fingerprint == d.Fingerprint() {
			continue
		}
		if d.Source != source || d.Audience != inbox.Personal || !slices.Equal(d.Recipients, []preference.CustomerID{customer}) {
			refused["not-the-customers"]++ // whatever upstream says, it is never anybody else's
			continue
		}
		if _, refusal, err := s.take(ctx, ports.Campaign{Draft: d}); err != nil {
			return nil, err
		} else if refusal != nil {
			refused[refusal.Code]++
		}
	}
	for code, n := range refused {
		s.cfg.Logger.WarnContext(ctx, "messages of a customer's feed break a rule", "customer", customer.Pseudonym(), "code", code, "messages", n)
	}
	return listed, nil
}
