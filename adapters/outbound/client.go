package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"accord/ports"
)

// Client calls one vendor. It is safe for concurrent use.
type Client struct {
	cfg     Config
	policy  policy
	http    *http.Client
	limit   *rate.Limiter
	breaker *gobreaker.CircuitBreaker[ports.VendorAnswer]
}

var _ ports.VendorAPI = (*Client)(nil)

// New checks the configuration and reports every problem with it at once. It connects to nothing.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("outbound calls to %q: %w", cfg.Target, err)
	}
	cfg = cfg.withDefaults()
	cfg.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	limit := rate.Inf
	if cfg.Rate > 0 {
		limit = rate.Limit(cfg.Rate)
	}
	return &Client{
		cfg: cfg,
		policy: policy{
			target: cfg.Target, credentials: cfg.CredentialStatuses, maxRetryAfter: cfg.MaxRetryAfter, now: cfg.Clock,
		},
		http: &http.Client{
			Transport: cfg.Transport,
			// A redirect could take our credentials and a customer's data to another host. No vendor API redirects.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit:   rate.NewLimiter(limit, cfg.Burst),
		breaker: newBreaker(cfg),
	}, nil
}

func newBreaker(cfg Config) *gobreaker.CircuitBreaker[ports.VendorAnswer] {
	buckets := 10
	return gobreaker.NewCircuitBreaker[ports.VendorAnswer](gobreaker.Settings{
		Name:         string(cfg.Target),
		Interval:     cfg.Breaker.Window,
		BucketPeriod: cfg.Breaker.Window / time.Duration(buckets),
		Timeout:      cfg.Breaker.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			ended := float64(c.TotalSuccesses) + float64(c.TotalFailures) // c.Requests has those under way in it
			return ended >= float64(cfg.Breaker.MinCalls) && float64(c.TotalFailures) >= cfg.Breaker.FailureRatio*ended
		},
		IsSuccessful: func(err error) bool { return health(err) != vendorDown },
		IsExcluded:   func(err error) bool { return health(err) == saysNothing },
		OnStateChange: func(name string, from, to gobreaker.State) {
			cfg.Logger.Warn("circuit breaker", "target", name, "from", from.String(), "to", to.String())
		},
	})
}

// BreakerOpen reports that calls are being refused because the vendor is down, or one is let through to see.
func (c *Client) BreakerOpen() bool { return c.breaker.State() != gobreaker.StateClosed }

// CloseIdleConnections lets go of pooled connections, for shutting down.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Call sends one request. See ports.VendorAPI. It returns ctx.Err() when ctx itself has ended, and a *ports.TargetError
// for every other failure, its own per-call time-out among them.
func (c *Client) Call(ctx context.Context, call ports.VendorCall) (ports.VendorAnswer, error) {
	start := time.Now()
	ctx, span := c.startSpan(ctx, call)
	answer, err := c.breaker.Execute(func() (ports.VendorAnswer, error) {
		if err := c.waitForRate(ctx); err != nil {
			return ports.VendorAnswer{}, err
		}
		return c.send(ctx, call)
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = c.policy.circuitOpen()
	}
	endSpan(span, answer.Status, c.note(ctx, call, answer, err, time.Since(start)))
	return answer, err
}

// waitForRate takes a turn within our own rate limit, or fails at once when that would take too long.
func (c *Client) waitForRate(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	turn := c.limit.Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); wait > c.cfg.MaxWait || ok && time.Until(deadline) < wait {
		turn.Cancel()
		return c.policy.limitedLocally()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() // a process that stood still meanwhile may have been replaced; only Err looks at the clock
	case <-ctx.Done():
		turn.Cancel()
		return ctx.Err()
	}
}

func (c *Client) send(ctx context.Context, call ports.VendorCall) (ports.VendorAnswer, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	sent := &sending{}
	req, err := c.request(httptrace.WithClientTrace(bounded, sent.trace()), call)
	if err != nil {
		return ports.VendorAnswer{}, c.policy.unsendable(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ports.VendorAnswer{}, ctx.Err()
		}
		return ports.VendorAnswer{}, c.policy.noAnswer(call, err, sent.begun(err))
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	answer := ports.VendorAnswer{Status: resp.StatusCode, Header: resp.Header}
	if failure := c.policy.status(call, resp); failure != nil {
		return answer, failure
	}
	if resp.StatusCode/100 != 2 { // one of call.Expect
		if call.Declined == nil {
			return answer, nil
		}
		// What cannot be decoded tells the caller as much as nothing at all.
		if decode(resp.Body, resp.StatusCode, c.cfg.MaxBody, call.Declined) != nil && ctx.Err() != nil {
			return answer, ctx.Err()
		}
		return answer, nil
	}
	if err := decode(resp.Body, resp.StatusCode, c.cfg.MaxBody, call.Out); err != nil {
		if ctx.Err() != nil {
			return answer, ctx.Err()
		}
		return answer, c.policy.badBody(call, resp.StatusCode, err)
	}
	return answer, nil
}

// sending knows whether a request can have left this machine.
type sending struct{ asked, connected atomic.Bool }

func (s *sending) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	}
}

// begun reports whether the vendor may have seen some of the request. A transport that does not trace is believed only
// when it says that it could not dial.
func (s *sending) begun(err error) bool {
	if s.asked.Load() {
		return s.connected.Load()
	}
	return !dialFailed(err)
}

// outcomeOK is a call that went well; any other outcome is the code of its failure, or "cancelled".
const outcomeOK = "ok"

func (c *Client) note(ctx context.Context, call ports.VendorCall, answer ports.VendorAnswer, err error, took time.Duration) (outcome string) {
	outcome = outcomeOK
	if failure, is := ports.AsTargetError(err); is {
		outcome = failure.Code
	} else if err != nil {
		outcome = "cancelled"
	}
	c.cfg.Observe(c.cfg.Target, outcome, took)
	// No path, no query, no header: any of them may hold a customer's id, a token or our key.
	c.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "vendor call", slog.String("target", string(c.cfg.Target)),
		slog.String("call", call.Name), slog.String("method", call.Method), slog.Int("status", answer.Status),
		slog.String("outcome", outcome), slog.Duration("took", took))
	return outcome
}
