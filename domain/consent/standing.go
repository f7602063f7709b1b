package consent

import (
	"slices"
	"time"
)

// Standing is what held at one moment, as the ledger tells it. A path that is in neither map had its default: nobody had
// decided it.
type Standing struct {
	At       time.Time
	Facts    map[string]Fact // what had been applied
	Withheld map[string]Fact // what a withdrawal that was asked for and not settled kept from being used already
}

// Fact is a value, and the entry that it rests on.
type Fact struct {
	Value     any
	Seq       int64
	Since     time.Time
	Operation string
}

// StandingAt works it out of a chain's lines in order, and of nothing else: the entries up to that time, its microsecond
// included.
func StandingAt(lines []Line, at time.Time) Standing {
	s := Standing{At: at, Facts: map[string]Fact{}, Withheld: map[string]Fact{}}
	var open []Line
	for _, l := range lines {
		if l.At.After(at) {
			continue // of another machine, whose clock is ahead: the order of the chain is not that of the times
		}
		switch l.Event {
		case Requested:
			open = append(open, l)
		case Applied:
			for path, value := range l.Entry.After {
				s.Facts[path] = l.fact(value)
			}
			open = without(open, l.Operation)
		case Compensated:
			open = without(open, l.Operation)
		case NeedsAttention, RetryRequested, CompensationRequested, Erased: // it is still not settled, or nothing holds
		}
	}
	for _, l := range open {
		if l.Entry.Kind != "withdrawal" {
			continue
		}
		for path, value := range l.Entry.After {
			if _, earlier := s.Withheld[path]; !earlier && less(value) {
				s.Withheld[path] = l.fact(value)
			}
		}
	}
	return s
}

func (l Line) fact(value any) Fact {
	return Fact{Value: value, Seq: l.Seq, Since: l.At, Operation: l.Operation}
}

func without(open []Line, operation string) []Line {
	return slices.DeleteFunc(open, func(l Line) bool { return l.Operation == operation })
}

// less reports a value that lets us send less: off, unsubscribed, withdrawn, gone.
func less(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v != "subscribed" && v != "granted"
	}
	return false
}
