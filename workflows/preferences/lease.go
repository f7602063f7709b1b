package preferences

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"accord/domain/fault"
)

// HeartbeatEvery is how often a worker has to tell the server that an attempt is alive; its options must not throttle
// heartbeats below that.
const HeartbeatEvery = 2 * time.Second

// Standstill is how long a process may stand still (stopped by hand, a suspended machine) and go on with an attempt. The
// server last heard from it at most HeartbeatEvery before, so nobody else has been given the attempt by then.
const Standstill = heartbeatLimit - 2*HeartbeatEvery

const lookEvery = HeartbeatEvery / 4

// lease is the context of one attempt at a target. It keeps telling the server that the attempt is alive, so that a
// worker that died is noticed long before the attempt's limit. And it ends for good once the process has stood still for
// so long that another worker may have taken over: what this one had made up its mind to write may have been changed
// again since. Deadlines don't do that, as a timer that is over fires some time after the process goes on; Err looks at
// the clock itself, and every vendor call asks it before it sends.
type lease struct {
	context.Context
	cancel context.CancelFunc
	now    func() time.Time

	mu   sync.Mutex
	seen time.Time // when the process was last seen going
	lost bool
}

// underLease makes one attempt. Losing the lease is a failure that is tried again at once, should nobody have taken over
// after all.
func underLease(ctx context.Context, attempt func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &lease{Context: inner, cancel: cancel, now: time.Now, seen: time.Now()}
	go l.beat(ctx)
	return l.explain(attempt(l)) //nolint:contextcheck // a lease is the context it was given, with an end of its own
}

// beat sends heartbeats until the attempt is over or the lease is lost.
func (l *lease) beat(activityCtx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.Done():
			return
		case <-tick.C:
			if !l.look() {
				return
			}
			activity.RecordHeartbeat(activityCtx)
		}
	}
}

// look reports whether the process has gone on without a break, up to now.
func (l *lease) look() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	// The monotonic clock stops while a machine is suspended, the other one may be set back.
	still := max(now.Sub(l.seen), now.Round(0).Sub(l.seen.Round(0)))
	l.seen = now
	if still > Standstill {
		l.lost = true
		l.cancel()
	}
	return !l.lost
}

// Err implements context.Context.
func (l *lease) Err() error {
	if !l.look() {
		return context.Canceled
	}
	return l.Context.Err()
}

// explain tells a failure that the loss of the lease has caused.
func (l *lease) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.lost {
		return errStoodStill
	}
	return err
}

var errStoodStill = fault.New(fault.Unavailable, "stood-still", "the worker stood still and may have been replaced")
