package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processes that work for a contender beside this one. 0 for none.
type processes struct{ temporal, postgres int }

type process int

const (
	own process = iota
	temporalServer
	postgresServer
	processCount
)

// usage is processor time in milliseconds.
type usage [processCount]float64

// used is what all of them have taken so far. Clients, API and worker are one process. What the servers take is known on
// Linux alone.
func (p processes) used() (u usage) {
	var mine syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &mine); err == nil {
		u[own] = float64(mine.Utime.Nano()+mine.Stime.Nano()) / float64(time.Millisecond)
	}
	u[temporalServer] = ticks(p.temporal)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.postgres, p.postgres))
	if err != nil {
		return u
	}
	for child := range strings.FieldsSeq(string(children)) { // a process for each connection
		if id, err := strconv.Atoi(child); err == nil {
			u[postgresServer] += ticks(id)
		}
	}
	return u
}

// ticks reads user and system time from the kernel's statistics of a process (proc_pid_stat(5), fields 14 and 15, in
// hundredths of a second).
func ticks(id int) (millis float64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 0
	}
	_, afterName, _ := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(afterName))
	if len(fields) < 13 {
		return 0
	}
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0
		}
		millis += 10 * n
	}
	return millis
}

func (u usage) since(before usage, units int) (each usage) {
	for i := range u {
		each[i] = (u[i] - before[i]) / float64(units)
	}
	return each
}
