package inbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	appinbox "accord/app/inbox"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

func pulling(t *testing.T) (w *world, p *platform, s *appinbox.Service, pass func(time.Duration)) {
	t.Helper()
	now, pass := clock()
	w, p = newWorld(now), &platform{}
	return w, p, serve(t, w, func(c *appinbox.Config) { c.Campaigns = p }), pass
}

// pull reads one more page of campaigns.
func (p *platform) pull(t *testing.T, s *appinbox.Service, c ...ports.Campaign) ports.CampaignPull {
	t.Helper()
	p.pages = append(p.pages, ports.CampaignPage{Campaigns: c})
	out, err := s.PullCampaigns(t.Context())
	require.NoError(t, err)
	require.True(t, out.Complete)
	return out
}

func TestWhatBecomesOfACampaign(t *testing.T) {
	t.Parallel()
	edited := func(change func(*inbox.Draft)) func(*world) ports.Campaign {
		return func(*world) ports.Campaign {
			d := draft("x")
			change(&d)
			return ports.Campaign{Draft: d}
		}
	}
	retracted := ports.Campaign{Draft: inbox.Draft{Source: "shop", ExternalID: "x"}, Retracted: true}
	for name, tc := range map[string]struct {
		before, then func(*world) ports.Campaign
		want         ports.CampaignPull
		shows        []string
		refused      string
	}{
		"new":                   {then: edited(func(*inbox.Draft) {}), want: ports.CampaignPull{Published: 1}, shows: []string{"x"}},
		"the same":              {before: edited(func(*inbox.Draft) {}), then: edited(func(*inbox.Draft) {}), shows: []string{"x"}},
		"another text":          {before: edited(func(*inbox.Draft) {}), then: edited(func(d *inbox.Draft) { d.Content.Title = "y" }), want: ports.CampaignPull{Edited: 1}, shows: []string{"y"}},
		"retracted":             {before: edited(func(*inbox.Draft) {}), then: func(*world) ports.Campaign { return retracted }, want: ports.CampaignPull{Retracted: 1}},
		"retracted and unknown": {then: func(*world) ports.Campaign { return retracted }},
		"ended and unknown": {then: func(w *world) ports.Campaign {
			return edited(func(d *inbox.Draft) { d.Expiry = w.now() })(w)
		}},
		"ends now": {before: edited(func(*inbox.Draft) {}), then: func(w *world) ports.Campaign {
			return edited(func(d *inbox.Draft) { d.Expiry = w.now().Add(-time.Hour) })(w)
		}, want: ports.CampaignPull{Retracted: 1}},
		"ends later": {before: edited(func(*inbox.Draft) {}), then: func(w *world) ports.Campaign {
			return edited(func(d *inbox.Draft) { d.Expiry = w.now().Add(time.Hour) })(w)
		}, want: ports.CampaignPull{Edited: 1}, shows: []string{"x"}},
		"broken":              {then: edited(func(d *inbox.Draft) { d.Content.Title = "" }), want: ports.CampaignPull{Refused: 1}, refused: "invalid-request"},
		"a dead link":         {then: edited(func(d *inbox.Draft) { d.Content.Link = "app://nowhere" }), want: ports.CampaignPull{Refused: 1}, refused: "deeplink-inactive"},
		"broken by an edit":   {before: edited(func(*inbox.Draft) {}), then: edited(func(d *inbox.Draft) { d.Content.Title = "" }), want: ports.CampaignPull{Refused: 1}, refused: "invalid-request", shows: []string{"x"}},
		"to customers, known": {then: edited(func(d *inbox.Draft) { *d = draft("x", ada) }), want: ports.CampaignPull{Published: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p, s, pass := pulling(t)
			if tc.before != nil {
				p.pull(t, s, tc.before(w))
				pass(time.Minute)
			}
			out := p.pull(t, s, tc.then(w))
			out.Pages, out.Complete = 0, false
			require.Equal(t, tc.want, out)
			page, err := s.Feed(t.Context(), first(nobody))
			require.NoError(t, err)
			require.ElementsMatch(t, tc.shows, titles(t, page.Messages))
			if tc.refused == "" {
				require.Empty(t, w.refusals)
			} else {
				require.Equal(t, tc.refused, w.refusals["x"].Code)
				require.NotEmpty(t, w.refusals["x"].Detail)
			}
			version := w.version
			p.pull(t, s, tc.then(w))
			require.Equal(t, version, w.version, "taking it again changes nothing")
		})
	}
}

func TestARefusedCampaignIsTriedAgainInEachPull(t *testing.T) {
	t.Parallel()
	w, p, s, pass := pulling(t)
	out := p.pull(t, s, ports.Campaign{Draft: linked("app://sale", draft("sale"))}, ports.Campaign{Draft: draft("fine")})
	require.Equal(t, ports.CampaignPull{Pages: 1, Published: 1, Refused: 1, Complete: true}, out, "and does not hold up the others")
	require.Contains(t, w.refusals["sale"].Detail, "deeplink")
	pass(20 * time.Second)
	require.Zero(t, p.pull(t, s).Refused, "it is news only once")
	require.Equal(t, w.now(), w.refusals["sale"].At, "and was tried")
	_, _, err := s.PutTarget(t.Context(), target(t, "sale", "app://sale", true))
	require.NoError(t, err)
	out = p.pull(t, s)
	require.Equal(t, 1, out.Published)
	require.Equal(t, 1, out.Accepted)
	require.Empty(t, w.refusals)
}

func TestAPullGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	w, p, s, _ := pulling(t)
	for i := range 120 {
		p.pages = append(p.pages, campaigns(draft(fmt.Sprint("m", i))))
	}
	for _, want := range []ports.CampaignPull{{Pages: 50, Published: 50}, {Pages: 50, Published: 50}, {Pages: 20, Published: 20, Complete: true}, {Pages: 1, Complete: true}} {
		require.Equal(t, want.Complete && want.Pages == 1, !w.feeds[ports.CampaignsName].PulledAt.IsZero(), "it is complete at its end only")
		out, err := s.PullCampaigns(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, out)
	}
}

func TestWhoIsOvertakenStops(t *testing.T) {
	t.Parallel()
	w, p, s, _ := pulling(t)
	p.pages = []ports.CampaignPage{campaigns(draft("one")), campaigns(draft("two"))}
	w.then("PublishMessage", func() { w.feeds[ports.CampaignsName] = ports.FeedState{Cursor: "2"} })
	out, err := s.PullCampaigns(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.CampaignPull{Pages: 1, Published: 1}, out)
	require.Equal(t, "2", w.feeds[ports.CampaignsName].Cursor)
}

func TestAPullThatIsCutOffIsDoneAgain(t *testing.T) {
	t.Parallel()
	w, p, s, _ := pulling(t)
	p.pages = []ports.CampaignPage{campaigns(draft("one"))}
	w.then("PublishMessage", func() { w.goDown(true) })
	_, err := s.PullCampaigns(t.Context())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	w.goDown(false)
	out, err := s.PullCampaigns(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.CampaignPull{Pages: 1, Complete: true}, out)
	require.Len(t, w.messages, 1)
	require.Empty(t, w.failures, "that was not upstream's failure")
}

// circle never comes to an end.
type circle struct{}

func (circle) Campaigns(_ context.Context, cursor string) (ports.CampaignPage, error) {
	return ports.CampaignPage{Next: cursor, More: true}, nil
}

func TestAFeedThatGoesRoundInCirclesHasFailed(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w, func(c *appinbox.Config) { c.Campaigns = circle{} })
	_, err := s.PullCampaigns(t.Context())
	var failed *ports.TargetError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, []string{"malformed"}, w.failures)
}

func TestWithoutAFeedThereIsNothingToPull(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	out, err := s.PullCampaigns(t.Context())
	require.NoError(t, err)
	require.Zero(t, out)
	page, err := s.Refresh(t.Context(), first(adasInbox))
	require.NoError(t, err)
	require.False(t, page.Freshness.Stale, "what is published here is here at once")
	require.Equal(t, now(), page.Freshness.AsOf)
}

func TestPublishingIsRepeatable(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	d := draft("x", grace, ada, grace)
	m, created, err := s.Publish(t.Context(), d)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, 2, m.Recipients, "each once")
	same, created, err := s.Publish(t.Context(), draft("x", ada, grace))
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, m.ID, same.ID)
	_, created, err = s.Publish(t.Context(), d)
	require.NoError(t, err)
	require.False(t, created)
	_, _, err = s.Publish(t.Context(), draft("x", ada))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.Zero(t, w.called("StartDelivery"))
}

func TestTheSourceOfTheCustomersOwnFeedIsNobodyElses(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		_, _, err := s.Publish(t.Context(), own("forged"))
		f, is := fault.As(err)
		require.True(t, is)
		require.Equal(t, fault.Invalid, f.Kind)
		require.Len(t, f.Fields, 1)
		require.Equal(t, []string{"source", "reserved_source"}, []string{f.Fields[0].Path, f.Fields[0].Code})
		require.Empty(t, w.messages)
		p.own = []inbox.Draft{own("theirs")}
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"theirs"}, titles(t, page.Messages), "which goes on publishing under it")
	})
}

// The name is what the store looks for first: it must be a name before that.
func TestABrokenNameIsNamed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, _ *platform, s *appinbox.Service) {
		d := draft("x")
		d.ExternalID = "a\x00b"
		_, _, err := s.Publish(t.Context(), d)
		f, is := fault.As(err)
		require.True(t, is, err)
		require.Equal(t, []string{"external_id", "invalid_id"}, []string{f.Fields[0].Path, f.Fields[0].Code})
		require.Zero(t, w.called("PublishMessage"))
	})
}

func TestAMessageToManyIsDelivered(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	started := make(chan ports.Delivery, 3)
	s := serve(t, w, func(c *appinbox.Config) { c.Deliveries = deliveries(started) })
	m, _, err := s.Publish(t.Context(), draft("many", ada, grace, "eve"))
	require.NoError(t, err)
	bringIn := ports.Delivery{Message: m.ID, Task: ports.BringingIn, Recipients: 3}
	require.Equal(t, bringIn, <-started)
	_, err = s.ResumeDeliveries(t.Context())
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "what could not be started is, with the next sweep")
	require.Equal(t, bringIn, <-started)
	_, err = s.Retract(t.Context(), m.ID)
	require.NoError(t, err)
	takeOut := ports.Delivery{Message: m.ID, Task: ports.TakingOut, Recipients: 3}
	require.Equal(t, takeOut, <-started, "it is taken out the same way")
	is, err := s.Delivery(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, takeOut, is)
	_, err = s.Delivery(t.Context(), 1<<40)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	got, err := s.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.False(t, got.RetractedAt.IsZero())
	n, err := serve(t, w).ResumeDeliveries(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = s.CleanUp(t.Context())
	require.NoError(t, err)
}

type deliveries chan ports.Delivery

func (d deliveries) StartDelivery(_ context.Context, started ports.Delivery) error {
	d <- started
	return fault.New(fault.Unavailable, "unavailable", "Temporal is down")
}

func TestTheCatalogueIsReadAndChanged(t *testing.T) {
	t.Parallel()
	now, _ := clock()
	w := newWorld(now)
	s := serve(t, w)
	_, created, err := s.PutTarget(t.Context(), target(t, "sale", "app://sale", true))
	require.NoError(t, err)
	require.True(t, created)
	got, err := s.Target(t.Context(), "sale")
	require.NoError(t, err)
	require.Equal(t, "app://sale", got.Pattern.String())
	all, err := s.Targets(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, s.DeleteTarget(t.Context(), "sale"))
	_, err = s.Target(t.Context(), "sale")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
