// Package gpc honours Global Privacy Control: when the browser of a signed-in customer sends the signal, what is configured
// is withdrawn, once for each time that the signal begins.
//
// The signal stands from the first request of a browser that carries it to the first that does not. It is acted on when it
// begins; what the customer chooses afterwards holds, though the signal stands on, until it was gone and comes anew. A
// browser is told from the customer's others by its installation id.
package gpc

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use case needs. All of it is mandatory.
type Config struct {
	Store    ports.SignalStore
	Accounts ports.Accounts
	Changes  ports.Preferences
	Email    bool                    // withdraw the e-mail subscription
	Channels []preference.ChannelKey // and these channels
	Count    func(outcome string)    // one of the outcomes; must not block
	Now      func() time.Time
	Logger   *slog.Logger
}

// Outcomes of what was noticed.
const (
	Withdrawn = "withdrawn"  // something was on
	NothingOn = "nothing_on" // a signal has begun and there was nothing to withdraw
	Stands    = "stands"     // acted on before
	Gone      = "gone"       // a signal may have ended
	Failed    = "failed"     // tried again with the next request
	Dropped   = "dropped"    // too much at once; the same
)

const (
	workers   = 4 // each browser has one of them, so that nothing overtakes
	waiting   = 1024
	knownFor  = time.Minute // how long what a browser has said last is not asked of the database again
	maxKnown  = 50_000
	timeLimit = 10 * time.Second
)

// Service implements ports.PrivacySignals.
type Service struct {
	Config
	queues [workers]chan ports.SignalledRequest
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	known map[browser]known
}

type browser struct {
	customer     preference.CustomerID
	installation string
}

type known struct {
	signal bool
	until  time.Time
}

var _ ports.PrivacySignals = (*Service)(nil)

// New makes the service. Close it to end its goroutines.
func New(cfg Config) *Service {
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{Config: cfg, stop: stop, known: map[browser]known{}}
	for i := range s.queues {
		s.queues[i] = make(chan ports.SignalledRequest, waiting)
		s.done.Go(func() { s.work(ctx, s.queues[i]) })
	}
	return s
}

// Close ends the goroutines. What was not done by then is done with the browser's next request.
func (s *Service) Close() {
	s.stop()
	s.done.Wait()
}

// Seen implements ports.PrivacySignals.
func (s *Service) Seen(r ports.SignalledRequest) {
	b := browser{r.Customer, r.Installation}
	if !s.news(b, r.Signal) {
		return
	}
	select {
	case s.queues[queueOf(b)] <- r:
	default:
		s.forget(b)
		s.Count(Dropped)
		s.Logger.Warn("a privacy signal waits for the next request: too many at once", "request_id", r.RequestID)
	}
}

func queueOf(b browser) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(b.customer))
	return int(h.Sum32() % workers)
}

// news reports that a browser says something else than it did, or has not been asked about for some time, and takes note.
func (s *Service) news(b browser, signal bool) bool {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, is := s.known[b]; is && k.signal == signal && now.Before(k.until) {
		return false
	}
	if len(s.known) >= maxKnown {
		clear(s.known) // whoever is there is known again with the next request
	}
	s.known[b] = known{signal: signal, until: now.Add(knownFor)}
	return true
}

func (s *Service) forget(b browser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, b)
}

func (s *Service) work(ctx context.Context, queue <-chan ports.SignalledRequest) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-queue:
			limited, cancel := context.WithTimeout(ctx, timeLimit)
			outcome, err := s.settle(limited, r)
			cancel()
			if err != nil {
				s.forget(browser{r.Customer, r.Installation})
				outcome = Failed
				s.Logger.WarnContext(ctx, "a privacy signal waits for the next request", "request_id", r.RequestID, "error", err)
			}
			s.Count(outcome)
		}
	}
}

// settle acts on what a browser says. What if …
//   - we crash before the withdrawal is accepted: the signal is not marked as honoured, the next request begins again;
//   - we crash after it: the same key finds the same operation.
func (s *Service) settle(ctx context.Context, r ports.SignalledRequest) (outcome string, err error) {
	if !r.Signal {
		return Gone, s.Store.SignalGone(ctx, r.Customer, r.Installation)
	}
	signal, err := s.Store.SignalStands(ctx, r.Customer, r.Installation)
	if err != nil || signal.Honoured {
		return Stands, err
	}
	outcome, err = s.withdraw(ctx, r, signal)
	if err != nil {
		return "", err
	}
	return outcome, s.Store.SignalHonoured(ctx, r.Customer, r.Installation, signal.Since)
}

func (s *Service) withdraw(ctx context.Context, r ports.SignalledRequest, signal ports.PrivacySignal) (outcome string, err error) {
	acc, err := s.Accounts.Load(ctx, r.Customer)
	if err != nil {
		return "", err
	}
	changes, err := s.changes(acc)
	if err != nil {
		return "", err
	}
	for kind, c := range changes {
		key := fmt.Sprintf("gpc/%s/%s/%d", kind, r.Installation, signal.Since.UnixMilli())
		if _, err := s.Changes.Change(ctx, ports.ChangeCommand{Customer: r.Customer, Change: c, Source: preference.FromGPC,
			Actor: consent.Actor{Type: "customer", ID: string(r.Customer)}, Cause: "global-privacy-control",
			Origin: consent.Origin{Source: string(preference.FromGPC), Installation: r.Installation, RequestID: r.RequestID},
			Key:    key, Fingerprint: key}); err != nil {
			return "", err
		}
	}
	if len(changes) == 0 {
		return NothingOn, nil
	}
	return Withdrawn, nil
}

// changes withdraw what is on, or may be soon: a grant that is under way counts. The key of one that is repeated is the
// same, so that it finds what it did before.
func (s *Service) changes(acc *preference.Account) (map[string]preference.Change, error) {
	p := acc.Preferences()
	pending := slices.ContainsFunc(acc.Open(), func(op *preference.Operation) bool { return op.Kind == preference.Grant })
	off := map[preference.ChannelKey]bool{}
	for _, key := range s.Channels {
		if pending || p.Channel(key).Enabled {
			off[key] = false
		}
	}
	out := map[string]preference.Change{}
	var err error
	if len(off) > 0 {
		if out["push"], err = preference.SwitchPush(nil, off, nil); err != nil {
			return nil, err
		}
	}
	if s.Email && (pending || p.Email().Status != preference.Unsubscribed) {
		out["email"], err = preference.SetEmail(preference.Unsubscribed, nil)
	}
	return out, err
}
