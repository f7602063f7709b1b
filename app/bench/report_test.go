package bench

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// clientCounts are what every comparison is made at.
var clientCounts = []int{1, 16, 64}

// A ratio of two is the surer the more turns there are: a busy machine changes its pace from one to the next.
var turns = flag.Int("turns", 3, "how often each contender is measured at each number of clients")

// window is how long one measurement lasts: -benchtime, within reason.
func window(b *testing.B) time.Duration {
	b.Helper()
	d, err := time.ParseDuration(flag.Lookup("test.benchtime").Value.String())
	if err != nil { // given as a count
		d = 2 * time.Second
	}
	return min(max(d, 200*time.Millisecond), 30*time.Second)
}

// table collects rows for the console. The testing package cuts off what a benchmark logs after ten lines.
type table struct {
	b     *testing.B
	out   strings.Builder
	w     *tabwriter.Writer
	bases []string // names of the contenders that the others are compared with
}

func newTable(b *testing.B, unit string, bases ...string) *table {
	b.Helper()
	t := &table{b: b, bases: bases}
	t.w = tabwriter.NewWriter(&t.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t.w, "clients\t\t")
	for _, what := range []string{unit + "/s", "p50 ms", "p99 ms"} {
		fmt.Fprint(t.w, what+"\t")
		for _, base := range bases {
			fmt.Fprintf(t.w, "to %s\t", base)
		}
	}
	fmt.Fprint(t.w, "cpu ms: own\tTemporal\tPostgres\t\n")
	return t
}

// add prints the rounds of all contenders; the first of them, one for each base, are what the others are held against.
func (t *table) add(clients int, contenders []contender, measured [][]round) {
	for i, c := range contenders {
		rs := measured[i]
		fmt.Fprintf(t.w, "%d\t%s\t", clients, c.name)
		for _, column := range []struct {
			digits int
			read   func(round) float64
		}{{1, rate}, {2, millis(.5)}, {2, millis(.99)}} {
			fmt.Fprintf(t.w, "%.*f\t", column.digits, median(rs, column.read))
			for base := range t.bases {
				fmt.Fprintf(t.w, "%s\t", times(i, base, ratio(rs, measured[base], column.read)))
			}
		}
		fmt.Fprintf(t.w, "%s\t%s\t%s\t\n", spent(rs, own), spent(rs, temporalServer), spent(rs, postgresServer))
	}
}

// spent is empty where the system does not say.
func spent(rs []round, who process) string {
	took := median(rs, func(r round) float64 { return r.cpu[who] })
	if took == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", took)
}

// times is empty for what would be compared with itself.
func times(i, base int, r float64) string {
	if i == base {
		return ""
	}
	return fmt.Sprintf("%.2f", r)
}

func (t *table) print(notes ...string) {
	t.b.Helper()
	if err := t.w.Flush(); err != nil {
		t.b.Fatal(err)
	}
	for _, n := range notes {
		fmt.Fprintln(&t.out, n)
	}
	fmt.Fprintf(os.Stdout, "\n%s\n", t.out.String())
}

// goal reports the median of ratios as a metric and says whether it is where it should be, and between what the middle half of
// them lies.
func goal(b *testing.B, what string, ratios []float64, limit float64, atMost bool) string {
	b.Helper()
	got := middle(ratios) // which sorts them
	b.ReportMetric(got, strings.ReplaceAll(what, " ", "-"))
	met, sign := got >= limit, "at least"
	if atMost {
		met, sign = got <= limit, "at most"
	}
	// Two digits are all the table shows; the third is noise.
	word := map[bool]string{true: "met", false: "MISSED"}[met || math.Round(got*100) == limit*100]
	n := len(ratios)
	return fmt.Sprintf("%s: %.2f, half of the turns %.2f to %.2f (%s %.1f): %s", what, got, ratios[n/4], ratios[n-1-n/4], sign, limit, word)
}
