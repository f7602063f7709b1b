package main

import (
	"fmt"
	"math"
	"slices"
)

// nature is how something is expected to behave while the same goes on and on.
type nature int

const (
	flat      nature = iota // stays as it is after warming up
	perChange               // grows by design with every change of preferences
	perEvent                // grows by design with every event that a client reports
	told                    // is shown and not judged, since it fills up by design and belongs to somebody else
)

// series is one thing that was measured again and again. A value that could not be had is NaN.
type series struct {
	name   string
	unit   string // B, rows, or what is counted
	group  string // of the plot
	nature nature
	// What may come on in the second half of a run: so much, or that share of what there is, whichever is more. For what grows per
	// unit, one may take that share more than one did earlier, and all together so much besides: pages come in groups.
	much  float64
	share float64
	// How often, in seconds, it is brought back by something that cleans up; 0 for not in steps. A slope over fewer than
	// fewestPeriods of these says nothing.
	period float64
	// How long, in seconds, it fills up by design before it can be flat.
	warm float64

	values []float64
}

// record is a whole run: at each moment everything was measured once.
type record struct {
	at      []float64 // seconds since the traffic began
	changes []float64 // changes that had been accepted by then
	events  []float64 // events reported by then
	series  []*series
}

// verdict is what became of one series.
type verdict struct {
	*series
	half, end float64 // what it was at half-time and in the end
	growth    string
	limit     string
	judged    bool
	failed    bool
}

// fewest moments and units that say something about a slope.
const (
	fewestMoments = 8
	fewestUnits   = 20
	fewestPeriods = 4
)

func (r *record) judge(s *series) verdict {
	half := len(r.at) / 2
	v := verdict{series: s, half: math.NaN(), end: math.NaN()}
	if len(s.values) > 0 {
		v.half, v.end = s.values[half], s.values[len(s.values)-1]
	}
	switch s.nature {
	case flat:
		r.judgeFlat(s, half, &v)
	case perChange:
		judgePerUnit(s, r.changes, half, "change", &v)
	case perEvent:
		judgePerUnit(s, r.events, half, "event", &v)
	case told:
	}
	return v
}

// judgeFlat takes the slope over the second half. It is the median of the slopes between all pairs of moments (Theil and Sen), which
// what goes up and down, as a heap does, moves little.
func (r *record) judgeFlat(s *series, half int, v *verdict) {
	for half < len(r.at) && r.at[half] < s.warm {
		half++
	}
	xs, ys := known(r.at[half:], s.values[half:])
	if len(xs) < fewestMoments && s.warm > 0 {
		v.growth = "still filling up"
		return
	}
	if len(xs) < fewestMoments {
		v.growth = "too few moments"
		return
	}
	span := xs[len(xs)-1] - xs[0]
	if span < fewestPeriods*s.period {
		v.growth = "too short to tell"
		return
	}
	v.judged = true
	if s.period > 0 {
		xs, ys = means(xs, ys, s.period)
	}
	grew, limit := slope(xs, ys)*span, max(s.much, s.share*median(ys))
	v.growth, v.limit = fmt.Sprintf("%s in %.0f s", signed(grew, s.unit), span), quantity(limit, s.unit)
	v.failed = grew > limit
}

// means of everything within each period: where in it one looks makes no difference then.
func means(xs, ys []float64, period float64) (outX, outY []float64) {
	for i := 0; i < len(xs); {
		from, n, sum := i, 0.0, 0.0
		for ; i < len(xs) && xs[i] < xs[from]+period; i++ {
			n, sum = n+1, sum+ys[i]
		}
		if i < len(xs) || len(outX) == 0 { // the last may be a part of a period
			outX, outY = append(outX, xs[from]+period/2), append(outY, sum/n)
		}
	}
	return outX, outY
}

// judgePerUnit compares what a unit takes in the second half with what it took in the second quarter: what grows with all that was
// there before takes more and more.
func judgePerUnit(s *series, units []float64, half int, unit string, v *verdict) {
	early, _, earlyOK := perUnit(units[half/2:half], s.values[half/2:half])
	late, happened, lateOK := perUnit(units[half:], s.values[half:])
	if !earlyOK || !lateOK {
		v.growth = "too little happened"
		return
	}
	v.judged = true
	limit := max(0, early)*(1+s.share) + s.much/happened
	v.growth = fmt.Sprintf("%s per %s, before %s", signed(late, s.unit), unit, signed(early, s.unit))
	v.limit = quantity(limit, s.unit) + " per " + unit
	v.failed = late > limit
}

// perUnit is what one unit took, and how many there were.
func perUnit(units, values []float64) (took, happened float64, ok bool) {
	xs, ys := known(units, values)
	if len(xs) < fewestMoments/2 || xs[len(xs)-1]-xs[0] < fewestUnits {
		return 0, 0, false
	}
	return slope(xs, ys), xs[len(xs)-1] - xs[0], true
}

// known leaves out moments at which something could not be measured.
func known(xs, ys []float64) (outX, outY []float64) {
	for i := range xs {
		if !math.IsNaN(ys[i]) {
			outX, outY = append(outX, xs[i]), append(outY, ys[i])
		}
	}
	return outX, outY
}

// slope of the line through points.
func slope(xs, ys []float64) float64 {
	var all []float64
	for i := range xs {
		for j := i + 1; j < len(xs); j++ {
			if xs[j] > xs[i] {
				all = append(all, (ys[j]-ys[i])/(xs[j]-xs[i]))
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	return median(all)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func signed(v float64, unit string) string {
	if v >= 0 {
		return "+" + quantity(v, unit)
	}
	return "-" + quantity(-v, unit)
}

// quantity is for people: bytes in the unit that fits.
func quantity(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return "unknown"
	case unit != "B":
		return fmt.Sprintf("%.4g", v)
	case math.Abs(v) >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case math.Abs(v) >= 1<<10:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	}
	return fmt.Sprintf("%.0f B", v)
}

// still tells whether it was the same at every moment of the second half.
func (v verdict) still() bool {
	for _, value := range v.values[len(v.values)/2:] {
		if value != v.end {
			return false
		}
	}
	return true
}
