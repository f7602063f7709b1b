package devstack

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// service keeps one child running, if so wished across its deaths.
type service struct {
	name     string
	launch   func(context.Context) (*child, error) // returns a child that is ready; stops what it started when it fails
	restart  bool
	progress Progress

	ctx    context.Context // ends when stop is called
	cancel context.CancelFunc
	ended  chan struct{} // closed when the service is no longer looked after

	mu      sync.Mutex
	current *child
}

// begin launches the first child and looks after it from then on. ctx bounds the launch only.
func (s *service) begin(ctx context.Context) error {
	first, err := s.launch(ctx)
	if err != nil {
		return err
	}
	s.current = first
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.ended = make(chan struct{})
	go s.look()
	return nil
}

func (s *service) look() {
	defer close(s.ended)
	for {
		c := s.child()
		select {
		case <-s.ctx.Done():
			return
		case <-c.exited:
		}
		if s.ctx.Err() != nil {
			return
		}
		s.progress.say(fmt.Sprintf("%s ended unexpectedly (%v)", s.name, c.ending()))
		if !s.restart || !s.relaunch() {
			return
		}
	}
}

// relaunch tries until the service is up again or is to stop.
func (s *service) relaunch() bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		next, err := s.launch(s.ctx)
		if err == nil {
			s.mu.Lock()
			s.current = next
			s.mu.Unlock()
			s.progress.say(s.name + " is up again")
			return true
		}
		if s.ctx.Err() != nil {
			return false
		}
		s.progress.say(fmt.Sprintf("%s could not be started again, next try in %s: %v", s.name, wait, err))
		select {
		case <-s.ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

func (s *service) child() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// stop may be called more than once.
func (s *service) stop(ctx context.Context, gentle syscall.Signal) error {
	s.cancel()
	<-s.ended
	return s.child().stop(ctx, gentle)
}
