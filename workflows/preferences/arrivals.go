package preferences

import (
	"context"
	"slices"
	"sync"

	"accord/domain/preference"
)

// maxArrivals bounds how many operations under way are remembered, and with it the memory for those that end elsewhere.
const maxArrivals = 1024

// arrivals remembers which targets have been reached by attempts in this process, so that the last one can commit at once
// instead of letting its run find out. It is a shortcut and no more: what is forgotten here is committed by the run.
type arrivals struct {
	mu     sync.Mutex
	known  map[string][]preference.Target // by operation
	oldest []string                       // in the order in which they came; some are gone already
}

// leave is called before an attempt at a target: whatever it had come to, it has to be reached now.
func (k *arrivals) leave(in TargetInput) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.Index(k.known[in.Operation], in.Target); i >= 0 {
		k.known[in.Operation] = slices.Delete(k.known[in.Operation], i, i+1)
	}
}

// arrive reports whether all targets of the operation have been reached with this one.
func (k *arrivals) arrive(op preference.Operation, t preference.Target) (all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	there, known := k.known[op.ID]
	if !known {
		if k.known == nil {
			k.known = map[string][]preference.Target{}
		}
		if len(k.oldest) >= maxArrivals {
			delete(k.known, k.oldest[0])
			k.oldest = k.oldest[1:]
		}
		k.oldest = append(k.oldest, op.ID)
	}
	there = append(there, t)
	for _, t := range op.Targets {
		if !slices.Contains(there, t) {
			k.known[op.ID] = there
			return false
		}
	}
	delete(k.known, op.ID)
	return true
}

// commitAsLast commits right after the last target was reached, which spares whoever waits the way back to the run. When it
// does not come off, for whatever reason, the run commits; when the run has meanwhile made up its mind to take the change
// back, one of the two is stored first and the other finds that out. An erasure, and a token that has moved, have more to
// be done after the commit, which a run has to see through.
func (a *Activities) commitAsLast(ctx context.Context, in TargetInput, op preference.Operation) Progress {
	if op.Status != preference.Running || in.Run == 0 || op.Change.Erases() || op.Change.Token() != "" || !a.arrivals.arrive(op, in.Target) {
		return Progress{}
	}
	done, err := a.Commit(ctx, OperationInput{Operation: in.Operation, Run: in.Run})
	if err != nil {
		a.Logger.WarnContext(ctx, "not committed with the last target; the run does it", "operation", op.ID, "error", err)
		return Progress{}
	}
	return Progress{Applied: true, Next: done.Next}
}
