package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// groups are the plots: a name for the file, a title, and what the axis shows. Those against changes show what grows by design.
var groups = []struct {
	name, title, unit string
	scale             float64
	most              int // curves at most: those that are largest
	changes           bool
}{
	{"memory", "memory of each part", "MiB", 1 << 20, 6, false},
	{"heap", "heap in use", "MiB", 1 << 20, 6, false},
	{"goroutines", "goroutines", "", 1, 6, false},
	{"files", "open files, connections, open runs", "", 1, 7, false},
	{"servers", "memory of the servers, write-ahead log", "MiB", 1 << 20, 6, false},
	{"rows", "rows of what has to be flat", "rows", 1, 6, false},
	{"sizes", "size of what has to be flat", "MiB", 1 << 20, 6, false},
	{"growing rows", "rows of what grows by design", "rows", 1, 6, true},
	{"stores", "what is stored", "MiB", 1 << 20, 6, true},
}

func (out *soaked) report(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documentation
		return err
	}
	var b strings.Builder
	b.WriteString("# Does anything grow that should not\n\nWritten by `make soak` (app/loadtest); see [how it is judged](../performance.md#the-whole-system-for-an-hour).\n\n")
	out.describe(&b)
	out.judgements(&b)
	b.WriteString("\n## Over time\n\nThe dashed line is where the half begins that is judged. What grows by design is shown against changes.\n")
	half := out.record.at[len(out.record.at)/2]
	for _, g := range groups {
		p := panel{title: g.title, x: "minutes", y: g.unit, from: half / 60}
		xs := slices.Clone(out.record.at)
		for i := range xs {
			xs[i] /= 60
		}
		if g.changes {
			p.x, p.from, xs = "changes", 0, out.record.changes
		}
		for _, s := range out.largest(g.name, g.most) {
			x, y := known(xs, s.values)
			for i := range y {
				y[i] /= g.scale
			}
			if len(x) > 1 {
				p.lines = append(p.lines, line{s.name, x, y})
			}
		}
		if len(p.lines) == 0 {
			continue
		}
		file := strings.ReplaceAll(g.name, " ", "-") + ".svg"
		if err := drawing(filepath.Join(dir, file), p); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n![%s](%s)\n", g.title, file)
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(b.String()), 0o644) //nolint:gosec // documentation
}

// largest are the series of a group that came highest.
func (out *soaked) largest(group string, n int) (of []*series) {
	highest := func(s *series) (most float64) {
		for _, v := range s.values {
			if !math.IsNaN(v) {
				most = max(most, v)
			}
		}
		return most
	}
	for _, s := range out.record.series {
		if s.group == group && (group != "sizes" || s.nature == flat) {
			of = append(of, s)
		}
	}
	slices.SortStableFunc(of, func(a, b *series) int {
		switch x, y := highest(a), highest(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return of[:min(n, len(of))]
}

func (out *soaked) describe(b *strings.Builder) {
	out.at.describe(b)
	o, r := out.options, out.record
	fmt.Fprintf(b, "- Shape: APIs: %d, workers: %d, Postgres (durable), Temporal (development server), sandbox for all vendors, each a process of its own; the clients are another, on the same processors.\n", o.apis, o.workers)
	fmt.Fprintf(b, "- %s of %g requests a second, %d streams open all the time, %d customers; everything was measured %d times, but for %d of them, when somebody was too busy to answer. Limits of callers off, messages that have ended are kept for a minute (`%s`), cleaning up is triggered every minute; everything else as by default.\n",
		o.duration.Round(time.Second), o.rate, o.streams, o.customers, len(r.at), out.unmeasured, retention)
	b.WriteString("- The mix, in hundredths:")
	for i, m := range mix {
		fmt.Fprintf(b, "%s %s %d", map[bool]string{true: "", false: ";"}[i == 0], m.name, m.percent)
	}
	fmt.Fprintf(b, ".\n- %s; %.0f changes. After the last request all changes were settled within %s.\n", out.traffic.told(), r.changes[len(r.changes)-1]-r.changes[0], out.drained.Round(100*time.Millisecond))
	if out.traffic.failure != nil {
		fmt.Fprintf(b, "- The first that failed: `%s`.\n", strings.ReplaceAll(out.traffic.failure.Error(), "`", "'"))
	}
}

func (out *soaked) judgements(b *strings.Builder) {
	bad := 0
	for _, v := range out.verdicts {
		if v.failed {
			bad++
		}
	}
	for _, r := range out.rest {
		if r.failed() {
			bad++
		}
	}
	if bad == 0 {
		b.WriteString("\n**Nothing grew that should not.**\n")
	} else {
		fmt.Fprintf(b, "\n**%d of the following grew and should not have.**\n", bad)
	}
	for _, part := range []struct {
		title   string
		natures []nature
	}{
		{"Has to be flat", []nature{flat}}, {"Grows by design, so much for each change or event", []nature{perChange, perEvent}}, {"Not judged", []nature{told}},
	} {
		fmt.Fprintf(b, "\n## %s\n\n| | at half-time | in the end | growth | at most | |\n|---|---:|---:|---:|---:|---|\n", part.title)
		var still []string
		for _, v := range out.verdicts {
			if !slices.Contains(part.natures, v.nature) {
				continue
			}
			if v.judged && v.still() {
				still = append(still, v.name)
				continue
			}
			verdict := "good"
			switch {
			case v.failed:
				verdict = "**grows**"
			case !v.judged:
				verdict = ""
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", v.name, quantity(v.half, v.unit), quantity(v.end, v.unit), v.growth, v.limit, verdict)
		}
		if len(still) > 0 {
			fmt.Fprintf(b, "\nDid not change at all in this half: %s.\n", strings.Join(still, ", "))
		}
	}
	b.WriteString("\n## At rest, before all traffic and after it\n\n| | goroutines before | after | open files before | after | |\n|---|---:|---:|---:|---:|---|\n")
	for _, r := range out.rest {
		fmt.Fprintf(b, "| %s | %.0f | %.0f | %d | %d | %s |\n", r.name, r.before, r.after, r.filesFrom, r.filesNow, map[bool]string{true: "**more is left than may be**", false: "good"}[r.failed()])
	}
}
