package compose

import (
	"context"
	"sync"
)

// stages are parts that stop one after the other: part 0 when the outer context ends, part n+1 when part n is done.
type stages struct {
	ctxs  []context.Context
	stops []context.CancelFunc
}

func newStages(outer context.Context, n int) *stages {
	s := &stages{}
	for range n {
		ctx, stop := context.WithCancel(context.WithoutCancel(outer))
		s.ctxs, s.stops = append(s.ctxs, ctx), append(s.stops, sync.OnceFunc(stop))
	}
	context.AfterFunc(outer, s.stops[0])
	return s
}

func (s *stages) ctx(i int) context.Context { return s.ctxs[i] }

// done tells that part i has stopped.
func (s *stages) done(i int) {
	if i+1 < len(s.stops) {
		s.stops[i+1]()
	}
}

// stopAll starts the stop from the front; the rest follows.
func (s *stages) stopAll() { s.stops[0]() }
