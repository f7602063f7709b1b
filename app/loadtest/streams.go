package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// stream is one open connection of an app that waits for word.
type stream struct {
	heard chan struct{} // gets one when an event said that the inbox has changed since asked
	asked atomic.Bool
	body  interface{ Close() error }
	ended chan error
}

// broadcasts are how often an event is sent to all, for the figures of one level.
const broadcasts = 5

// follow opens a stream and returns when the first word is there.
func (p *people) follow(ctx context.Context, one *person) (*stream, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base()+"/v1/inbox/stream", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+one.token)
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Client{Transport: p.http.Transport}).Do(req) //nolint:bodyclose // it is the stream's
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(errUnexpected{Status: res.StatusCode}, res.Body.Close())
	}
	s := &stream{heard: make(chan struct{}, 1), body: res.Body, ended: make(chan error, 1)}
	go func() {
		lines := bufio.NewReaderSize(res.Body, 256)
		for {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				s.ended <- err
				return
			}
			if strings.HasPrefix(string(line), "event: inbox.changed") || strings.HasPrefix(string(line), "event:inbox.changed") {
				if s.asked.CompareAndSwap(true, false) {
					s.heard <- struct{}{}
				}
			}
		}
	}()
	return s, nil
}

// broadcast publishes a message to everybody and measures, from when the request is sent, how long it takes until each stream says
// so.
func (p *people) broadcast(ctx context.Context, all []*stream) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, s := range all {
		select { // word of before
		case <-s.heard:
		default:
		}
		s.asked.Store(true)
	}
	var (
		mu    sync.Mutex
		work  sync.WaitGroup
		gone  atomic.Int64
		began = time.Now()
	)
	for _, s := range all {
		work.Go(func() {
			select {
			case <-s.heard:
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			case err := <-s.ended:
				s.ended <- err
				gone.Add(1)
			case <-ctx.Done():
				gone.Add(1)
			}
		})
	}
	err = p.publish(ctx, `{"type":"global"}`, 10*time.Minute)
	work.Wait()
	if n := gone.Load(); err == nil && n > 0 {
		err = fmt.Errorf("%d of %d streams were told nothing", n, len(all))
	}
	return took, err
}

// streams measures what connections that only wait take, and how long word takes to reach all of them.
func (s *system) streams(ctx context.Context, p *people, numbers []int, window time.Duration) (_ *result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &result{workload: workload{name: "streams", title: "Streams", about: fmt.Sprintf(
		"`GET /v1/inbox/stream`, signed in, so many connections at once. One message for everybody is published %d times; p50 and p99 are over all connections, from the request to publish being sent until a connection says `inbox.changed`. Memory is what the API grows by per connection.", broadcasts)}}
	var all []*stream
	defer func() {
		for _, one := range all {
			_ = one.body.Close()
		}
	}()
	rest, restHeap, err := s.memory(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if all, err = p.more(ctx, all, n); err != nil {
			return nil, fmt.Errorf("open %d streams: %w", n, err)
		}
		l, err := s.tell(ctx, p, all, func(n int) bool { return n < broadcasts })
		if err != nil {
			return nil, fmt.Errorf("%d streams: %w", n, err)
		}
		resident, heap, err := s.memory(ctx)
		if err != nil {
			return nil, err
		}
		l.memory, l.heap = (resident-rest)/int64(n), (heap-restHeap)/int64(n)
		say("streams: %5d connections  all told after %s  p99 %s  %d KiB each", n, short(l.quantile(1)), short(l.quantile(.99)), l.memory>>10)
		out.levels = append(out.levels, l)
	}
	out.best = len(out.levels) - 1
	var over atomic.Bool
	var profiling errgroup.Group
	profiling.Go(func() (err error) { // while word goes out again and again
		defer over.Store(true)
		out.profiles, err = s.profile(ctx, window)
		return err
	})
	profiled, err := s.tell(ctx, p, all, func(int) bool { return !over.Load() })
	out.profiled, out.limit = &profiled, firstUsedUp(out.levels, runtime.NumCPU())
	return out, errors.Join(err, profiling.Wait())
}

// tell broadcasts once, and again as long as it is to after so many times.
func (s *system) tell(ctx context.Context, p *people, all []*stream, again func(n int) bool) (level, error) {
	out := level{clients: len(all)}
	watching, err := s.watch(ctx)
	if err != nil {
		return out, err
	}
	began, taken := time.Now(), s.spent()
	times := 0
	for more := true; more; more = again(times) {
		took, err := p.broadcast(ctx, all)
		if err != nil {
			return out, errors.Join(err, s.ended())
		}
		out.took = append(out.took, took...)
		times++
	}
	out.window = time.Since(began)
	out.cores = s.spent().since(taken, out.window)
	out.rate = float64(times) / out.window.Seconds()
	slices.Sort(out.took)
	out.pressure, err = watching.end(ctx)
	return out, err
}

// more opens streams until there are n.
func (p *people) more(ctx context.Context, all []*stream, n int) ([]*stream, error) {
	var mu sync.Mutex
	wanted := make([]*person, n-len(all))
	for i := range wanted {
		wanted[i] = p.all[(len(all)+i)%len(p.all)]
	}
	err := each(wanted, 32, func(one *person) error {
		s, err := p.follow(ctx, one)
		if err == nil {
			mu.Lock()
			all = append(all, s)
			mu.Unlock()
		}
		return err
	})
	return all, err
}

// memory of all APIs together, after a collection: what the kernel has given them, and what Go has in use of it.
func (s *system) memory(ctx context.Context) (resident, used int64, err error) {
	for _, p := range s.ofKind("API") {
		for range 2 { // what is in a pool outlives one collection
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.profiles+"/debug/pprof/heap?gc=1", nil)
			if err != nil {
				return 0, 0, err
			}
			res, err := scraper.Do(req)
			if err != nil {
				return 0, 0, err
			}
			_ = res.Body.Close()
		}
		m, err := scrape(ctx, p.metrics)
		if err != nil {
			return 0, 0, err
		}
		resident += residentBytes(p.PID())
		used += int64(m.value("go_memstats_heap_inuse_bytes") + m.value("go_memstats_stack_inuse_bytes"))
	}
	return resident, used, nil
}
