package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Who takes processor time, in the order in which it is told. Postgres is the server with its sessions; others is whatever else
// runs on the machine.
var consumers = []string{"API", "worker", "Postgres", "Temporal", "sandbox", "clients", "others"}

// spent is processor time so far by consumer, with "idle" for what nobody took. The kernel tells on Linux alone.
type spent map[string]time.Duration

// spent is what everybody has taken so far.
func (s *system) spent() spent {
	out := spent{}
	for _, p := range s.parts {
		out[p.kind] += processorTime(p.PID(), false)
	}
	out["Postgres"] = processorTime(s.postgres.PID(), true)
	for _, id := range childrenOf(s.postgres.PID()) {
		out["Postgres"] += processorTime(id, false)
	}
	out["Temporal"] = processorTime(s.temporal.PID(), true)
	var mine syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &mine) == nil {
		out["clients"] = time.Duration(mine.Utime.Nano() + mine.Stime.Nano())
	}
	busy, idle := wholeMachine()
	out["others"], out["idle"] = busy, idle
	for _, who := range consumers[:len(consumers)-1] {
		out["others"] -= out[who]
	}
	return out
}

// since is how many processors each kept busy, on average over the time between two readings.
func (s spent) since(before spent, took time.Duration) map[string]float64 {
	out := map[string]float64{}
	for who, now := range s {
		out[who] = max(0, float64(now-before[who])/float64(took))
	}
	return out
}

// tick is the kernel's unit of processor time in /proc: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// processorTime reads what a process has taken (proc_pid_stat(5), fields 14 and 15), with what its ended children took (16 and
// 17) if asked for.
func processorTime(id int, withEnded bool) time.Duration {
	fields := statOf(id)
	if len(fields) < 15 {
		return 0
	}
	last := 13
	if withEnded {
		last = 15
	}
	var sum time.Duration
	for _, field := range fields[11:last] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// statOf are the fields after the process's name, of which the first is the third of proc_pid_stat(5).
func statOf(id int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return nil
	}
	_, afterName, _ := bytes.Cut(stat, []byte(") "))
	return strings.Fields(string(afterName))
}

func childrenOf(parent int) (out []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, path := range tasks {
		children, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for child := range strings.FieldsSeq(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				out = append(out, id)
			}
		}
	}
	return out
}

// wholeMachine is what all processors together have worked and idled (proc_stat(5)). Waiting for a disk is idling.
func wholeMachine() (busy, idle time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(first)[1:] {
		n, err := strconv.ParseInt(field, 10, 64)
		switch {
		case err != nil || i > 7: // guests are counted among the others already
		case i == 3 || i == 4:
			idle += time.Duration(n) * tick
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, idle
}

// residentBytes is the memory that a process has in use.
func residentBytes(id int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", id))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// openFiles of a process, connections included.
func openFiles(id int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", id))
	return len(entries)
}

// conditions are what every figure depends on.
type conditions struct {
	At        time.Time
	Cores     int
	Processor string
	Memory    string
	System    string
	Go        string
	Load      string // average over 1, 5 and 15 minutes at the start, of whatever ran before
	Postgres  string
}

func conditionsNow() conditions {
	c := conditions{At: time.Now().UTC(), Cores: runtime.NumCPU(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	c.Processor = valueIn("/proc/cpuinfo", "model name")
	if kib, err := strconv.ParseInt(strings.TrimSuffix(valueIn("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		c.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		c.System += ", kernel " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		c.Load = strings.Join(strings.Fields(string(load))[:3], ", ")
	}
	return c
}

// valueIn is what a file of "name: value" lines has first for a name.
func valueIn(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
