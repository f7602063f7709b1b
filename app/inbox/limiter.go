package inbox

import (
	"sync"
	"time"
)

// maxLimited bounds what a limiter remembers: whoever has been quiet is forgotten first.
const maxLimited = 100_000

// limiter lets each key through in bursts, and then once in a while. Per key it keeps one time: when the bucket would be
// full again (the generic cell rate algorithm).
type limiter struct {
	every time.Duration
	burst int
	mu    sync.Mutex
	full  map[string]time.Time
}

func newLimiter(every time.Duration, burst int) *limiter {
	return &limiter{every: every, burst: burst, full: map[string]time.Time{}}
}

// allow takes one from the key's bucket, if there is one.
func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.full[key]
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > l.every*time.Duration(l.burst-1) {
		return false
	}
	if !known && len(l.full) >= maxLimited {
		l.makeRoom(now)
	}
	l.full[key] = full.Add(l.every)
	return true
}

// makeRoom forgets whoever has a full bucket, and when there are too few of those, anybody: then so many ask at once that
// one more burst for a few of them makes no difference.
func (l *limiter) makeRoom(now time.Time) {
	for key, full := range l.full {
		if !full.After(now) {
			delete(l.full, key)
		}
	}
	for key := range l.full {
		if len(l.full) < maxLimited*7/8 {
			return
		}
		delete(l.full, key)
	}
}
