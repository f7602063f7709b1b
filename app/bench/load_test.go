package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// contender is one side of a comparison. op does one unit of work on behalf of one client and returns when that client
// knows that it is done.
type contender struct {
	name string
	op   func(ctx context.Context) error
	// prepare, when set, is called outside the measured time with how many units the next round may need.
	prepare func(units int)
	// drain, when set, waits for what is left to be done when all clients have their answers. It counts as time, and what
	// falls into it as work.
	drain func(ctx context.Context) error
	// allocates, when set, says how many allocations one unit takes on the side that serves it.
	allocates func(b *testing.B) float64
}

// round is what one contender did in one window.
type round struct {
	rate float64         // units per second
	took []time.Duration // sorted
	cpu  usage           // per unit
}

func (r round) quantile(q float64) time.Duration {
	return r.took[min(len(r.took)-1, int(q*float64(len(r.took))))]
}

// most is how long a round may take in all: a hung unit fails the benchmark instead of holding it up.
const most = 2 * time.Minute

// drive keeps clients busy, each with one unit after the other. The window opens when each has finished its first, and
// what finishes in it counts; the rest is let run out, so that nothing of it falls into the next round. Where there is
// something to drain, the window stays open until that is done, and all of it counts: otherwise who answers before the work
// is done would seem to do more of it than it does.
func drive(parent context.Context, clients int, window time.Duration, watched processes, c contender) (round, error) {
	ctx, cancel := context.WithTimeout(parent, most)
	defer cancel()
	var (
		warm, all sync.WaitGroup
		stop      atomic.Bool
		mu        sync.Mutex
		failed    error
		done      []sample
	)
	warm.Add(clients)
	for range clients {
		all.Go(func() {
			warmed := sync.OnceFunc(warm.Done)
			defer warmed()
			for !stop.Load() {
				began := time.Now()
				err := c.op(ctx)
				ended := time.Now()
				mu.Lock()
				failed = cmp.Or(failed, err)
				done = append(done, sample{ended, ended.Sub(began)})
				mu.Unlock()
				warmed()
				if err != nil {
					stop.Store(true)
				}
			}
		})
	}
	warm.Wait()
	opened, before := time.Now(), watched.used()
	timer := time.NewTimer(window)
	defer timer.Stop()
	<-timer.C
	closed, after := time.Now(), watched.used()
	stop.Store(true)
	all.Wait()
	if failed == nil && c.drain != nil {
		failed = c.drain(ctx)
		closed, after = time.Now(), watched.used()
	}
	if failed != nil {
		return round{}, failed
	}
	var out round
	for _, s := range done {
		if s.ended.After(opened) && !s.ended.After(closed) {
			out.took = append(out.took, s.took)
		}
	}
	if len(out.took) == 0 {
		return round{}, fmt.Errorf("nothing was finished within %v by %d clients", window, clients)
	}
	slices.Sort(out.took)
	out.rate = float64(len(out.took)) / closed.Sub(opened).Seconds()
	out.cpu = after.since(before, len(out.took))
	return out, nil
}

type sample struct {
	ended time.Time
	took  time.Duration
}

// rounds lets the contenders take turns. The order is turned around from round to round, so that none always comes after
// the same other one.
func rounds(b *testing.B, clients int, window time.Duration, watched processes, contenders []contender) [][]round {
	b.Helper()
	out := make([][]round, len(contenders))
	for i := range turns {
		for j := range contenders {
			at := (i + j) % len(contenders)
			if i%2 == 1 {
				at = len(contenders) - 1 - at
			}
			c := contenders[at]
			if c.prepare != nil {
				c.prepare(clients)
			}
			r, err := drive(b.Context(), clients, window, watched, c)
			if err != nil {
				b.Fatalf("%s, %d clients: %v", c.name, clients, err)
			}
			out[at] = append(out[at], r)
		}
	}
	return out
}

// median of values, each read out of one round.
func median(rs []round, read func(round) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = read(r)
	}
	return middle(values)
}

// ratio is the median of the rounds' own ratios: both sides of each were measured within moments of each other.
func ratio(of, to []round, read func(round) float64) float64 {
	values := make([]float64, len(of))
	for i := range of {
		values[i] = read(of[i]) / read(to[i])
	}
	return middle(values)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func rate(r round) float64 { return r.rate }

func millis(q float64) func(round) float64 {
	return func(r round) float64 { return float64(r.quantile(q)) / float64(time.Millisecond) }
}
