package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"
)

// workload is one kind of traffic, driven with more and more clients.
type workload struct {
	name  string // of its plot's file
	title string
	about string
	op    func(context.Context) error
	// drain waits until nothing is left over that the next level would have to work off; nil where an answer is the end of it.
	drain func(context.Context) (time.Duration, error)
}

// result is a workload with what came of it.
type result struct {
	workload
	levels   []level
	best     int // the level with most throughput
	profiled *level
	profiles map[string]*profileOf // by kind of process
	limit    string                // what is used up first
}

func workloads(p *people) []workload {
	return []workload{
		{name: "feed", title: "Inbox, signed in", about: "`GET /v1/inbox`, the first page of 20, by customers with a bearer token and 65 messages.",
			op: func(ctx context.Context) error { return p.page(ctx, p.anybody().token) }},
		{name: "feed-anonymous", title: "Inbox, anonymous", about: "`GET /v1/inbox` without a token: the first page of 20 of the messages for everybody.",
			op: func(ctx context.Context) error { return p.page(ctx, "") }},
		{name: "acknowledge", title: "Acknowledge", about: "`POST /v1/inbox/messages/{id}/acknowledge`, `read` and later `unread`, so that each writes. No two clients act for the same customer at a time.",
			op: p.acknowledge},
		{name: "change", title: "Change, waiting for the outcome", about: "`PATCH /v1/preferences/push` with `Prefer: wait=30`, each customer's promotions on and off in turn, grants and withdrawals mixed: 200 when CRM, push provider and CMP have it. No two clients act for the same customer at a time.",
			op: func(ctx context.Context) error { return p.change(ctx, "wait=30", http.StatusOK) }, drain: p.drained},
		{name: "change-async", title: "Change, accepted", about: "The same with `Prefer: respond-async`: 202 when it is stored and cannot be lost; a grant also waits until its run is started, a withdrawal does not. What was accepted is worked off meanwhile and afterwards, before the next level.",
			op: func(ctx context.Context) error { return p.change(ctx, "respond-async", http.StatusAccepted) }, drain: p.drained},
	}
}

// drained waits until no change is open any more.
func (p *people) drained(ctx context.Context) (time.Duration, error) {
	const limit = 10 * time.Minute
	began := time.Now()
	for {
		m, err := scrape(ctx, p.system.apis[0])
		switch {
		case err != nil:
			return 0, err
		case m["accord_operations_open"] == nil: // the database was too busy to be asked
		case m.value("accord_operations_open") == 0:
			return time.Since(began), nil
		}
		if time.Since(began) > limit {
			return 0, fmt.Errorf("%g changes are open %s after the last was asked for", m.value("accord_operations_open"), limit)
		}
		if err := errors.Join(pause(ctx, 250*time.Millisecond), p.system.ended()); err != nil {
			return 0, err
		}
	}
}

// run drives a workload at every number of clients, and once more where it did most, with profiles being taken: those take
// their own share, so the figures are of the runs without.
func (s *system) run(ctx context.Context, w workload, numbers []int, window time.Duration) (*result, error) {
	out := &result{workload: w}
	measure := func(clients int, beside func(context.Context, time.Duration) error) (level, error) {
		l, err := s.drive(ctx, clients, window, w.op, beside)
		if err == nil && w.drain != nil {
			l.drained, err = w.drain(ctx)
		}
		if err != nil {
			err = fmt.Errorf("%s, %d clients: %w", w.name, clients, err)
		}
		return l, err
	}
	for _, clients := range numbers {
		l, err := measure(clients, nil)
		if err != nil {
			return nil, err
		}
		say("%s: %4d clients  %8.1f/s  p50 %s  p99 %s  %d failed", w.name, clients, l.rate, short(l.quantile(.5)), short(l.quantile(.99)), l.failures)
		out.levels = append(out.levels, l)
		if l.rate > out.levels[out.best].rate {
			out.best = len(out.levels) - 1
		}
	}
	profiled, err := measure(out.levels[out.best].clients, func(ctx context.Context, window time.Duration) (err error) {
		out.profiles, err = s.profile(ctx, window)
		return err
	})
	out.profiled = &profiled
	if err == nil {
		out.limit = firstUsedUp(out.levels, runtime.NumCPU())
	}
	return out, err
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
