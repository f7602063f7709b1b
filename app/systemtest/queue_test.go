package systemtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

// patient gives grants time to wait for their turn behind a burst.
func patient(c *config.Config) {
	c.GrantBudget = 2 * time.Minute
	c.Vendors.Timeout = 5 * time.Second
}

// quickChange is one of a burst, with the place it got in the queue.
type quickChange struct {
	push     *bool
	switches map[string]bool
	id       string
	number   float64
}

func (q *quickChange) body() map[string]any {
	out := map[string]any{}
	if q.push != nil {
		out["enabled"] = *q.push
	}
	channels := map[string]any{}
	for key, on := range q.switches {
		channels[key] = map[string]any{"enabled": on}
	}
	if len(channels) > 0 {
		out["channels"] = channels
	}
	return out
}

// mixed makes changes of every sort: one channel, two that go apart, the global switch, all of it together.
func mixed(n int) (out []*quickChange) {
	for i := range n {
		on := i%3 != 0
		q := &quickChange{switches: map[string]bool{}}
		switch i % 5 {
		case 0, 1:
			q.switches["promotions"] = on
		case 2:
			q.switches["loyalty"] = on
		case 3:
			q.switches["promotions"], q.switches["news"] = !on, on
		case 4:
			q.push, q.switches["loyalty"] = &on, !on
		}
		out = append(out, q)
	}
	return out
}

// TestABurstIsAppliedInOrder: fifty changes of one customer, sent all at once to vendors that are not at their best, are
// applied in the order in which they were accepted, and the last decision about each thing holds everywhere.
func TestABurstIsAppliedInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	id := customer()
	s.registerPhone(t, id)
	s.addFault(t, id, "crm", "write", "status", "status", 500, "times", 3)
	s.addFault(t, id, "push", "write", "drop_after", "times", 3)
	burst := mixed(50)
	together(t, burst, func(q *quickChange) {
		a, err := s.insist(id, http.MethodPatch, "/v1/preferences/push", q.body(), "Prefer", "respond-async", "Idempotency-Key", rand.Text())
		require.NoError(t, err)
		require.Equal(t, 202, a.status, a.body)
		q.id, q.number = a.text("id"), a.at("number").(float64)
	})
	slices.SortFunc(burst, func(a, b *quickChange) int { return int(a.number - b.number) })
	for _, q := range burst {
		s.awaitStatus(t, id, q.id, 90*time.Second, "applied")
	}
	s.requireInOrder(t, id, burst)
	s.requireLastDecisions(t, id, burst)
	require.Empty(t, s.asOperator(t, http.MethodGet, "/v1/operations", nil).at("operations"))
}

// requireInOrder: the ledger has each change applied once, by number, each on top of the one before. A grant that was
// refused while Temporal was too busy to start it has left nothing but its refusal.
func (s *system) requireInOrder(t *testing.T, customer string, burst []*quickChange) {
	t.Helper()
	var applied []any
	for _, e := range s.ledger(t, customer) {
		switch dig(e, "event") {
		case "applied":
			applied = append(applied, e)
		case "compensated":
			require.Equal(t, "unavailable", dig(e, "reason", "code"))
		default:
			require.Equal(t, "requested", dig(e, "event"))
		}
	}
	require.Len(t, applied, 1+len(burst))
	for i, e := range applied[1:] { // the first one is the registration
		require.Equal(t, burst[i].id, dig(e, "operation"))
		require.Equal(t, burst[i].number, dig(e, "number"))
		require.EqualValues(t, i+2, dig(e, "version"))
		if i > 0 {
			require.Greater(t, burst[i].number, burst[i-1].number)
		}
	}
}

func (s *system) requireLastDecisions(t *testing.T, customer string, burst []*quickChange) {
	t.Helper()
	push, channels := true, map[string]bool{"promotions": false, "loyalty": false, "news": false}
	for _, q := range burst {
		if q.push != nil {
			push = *q.push
		}
		for key, on := range q.switches {
			channels[key] = on
		}
	}
	view := s.as(t, customer, http.MethodGet, "/v1/preferences/push", nil)
	held := s.vendors(t, customer)
	require.Equal(t, push, view.at("enabled"))
	require.Equal(t, []any{map[string]any{"token": "token-" + customer, "enabled": push}}, held.at("push", "devices"))
	for key, on := range channels {
		require.Equal(t, on, view.at("channels", key, "enabled"), key)
		require.Equal(t, map[bool]string{true: "subscribed", false: "unsubscribed"}[on], held.text("crm", "channels", key), key)
		require.Equal(t, onOff(on), s.pushTag(t, customer, key), key)
	}
	s.requirePromotions(t, customer, channels["promotions"])
}

// TestManyCustomersAtOnce: customers don't wait for each other, and each gets what they asked for.
func TestManyCustomersAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	everybody := make([]string, 100)
	for i := range everybody {
		everybody[i] = customer()
	}
	// One whose vendor answers nothing must not hold up the others.
	stuck := customer()
	s.registerPhone(t, stuck)
	held := s.hold(t, stuck, "crm", "write")
	waiting := s.respondAsync(t, stuck, http.MethodPatch, "/v1/preferences/push", promotions(true))
	together(t, everybody, func(id string) {
		s.insistApplied(t, id, http.MethodPut, "/v1/devices/phone", phone("token-"+id))
		s.insistApplied(t, id, http.MethodPatch, "/v1/preferences/push", promotions(true))
	})
	together(t, everybody, func(id string) { s.requirePromotions(t, id, true) })
	require.Equal(t, "running", s.operation(t, stuck, waiting).text("status"))
	s.liftFault(t, held)
	s.awaitStatus(t, stuck, waiting, 60*time.Second, "applied")
	s.requirePromotions(t, stuck, true)
}

// insistApplied gets a change applied on a machine that may be too busy to do it at once.
func (s *system) insistApplied(t *testing.T, customer, method, path string, body any) {
	t.Helper()
	a, err := s.insist(customer, method, path, body, "Idempotency-Key", rand.Text())
	require.NoError(t, err)
	require.Contains(t, []int{200, 202}, a.status, a.body)
	s.awaitStatus(t, customer, a.header.Get("Accord-Operation"), 90*time.Second, "applied")
}

// TestOneOfTwoWinsAVersion: of two clients that edit what they both have read, the second is told.
func TestOneOfTwoWinsAVersion(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	id := customer()
	s.registerPhone(t, id)
	for round := range 10 {
		tag := s.as(t, id, http.MethodGet, "/v1/preferences/push", nil).header.Get("ETag")
		require.NotEmpty(t, tag)
		answers := make(chan answer, 2)
		together(t, []string{"promotions", "loyalty"}, func(channel string) {
			body := map[string]any{"channels": map[string]any{channel: map[string]any{"enabled": round%2 == 0}}}
			answers <- s.as(t, id, http.MethodPatch, "/v1/preferences/push", body, "If-Match", tag, "Prefer", "wait=30")
		})
		one, two := <-answers, <-answers
		if one.status == 412 {
			one, two = two, one
		}
		require.Equal(t, 200, one.status, one.body)
		require.Equal(t, 412, two.status, two.body)
		require.Equal(t, "version-changed", two.text("code"))
		require.NotEqual(t, tag, one.header.Get("ETag"))
	}
	require.Len(t, s.ledger(t, id), 2*(1+10), "who lost has left nothing behind")
}

// TestOneKeyIsOneOperation, however often and however much at once it is sent.
func TestOneKeyIsOneOperation(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	id := customer()
	s.registerPhone(t, id)
	send := func(body any, headers ...string) answer {
		return s.as(t, id, http.MethodPatch, "/v1/preferences/push", body, append(headers, "Idempotency-Key", "twenty")...)
	}
	held := s.hold(t, id, "crm", "write")
	answers := make(chan answer, 20)
	together(t, make([]struct{}, 20), func(struct{}) { answers <- send(promotions(true), "Prefer", "respond-async") })
	first, replayed := <-answers, 0
	for a := first; ; a = <-answers {
		require.Equal(t, 202, a.status, a.body)
		require.Equal(t, first.text("id"), a.text("id"))
		require.Equal(t, first.header.Get("Location"), a.header.Get("Location"))
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
		if len(answers) == 0 {
			break
		}
	}
	require.Equal(t, 19, replayed)
	requireReused := func(when string) {
		a := send(promotions(false))
		require.Equal(t, 422, a.status, "%s: %v", when, a.body)
		require.Equal(t, "idempotency-key-reused", a.text("code"))
	}
	requireReused("under way")
	s.liftFault(t, held)
	s.awaitStatus(t, id, first.text("id"), 60*time.Second, "applied")
	requireReused("closed")
	again := send(promotions(true))
	require.Equal(t, 200, again.status, again.body)
	require.Equal(t, first.text("id"), again.header.Get("Accord-Operation"))
	require.Len(t, s.ledger(t, id), 4, fmt.Sprint(s.ledger(t, id)))
}
