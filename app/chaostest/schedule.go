package main

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// strike is one disturbance: what is done, to whom, when after the beginning and for how long. What it needs to know besides
// is in the other fields.
type strike struct {
	at, lasts time.Duration
	lane      string // strikes of one lane follow each other
	what      string // kill, stop, cut, slow, fault, fill, deploy
	whom      string
	latency   time.Duration
	fault     map[string]any
}

func (s strike) String() string {
	about := ""
	if s.fault != nil {
		about = fmt.Sprintf(": %v of %v calls at %v %v", s.fault["kind"], s.fault["calls"], s.fault["target"], s.fault["status"])
		about = strings.TrimSuffix(about, " <nil>")
	}
	if s.latency > 0 {
		about = " by " + s.latency.String()
	}
	return strings.TrimSpace(s.what+" "+s.whom) + about
}

// schedule draws what will be done, and when, from the seed and the duration alone.
func schedule(o options) []strike {
	d := &drawer{rng: rand.New(rand.NewPCG(o.seed, 1)), until: o.duration, dense: max(o.dense, 1), lasting: max(o.lasting, 1), wanted: o.wanted} //nolint:gosec // to be had again
	for _, name := range append(slices.Clone(partNames), "postgres", "temporal") {
		d.lane(name, 30*time.Second, 110*time.Second, func(at time.Duration) strike { return d.process(name, at) })
	}
	for _, name := range linkNames {
		d.lane(name, 40*time.Second, 140*time.Second, func(at time.Duration) strike { return d.link(name, at) })
	}
	d.faults()
	if o.duration >= 2*time.Minute {
		d.lane("disk", o.duration/3, o.duration/2, func(time.Duration) strike {
			return strike{what: "fill", whom: "disk of postgres", lasts: d.between(2*time.Second, 6*time.Second)}
		})
	}
	if o.deploy {
		d.all = append(d.all, strike{at: o.duration * 2 / 5, lane: "deploy", what: "deploy"})
	}
	d.all = slices.DeleteFunc(d.all, func(s strike) bool { return !o.wanted(s.String()) })
	slices.SortStableFunc(d.all, func(a, b strike) int { return cmp.Compare(a.at, b.at) })
	return d.all
}

// wanted tells a disturbance that is among those which a run is confined to, if it is confined: one has each of the words.
func (o options) wanted(what string) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(words string) bool {
		return !slices.ContainsFunc(strings.Fields(words), func(word string) bool { return !strings.Contains(what, word) })
	})
}

type drawer struct {
	rng     *rand.Rand
	until   time.Duration
	dense   float64 // how many times more often than otherwise
	lasting int     // how many times more calls a fault meets
	wanted  func(string) bool
	all     []strike
}

func (d *drawer) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.rng.Int64N(int64(to-from)))
}

// lane draws strikes one after the other, with pauses in between. Nothing begins in the last seconds, so that all of them are
// over in time.
func (d *drawer) lane(name string, least, most time.Duration, draw func(at time.Duration) strike) {
	least, most = time.Duration(float64(least)/d.dense), time.Duration(float64(most)/d.dense)
	// In a short run everything is tried all the same, only less often.
	if shortest := d.until / 2; least > shortest/2 {
		least, most = shortest/2, shortest*3/2
	}
	for at := d.between(least/3, most/2); ; {
		s := draw(at)
		s.at, s.lane = at, name
		if at+s.lasts > d.until-3*time.Second {
			return
		}
		d.all = append(d.all, s)
		at += s.lasts + d.between(least, most)
	}
}

// process is killed, or stopped for long enough that it loses its leases.
func (d *drawer) process(name string, _ time.Duration) strike {
	server := name == "postgres" || name == "temporal"
	if d.rng.IntN(2) == 0 {
		return strike{what: "kill", whom: name, lasts: d.between(300*time.Millisecond, 6*time.Second)}
	}
	longest := 15 * time.Second
	if server || name == "sandbox" {
		longest = 9 * time.Second
	}
	return strike{what: "stop", whom: name, lasts: d.between(2500*time.Millisecond, longest)}
}

func (d *drawer) link(name string, _ time.Duration) strike {
	if d.rng.IntN(2) == 0 {
		return strike{what: "cut", whom: name, lasts: d.between(100*time.Millisecond, 5*time.Second)}
	}
	return strike{what: "slow", whom: name, lasts: d.between(4*time.Second, 15*time.Second), latency: d.between(20*time.Millisecond, 400*time.Millisecond)}
}

// faults are every kind at every target, in an order of chance, over and over.
func (d *drawer) faults() {
	var deck []map[string]any
	draw := func() map[string]any {
		if len(deck) == 0 {
			deck = slices.DeleteFunc(everyFault(), func(f map[string]any) bool { return !d.wantsFault(f) })
			d.rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := deck[0]
		deck = deck[1:]
		f["calls"] = []string{"read", "write", "any"}[d.rng.IntN(3)]
		times := 1 + d.rng.IntN(25)
		if f["status"] == 400 { // each parks a withdrawal
			times = 1 + d.rng.IntN(4)
		}
		f["times"] = d.lasting * times
		return f
	}
	if !slices.ContainsFunc(everyFault(), d.wantsFault) {
		return
	}
	for _, lane := range []string{"faults", "more faults"} {
		d.lane(lane, 500*time.Millisecond, 6*time.Second, func(time.Duration) strike {
			f := draw()
			return strike{what: "fault", fault: f, lasts: d.between(time.Second, 10*time.Second)}
		})
	}
}

func (d *drawer) wantsFault(f map[string]any) bool {
	return slices.ContainsFunc([]string{"read", "write", "any"}, func(calls string) bool {
		with := maps.Clone(f)
		with["calls"] = calls
		return d.wanted(strike{what: "fault", fault: with}.String())
	})
}

func everyFault() (out []map[string]any) {
	for _, target := range []string{"crm", "push", "cmp", "engagement"} {
		for _, kind := range []string{"delay", "timeout_before", "timeout_after", "drop_after", "malformed"} {
			out = append(out, map[string]any{"target": target, "customer": "*", "kind": kind})
		}
		for _, status := range []int{400, 429, 500, 503} {
			out = append(out, map[string]any{"target": target, "customer": "*", "kind": "status", "status": status})
		}
	}
	for _, f := range out {
		switch {
		case f["kind"] == "delay":
			f["delay_ms"] = 1500
		case f["status"] == 429:
			f["headers"] = map[string]any{"Retry-After": "1"}
		}
	}
	return out
}
