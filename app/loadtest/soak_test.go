package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// over makes a record of a run of ten minutes, measured every five seconds, with three changes a second, and a series in it.
func over(s series, value func(seconds, changes float64) float64) (*record, *series) {
	r := &record{}
	for i := range 120 {
		at := float64(5 * i)
		r.at, r.changes, r.events = append(r.at, at), append(r.changes, 3*at), append(r.events, at)
		s.values = append(s.values, value(at, 3*at))
	}
	r.series = []*series{&s}
	return r, &s
}

func TestWhatHasToBeFlatIsJudgedByItsSlope(t *testing.T) {
	t.Parallel()
	heap := series{name: "heap", unit: "B", much: 12 << 20, share: .15}
	for name, c := range map[string]struct {
		value  func(at, changes float64) float64
		failed bool
	}{
		"a heap that is collected again and again": {func(at, _ float64) float64 { return 40<<20 + math.Mod(at, 45)*(1<<20) }, false},
		"one that warms up and stays":              {func(at, _ float64) float64 { return min(at, 250) * (1 << 20) }, false},
		"one that shrinks":                         {func(at, _ float64) float64 { return (700 - at) * (1 << 20) }, false},
		"a leak":                                   {func(at, _ float64) float64 { return 40<<20 + at*(100<<10) }, true},
		"a leak under a heap that is collected":    {func(at, _ float64) float64 { return 40<<20 + math.Mod(at, 45)*(1<<20) + at*(100<<10) }, true},
		"a leak with moments that are missing": {func(at, _ float64) float64 {
			if math.Mod(at, 15) == 0 {
				return math.NaN()
			}
			return at * (100 << 10)
		}, true},
	} {
		r, s := over(heap, c.value)
		v := r.judge(s)
		require.True(t, v.judged, name)
		require.Equal(t, c.failed, v.failed, "%s: %s, at most %s", name, v.growth, v.limit)
	}
	r, s := over(heap, func(float64, float64) float64 { return math.NaN() })
	require.False(t, r.judge(s).judged, "nothing is known")
	cleaned := heap
	cleaned.period = 60
	r, s = over(cleaned, func(at, _ float64) float64 { return math.Mod(at, 60) * (1 << 20) })
	require.True(t, r.judge(s).judged)
	require.False(t, r.judge(s).failed)
	filling := heap
	filling.warm = 400
	r, filled := over(filling, func(at, _ float64) float64 { return min(at, 400) * (1 << 20) })
	require.True(t, r.judge(filled).judged)
	require.False(t, r.judge(filled).failed, "it has filled up by then")
	filled.warm = 595
	require.False(t, r.judge(filled).judged, "still filling up")
	r, s = over(cleaned, func(at, _ float64) float64 { return math.Mod(at, 60) * (1 << 20) })
	s.period = 80
	require.False(t, r.judge(s).judged, "half a run of less than four clean-ups")
}

func TestWhatGrowsByDesignIsJudgedPerChange(t *testing.T) {
	t.Parallel()
	rows := series{name: "rows", unit: "rows", nature: perChange, much: 50, share: .3}
	for name, c := range map[string]struct {
		value  func(at, changes float64) float64
		failed bool
	}{
		"three for each change":                    {func(_, changes float64) float64 { return 1000 + 3*changes }, false},
		"three for each in batches":                {func(_, changes float64) float64 { return 3 * math.Floor(changes/60) * 60 }, false},
		"nothing":                                  {func(float64, float64) float64 { return 7 }, false},
		"more for each, the more there are":        {func(_, changes float64) float64 { return changes * changes / 1000 }, true},
		"nothing at first, and then some for each": {func(_, changes float64) float64 { return max(0, changes-900) }, true},
	} {
		r, s := over(rows, c.value)
		v := r.judge(s)
		require.True(t, v.judged, name)
		require.Equal(t, c.failed, v.failed, "%s: %s, at most %s", name, v.growth, v.limit)
	}
	r, s := over(rows, func(at, _ float64) float64 { return at })
	clear(r.changes)
	require.False(t, r.judge(s).judged, "without changes there is nothing to judge by")
	s.nature = perEvent
	require.True(t, r.judge(s).judged)
	s.nature = told
	require.False(t, r.judge(s).judged)
}

func TestASoakFailsForWhatGrew(t *testing.T) {
	t.Parallel()
	r, s := over(series{name: "goroutines", unit: "goroutines", group: "goroutines", much: 20, share: .05}, func(at, _ float64) float64 { return at })
	out := &soaked{options: soakOptions{duration: 10 * time.Minute}, record: r, verdicts: []verdict{r.judge(s)},
		traffic: &traffic{done: map[string]int{"inbox": 1000}, failed: map[string]int{"inbox": 10}, failure: errors.New("busy")},
		rest:    []rest{{name: "api-1", before: 50, after: 70, filesFrom: 20, filesNow: 22}}}
	require.EqualError(t, out.failures(), "goroutines: +295 in 295 s, where at most 22.38 is right")
	dir := t.TempDir()
	require.NoError(t, out.report(dir))
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "**1 of the following grew and should not have.**")
	require.Contains(t, string(text), "| goroutines | 300 | 595 | +295 in 295 s | 22.38 | **grows** |")
	require.FileExists(t, filepath.Join(dir, "goroutines.svg"))

	out.verdicts = nil
	require.NoError(t, out.failures())
	out.traffic.failed["inbox"] = 11
	require.ErrorContains(t, out.failures(), "11 of 1000 requests failed, the first with: busy")
	out.traffic.failed["inbox"], out.rest[0].after = 0, 111
	require.ErrorContains(t, out.failures(), "api-1 at rest: 111 goroutines")
}

func TestWhatMovesBetweenSiblingsIsJudgedTogether(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second func(at float64) float64
		failed bool
	}{
		"one has as many more as the other has fewer": {func(at float64) float64 { return 20 + at/10 }, false},
		"one has more, and the other what it had":     {func(at float64) float64 { return 80 + 2*at/10 }, true},
	} {
		m := &sampler{record: &record{}, byName: map[string]*series{}}
		files := series{unit: "files", group: "files", much: 10, share: .1}
		for i := range 120 {
			at := float64(5 * i)
			m.record.at = append(m.record.at, at)
			together := together{}
			for name, value := range map[string]float64{"worker-1": 80 - at/10, "worker-2": c.second(at)} {
				of := files
				of.name = name + ": open files"
				together.add(m, "worker", of, value)
			}
			together.set(m)
		}
		require.Len(t, m.record.series, 3, name)
		v := m.record.judge(m.byName["all worker processes: open files"])
		require.True(t, v.judged, name)
		require.Equal(t, c.failed, v.failed, "%s: %s, at most %s", name, v.growth, v.limit)
		require.False(t, m.record.judge(m.byName["worker-2: open files"]).judged, "by itself it is shown")
	}
}

func TestTheMixIsAHundred(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, m := range mix {
		sum += m.percent
	}
	require.Equal(t, 100, sum)
}

func TestASoakThatIsTooShortIsRefused(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, soakCommand(context.Background(), []string{"-duration", "1m"}), "too short")
}
