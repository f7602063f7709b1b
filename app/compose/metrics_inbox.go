package compose

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// inboxes measures how fresh and how right what is shown is.
type inboxes struct {
	answers  map[bool]prometheus.Counter // by whether they were stale
	pulls    *prometheus.CounterVec
	links    *prometheus.CounterVec
	repaired prometheus.Counter
}

func newInboxes(reg prometheus.Registerer) *inboxes {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_inbox_answers_total",
		Help: "Pages and counts of an inbox that were answered, by whether they had to say that they are stale."}, []string{"stale"})
	i := &inboxes{answers: map[bool]prometheus.Counter{},
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_campaign_pulls_total",
			Help: "Readings of the campaign feed that came to its end (complete) or failed."}, []string{"outcome"}),
		links: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_deeplink_refusals_total",
			Help: "Messages refused for a link that leads nowhere, by where they came from (api, feed). One from the feed is tried again, and counts each time."}, []string{"via"}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{Name: "accord_inbox_counts_repaired_total",
			Help: "Inboxes whose counts differed from their list and were put right. None should."})}
	for _, stale := range []bool{false, true} {
		i.answers[stale] = answers.WithLabelValues(strconv.FormatBool(stale))
	}
	for _, outcome := range []string{"complete", "failed"} {
		i.pulls.WithLabelValues(outcome)
	}
	for _, via := range []string{"api", "feed"} {
		i.links.WithLabelValues(via)
	}
	reg.MustRegister(answers, i.pulls, i.links, i.repaired)
	return i
}

const deadLink = "deeplink-inactive" // the code of the refusal

// measuredInbox counts answers.
type measuredInbox struct {
	ports.Inbox
	i *inboxes
}

// Feed implements ports.Inbox.
func (m measuredInbox) Feed(ctx context.Context, q ports.FeedQuery) (ports.FeedPage, error) {
	page, err := m.Inbox.Feed(ctx, q)
	m.i.answered(page.Freshness, err)
	return page, err
}

// Refresh implements ports.Inbox.
func (m measuredInbox) Refresh(ctx context.Context, q ports.FeedQuery) (ports.FeedPage, error) {
	page, err := m.Inbox.Refresh(ctx, q)
	m.i.answered(page.Freshness, err)
	return page, err
}

// Counts implements ports.Inbox.
func (m measuredInbox) Counts(ctx context.Context, viewer inbox.Viewer) (ports.InboxState, error) {
	state, err := m.Inbox.Counts(ctx, viewer)
	m.i.answered(state.Freshness, err)
	return state, err
}

func (i *inboxes) answered(f ports.Freshness, err error) {
	if err == nil {
		i.answers[f.Stale].Inc()
	}
}

// measuredMessages counts links that lead nowhere.
type measuredMessages struct {
	ports.Messages
	i *inboxes
}

// Publish implements ports.Messages.
func (m measuredMessages) Publish(ctx context.Context, d inbox.Draft) (ports.StoredMessage, bool, error) {
	stored, created, err := m.Messages.Publish(ctx, d)
	m.i.refused(err)
	return stored, created, err
}

// Edit implements ports.Messages.
func (m measuredMessages) Edit(ctx context.Context, id inbox.MessageID, edit func(inbox.Message) (inbox.Edit, error)) (ports.StoredMessage, error) {
	stored, err := m.Messages.Edit(ctx, id, edit)
	m.i.refused(err)
	return stored, err
}

func (i *inboxes) refused(err error) {
	if f, is := fault.As(err); is && f.Code == deadLink {
		i.links.WithLabelValues("api").Inc()
	}
}

// measuredFeeds counts readings of the campaign feed.
type measuredFeeds struct {
	ports.Feeds
	i *inboxes
}

// Advance implements ports.Feeds.
func (m measuredFeeds) Advance(ctx context.Context, name, from, to string, complete time.Time) (bool, error) {
	moved, err := m.Feeds.Advance(ctx, name, from, to, complete)
	if moved && !complete.IsZero() {
		m.i.pulls.WithLabelValues("complete").Inc()
	}
	return moved, err
}

// Failed implements ports.Feeds.
func (m measuredFeeds) Failed(ctx context.Context, name, code string, at time.Time) error {
	m.i.pulls.WithLabelValues("failed").Inc()
	return m.Feeds.Failed(ctx, name, code, at)
}

// Refuse implements ports.Feeds.
func (m measuredFeeds) Refuse(ctx context.Context, r ports.Refusal) error {
	if r.Code == deadLink {
		m.i.links.WithLabelValues("feed").Inc()
	}
	return m.Feeds.Refuse(ctx, r)
}

// measuredUpkeep counts what had to be put right.
type measuredUpkeep struct {
	ports.InboxUpkeep
	i *inboxes
}

// CleanUp implements ports.InboxUpkeep.
func (m measuredUpkeep) CleanUp(ctx context.Context) (ports.CleanedUp, error) {
	out, err := m.InboxUpkeep.CleanUp(ctx)
	m.i.repaired.Add(float64(out.Repaired))
	return out, err
}

// watchCampaigns shows how old what was read of the campaign feed is, asking the database at each scrape. A feed that was
// never read to its end is as old as this process.
func (m *metrics) watchCampaigns(feeds ports.Feeds) {
	began := time.Now()
	m.registry.MustRegister(&asked{name: "accord_campaign_pull_age_seconds",
		help: "Time since the campaign feed was last read to its end.", ask: func(ctx context.Context) (float64, error) {
			state, err := feeds.Feed(ctx, ports.CampaignsName)
			if state.PulledAt.IsZero() {
				state.PulledAt = began
			}
			return time.Since(state.PulledAt).Seconds(), err
		}})
}
