package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// busy is from which share on the processors count as used up: what is asked for more gets no more than this on average, as some
// of the time nobody happens to be ready.
const busy = 0.9

// firstUsedUp tells what was used up at the first level at which anything was, and at the last one. It does not guess: where nothing
// was used up, that is what it says.
func firstUsedUp(levels []level, cores int) string {
	for i, l := range levels {
		reasons := usedUp(l, cores)
		if len(reasons) == 0 {
			continue
		}
		out := fmt.Sprintf("from %d on: %s", l.clients, strings.Join(reasons, "; and "))
		if last := levels[len(levels)-1]; i < len(levels)-1 {
			out += fmt.Sprintf(". At %d: %s", last.clients, cmp.Or(strings.Join(usedUp(last, cores), "; and "), "nothing"))
		}
		return out
	}
	last := levels[len(levels)-1]
	return fmt.Sprintf("nothing up to %d: %.2f of %d processors are busy, and nobody waits for a connection or a slot. What is waited for is the disk, or each other", last.clients, taken(last.cores), cores)
}

// usedUp is what a level had used up, from who took the processors and from what the processes say of their pools and slots.
func usedUp(l level, cores int) (reasons []string) {
	if total := taken(l.cores); total >= busy*float64(cores) {
		reasons = append(reasons, fmt.Sprintf("the processors (%.2f of %d busy, %.2f of it with others; most of the rest: %s)", total, cores, l.cores["others"], most(l.cores)))
	}
	for _, kind := range []string{"API", "worker"} {
		// A pool that is merely full costs nobody anything.
		if waits := l.pressure.poolWaits[kind]; waits > 0 && l.pressure.poolWaited[kind] > l.quantile(.5)/10 {
			reasons = append(reasons, fmt.Sprintf("the database connections of the %s (%.0f; waited for %.0f times a second, %s each)",
				kind, l.pressure.poolLimit[kind], waits, short(l.pressure.poolWaited[kind])))
		}
	}
	for _, of := range []string{"WorkflowWorker", "ActivityWorker", "LocalActivityWorker"} {
		if left, known := l.pressure.slotsLeft[of]; known && left <= 0 {
			reasons = append(reasons, "the worker's slots of "+of)
		}
	}
	return reasons
}

// taken is how many processors were busy in all.
func taken(cores map[string]float64) (total float64) {
	for _, who := range consumers {
		total += cores[who]
	}
	return total
}

// most names those of the system and its clients who take most, until they make up two thirds of what these take.
func most(cores map[string]float64) string {
	who := slices.DeleteFunc(slices.Clone(consumers), func(one string) bool { return one == "others" })
	slices.SortStableFunc(who, func(a, b string) int { return cmp.Compare(cores[b], cores[a]) })
	var out []string
	for sum := 0.0; len(who) > 0 && sum < (taken(cores)-cores["others"])*2/3; who = who[1:] {
		sum += cores[who[0]]
		out = append(out, fmt.Sprintf("%s %.2f", who[0], cores[who[0]]))
	}
	return strings.Join(out, ", ")
}
