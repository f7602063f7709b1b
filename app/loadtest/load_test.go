package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatIsUsedUpFirstIsReadOffTheFigures(t *testing.T) {
	t.Parallel()
	at := func(clients int, p50 time.Duration, cores map[string]float64, p pressure) level {
		return level{clients: clients, took: []time.Duration{p50}, cores: cores, pressure: p}
	}
	idle := map[string]float64{"API": .3, "Postgres": .2}
	full := map[string]float64{"API": .4, "Postgres": .9, "clients": .2, "others": .4}
	waiting := pressure{poolLimit: map[string]float64{"API": 24}, poolWaits: map[string]float64{"API": 50}, poolWaited: map[string]time.Duration{"API": 2 * time.Millisecond}}
	barely := pressure{poolLimit: waiting.poolLimit, poolWaits: waiting.poolWaits, poolWaited: map[string]time.Duration{"API": 100 * time.Microsecond}}
	slots := pressure{slotsLeft: map[string]float64{"ActivityWorker": 0, "WorkflowWorker": 3}}

	require.Equal(t, "nothing up to 4: 0.50 of 2 processors are busy, and nobody waits for a connection or a slot. What is waited for is the disk, or each other",
		firstUsedUp([]level{at(1, time.Millisecond, idle, pressure{}), at(4, 10*time.Millisecond, idle, barely)}, 2))
	require.Equal(t, "from 4 on: the database connections of the API (24; waited for 50 times a second, 2.0 ms each). At 16: the processors (1.90 of 2 busy, 0.40 of it with others; most of the rest: Postgres 0.90, API 0.40)",
		firstUsedUp([]level{at(1, time.Millisecond, idle, pressure{}), at(4, 10*time.Millisecond, idle, waiting), at(16, time.Millisecond, full, pressure{})}, 2))
	require.Equal(t, "from 1 on: the worker's slots of ActivityWorker. At 4: nothing",
		firstUsedUp([]level{at(1, time.Millisecond, idle, slots), at(4, time.Millisecond, idle, pressure{})}, 2))
	require.Contains(t, firstUsedUp([]level{at(1, time.Millisecond, full, pressure{})}, 4), "nothing up to 1", "four processors are not used up by 1.9")
}

func TestALevelCountsWhatIsFinishedWithinItsWindow(t *testing.T) {
	t.Parallel()
	opened := time.Now()
	d, failed := &driven{}, errors.New("refused")
	for _, one := range []struct {
		at   time.Duration
		took time.Duration
		err  error
	}{{-time.Millisecond, time.Millisecond, nil}, {time.Second, 30 * time.Millisecond, nil}, {2 * time.Second, 10 * time.Millisecond, nil},
		{3 * time.Second, time.Millisecond, failed}, {4 * time.Second, 20 * time.Millisecond, nil}, {11 * time.Second, time.Hour, nil}} {
		d.add(opened.Add(one.at), opened.Add(one.at-one.took), one.err)
	}
	var l level
	d.count(&l, opened, opened.Add(10*time.Second))
	require.InDelta(t, .3, l.rate, 1e-9)
	require.Equal(t, []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond}, l.took)
	require.Equal(t, 1, l.failures)
	require.ErrorIs(t, l.failure, failed)
	require.Equal(t, 20*time.Millisecond, l.quantile(.5))
	require.Equal(t, 30*time.Millisecond, l.quantile(.99))
	require.Error(t, failedTooOften([]*result{{levels: []level{l}}}))
	l.failures = 0
	require.NoError(t, failedTooOften([]*result{{levels: []level{l}}}))
}

func TestALevelIsMeasuredForLongerThanOneThingTakes(t *testing.T) {
	t.Parallel()
	require.Equal(t, 6*time.Second, windowFor(6*time.Second, time.Second))
	require.Equal(t, 20*time.Second, windowFor(6*time.Second, 10*time.Second))
	require.Equal(t, 45*time.Second, windowFor(6*time.Second, time.Minute))
	require.Equal(t, time.Minute, windowFor(time.Minute, 40*time.Second), "as long as was asked for")
}

func TestAProfileIsReadThreeWays(t *testing.T) {
	t.Parallel()
	p := &profile.Profile{}
	sample := func(ms int64, stack ...string) {
		s := &profile.Sample{Value: []int64{1, ms * 1e6}}
		for _, name := range stack {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		p.Sample = append(p.Sample, s)
	}
	sample(50, "internal/runtime/syscall/linux.Syscall6", "github.com/jackc/pgx/v5.(*Conn).Query", "accord/adapters/postgres.(*DB).Page", "accord/adapters/http.(*server).GetInbox", "net/http.(*conn).serve")
	sample(30, "runtime.mallocgc", "accord/adapters/http.(*server).GetInbox", "accord/adapters/http.(*server).GetInbox", "net/http.(*conn).serve")
	sample(15, "runtime.scanobject", "runtime.gcDrain", "runtime.gcBgMarkWorker")
	sample(5, "google.golang.org/protobuf/proto.Marshal", "go.temporal.io/sdk/internal.(*workerPoller).poll")
	got := summarise(p)
	require.Equal(t, 100*time.Millisecond, got.total)
	require.Equal(t, []share{{name: "adapters/postgres", own: .5}, {name: "adapters/http", own: .3}, {name: "garbage collection", own: .15}, {name: "Temporal's library", own: .05}}, got.behalf)
	require.Equal(t, []share{{name: "system calls", own: .5}, {name: "allocation", own: .3}, {name: "garbage collection", own: .15}, {name: "protobuf", own: .05}}, got.work)
	require.Equal(t, share{name: "runtime.mallocgc", own: .3, inclusive: .3}, got.functions[1])
	require.Equal(t, "a 60 %, b 20 %, all others 20 %", shares([]share{{name: "a", own: .6}, {name: "b", own: .2}, {name: "c", own: .1}, {name: "d", own: .1}}, 2))
	require.Zero(t, summarise(&profile.Profile{}).total)
}

func TestMeasuresAreAddedUpByName(t *testing.T) {
	t.Parallel()
	text := `# TYPE waits counter
waits{kind="a",queue="x"} 3
waits{kind="b",queue="x"} 4
# TYPE took histogram
took_bucket{kind="a",le="+Inf"} 4
took_sum{kind="a"} 2
took_count{kind="a"} 4
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/metrics", r.URL.Path)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	m, err := scrape(t.Context(), server.URL)
	require.NoError(t, err)
	require.InDelta(t, 7, m.value("waits"), 0)
	require.InDelta(t, 4, m.value("waits", "queue", "x", "kind", "b"), 0)
	require.Zero(t, m.value("waits", "kind", "c"))
	require.Zero(t, m.value("unknown"))
	require.InDelta(t, .5, mean(measures{}, m, "took"), 0)
	require.Zero(t, mean(m, m, "took"), "nothing was taken in between")
}

func TestTheReportHasEveryLevelAndAPlotForEachWorkload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &result{workload: workload{name: "feed", title: "Inbox, signed in", about: "A page."}, limit: "the disk", best: 1, levels: []level{
		{clients: 1, rate: 100, took: []time.Duration{time.Millisecond}, cores: map[string]float64{"API": .25}},
		{clients: 16, rate: 1234.5, took: []time.Duration{20 * time.Millisecond}, cores: map[string]float64{"API": .5}, failures: 1, failure: errUnexpected{503, "busy"}}}}
	at := conditions{At: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), Cores: 2, Load: "0.10, 0.20, 0.30"}
	o := loadOptions{shape: shape{apis: 1, workers: 1}, customers: 10, window: time.Second}
	require.NoError(t, report(dir, at, o, []*result{r}))
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	require.NoError(t, err)
	for _, want := range []string{"0.10, 0.20, 0.30", "| [Inbox, signed in](#inbox-signed-in) | 1234 | 16 | 20 | 20 | the disk |", "| 1 | 100 | 1.00 | 1.00 | 0 | 0.25 |",
		"| 16 | 1234 | 20 | 20 | 1 | 0.50 |", "answered 503: busy", "![Inbox, signed in](feed.svg)", "| Inbox, signed in | 0.41 |"} {
		require.Contains(t, string(text), want)
	}
	first, err := os.ReadFile(filepath.Join(dir, "feed.svg"))
	require.NoError(t, err)
	for decoder := xml.NewDecoder(bytes.NewReader(first)); ; {
		if _, err := decoder.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	require.Contains(t, string(first), "throughput")
	require.NoError(t, report(dir, at, o, []*result{r}))
	again, err := os.ReadFile(filepath.Join(dir, "feed.svg"))
	require.NoError(t, err)
	require.Equal(t, first, again, "the same figures make the same drawing")
}

func TestNumbersOfClientsGrow(t *testing.T) {
	t.Parallel()
	got, err := numbers("1, 4,16")
	require.NoError(t, err)
	require.Equal(t, []int{1, 4, 16}, got)
	for _, bad := range []string{"", "0", "4,4", "4,1", "many"} {
		_, err := numbers(bad)
		require.Error(t, err, bad)
	}
}

func TestProcessorTimeIsWhatTheKernelSays(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux tells")
	}
	before := processorTime(os.Getpid(), false)
	for end := time.Now().Add(time.Minute); processorTime(os.Getpid(), false) < before+3*tick; {
		_ = strings.Repeat("work", 1000)
		require.True(t, time.Now().Before(end), "a minute of work takes more than 30 ms")
	}
	require.Positive(t, residentBytes(os.Getpid()))
	require.GreaterOrEqual(t, openFiles(os.Getpid()), 3)
	got := spent{"API": 3 * time.Second, "idle": time.Second}.since(spent{"API": time.Second}, 2*time.Second)
	require.InDelta(t, 1, got["API"], 0)
	require.True(t, slices.Contains(consumers, "others"))
}
