package inbox_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	appinbox "accord/app/inbox"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

func TestRefreshAsksUpstreamNow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		_, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		passes(2 * time.Second)
		p.set(func() { p.own, p.pages = []inbox.Draft{own("own")}, []ports.CampaignPage{campaigns(draft("campaign"))} })
		q := first(adasInbox)
		q.Cursor, q.Held = "of a later page", []string{"x"}
		page, err := s.Refresh(t.Context(), q)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"own", "campaign"}, titles(t, page.Messages))
		require.False(t, page.Freshness.Stale)
		require.Equal(t, time.Now().UTC(), page.Freshness.AsOf)

		passes(2 * time.Second)
		p.set(func() { p.takes = 10 * time.Minute })
		began := time.Now()
		page, err = s.Refresh(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, page.Messages, 2)
		require.Equal(t, 3*time.Second, time.Since(began), "and answers what is here when upstream does not")
	})
}

func TestARefreshIsNotContentWithWhatWasAskedBeforeIt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.takes = 500 * time.Millisecond
		_, err := s.Feed(t.Context(), first(adasInbox)) // reads on in the background
		require.NoError(t, err)
		asked := make(chan struct{})
		p.set(func() {
			p.asks = sync.OnceFunc(func() { close(asked) })
		})
		passes(100 * time.Millisecond)
		page, err := s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		<-asked
		require.Equal(t, 2, p.times("ada"))
		require.False(t, page.Freshness.Stale)
	})
}

func TestRefreshIsLimitedPerViewer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		device := inbox.InstallationViewer(tablet)
		for _, viewer := range []inbox.Viewer{adasInbox, device} {
			for range 5 {
				_, err := s.Refresh(t.Context(), first(viewer))
				require.NoError(t, err)
			}
			_, err := s.Refresh(t.Context(), first(viewer))
			require.Equal(t, fault.Throttled, fault.KindOf(err))
		}
		passes(5 * time.Second)
		_, err := s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		_, err = s.Refresh(t.Context(), first(adasInbox))
		require.Equal(t, fault.Throttled, fault.KindOf(err))
		asked := p.times("campaigns")
		for range 20 {
			_, err := s.Refresh(t.Context(), first(nobody))
			require.NoError(t, err)
		}
		require.Equal(t, asked, p.times("campaigns"), "for callers nobody knows, once a second")
	})
}

func TestARefreshAsksUpstreamRightAfterAFailure(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.err = upstreamDown()
		_, err := s.Feed(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, 1, p.times("ada"))
		p.set(func() { p.err, p.own = nil, []inbox.Draft{own("one")} })
		page, err := s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, titles(t, page.Messages))
		require.False(t, page.Freshness.Stale)
		require.Equal(t, 2, p.times("ada"))

		// Nor does a pull hold it back that another process has begun, and never ends.
		passes(time.Second)
		claimed, err := w.ClaimPull(t.Context(), ada, time.Now(), time.Now())
		require.NoError(t, err)
		require.True(t, claimed)
		p.set(func() { p.own = []inbox.Draft{own("one"), own("two")} })
		page, err = s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Len(t, page.Messages, 2)
	})
}

func TestARefreshThatJoinsAPullUnderWayThatFailsAsksOnceMore(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.takes, p.err = time.Second, upstreamDown()
		var wg sync.WaitGroup
		wg.Go(func() { // both feeds are being read
			_, err := s.Refresh(t.Context(), first(adasInbox))
			require.NoError(t, err)
		})
		passes(500 * time.Millisecond)
		p.set(func() {
			p.err, p.own, p.pages = nil, []inbox.Draft{own("own")}, []ports.CampaignPage{campaigns(draft("campaign"))}
		})
		page, err := s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"own", "campaign"}, titles(t, page.Messages))
		require.False(t, page.Freshness.Stale)
		wg.Wait()
		require.Equal(t, []int{2, 2}, []int{p.times("ada"), p.times("campaigns")})
	})
}

func TestARefreshDoesNotTakeAReaderForAPullWhoIsHeldBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world, p *platform, s *appinbox.Service) {
		p.own = []inbox.Draft{own("one")}
		claimed, err := w.ClaimPull(t.Context(), ada, time.Now(), time.Now()) // another process is reading
		require.NoError(t, err)
		require.True(t, claimed)
		w.then("ClaimPull", func() { passes(100 * time.Millisecond) })
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := s.Feed(t.Context(), first(adasInbox))
			require.NoError(t, err)
		})
		page, err := s.Refresh(t.Context(), first(adasInbox))
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, titles(t, page.Messages))
		wg.Wait()
		require.Equal(t, 1, p.times("ada"))
	})
}
