package inbox

import (
	"context"
	"slices"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

// reading is what a viewer's own inbox says, with the snapshot that belongs to it.
type reading struct {
	ports.InboxRead
	snap *snapshot
}

// read takes one statement as a rule: it learns the version of the globals with the items. Newer globals are loaded; only
// when there are other messages among those that are leaving has the statement to be repeated, because it has counted
// them. What is answered has at least all of the version that it says, and is never told again.
func (s *Service) read(ctx context.Context, viewer inbox.Viewer, page *ports.PageQuery) (reading, error) {
	had, err := s.globals.latest(ctx)
	if err != nil {
		return reading{}, err
	}
	for range attempts {
		got, err := s.cfg.Inboxes.ReadInbox(ctx, ports.InboxQuery{Viewer: viewer, Leaving: had.Leaving, Page: page})
		if err != nil {
			return reading{}, err
		}
		fits, err := s.globals.fitting(ctx, got.Version.Global, got.GlobalsDue)
		if err != nil {
			return reading{}, err
		}
		if slices.Equal(fits.Leaving, had.Leaving) {
			return reading{InboxRead: got, snap: fits}, nil
		}
		had = fits
	}
	return reading{}, errUnavailable()
}

// readFresh is read, after the customer's own feed upstream was read if that is due and does not take long.
func (s *Service) readFresh(ctx context.Context, viewer inbox.Viewer, page *ports.PageQuery) (reading, error) {
	r, err := s.read(ctx, viewer, page)
	if err != nil || !s.ownDue(viewer, r.InboxHead) {
		return r, err
	}
	if pulled := s.pullWithinBudget(ctx, viewer.Customer, r.Now); !pulled {
		return r, nil
	}
	return s.read(ctx, viewer, page)
}

// state of a viewer's inbox, without a tag.
func (s *Service) state(viewer inbox.Viewer, h ports.InboxHead, snap *snapshot) ports.InboxState {
	return ports.InboxState{Version: h.Version, Counts: h.Counts.Plus(snap.Counts(h.Receipts)),
		Freshness: s.freshness(viewer, h.Now, h.Now, h.CampaignsAt, h.PulledAt)}
}

// public is what somebody gets of whom nothing is kept.
type public struct {
	state ports.InboxState // without a tag
	snap  *snapshot
	now   time.Time // the database's clock
}

func (s *Service) public(ctx context.Context) (public, error) {
	snap, h, err := s.globals.current(ctx)
	if err != nil {
		return public{}, err
	}
	now := s.cfg.Now()
	return public{snap: snap, now: h.clock(now), state: ports.InboxState{Version: inbox.Version{Global: snap.Version}, Counts: snap.Counts(nil),
		Freshness: s.freshness(inbox.Viewer{}, now, h.confirmed, h.CampaignsAt, h.confirmed)}}, nil
}
