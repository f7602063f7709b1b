package inbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	appinbox "accord/app/inbox"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// platform is the engagement platform: one customer's feed, and campaigns in pages.
type platform struct {
	mu    sync.Mutex
	own   []inbox.Draft
	pages []ports.CampaignPage // the cursor is the number of pages read
	takes time.Duration
	err   error
	asked map[string]int
	asks  func() // before it answers
}

func (p *platform) answer(ctx context.Context, what string) error {
	p.mu.Lock()
	takes, err, asks := p.takes, p.err, p.asks
	if p.asked == nil {
		p.asked = map[string]int{}
	}
	p.asked[what]++
	p.mu.Unlock()
	if asks != nil {
		asks()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(takes):
		return err
	}
}

func (p *platform) times(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[what]
}

func (p *platform) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *platform) Source() string { return "platform" }

func (p *platform) CustomerMessages(ctx context.Context, c preference.CustomerID) ([]inbox.Draft, error) {
	if err := p.answer(ctx, string(c)); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.own), nil
}

func (p *platform) Campaigns(ctx context.Context, cursor string) (ports.CampaignPage, error) {
	if err := p.answer(ctx, "campaigns"); err != nil {
		return ports.CampaignPage{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var at int
	_, _ = fmt.Sscan(cursor, &at)
	if at >= len(p.pages) {
		return ports.CampaignPage{Next: cursor}, nil
	}
	page := p.pages[at]
	page.Next, page.More = fmt.Sprint(at+1), at+1 < len(p.pages)
	return page, nil
}

func own(name string, c ...preference.CustomerID) inbox.Draft {
	d := draft(name, append(c, ada)[:1]...)
	d.Source = "platform"
	return d
}

func campaigns(drafts ...inbox.Draft) (page ports.CampaignPage) {
	for _, d := range drafts {
		page.Campaigns = append(page.Campaigns, ports.Campaign{Draft: d})
	}
	return page
}

func upstreamDown() error {
	return &ports.TargetError{Target: "engagement", Class: ports.Transient, Code: "timeout"}
}

// passes lets time pass, in a bubble.
func passes(d time.Duration) { <-time.After(d) }

// bubble is a test in which time passes only while everybody waits.
func bubble(t *testing.T, test func(t *testing.T, w *world, p *platform, s *appinbox.Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(time.Now), &platform{}
		test(t, w, p, serve(t, w, func(c *appinbox.Config) { c.Customers, c.Campaigns = p, p }))
	})
}

func TestACustomersFeedIsReadWhenItIsOlderThanItsTTL(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.own = []inbox.Draft{own("one")}
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, titles(t, page.Messages), "in the answer to the very first reader")
		passes(29 * time.Second)
		p.set(func() { p.own = []inbox.Draft{own("one"), own("two")} })
		page, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Len(t, page.Messages, 1)
		passes(time.Second + time.Microsecond)
		writes := w.called("PublishMessage") + w.called("EditMessage")
		page, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Len(t, page.Messages, 2)
		require.Equal(t, writes+1, w.called("PublishMessage")+w.called("EditMessage"), "what has not changed is not written")
		require.Equal(t, 2, p.times("ada"))
		_, err = s.Feed(t.Context(), first(inbox.InstallationViewer(tablet)))
		require.NoError(t, err)
		_, err = s.Feed(t.Context(), first(nobody))
		require.NoError(t, err)
		require.Equal(t, 2, p.times("ada"))
	})
}

func TestAReaderDoesNotWaitForASlowUpstreamWhichGoesOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.own, p.takes = []inbox.Draft{own("one")}, time.Second
		began := time.Now()
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Empty(t, page.Messages)
		require.True(t, page.Freshness.Stale, "nothing was ever read")
		require.Equal(t, 300*time.Millisecond, time.Since(began))
		_, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, 300*time.Millisecond, time.Since(began), "who comes later does not wait as long again")
		passes(time.Second)
		page, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, titles(t, page.Messages))
		require.Equal(t, 1, p.times("ada"))
	})
}

func TestOneFlightPerCustomer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.own, p.takes = []inbox.Draft{own("one")}, 100*time.Millisecond
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				page, err := s.Feed(t.Context(), first(adasInbox))
				require.NoError(t, err)
				require.Len(t, page.Messages, 1)
			})
		}
		other := serve(t, w, func(c *appinbox.Config) { c.Customers = p })
		wg.Go(func() {
			passes(50 * time.Millisecond)
			_, err := other.Feed(t.Context(), first(adasInbox))
			require.NoError(t, err)
		})
		wg.Wait()
		require.Equal(t, 1, p.times("ada"), "in all processes together")
	})
}

func TestAFeedThatFailsIsTriedAgainAfterAWhileAndSaidToBeStale(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.own = []inbox.Draft{own("one")}
		_, err := s.PullCampaigns(t.Context())
		require.NoError(t, err)
		_, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		p.set(func() { p.err = upstreamDown() })
		passes(45 * time.Second)
		for range 5 {
			page, err := s.Feed(t.Context(), first(adasInbox))
			require.NoError(t, err)
			require.Len(t, page.Messages, 1)
			require.False(t, page.Freshness.Stale)
		}
		require.Equal(t, 2, p.times("ada"), "not with each reader")
		claims := w.called("ClaimPull")
		require.Equal(t, 2, claims)
		passes(16 * time.Second)
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.True(t, page.Freshness.Stale)
		require.Equal(t, page.Freshness.AsOf.Add(time.Minute), page.Freshness.FreshUntil)
		require.Equal(t, 3, p.times("ada"))
		require.Equal(t, claims+1, w.called("ClaimPull"))
	})
}

func TestUpstreamDownIsStaleNotAnError(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.pages = []ports.CampaignPage{campaigns(draft("campaign"))}
		out, err := s.PullCampaigns(t.Context())
		require.NoError(t, err)
		require.True(t, out.Complete)
		p.set(func() { p.err = upstreamDown() })
		passes(61 * time.Second)
		for _, viewer := range []inbox.Viewer{nobody, adasInbox} {
			page, err := s.Refresh(t.Context(), first(viewer))
			require.NoError(t, err)
			require.True(t, page.Freshness.Stale)
			require.Len(t, page.Messages, 1)
		}
		require.Contains(t, w.failures, "timeout")
		p.set(func() { p.err = nil })
		passes(time.Second)
		page, err := s.Refresh(t.Context(), first(nobody))
		require.NoError(t, err)
		require.False(t, page.Freshness.Stale)
	})
}

func TestWhatUpstreamDoesNotListAnyMoreHasEnded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		w.elsewhere(t, "by another source", ada)
		p.own = []inbox.Draft{own("stays"), own("ends")}
		_, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		passes(31 * time.Second)
		p.set(func() {
			p.own = []inbox.Draft{own("stays")}
			// Meanwhile another process finds one that this answer does not have yet.
			p.asks = sync.OnceFunc(func() {
				d := own("just found")
				_, _, err := w.PublishMessage(context.Background(), d.Source, d.ExternalID, d.Recipients, inline, d.Publish)
				require.NoError(t, err)
			})
		})
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"by another source", "stays", "just found"}, titles(t, page.Messages))
	})
}

func TestUpstreamCanGiveACustomerOnlyTheCustomersOwn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		global := draft("global")
		global.Source = "platform"
		p.own = []inbox.Draft{own("for grace", grace), global, linked("app://nowhere", own("dead")), own("mine")}
		page, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"mine"}, titles(t, page.Messages))
		require.Len(t, w.messages, 1)
		require.Empty(t, w.refusals, "they are tried again with the next read")
		require.Equal(t, 1, w.called("Pulled"))
	})
}

func TestClosingEndsWhatGoesOnInTheBackground(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.takes = time.Hour
		_, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		began := time.Now()
		s.Close()
		require.Zero(t, time.Since(began))
		require.Zero(t, w.called("Pulled"))
		_, err = s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err, "what needs nothing in the background is still answered")
	})
}

func TestADatabaseThatDoesNotAnswerKeepsAnonymousReadersForASecondOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		_, err := s.Feed(t.Context(), first(nobody))
		require.NoError(t, err)
		passes(time.Second)
		w.then("GlobalHead", func() { passes(5 * time.Second) })
		began := time.Now()
		_, err = s.Feed(t.Context(), first(nobody))
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(began))
		_, err = s.Feed(t.Context(), first(nobody))
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(began))
		passes(10 * time.Second)
	})
}
