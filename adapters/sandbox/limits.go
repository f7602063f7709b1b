package sandbox

import (
	"net/http"
	"sync"
	"time"
)

// window is the state of one rate limit as the vendors' headers tell it.
type window struct {
	limit     int
	remaining int
	reset     time.Time
}

// limiter counts requests in fixed windows, one per key.
type limiter struct {
	mu      sync.Mutex
	windows map[string]*window
}

func newLimiter() *limiter { return &limiter{windows: map[string]*window{}} }

// take uses one request of the key's window. The second result is false when none is left. With n = 0 it only looks.
func (l *limiter) take(key string, rate Rate, now time.Time, n int) (window, bool) {
	if rate.unlimited() {
		return window{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[key]
	if w == nil || !now.Before(w.reset) {
		if len(l.windows) > 4096 {
			l.forgetOver(now)
		}
		w = &window{limit: rate.Requests, remaining: rate.Requests, reset: now.Add(rate.Per)}
		l.windows[key] = w
	}
	if w.remaining < n {
		return *w, false
	}
	w.remaining -= n
	return *w, true
}

// forgetOver drops windows that have ended: there is one per OneSignal user when that limit is on.
func (l *limiter) forgetOver(now time.Time) {
	for key, w := range l.windows {
		if !now.Before(w.reset) {
			delete(l.windows, key)
		}
	}
}

// secondsLeft is how long until the window ends, rounded up and at least one, as Retry-After wants it.
func (w window) secondsLeft(now time.Time) int {
	left := int((w.reset.Sub(now) + time.Second - 1) / time.Second)
	return max(left, 1)
}

// limitBy returns a check of one named limit for an endpoint; refuse shapes the vendor's 429.
func limitBy(name string, rate func(RateLimits) Rate, refuse func(s *Sandbox, w window, now time.Time) reply) func(*Sandbox, *call) *reply {
	return func(s *Sandbox, _ *call) *reply {
		now := s.cfg.Clock()
		w, ok := s.limits.take(name, rate(s.cfg.RateLimits), now, 1)
		if ok {
			return nil
		}
		out := refuse(s, w, now)
		out.status = http.StatusTooManyRequests
		return &out
	}
}
