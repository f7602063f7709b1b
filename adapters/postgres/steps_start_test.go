package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

// shelf stores steps and remembers which came together.
type shelf struct {
	mu     sync.Mutex
	stored [][]preference.Target
	fails  int
}

func (s *shelf) store(rows []startRow) (map[preference.Target]*ports.TargetStep, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return nil, context.Canceled
	}
	var all []preference.Target
	first := map[preference.Target]*ports.TargetStep{}
	for _, r := range rows {
		all = append(all, r.step.Target)
		first[r.step.Target] = &r.step
	}
	slices.Sort(all)
	s.stored = append(s.stored, all)
	return first, nil
}

func rowAt(t preference.Target) startRow { return startRow{step: ports.TargetStep{Target: t}} }

// begin starts the steps at all these targets at once and answers how many failed.
func begin(t *testing.T, k *starts, s *shelf, expected int, targets ...preference.Target) (failed int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, target := range targets {
		all.Go(func() {
			step, err := k.together(context.Background(), "op", rowAt(target), expected, s.store)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			} else if step == nil || step.Target != target {
				t.Errorf("%s got %+v", target, step)
			}
		})
	}
	all.Wait()
	return failed
}

func TestStepsThatBeginTogetherAreStoredTogether(t *testing.T) {
	t.Parallel()
	all := []preference.Target{preference.CMP, preference.CRM, preference.Push}
	for name, tc := range map[string]struct {
		expected int
		targets  []preference.Target
		stored   [][]preference.Target
	}{
		"all of them":                   {3, all, [][]preference.Target{all}},
		"one of them is late":           {3, all[:2], [][]preference.Target{all[:2]}},
		"nobody else is expected":       {1, all[:1], [][]preference.Target{all[:1]}},
		"it is not known who is":        {0, all[:1], [][]preference.Target{all[:1]}},
		"two attempts at one target":    {3, []preference.Target{preference.CRM, preference.CRM}, [][]preference.Target{{preference.CRM}, {preference.CRM}}},
		"more than there should be any": {2, all, [][]preference.Target{all[:2], all[2:]}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k, s := &starts{}, &shelf{}
				require.Zero(t, begin(t, k, s, tc.expected, tc.targets...))
				if name == "more than there should be any" { // whichever comes last
					require.Len(t, s.stored, 2)
				} else {
					require.ElementsMatch(t, tc.stored, s.stored)
				}
				require.Empty(t, k.open, "nothing is remembered")
			})
		})
	}
}

// Whoever stores for all may be cancelled. That is nobody else's failure.
func TestWhoWaitedForAFailureTriesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, s := &starts{}, &shelf{fails: 1}
		require.Equal(t, 1, begin(t, k, s, 3, preference.CMP, preference.CRM, preference.Push))
		require.Len(t, s.stored, 2)
	})
}

func TestNobodyWaitsLongerThanTheyLike(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &starts{}
		ctx, cancel := context.WithCancelCause(context.Background())
		stuck := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			_, err := k.together(context.Background(), "op", rowAt(preference.CRM), 3, func([]startRow) (map[preference.Target]*ports.TargetStep, error) {
				<-stuck
				return nil, errors.New("late")
			})
			if err == nil {
				t.Error("stored")
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := k.together(ctx, "op", rowAt(preference.CMP), 3, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		<-time.After(2 * gatherFor) // the first one is storing
		cancel(nil)
		synctest.Wait()
		close(stuck)
		all.Wait()
	})
}
