package inbox

import (
	"context"
	"time"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// campaignTimeout bounds a pull of the campaign feed that a refresh began.
const campaignTimeout = 30 * time.Second

// Refresh implements ports.Inbox. Whatever upstream does, it answers what is here; its freshness tells how fresh that is.
func (s *Service) Refresh(ctx context.Context, q ports.FeedQuery) (ports.FeedPage, error) {
	asked := s.cfg.Now()
	since := asked
	if q.Viewer.Anonymous() {
		since = asked.Add(-time.Second) // they can't be told apart, so one pull a second must do for all of them
	} else if !s.refreshes.allow(q.Viewer.Key(), asked) {
		return ports.FeedPage{}, fault.New(fault.Throttled, "refresh-limit", "asked for upstream too often; wait")
	}
	waiting, cancel := context.WithTimeout(ctx, s.cfg.Limits.RefreshBudget)
	defer cancel()
	campaigns := make(chan struct{})
	go func() {
		defer close(campaigns)
		s.refreshCampaigns(waiting, since)
	}()
	if s.cfg.Customers != nil && q.Viewer.Customer != "" {
		s.refreshOwn(waiting, q.Viewer.Customer, asked)
	}
	<-campaigns
	q.Cursor, q.Held = "", nil
	return s.feed(ctx, q, s.read)
}

// refreshCampaigns waits for a pull that began after it was asked for, up to ctx's end. One that began before, and fails, is
// no reason not to ask.
func (s *Service) refreshCampaigns(ctx context.Context, since time.Time) {
	for s.cfg.Campaigns != nil {
		if s.pulledAt.Load() >= since.UnixNano() {
			return
		}
		c := s.campaigns.join(ctx, s.tasks, campaignTimeout, s.cfg.Now(), func(ctx context.Context) (ports.CampaignPull, error) {
			began := s.cfg.Now()
			out, err := s.PullCampaigns(ctx)
			if err == nil && out.Complete {
				s.pulledAt.Store(began.UnixNano())
			}
			if err != nil {
				s.cfg.Logger.WarnContext(ctx, "the campaign feed was not read", "error", err)
			}
			return out, err
		})
		_, _ = c.wait(ctx) // its failure is logged, and seen in how fresh the feed is
		if ctx.Err() != nil || !c.began.Before(since) {
			return
		}
	}
}

// heedless is so far ahead of any clock that no other process's pull counts as one under way.
const heedless = time.Hour

// refreshOwn is the same for the customer's own feed. It reads upstream itself whoever else has begun to: another process's
// pull may have begun before this was asked for, may have failed, and can't be waited for. One of this process that began
// since will do if it did ask upstream, and was not held back by another process's.
func (s *Service) refreshOwn(ctx context.Context, customer preference.CustomerID, asked time.Time) {
	for {
		c, ours := s.startPull(ctx, customer, asked, asked.Add(heedless))
		if c == nil {
			return
		}
		pulled, err := c.wait(ctx)
		did := pulled || err != nil
		if ctx.Err() != nil || ours || did && !c.began.Before(asked) {
			return
		}
	}
}
