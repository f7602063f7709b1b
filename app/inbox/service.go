// Package inbox holds the use cases around the in-app inbox: reading a feed that is exact and fresh, saying what was done
// with its messages, publishing them and taking them from upstream. The rules are the domain's; here they are put together.
package inbox

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use cases need. Campaigns and Customers may be nil: then there is no such feed upstream. Everything
// else without a default is mandatory.
type Config struct {
	Inboxes    ports.Inboxes
	Globals    ports.Globals
	Messages   ports.MessageStore
	Feeds      ports.Feeds
	Campaigns  ports.CampaignFeed
	Customers  ports.CustomerFeed
	Deliveries ports.Deliveries
	Cards      ports.Cards
	Now        func() time.Time
	Logger     *slog.Logger
	Limits     Limits
}

// Limits bound time and numbers. What is zero takes the default.
type Limits struct {
	MaxAge         time.Duration // how old a feed may be before it says that it is stale; default 60 s
	OwnTTL         time.Duration // a customer's own feed upstream is read again when it is older; default 30 s
	OwnBackoff     time.Duration // and not sooner than this after an attempt that failed; default 5 s
	PullBudget     time.Duration // how long a reader waits for that; it goes on in the background; default 300 ms
	PullTimeout    time.Duration // how long reading a feed upstream may take in all; default 10 s
	Pulls          int           // customers' feeds read at once in this process, default 32
	CampaignPages  int           // pages of the campaign feed in one go, default 50
	RefreshBudget  time.Duration // how long a refresh waits for upstream, default 3 s
	RefreshEvery   time.Duration // one more refresh per viewer after this long, default 5 s
	RefreshBurst   int           // so many at once, default 5
	GlobalAge      time.Duration // how old the version that anonymous callers are answered with may be, default 10 ms
	GlobalRetry    time.Duration // and how soon the database is asked again when it did not answer, default 250 ms
	GlobalTimeout  time.Duration // how long they wait for the database before they get what is known, default 1 s
	Inline         int           // recipients who get a message before Publish returns, default 1000
	Retention      time.Duration // how long a message that has ended is known to those who ask for changes, default 7 days
	CleanUpBatch   int           // rows of each kind, default 5000
	DeliveryWaits  time.Duration // a delivery without progress for so long is started again, default 30 s
	RefusedRetries int           // refused campaigns tried again in each pull, default 100
}

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxAge: cmp.Or(l.MaxAge, time.Minute), OwnTTL: cmp.Or(l.OwnTTL, 30*time.Second), OwnBackoff: cmp.Or(l.OwnBackoff, 5*time.Second),
		PullBudget: cmp.Or(l.PullBudget, 300*time.Millisecond), PullTimeout: cmp.Or(l.PullTimeout, 10*time.Second), Pulls: cmp.Or(l.Pulls, 32),
		CampaignPages: cmp.Or(l.CampaignPages, 50), RefreshBudget: cmp.Or(l.RefreshBudget, 3*time.Second),
		RefreshEvery: cmp.Or(l.RefreshEvery, 5*time.Second), RefreshBurst: cmp.Or(l.RefreshBurst, 5),
		GlobalAge: cmp.Or(l.GlobalAge, 10*time.Millisecond), GlobalRetry: cmp.Or(l.GlobalRetry, 250*time.Millisecond),
		GlobalTimeout: cmp.Or(l.GlobalTimeout, time.Second), Inline: cmp.Or(l.Inline, 1000), Retention: cmp.Or(l.Retention, 7*24*time.Hour),
		CleanUpBatch: cmp.Or(l.CleanUpBatch, 5000), DeliveryWaits: cmp.Or(l.DeliveryWaits, 30*time.Second),
		RefusedRetries: cmp.Or(l.RefusedRetries, 100),
	}
}

// Service implements ports.Inbox, ports.Messages, ports.LinkTargets and ports.InboxUpkeep. Safe for concurrent use.
type Service struct {
	cfg       Config
	globals   *globals
	own       *ownPulls
	campaigns flight[ports.CampaignPull]
	pulledAt  atomic.Int64 // when the last pull of the campaigns began that this process has finished
	refreshes *limiter
	tasks     *tasks
}

var (
	_ ports.Inbox       = (*Service)(nil)
	_ ports.Messages    = (*Service)(nil)
	_ ports.LinkTargets = (*Service)(nil)
	_ ports.InboxUpkeep = (*Service)(nil)
)

// New makes the service; it does no I/O. Close it to end what runs in the background.
func New(cfg Config) *Service {
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Service{cfg: cfg, tasks: newTasks(), refreshes: newLimiter(cfg.Limits.RefreshEvery, cfg.Limits.RefreshBurst)}
	s.globals = &globals{source: cfg.Globals, now: cfg.Now, limits: cfg.Limits, tasks: s.tasks}
	s.own = &ownPulls{open: map[preference.CustomerID]*call[bool]{}, tries: newLimiter(min(cfg.Limits.OwnBackoff, cfg.Limits.OwnTTL), 1),
		slots: make(chan struct{}, cfg.Limits.Pulls)}
	return s
}

// Close ends what runs in the background and waits for it. What was not finished is found again: a customer's feed by the
// next reader, a delivery by the sweep.
func (s *Service) Close() { s.tasks.close() }

// tasks are what goes on when the request that began it does not wait any more.
type tasks struct {
	ctx     context.Context // ends with the service
	cancel  context.CancelFunc
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func newTasks() *tasks {
	t := &tasks{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// start runs fn with the values of ctx (for logs and traces), but for as long as the limit and the service allow, not the
// request. It answers false when the service is closed.
func (t *tasks) start(ctx context.Context, limit time.Duration, fn func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		defer context.AfterFunc(t.ctx, cancel)() //nolint:contextcheck // the service's end, not the request's
		fn(ctx)
	})
	return true
}

func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.running.Wait()
}

func errUnavailable() error {
	return fault.New(fault.Unavailable, "unavailable", "the inbox can't be read now; try again")
}

// freshness of what was read: the oldest of what it stands on. confirmed is when the database was asked.
func (s *Service) freshness(viewer inbox.Viewer, now, confirmed, campaigns, own time.Time) ports.Freshness {
	asOf := confirmed
	if s.cfg.Campaigns != nil && campaigns.Before(asOf) {
		asOf = campaigns
	}
	if s.cfg.Customers != nil && viewer.Customer != "" && own.Before(asOf) {
		asOf = own
	}
	if asOf.IsZero() {
		return ports.Freshness{Stale: true}
	}
	// Rounded down it stays true, and within a second the answer stays the same.
	asOf = asOf.Truncate(time.Second).UTC()
	until := asOf.Add(s.cfg.Limits.MaxAge)
	return ports.Freshness{AsOf: asOf, FreshUntil: until, Stale: now.After(until)}
}
