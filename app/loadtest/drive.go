package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// level is what so many clients got done, and what it took.
type level struct {
	clients  int
	window   time.Duration
	rate     float64         // per second
	took     []time.Duration // sorted
	failures int
	failure  error // the first
	cores    map[string]float64
	pressure pressure
	drained  time.Duration // how long what was left over took afterwards
	memory   int64         // bytes per connection, of streams
	heap     int64
}

func (l level) quantile(q float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[min(len(l.took)-1, int(q*float64(len(l.took))))]
}

// longest is how long a level may take in all: what hangs fails the run instead of holding it up.
const longest = 3 * time.Minute

// windowFor is how long a level is measured: as asked for, and twice as long as every client took for its first thing where that is
// longer. What finishes within a shorter one is a matter of chance.
func windowFor(asked, first time.Duration) time.Duration {
	const most = 45 * time.Second
	return max(asked, min(2*first, most))
}

// drive keeps clients busy, each with one thing after the other, for the length of a window. The window opens when each has finished
// its first, and what finishes in it counts; the rest is let run out. During the window, beside is called (which may be nil).
func (s *system) drive(parent context.Context, clients int, window time.Duration, op func(context.Context) error, beside func(context.Context, time.Duration) error) (level, error) {
	ctx, cancel := context.WithTimeout(parent, longest)
	defer cancel()
	d := &driven{}
	var warm, all sync.WaitGroup
	warm.Add(clients)
	started := time.Now()
	for range clients {
		all.Go(func() {
			warmed := sync.OnceFunc(warm.Done)
			defer warmed()
			for !d.over.Load() && ctx.Err() == nil {
				began := time.Now()
				err := op(ctx)
				d.add(time.Now(), began, err)
				warmed()
			}
		})
	}
	warm.Wait()
	window = windowFor(window, time.Since(started))
	out := level{clients: clients}
	watching, err := s.watch(ctx)
	if err == nil {
		opened, before := time.Now(), s.spent()
		if beside != nil {
			err = beside(ctx, window)
		} else {
			err = pause(ctx, window)
		}
		closed, after := time.Now(), s.spent()
		d.over.Store(true)
		out.window = closed.Sub(opened)
		out.cores = after.since(before, out.window)
		d.count(&out, opened, closed)
		var watchErr error
		out.pressure, watchErr = watching.end(ctx)
		if err == nil {
			err = watchErr
		}
	}
	d.over.Store(true)
	all.Wait()
	switch {
	case err != nil:
		return out, err
	case len(out.took) == 0:
		return out, fmt.Errorf("nothing was done within %s by %d clients (first failure: %w)", window, clients, out.failure)
	case ctx.Err() != nil:
		return out, fmt.Errorf("%d clients were not done within %s", clients, longest)
	}
	return out, s.ended()
}

// driven is what all clients together did.
type driven struct {
	over atomic.Bool
	mu   sync.Mutex
	done []done
}

type done struct {
	at   time.Time
	took time.Duration
	err  error
}

func (d *driven) add(at, began time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, done{at, at.Sub(began), err})
}

// count takes what finished within the window into a level. What failed has no time: it was not done.
func (d *driven) count(out *level, opened, closed time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.done {
		switch {
		case one.at.Before(opened) || one.at.After(closed):
		case one.err != nil:
			if out.failures++; out.failure == nil {
				out.failure = one.err
			}
		default:
			out.took = append(out.took, one.took)
		}
	}
	slices.Sort(out.took)
	out.rate = float64(len(out.took)) / closed.Sub(opened).Seconds()
}
