package outbound_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/outbound"
	"accord/ports"
)

// vendor answers with the status in the path, and counts.
func vendor(calls *atomic.Int32) http.HandlerFunc {
	statuses := map[string]int{"/ok": 200, "/down": 503, "/no": 422, "/busy": 429, "/key": 401}
	return func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.WriteHeader(statuses[r.URL.Path])
	}
}

func times(t *testing.T, c *outbound.Client, n int, path string) {
	t.Helper()
	for range n {
		_, err := c.Call(t.Context(), write(path))
		if path == "/ok" {
			require.NoError(t, err)
			continue
		}
		got, is := ports.AsTargetError(err)
		require.True(t, is)
		require.NotEqual(t, "circuit_open", got.Code)
	}
}

func TestCircuitOpensWhenTheVendorIsDown(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Breaker.OpenFor = 150 * time.Millisecond })
	times(t, c, 8, "/ok")
	times(t, c, 12, "/down") // 12 of 20
	opened := time.Now()
	before := calls.Load()
	got := failure(t, c, write("/ok"))
	if time.Since(opened) < 150*time.Millisecond { // else the machine slept through it and this was the trial call
		require.Equal(t, &ports.TargetError{Target: "crm", Class: ports.Transient, Code: "circuit_open"}, got)
		require.Equal(t, before, calls.Load(), "an open circuit asks nobody")
	}
	require.Eventually(t, func() bool {
		_, err := c.Call(context.WithoutCancel(t.Context()), write("/ok"))
		return err == nil
	}, 10*time.Second, 5*time.Millisecond, "it tries again by itself")
	times(t, c, 5, "/ok")
}

func TestCircuitStaysClosed(t *testing.T) {
	t.Parallel()
	for name, burst := range map[string]func(*testing.T, *outbound.Client){
		"for too few calls to tell":       func(t *testing.T, c *outbound.Client) { times(t, c, 19, "/down") },
		"for a few customers that fail":   func(t *testing.T, c *outbound.Client) { times(t, c, 20, "/ok"); times(t, c, 29, "/down") },
		"for refusals":                    func(t *testing.T, c *outbound.Client) { times(t, c, 60, "/no") },
		"for 429s":                        func(t *testing.T, c *outbound.Client) { times(t, c, 60, "/busy") },
		"so that a bad key stays in view": func(t *testing.T, c *outbound.Client) { times(t, c, 60, "/key") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Breaker.OpenFor = time.Hour })
			burst(t, c)
			times(t, c, 1, "/ok")
		})
	}
}

func TestCircuitCountsOnlyCallsThatTellSomething(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Breaker.OpenFor = time.Hour })
	times(t, c, 40, "/busy")
	times(t, c, 40, "/key")
	times(t, c, 8, "/ok")
	times(t, c, 12, "/down") // 12 of 20, whatever the other 80 were
	require.Equal(t, "circuit_open", failure(t, c, write("/ok")).Code)
}

func TestCircuitDoesNotCountCallsUnderWay(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	answers := vendor(&calls)
	arrived, release := make(chan struct{}), make(chan struct{})
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
			return
		}
		answers(w, r)
	}, func(cfg *outbound.Config) { cfg.Breaker.OpenFor = time.Hour })
	var slow sync.WaitGroup
	for range 20 {
		slow.Go(func() { _, _ = c.Call(context.WithoutCancel(t.Context()), read("/slow")) })
		<-arrived
	}
	times(t, c, 20, "/down")
	require.Equal(t, "circuit_open", failure(t, c, write("/ok")).Code)
	close(release)
	slow.Wait()
}

func TestCircuitIgnoresCallersWhoGiveUp(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Breaker.OpenFor = time.Hour })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 60 {
		_, err := c.Call(ended, write("/ok"))
		require.ErrorIs(t, err, context.Canceled)
	}
	times(t, c, 1, "/ok")
	require.EqualValues(t, 1, calls.Load())
}

func TestOwnRateLimit(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) {
		cfg.Rate, cfg.Burst, cfg.MaxWait = 0.001, 2, time.Second
	})
	times(t, c, 2, "/ok")
	for range 60 {
		got := failure(t, c, write("/ok"))
		require.Equal(t, "rate_limited_locally", got.Code)
		require.Equal(t, ports.Transient, got.Class)
		require.False(t, got.MaybeDone)
	}
	require.EqualValues(t, 2, calls.Load())
}

func TestOwnRateLimitWaitsALittle(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Rate, cfg.Burst, cfg.MaxWait = 50, 1, time.Minute })
	start := time.Now()
	times(t, c, 6, "/ok")
	require.GreaterOrEqual(t, time.Since(start), 90*time.Millisecond, "five of them had to wait 20 ms each")
}

func TestOwnRateLimitEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Rate, cfg.Burst, cfg.MaxWait = 0.01, 1, time.Hour })
	times(t, c, 1, "/ok")

	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Call(short, write("/ok"))
	got, is := ports.AsTargetError(err)
	require.True(t, is, "a wait that cannot end in time is not begun; got %v", err)
	require.Equal(t, "rate_limited_locally", got.Code)
	require.NoError(t, short.Err())

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.Call(ctx, write("/ok"))
		ended <- err
	}()
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.EqualValues(t, 1, calls.Load())
}

// leased ends by its own clock: only Err says so, as long as nobody has looked.
type leased struct {
	context.Context

	asked atomic.Int32
	good  int32 // how often it has not ended when it is asked
}

func (l *leased) Err() error {
	if l.asked.Add(1) > l.good {
		return context.Canceled
	}
	return l.Context.Err()
}

func TestNothingIsSentForACallerWhoEndedDuringTheWait(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := newClient(t, vendor(&calls), func(cfg *outbound.Config) { cfg.Rate, cfg.Burst, cfg.MaxWait = 50, 1, time.Minute })
	times(t, c, 1, "/ok")
	_, err := c.Call(&leased{Context: t.Context(), good: 1}, write("/ok"))
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 1, calls.Load(), "who stood still while it waited for its turn may have been replaced")
}
