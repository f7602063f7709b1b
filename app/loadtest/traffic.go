package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is a steady mix of what everybody does.
type traffic struct {
	people *people
	rate   float64
	events atomic.Int64
	missed atomic.Int64 // turns that nobody was free to take

	mu      sync.Mutex
	rng     *rand.Rand
	streams []*stream
	done    map[string]int
	failed  map[string]int
	failure error // the first
}

// atOnce is how many requests may be under way. When all are, a turn is missed: the rate is steady, and never made up for.
const atOnce = 64

// mix is what is done, in hundredths.
var mix = []struct {
	percent int
	name    string
	do      func(context.Context, *traffic) error
}{
	{36, "inbox", func(ctx context.Context, t *traffic) error { return t.people.page(ctx, t.people.anybody().token) }},
	{10, "inbox, anonymous", func(ctx context.Context, t *traffic) error { return t.people.page(ctx, "") }},
	{10, "counts", func(ctx context.Context, t *traffic) error {
		_, err := t.people.ask(ctx, http.MethodGet, "/v1/inbox/counts", t.people.anybody().token, "", "", http.StatusOK)
		return err
	}},
	{15, "acknowledge", func(ctx context.Context, t *traffic) error { return t.people.acknowledge(ctx) }},
	{7, "change, waiting", func(ctx context.Context, t *traffic) error { return t.people.change(ctx, "wait=30", http.StatusOK) }},
	{5, "change, accepted", func(ctx context.Context, t *traffic) error {
		return t.people.change(ctx, "respond-async", http.StatusAccepted)
	}},
	{3, "register again", func(ctx context.Context, t *traffic) error { return t.people.register(ctx, t.people.anybody()) }},
	{4, "publish to one", func(ctx context.Context, t *traffic) error {
		return t.people.publish(ctx, `{"type":"customers","ids":["`+t.people.anybody().name+`"]}`, time.Minute)
	}},
	{1, "publish to all", func(ctx context.Context, t *traffic) error {
		return t.people.publish(ctx, `{"type":"global"}`, time.Minute)
	}},
	{5, "event", func(ctx context.Context, t *traffic) error { return t.report(ctx) }},
	{4, "stream anew", func(ctx context.Context, t *traffic) error { return t.reconnect(ctx) }},
}

func newTraffic(ctx context.Context, p *people, rate float64, streams int) (*traffic, error) {
	t := &traffic{people: p, rate: rate, rng: rand.New(rand.NewPCG(1, 2)), //nolint:gosec // the same mix every time
		done: map[string]int{}, failed: map[string]int{}}
	var err error
	t.streams, err = p.more(ctx, nil, streams)
	return t, err
}

// go on until ctx ends; what is under way is seen through.
func (t *traffic) flow(ctx context.Context) {
	var work sync.WaitGroup
	free := make(chan struct{}, atOnce)
	tick := time.NewTicker(time.Duration(float64(time.Second) / t.rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			work.Wait()
			return
		case <-tick.C:
		}
		n := t.draw(100)
		for _, m := range mix {
			if n -= m.percent; n >= 0 {
				continue
			}
			select {
			case free <- struct{}{}:
				work.Go(func() {
					defer func() { <-free }()
					t.count(m.name, m.do(context.WithoutCancel(ctx), t))
				})
			default:
				t.missed.Add(1)
			}
			break
		}
	}
}

func (t *traffic) draw(n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rng.IntN(n)
}

func (t *traffic) count(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done[name]++; err == nil {
		return
	}
	if t.failed[name]++; t.failure == nil {
		t.failure = fmt.Errorf("%s: %w", name, err)
	}
}

// report tells of an inbox that was opened.
func (t *traffic) report(ctx context.Context) error {
	n := t.events.Add(1)
	_, err := t.people.ask(ctx, http.MethodPost, "/v1/events", t.people.anybody().token, "", fmt.Sprintf(
		`{"events":[{"id":"e%d","type":"inbox_opened","at":"%s"}]}`, n, time.Now().UTC().Format(time.RFC3339)), http.StatusOK)
	return err
}

// reconnect ends a stream and opens another one, as apps do that come and go.
func (t *traffic) reconnect(ctx context.Context) error {
	one, err := t.people.follow(ctx, t.people.anybody())
	if err != nil {
		return err
	}
	n := t.draw(len(t.streams))
	t.mu.Lock()
	before := t.streams[n]
	t.streams[n] = one
	t.mu.Unlock()
	return before.body.Close()
}

func (t *traffic) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streams {
		_ = s.body.Close()
	}
}
