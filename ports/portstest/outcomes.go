package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

// soon is far more than an announcement takes, so that a busy machine fails no test.
const soon = 20 * time.Second

// Outcomes is the contract of ports.Outcomes. open gives two processes' views of one empty store.
func Outcomes(t *testing.T, open func(*testing.T) (here, there Store)) {
	for name, test := range map[string]func(t *testing.T, here, there Store){
		"an announcement reaches every watcher here":      announcedHere,
		"an announcement reaches watchers elsewhere":      announcedThere,
		"who waits in a second place finds out":           watchedTwice,
		"word travels, where it is needed":                wordTravels,
		"a lost announcement is made up for":              announcementLost,
		"a parked operation is an outcome":                parkedIsOutcome,
		"who comes late finds out":                        watchedLate,
		"who stopped is not told, and may stop twice":     stopped,
		"an operation under way is none":                  underWay,
		"an announcement of what nobody watches is ended": announcedToNobody,
		"who settled it hands it over in its process":     handedOver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := open(t)
			test(t, here, there)
		})
	}
}

func announcedHere(t *testing.T, here, _ Store) {
	first, stopFirst := here.Watch("op-x")
	defer stopFirst()
	second, stopSecond := here.Watch("op-x")
	defer stopSecond()
	other, stopOther := here.Watch("op-y")
	defer stopOther()
	here.Announce(t.Context(), preference.Operation{ID: "op-x"})
	within(t, soon, first, "the first watcher")
	within(t, soon, second, "the second watcher")
	select {
	case <-other:
		t.Fatal("another operation's watcher was told")
	default:
	}
}

func announcedThere(t *testing.T, here, there Store) {
	r := Subscribe(ada)
	done, stop := here.Watch(r.ID)
	defer stop()
	Apply(t, there, ada, r)
	there.Announce(t.Context(), preference.Operation{ID: r.ID})
	within(t, soon, done, "the watcher in another process")
}

// watchedTwice is for a change that is asked for again elsewhere while it is waited for here.
func watchedTwice(t *testing.T, here, there Store) {
	r := Subscribe(ada)
	mine, stop := here.Watch(r.ID)
	defer stop()
	again, stopAgain := there.Watch(r.ID)
	defer stopAgain()
	Apply(t, here, ada, r)
	here.Announce(t.Context(), preference.Operation{ID: r.ID})
	within(t, soon, mine, "the watcher in the process that settled it")
	within(t, soon, again, "the watcher in another process")
}

// wordTravels announces what is not stored, so that nobody can find it by looking. There is told of what nobody waits for
// here, and of nothing else.
func wordTravels(t *testing.T, here, there Store) {
	tellThere := func(operation string) {
		done, stop := there.Watch(operation)
		defer stop()
		again := time.NewTicker(20 * time.Millisecond) // there may not listen yet
		defer again.Stop()
		late := time.After(soon)
		for {
			here.Announce(t.Context(), preference.Operation{ID: operation})
			select {
			case <-done:
				return
			case <-late:
				t.Fatalf("the watcher of %s in another process was not told", operation)
			case <-again.C:
			}
		}
	}
	tellThere("op-x")
	mine, stop := here.Watch("op-y")
	defer stop()
	again, stopAgain := there.Watch("op-y")
	defer stopAgain()
	here.Announce(t.Context(), preference.Operation{ID: "op-y"})
	within(t, soon, mine, "the watcher in the process that announced it")
	tellThere("op-z") // which comes after whatever was said before
	select {
	case <-again:
		t.Fatal("told of what somebody waited for where it was announced")
	default:
	}
}

func announcementLost(t *testing.T, here, there Store) {
	r := Subscribe(ada)
	done, stop := here.Watch(r.ID)
	defer stop()
	Apply(t, there, ada, r)
	within(t, soon, done, "the watcher of an operation that nobody announced")
}

func parkedIsOutcome(t *testing.T, here, there Store) {
	r := Unsubscribe(ada)
	done, stop := here.Watch(r.ID)
	defer stop()
	Accept(t, there, ada, r)
	Begin(t, there, r.ID)
	Park(t, there, r.ID)
	within(t, soon, done, "the watcher of an operation that was parked")
}

func watchedLate(t *testing.T, here, there Store) {
	r := Subscribe(ada)
	Apply(t, there, ada, r)
	done, stop := here.Watch(r.ID)
	defer stop()
	within(t, soon, done, "the watcher of an operation that had settled")
}

func stopped(t *testing.T, here, _ Store) {
	gone, stop := here.Watch("op-x")
	stop()
	stop()
	stays, stopStays := here.Watch("op-x")
	defer stopStays()
	here.Announce(t.Context(), preference.Operation{ID: "op-x"})
	within(t, soon, stays, "the watcher that stays")
	select {
	case <-gone:
		t.Fatal("told although no longer interested")
	default:
	}
	stopStays() // after the outcome
}

func underWay(t *testing.T, here, there Store) {
	open, settled := Unsubscribe(ada), Subscribe(grace)
	Accept(t, there, ada, open)
	Begin(t, there, open.ID)
	waiting, stop := here.Watch(open.ID)
	defer stop()
	done, stopDone := here.Watch(settled.ID)
	defer stopDone()
	Apply(t, there, grace, settled)
	within(t, soon, done, "the watcher of the operation that settled")
	select {
	case <-waiting:
		t.Fatal("told of an operation under way that nobody announced")
	default:
	}
	require.NotNil(t, waiting)
}

func announcedToNobody(t *testing.T, here, there Store) {
	here.Announce(t.Context(), preference.Operation{ID: "op-x"})
	done, stop := there.Watch("op-x")
	defer stop()
	here.Announce(t.Context(), preference.Operation{ID: "op-x"}) // may come before there listens
	here.Announce(t.Context(), preference.Operation{ID: "op-y"})
	there.Announce(t.Context(), preference.Operation{ID: "op-x"})
	within(t, soon, done, "the watcher")
}

// handedOver announces what is not stored: a stored outcome may be found by looking before it is announced, and then
// nothing is handed over.
func handedOver(t *testing.T, here, _ Store) {
	op := preference.Operation{ID: "op-x", Status: preference.Applied, Number: 7}
	done, stop := here.Watch(op.ID)
	defer stop()
	here.Announce(t.Context(), op)
	got, known := <-done
	require.True(t, known)
	require.Equal(t, op, got)
	_, more := <-done
	require.False(t, more, "and then it is closed")
}
