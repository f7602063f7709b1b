package inbox

import (
	"context"
	"sync"
	"time"
)

// call is something under way that several wait for. value and err are set when done is closed.
type call[T any] struct {
	began time.Time
	done  chan struct{}
	value T
	err   error
}

// wait until it is done, or ctx ends first.
func (c *call[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-c.done:
		return c.value, c.err
	default:
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// waitFor is wait for so long at most; ok is false when it was not done by then.
func (c *call[T]) waitFor(ctx context.Context, limit time.Duration) (value T, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	value, err := c.wait(ctx)
	return value, err == nil
}

// flight has one call at a time: whoever asks meanwhile shares it. The zero flight is ready.
type flight[T any] struct {
	mu   sync.Mutex
	open *call[T]
}

// join answers the call that is under way, or starts one. It runs beside its callers: that one of them goes away does not
// end it for the others.
func (f *flight[T]) join(ctx context.Context, t *tasks, limit time.Duration, now time.Time, fn func(context.Context) (T, error)) *call[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != nil {
		return f.open
	}
	c := &call[T]{began: now, done: make(chan struct{})}
	f.open = c
	started := t.start(ctx, limit, func(ctx context.Context) {
		defer close(c.done)
		defer f.end()
		c.value, c.err = fn(ctx)
	})
	if !started {
		f.open, c.err = nil, errUnavailable()
		close(c.done)
	}
	return c
}

func (f *flight[T]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = nil
}
