package inbox

import (
	"context"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

// PullCampaigns implements ports.InboxUpkeep. What if …
//   - we crash between a page and its cursor: the page is taken again, which changes nothing;
//   - another process pulls too: both take the same, one moves the cursor, the other stops;
//   - a message breaks a rule: it is kept and tried again in each pull, and does not hold up the others.
func (s *Service) PullCampaigns(ctx context.Context) (ports.CampaignPull, error) {
	var out ports.CampaignPull
	if s.cfg.Campaigns == nil {
		return out, nil
	}
	refused, err := s.retryRefused(ctx, &out)
	if err != nil {
		return out, err
	}
	state, err := s.cfg.Feeds.Feed(ctx, ports.CampaignsName)
	if err != nil {
		return out, err
	}
	for cursor := state.Cursor; out.Pages < s.cfg.Limits.CampaignPages; {
		began := s.cfg.Now()
		page, err := s.campaignPage(ctx, cursor)
		if err != nil {
			return out, s.pullFailed(ctx, err)
		}
		out.Pages++
		for _, c := range page.Campaigns {
			if err := s.takeCampaign(ctx, c, refused, &out); err != nil {
				return out, err
			}
		}
		complete := began
		if page.More {
			complete = time.Time{}
		}
		moved, err := s.cfg.Feeds.Advance(ctx, ports.CampaignsName, cursor, page.Next, complete)
		if err != nil || !moved {
			return out, err
		}
		if !page.More {
			out.Complete = true
			s.globals.forget() // anonymous callers learn from the head how fresh it is
			return out, nil
		}
		cursor = page.Next
	}
	return out, nil
}

// campaignPage refuses to go round in circles.
func (s *Service) campaignPage(ctx context.Context, cursor string) (ports.CampaignPage, error) {
	page, err := s.cfg.Campaigns.Campaigns(ctx, cursor)
	if err == nil && page.More && page.Next == cursor {
		err = &ports.TargetError{Target: engagement, Class: ports.Transient, Code: "malformed"}
	}
	return page, err
}

const engagement preference.Target = "engagement"

func (s *Service) pullFailed(ctx context.Context, err error) error {
	t, is := ports.AsTargetError(err)
	if !is {
		return err
	}
	if recording := s.cfg.Feeds.Failed(ctx, ports.CampaignsName, t.Code, s.cfg.Now()); recording != nil {
		return recording
	}
	return err
}

type campaignName struct{ source, externalID string }

// retryRefused takes what was refused before, and answers what still is.
func (s *Service) retryRefused(ctx context.Context, out *ports.CampaignPull) (map[campaignName]bool, error) {
	found, err := s.cfg.Feeds.Refusals(ctx, s.cfg.Limits.RefusedRetries)
	if err != nil {
		return nil, err
	}
	refused := make(map[campaignName]bool, len(found))
	for _, r := range found {
		refused[nameOf(r.Campaign)] = true
		if err := s.takeCampaign(ctx, r.Campaign, refused, out); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

func nameOf(c ports.Campaign) campaignName {
	return campaignName{c.Draft.Source, c.Draft.ExternalID}
}

// takeCampaign takes one and keeps the refusals right: a broken one is among them, one that is not any more is not.
func (s *Service) takeCampaign(ctx context.Context, c ports.Campaign, refused map[campaignName]bool, out *ports.CampaignPull) error {
	done, refusal, err := s.take(ctx, c)
	if err != nil {
		return err
	}
	name := nameOf(c)
	if refusal != nil {
		if !refused[name] {
			s.cfg.Logger.WarnContext(ctx, "a campaign breaks a rule", "source", name.source, "external_id", name.externalID, "code", refusal.Code)
			out.Refused++
		}
		refused[name] = true
		return s.cfg.Feeds.Refuse(ctx, *refusal)
	}
	switch done {
	case published:
		out.Published++
	case edited:
		out.Edited++
	case retracted:
		out.Retracted++
	case nothing:
	}
	if !refused[name] {
		return nil
	}
	out.Accepted++
	delete(refused, name)
	return s.cfg.Feeds.Accept(ctx, name.source, name.externalID)
}
