package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// report writes what was found into a folder: report.md, and a plot for each workload.
func report(dir string, at conditions, o loadOptions, results []*result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documentation
		return err
	}
	var b strings.Builder
	b.WriteString("# How much Accord does on one machine, and what stops it\n\nWritten by `make load` (app/loadtest); see [how it is measured](../performance.md#the-whole-system-under-load).\n\n")
	at.describe(&b)
	fmt.Fprintf(&b, "- Shape: %d API, %d worker, Postgres (durable), Temporal (development server), sandbox for all vendors, each a process of its own; the clients are another, on the same processors.\n", o.apis, o.workers)
	fmt.Fprintf(&b, "- %d customers with a phone, %d messages of their own and %d for everybody. Limits of callers off, comparing with the vendors off, everything else as by default.\n", o.customers, perPerson, globalsShown)
	fmt.Fprintf(&b, "- Each number of clients for %s (longer where one thing takes longer than half of that), once, closed loop: a client sends its next request when it has the answer. Loopback, connections stay open.\n\n", o.window)
	inShort(&b, results)
	for _, r := range results {
		if err := r.plot(filepath.Join(dir, r.name+".svg")); err != nil {
			return err
		}
		r.describe(&b)
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(b.String()), 0o644) //nolint:gosec // documentation
}

// inShort is one line for each workload: what it came to, what stopped it, and what one of it costs, which depends least on what
// else ran.
func inShort(b *strings.Builder, results []*result) {
	b.WriteString("## In short\n\n| | most per second | at | p50 ms | p99 ms | used up first |\n|---|---:|---:|---:|---:|---|\n")
	for _, r := range results {
		l := r.levels[r.best]
		fmt.Fprintf(b, "| [%s](#%s) | %s | %d | %s | %s | %s |\n", r.title, anchor(r.title), number(l.rate), l.clients, millis(l.quantile(.5)), millis(l.quantile(.99)), r.limit)
	}
	own := consumers[:len(consumers)-1]
	fmt.Fprintf(b, "\nWhat one takes of processors where most were done, in ms (for streams, one message told to all):\n\n| | %s |\n|---|%s\n", strings.Join(own, " | "), strings.Repeat("---:|", len(own)))
	for _, r := range results {
		l := r.levels[r.best]
		fmt.Fprintf(b, "| %s |", r.title)
		for _, who := range own {
			fmt.Fprintf(b, " %.2f |", 1000*l.cores[who]/l.rate)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nBelow, the last columns of each first table are processors kept busy on average. `others` is whatever else ran on the machine, and takes from all that is told here.\n")
}

func anchor(title string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(title), ",", ""), " ", "-")
}

func (c conditions) describe(b *strings.Builder) {
	fmt.Fprintf(b, "## Conditions\n\n- %s, %d cores (%s), %s of memory, %s, %s, PostgreSQL %s.\n", c.At.Format("2 January 2006, 15:04 UTC"), c.Cores, c.Processor, c.Memory, c.System, c.Go, c.Postgres)
	fmt.Fprintf(b, "- Load average at the start, before anything of this ran: %s (over 1, 5 and 15 minutes).\n", c.Load)
}

func (r *result) describe(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n![%s](%s.svg)\n\n", r.title, r.about, r.title, r.name)
	what, extra := "clients", ""
	switch {
	case r.name == "streams":
		what, extra = "connections", " KiB each | of it Go's |"
	case r.drain != nil:
		extra = " settled/s | worked off after |"
	}
	rule := strings.Repeat("---:|", 5+strings.Count(extra, "|")+len(consumers))
	fmt.Fprintf(b, "| %s | per second | p50 ms | p99 ms | failed |%s %s |\n|%s\n", what, extra, strings.Join(consumers, " | "), rule)
	for _, l := range r.levels {
		fmt.Fprintf(b, "| %d | %s | %s | %s | %d |", l.clients, number(l.rate), millis(l.quantile(.5)), millis(l.quantile(.99)), l.failures)
		switch {
		case r.name == "streams":
			fmt.Fprintf(b, " %.0f | %.0f |", float64(l.memory)/1024, float64(l.heap)/1024)
		case r.drain != nil:
			fmt.Fprintf(b, " %s | %s |", number(l.pressure.settledRate), l.drained.Round(100*time.Millisecond))
		}
		for _, who := range consumers {
			fmt.Fprintf(b, " %.2f |", l.cores[who])
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "\n**Used up first:** %s.\n", r.limit)
	for _, l := range r.levels {
		if l.failure != nil {
			fmt.Fprintf(b, "\nAt %d, the first that failed: `%s`.\n", l.clients, strings.ReplaceAll(l.failure.Error(), "`", "'"))
			break
		}
	}
	r.pressures(b)
	r.where(b)
}

// pressures are pools and slots at every level.
func (r *result) pressures(b *strings.Builder) {
	b.WriteString("\n| | API: connections in use | waits/s | waited | worker: connections in use | waits/s | waited | fewest free slots: runs | steps | a run's task waits | a step waits |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, l := range r.levels {
		p := l.pressure
		fmt.Fprintf(b, "| %d |", l.clients)
		for _, kind := range []string{"API", "worker"} {
			fmt.Fprintf(b, " %.0f of %.0f | %s | %s |", p.poolMost[kind], p.poolLimit[kind], number(p.poolWaits[kind]), short(p.poolWaited[kind]))
		}
		fmt.Fprintf(b, " %.0f | %.0f | %s | %s |\n", p.slotsLeft["WorkflowWorker"], p.slotsLeft["ActivityWorker"], short(p.taskWait), short(p.actWait))
	}
}

// where the processor time of API and worker goes.
func (r *result) where(b *strings.Builder) {
	if r.profiled == nil {
		return
	}
	fmt.Fprintf(b, "\nWhere the processor time goes, at %d once more with profiles being taken (%s per second then):\n", r.profiled.clients, number(r.profiled.rate))
	for _, kind := range kindsOf(r.profiles) {
		p := r.profiles[kind]
		fmt.Fprintf(b, "\n*%s*, %.2f processors. On behalf of: %s. What is done: %s.\n", kind, p.total.Seconds()/r.profiled.window.Seconds(), shares(p.behalf, 8), shares(p.work, 8))
		if p.total < time.Second/2 {
			b.WriteString("That is too little to look at single functions.\n")
			continue
		}
		b.WriteString("\n| function | itself | with what it calls |\n|---|---:|---:|\n")
		for _, f := range p.functions[:min(8, len(p.functions))] {
			fmt.Fprintf(b, "| `%s` | %.1f %% | %.1f %% |\n", f.name, 100*f.own, 100*f.inclusive)
		}
	}
}

func shares(of []share, n int) string {
	var out []string
	for _, s := range top(of, n) {
		if s.own >= .005 {
			out = append(out, fmt.Sprintf("%s %.0f %%", s.name, 100*s.own))
		}
	}
	return strings.Join(out, ", ")
}

func (r *result) plot(path string) error {
	var clients, rates, medians, worst, memory []float64
	for _, l := range r.levels {
		clients = append(clients, float64(l.clients))
		rates = append(rates, l.rate)
		medians = append(medians, inMillis(l.quantile(.5)))
		worst = append(worst, inMillis(l.quantile(.99)))
		memory = append(memory, float64(l.memory)/1024)
	}
	first := panel{title: "throughput", x: "clients", y: "per second", logarithmic: true, ticks: clients, lines: []line{{"", clients, rates}}}
	second := panel{title: "latency", x: "clients", y: "ms", logarithmic: true, ticks: clients, lines: []line{{"p99", clients, worst}, {"p50", clients, medians}}}
	if r.name == "streams" {
		first.title, first.x, first.y, first.lines = "memory of the API per connection", "connections", "KiB", []line{{"", clients, memory}}
		second.title, second.x = "until word has reached a connection", "connections"
	}
	return drawing(path, first, second)
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func millis(d time.Duration) string {
	if ms := inMillis(d); ms < 10 {
		return fmt.Sprintf("%.2f", ms)
	}
	return fmt.Sprintf("%.0f", inMillis(d))
}

// number has as many digits as mean something.
func number(v float64) string {
	if v >= 100 || v == 0 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
