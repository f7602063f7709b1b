// Package preferences holds the use cases around a customer's preferences: reading them, changing them and answering
// for them. The rules are the domain's, the saga is the workflow's; here they are put together.
package preferences

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use cases need. All of it is mandatory.
type Config struct {
	Accounts    ports.Accounts
	Operations  ports.Operations
	Devices     ports.Devices
	Ledger      ports.Ledger
	Outcomes    ports.Outcomes
	Runs        ports.Runs
	Catalogue   *preference.Catalogue
	GrantBudget time.Duration // how long a grant may take before it is compensated
	// A registration that says nothing new is passed over for this long since the last one that was not; 0 for never.
	RefreshAfter time.Duration
	StaleAfter   time.Duration // a device that nothing was heard of for this long is taken away
	Now          func() time.Time
	NewID        func() string // unique, and roughly in order of time
	Logger       *slog.Logger
}

// Service implements ports.Preferences, ports.Operators and ports.DeviceUpkeep.
type Service struct {
	Config
	starts   chan queued
	stop     context.CancelFunc
	workers  sync.WaitGroup
	draining chan struct{} // closed when nobody shall wait for an outcome any more
	drain    func()
}

var (
	_ ports.Preferences = (*Service)(nil)
	_ ports.Operators   = (*Service)(nil)
)

// Starts handed over by requests that do not wait: how many at once, and how many may be queued before the sweeper has
// to take the rest.
const (
	starters   = 4
	startQueue = 1024
)

// queued is a run to be started beside the request. ctx has the request's values, for logs and traces, but not its end.
type queued struct {
	ctx context.Context
	run ports.Run
}

// New makes the service. Close it to end its goroutines.
func New(cfg Config) *Service {
	ctx, stop := context.WithCancel(context.Background())
	draining := make(chan struct{})
	s := &Service{Config: cfg, starts: make(chan queued, startQueue), stop: stop, draining: draining,
		drain: sync.OnceFunc(func() { close(draining) })}
	for range starters {
		s.workers.Go(func() { s.startQueued(ctx) })
	}
	return s
}

// StopWaiting answers everybody who waits for an outcome with how far it is: their changes go on without this process.
func (s *Service) StopWaiting() { s.drain() }

// Close ends the goroutines. What was not started by then is the sweeper's.
func (s *Service) Close() {
	s.stop()
	s.workers.Wait()
}

func (s *Service) startQueued(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-s.starts:
			until, cancel := context.WithCancel(q.ctx)
			ended := context.AfterFunc(ctx, cancel)
			s.start(until, q.run) //nolint:contextcheck // the request's values, this service's end
			ended()
			cancel()
		}
	}
}

// start logs a failure and leaves the rest to the sweeper.
func (s *Service) start(ctx context.Context, r ports.Run) {
	if err := s.Runs.Start(ctx, r); err != nil && ctx.Err() == nil {
		s.Logger.WarnContext(ctx, "run not started; the sweeper will", "operation", r.Operation, "error", err)
	}
}

// View implements ports.Preferences.
func (s *Service) View(ctx context.Context, customer preference.CustomerID) (ports.PreferenceView, error) {
	acc, err := s.Accounts.Load(ctx, customer)
	if err != nil {
		return ports.PreferenceView{}, err
	}
	return viewOf(acc.Preferences(), acc.Holds(), acc.Tag(), s.Now()), nil
}

// viewOf is what a reader sees at a moment.
func viewOf(p preference.Preferences, holds []preference.Hold, tag string, at time.Time) ports.PreferenceView {
	return ports.PreferenceView{Preferences: p.AsOf(at), Holds: holds, At: at, Tag: preference.TagAt(tag, p, holds, at)}
}

// Audit implements ports.Preferences.
func (s *Service) Audit(ctx context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Line, error) {
	return s.Ledger.Entries(ctx, customer, below, limit)
}

// Operation implements ports.Preferences.
func (s *Service) Operation(ctx context.Context, customer preference.CustomerID, id string) (ports.OperationState, error) {
	op, err := s.Operations.Operation(ctx, id)
	if err != nil {
		return op, err
	}
	if op.Customer != customer {
		return ports.OperationState{}, fault.New(fault.NotFound, "not-found", "no such operation")
	}
	return op, nil
}
