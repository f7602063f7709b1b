package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheScheduleFollowsFromTheSeedAlone(t *testing.T) {
	t.Parallel()
	o := options{seed: 42, duration: 10 * time.Minute, deploy: true}
	once := schedule(o)
	require.Equal(t, once, schedule(o))
	other := o
	other.seed = 43
	require.NotEqual(t, once, schedule(other))
}

// Whatever the seed: everything is done to everybody within ten minutes, one thing at a time on each lane, and all of it is
// over before the end.
func TestTenMinutesHaveEverything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		o := options{seed: seed + 1, duration: 10 * time.Minute, deploy: true}
		done, faults, free := map[string]bool{}, map[string]bool{}, map[string]time.Duration{}
		all := schedule(o)
		require.True(t, slices.IsSortedFunc(all, func(a, b strike) int { return int(a.at - b.at) }))
		for _, s := range all {
			require.GreaterOrEqual(t, s.at, free[s.lane], "seed %d: %s", o.seed, s)
			free[s.lane] = s.at + s.lasts
			require.Less(t, s.at+s.lasts, o.duration)
			done[strings.TrimSpace(s.what)] = true
			done[s.whom] = true
			if s.fault != nil {
				faults[s.String()] = true
			}
		}
		for _, what := range slices.Concat([]string{"kill", "stop", "cut", "slow", "fault", "fill", "deploy", "postgres", "temporal"}, partNames, linkNames) {
			require.True(t, done[what], "seed %d: no %s", o.seed, what)
		}
		for _, f := range everyFault() {
			require.True(t, slices.ContainsFunc(all, func(s strike) bool {
				return s.fault != nil && s.fault["target"] == f["target"] && s.fault["kind"] == f["kind"] && s.fault["status"] == f["status"]
			}), "seed %d: no %v at %v", o.seed, f["kind"], f["target"])
		}
	}
}

// A short run, as CI makes one, still kills and stops.
func TestAShortRunHasSomething(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		done := map[string]int{}
		for _, s := range schedule(options{seed: seed + 1, duration: 75 * time.Second, deploy: true}) {
			done[s.what]++
		}
		for _, what := range []string{"kill", "stop", "fault", "deploy"} {
			require.Positive(t, done[what], "seed %d: no %s", seed+1, what)
		}
	}
}

// The patches have to fit the code as it is: the next version, and the systems that are broken on purpose.
func TestThePatchesFit(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	found, err := filepath.Glob("testdata/mutants/*.patch")
	require.NoError(t, err)
	require.Greater(t, len(found), 15)
	for _, patch := range append(found, "testdata/next.patch") {
		replaced := map[string]string{}
		require.NoError(t, applyPatch(t.Context(), root, patch, t.TempDir(), replaced))
		require.NotEmpty(t, replaced)
	}
}
