package portstest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/ports"
)

// EventStore is what says something, and what hears it.
type EventStore interface {
	MessageStore
	ports.Events
}

// Heard is what a listener was told.
type Heard struct {
	mu     sync.Mutex
	events []ports.StreamEvent
	missed int
	more   chan struct{}
}

// Listen starts a listener, which is ready when Listen returns. It ends with the test, or before that with stop.
func Listen(t testing.TB, s ports.Events) (h *Heard, stop func()) {
	t.Helper()
	h = &Heard{more: make(chan struct{}, 1)}
	ctx, end := context.WithCancel(context.Background())
	var done sync.WaitGroup
	told := func(change func()) {
		h.mu.Lock()
		defer h.mu.Unlock()
		change()
		select {
		case h.more <- struct{}{}:
		default:
		}
	}
	done.Go(func() {
		err := s.Listen(ctx, func(events []ports.StreamEvent) { told(func() { h.events = append(h.events, events...) }) },
			func() { told(func() { h.missed++ }) })
		if err != nil {
			t.Error(err)
		}
	})
	stop = func() { end(); done.Wait() }
	t.Cleanup(stop)
	h.Until(t, "ready", func(_ []ports.StreamEvent, missed int) bool { return missed == 1 })
	return h, stop
}

// Until waits until what was heard is enough, and answers it.
func (h *Heard) Until(t testing.TB, what string, enough func(events []ports.StreamEvent, missed int) bool) []ports.StreamEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for {
		h.mu.Lock()
		events, missed := append([]ports.StreamEvent{}, h.events...), h.missed
		h.mu.Unlock()
		if enough(events, missed) {
			return events
		}
		select {
		case <-h.more:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s; heard %d events, missed %d times", soon, what, len(events), missed)
		}
	}
}

// Events is the contract of ports.Events. open gives two processes' views of one empty store.
func Events(t *testing.T, open func(*testing.T) (here, there EventStore)) {
	for name, test := range map[string]func(t *testing.T, here, there EventStore){
		"everybody hears of a change, once":     heardEverywhere,
		"nobody hears of what was before":       heardFromNowOn,
		"several may listen, and stop":          heardBySeveral,
		"a burst from many is heard completely": heardBurst,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := open(t)
			test(t, here, there)
		})
	}
}

func heardEverywhere(t *testing.T, here, there EventStore) {
	near, _ := Listen(t, here)
	far, _ := Listen(t, there)
	one := Publish(t, here, Draft(ada))
	Publish(t, here, Draft(ada, grace))
	Publish(t, there, Draft())
	Target(t, here, "home", "app://home", true)
	retract(t, there, one.ID)
	for _, h := range []*Heard{near, far} {
		events := h.Until(t, "five events", func(events []ports.StreamEvent, _ int) bool { return len(events) >= 5 })
		require.Len(t, events, 5)
		for i, want := range []struct {
			viewers []string
			data    string
		}{
			{[]string{"c:ada"}, `{"own": 1}`}, {[]string{"c:ada", "c:grace"}, `{}`}, {nil, `{"global": 2}`}, {nil, `{"global": 3}`}, {[]string{"c:ada"}, `{"own": 3}`},
		} {
			require.ElementsMatch(t, want.viewers, events[i].Viewers)
			require.Equal(t, ports.InboxChanged, events[i].Kind)
			require.JSONEq(t, want.data, string(events[i].Data))
		}
	}
}

func heardFromNowOn(t *testing.T, here, there EventStore) {
	Publish(t, there, Draft(ada))
	h, _ := Listen(t, here)
	Publish(t, there, Draft(grace))
	events := h.Until(t, "one event", func(events []ports.StreamEvent, _ int) bool { return len(events) > 0 })
	require.Equal(t, []string{inbox.CustomerViewer(grace).Key()}, events[0].Viewers)
}

func heardBySeveral(t *testing.T, here, there EventStore) {
	first, stopFirst := Listen(t, here)
	second, _ := Listen(t, here)
	Publish(t, there, Draft(ada))
	one := func(events []ports.StreamEvent, _ int) bool { return len(events) == 1 }
	first.Until(t, "the event", one)
	second.Until(t, "the event", one)
	stopFirst()
	Publish(t, there, Draft(ada))
	second.Until(t, "the next event", func(events []ports.StreamEvent, _ int) bool { return len(events) == 2 })
	first.Until(t, "nothing more", one)
}

func heardBurst(t *testing.T, here, there EventStore) {
	h, _ := Listen(t, here)
	const writers, each = 8, 25
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for range each {
				d := Draft(crowd(writers)[i])
				if _, _, err := []EventStore{here, there}[i%2].PublishMessage(t.Context(), d.Source, d.ExternalID, d.Recipients, 1, d.Publish); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	events := h.Until(t, "all events", func(events []ports.StreamEvent, _ int) bool { return len(events) >= writers*each })
	require.Len(t, events, writers*each)
	seen := map[int64]bool{}
	for _, e := range events {
		require.False(t, seen[e.ID], "twice")
		seen[e.ID] = true
	}
}
