package preferences

import (
	"context"
	"slices"
	"sync"
	"time"

	"accord/domain/preference"
)

// maxArrivals bounds how many operations under way are remembered, and with it the memory for those that end elsewhere.
const maxArrivals = 1024

// linger is how long an attempt that is through waits for those at the other targets before it answers. Answers that come
// together cost Temporal one workflow task, answers apart cost one each, and nobody waits for the first ones.
const linger = 20 * time.Millisecond

// arrivals remembers which targets have been reached by attempts in this process, so that the last one can commit at once
// instead of letting its run find out. It is a shortcut and no more: what is forgotten here is committed by the run.
type arrivals struct {
	mu     sync.Mutex
	known  map[string]*arrival // by operation
	oldest []string            // in the order in which they came; some are gone already
}

// arrival is how many targets of one operation have been reached.
type arrival struct {
	at   []preference.Target
	over chan struct{} // closed when the attempt at the last one is about to answer
}

// leave is called before an attempt at a target: whatever it had come to, it has to be reached now.
func (k *arrivals) leave(in TargetInput) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if there := k.known[in.Operation]; there != nil {
		there.at = slices.DeleteFunc(there.at, func(t preference.Target) bool { return t == in.Target })
	}
}

// arrive reports whether all targets of the operation have been reached with this one. Who is told so closes over.
func (k *arrivals) arrive(op preference.Operation, t preference.Target) (there *arrival, all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	there = k.known[op.ID]
	if there == nil {
		there = k.expect(op.ID)
	}
	there.at = append(there.at, t)
	for _, t := range op.Targets {
		if !slices.Contains(there.at, t) {
			return there, false
		}
	}
	delete(k.known, op.ID)
	return there, true
}

func (k *arrivals) expect(operation string) *arrival {
	if k.known == nil {
		k.known = map[string]*arrival{}
	}
	if len(k.oldest) >= maxArrivals {
		delete(k.known, k.oldest[0])
		k.oldest = k.oldest[1:]
	}
	there := &arrival{over: make(chan struct{})}
	k.known[operation], k.oldest = there, append(k.oldest, operation)
	return there
}

// wait gives the attempts at the other targets a little time to be through as well.
func (there *arrival) wait(ctx context.Context) {
	enough := time.NewTimer(linger)
	defer enough.Stop()
	select {
	case <-there.over:
	case <-enough.C:
	case <-ctx.Done():
	}
}

// commitAsLast commits right after the last target was reached, which spares whoever waits the way back to the run. When it
// does not come off, for whatever reason, the run commits; when the run has meanwhile made up its mind to take the change
// back, one of the two is stored first and the other finds that out. An erasure, and a token that has moved, have more to
// be done after the commit, which a run has to see through.
func (a *Activities) commitAsLast(ctx context.Context, in TargetInput, op preference.Operation) Progress {
	if op.Status != preference.Running || in.Run == 0 || op.Change.Erases() || op.Change.Token() != "" {
		return Progress{}
	}
	there, all := a.arrivals.arrive(op, in.Target)
	if !all {
		there.wait(ctx)
		return Progress{}
	}
	defer close(there.over)
	done, err := a.Commit(ctx, OperationInput{Operation: in.Operation, Run: in.Run})
	if err != nil {
		a.Logger.WarnContext(ctx, "not committed with the last target; the run does it", "operation", op.ID, "error", err)
		return Progress{}
	}
	return Progress{Applied: true, Next: done.Next}
}
