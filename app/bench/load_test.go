package bench

import (
	"context"
	"slices"
	"sync"
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
	// drain, when set, waits for what is left to be done when all clients have their answers.
	drain func(ctx context.Context) error
	// rests is how long the servers need afterwards until nothing is due any more that was left behind, timers among it.
	rests time.Duration
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

// drive keeps clients busy, each with one unit after the other. They warm up with a unit each; then, from rest to rest, all
// that they do counts, and the time that it takes until nothing is left to be done. So nothing of it falls into another
// round, and who answers before the work is done does not seem to do more of it than it does.
func drive(parent context.Context, clients int, window time.Duration, watched processes, c contender) (round, error) {
	ctx, cancel := context.WithTimeout(parent, most)
	defer cancel()
	if _, err := c.keep(ctx, clients, 0); err != nil {
		return round{}, err
	}
	opened, before := time.Now(), watched.used()
	took, err := c.keep(ctx, clients, window)
	if err != nil {
		return round{}, err
	}
	closed, after := time.Now(), watched.used()
	slices.Sort(took)
	return round{rate: float64(len(took)) / closed.Sub(opened).Seconds(), took: took, cpu: after.since(before, len(took))}, nil
}

// keep keeps clients busy for so long, one unit each at least, and returns how long each unit took, when nothing is left to
// be done.
func (c contender) keep(ctx context.Context, clients int, long time.Duration) (took []time.Duration, err error) {
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	until := time.Now().Add(long)
	for range clients {
		all.Go(func() {
			for first := true; first || time.Now().Before(until); first = false {
				began := time.Now()
				if err := c.op(ctx); err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil || c.drain == nil {
		return took, err
	}
	return took, c.drain(ctx)
}

// rounds lets the contenders take turns. The order is turned around from round to round, so that none always comes after
// the same other one.
func rounds(b *testing.B, clients int, window time.Duration, watched processes, contenders []contender) [][]round {
	b.Helper()
	out := make([][]round, len(contenders))
	for i := range *turns {
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
			<-time.After(c.rests)
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

// ratio is the median of the rounds' own ratios.
func ratio(of, to []round, read func(round) float64) float64 { return middle(ratios(of, to, read)) }

// ratios are those of the rounds: both sides of each were measured within moments of each other.
func ratios(of, to []round, read func(round) float64) []float64 {
	values := make([]float64, len(of))
	for i := range of {
		values[i] = read(of[i]) / read(to[i])
	}
	return values
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
