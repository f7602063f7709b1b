package systemtest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// addFault makes a vendor misbehave for one customer, until it is lifted.
func (c client) addFault(t *testing.T, customer, target, calls, kind string, more ...any) (id string) {
	t.Helper()
	body := map[string]any{"target": target, "customer": customer, "calls": calls, "kind": kind, "times": 0}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return c.control(t, http.MethodPost, "/faults", body).text("id")
}

func (c client) liftFault(t *testing.T, id string) {
	t.Helper()
	c.control(t, http.MethodDelete, "/faults/"+id, nil)
}

// forEver holds a call until the fault is lifted.
const forEver = 10 * 60 * 1000 // ms

// hold makes a vendor take its time over a customer's calls of one class, before it does anything.
func (c client) hold(t *testing.T, customer, target, calls string, more ...any) (id string) {
	t.Helper()
	return c.addFault(t, customer, target, calls, "delay", append([]any{"delay_ms", forEver}, more...)...)
}

// inFlight counts the calls that a fault holds at this moment.
func (c client) inFlight(t *testing.T, fault string) (held int) {
	t.Helper()
	for _, r := range c.control(t, http.MethodGet, "/requests", nil).at("requests").([]any) {
		if dig(r, "fault") == fault && dig(r, "finished_at") == nil {
			held++
		}
	}
	return held
}

func (c client) awaitInFlight(t *testing.T, fault string, atLeast int) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		if held := c.inFlight(t, fault); held < atLeast {
			return fmt.Sprintf("%d calls are held by the fault, not %d", held, atLeast)
		}
		return ""
	})
}

// together runs something for each at the same time and waits for all. It is no subtest each: those run only as many
// at a time as there are processors, and here all have to arrive somewhere before anything goes on.
func together[T any](t *testing.T, all []T, do func(T)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, one := range all {
		wg.Go(func() { do(one) }) // a failed requirement ends this goroutine and marks the test
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// result is an answer that another goroutine waits for; only the test's own may judge it.
type result struct {
	answer
	err error
}

// later makes a request while the test goes on.
func (c client) later(customer, method, path string, body any, headers ...string) <-chan result {
	out := make(chan result, 1)
	go func() {
		a, err := c.try(customer, "", method, c.api+path, body, headers...)
		out <- result{a, err}
	}()
	return out
}

// insist sends a change as a client does that wants an answer: again, with the same key, until there is one.
func (c client) insist(customer, method, path string, body any, headers ...string) (answer, error) {
	for end := time.Now().Add(2 * time.Minute); ; {
		a, err := c.try(customer, "", method, c.api+path, body, headers...)
		if err == nil && a.status != http.StatusServiceUnavailable {
			return a, nil
		}
		if time.Now().After(end) {
			return a, fmt.Errorf("no answer for two minutes: %d %v %w", a.status, a.body, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func (c client) requireSwitched(t *testing.T, customer string, on bool) {
	t.Helper()
	a := c.as(t, customer, http.MethodPatch, "/v1/preferences/push", promotions(on), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
}
