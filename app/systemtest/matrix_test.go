package systemtest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

// fault is one way in which a vendor misbehaves.
type fault struct {
	name string
	body map[string]any
	// effect: the vendor does what it was told, and does not say so. Looking again finds that out.
	effect bool
	// refuses is a clear refusal: a grant is compensated at once, a withdrawal waits for an operator.
	refuses bool
	// harmless needs no retry.
	harmless bool
}

var faults = []fault{
	{name: "time-out before the effect", body: map[string]any{"kind": "timeout_before"}},
	{name: "time-out after the effect", body: map[string]any{"kind": "timeout_after"}, effect: true},
	{name: "reply dropped after the effect", body: map[string]any{"kind": "drop_after"}, effect: true},
	{name: "500", body: map[string]any{"kind": "status", "status": 500}},
	{name: "429 with Retry-After", body: map[string]any{"kind": "status", "status": 429, "headers": map[string]string{"Retry-After": "1"}}},
	{name: "400", body: map[string]any{"kind": "status", "status": 400}, refuses: true},
	{name: "malformed", body: map[string]any{"kind": "malformed"}, effect: true},
	{name: "slow", body: map[string]any{"kind": "delay", "delay_ms": 200}, harmless: true},
}

// TestEveryFaultEndsInAgreement is the promise itself: whatever a target does, in the end all of them hold the new
// state, or all of them hold the one before, and the ledger says which.
func TestEveryFaultEndsInAgreement(t *testing.T) {
	t.Parallel()
	// Where a grant must run out of time it should do so soon; everywhere else it must not, however slow the machine.
	s, hasty := start(t, patient), start(t, func(c *config.Config) { c.GrantBudget = 10 * time.Second })
	for _, target := range []string{"crm", "push", "cmp"} {
		for _, f := range faults {
			for _, when := range []string{"first write", "every write", "every call"} {
				for _, grant := range []bool{true, false} {
					c := matrixCase{system: s, target: target, fault: f, when: when, grant: grant, customer: customer()}
					if c.runsOut() {
						c.system = hasty
					}
					t.Run(c.name(), func(t *testing.T) {
						t.Parallel()
						c.run(t)
					})
				}
			}
		}
	}
}

type matrixCase struct {
	*system
	target, customer string
	fault            fault
	when             string
	grant            bool
}

func (c matrixCase) every() bool { return c.when != "first write" }

// runsOut: only its deadline ends this grant.
func (c matrixCase) runsOut() bool {
	return c.grant && c.every() && !c.fault.refuses && !c.fault.harmless && (!c.fault.effect || c.blind())
}

// blind: the vendor never shows what it holds, so nobody can tell whether the change is there.
func (c matrixCase) blind() bool { return c.when == "every call" }

func (c matrixCase) name() string {
	kind := "withdrawal"
	if c.grant {
		kind = "grant"
	}
	return fmt.Sprintf("%s/%s/%s/%s", c.target, c.fault.name, c.when, kind)
}

func (c matrixCase) run(t *testing.T) {
	c.registerPhone(t, c.customer)
	if !c.grant {
		a := c.persist(t, c.customer, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=30")
		require.Equal(t, 200, a.status, a.body)
	}
	before := c.vendors(t, c.customer)
	id := c.inject(t)
	op := c.respondAsync(t, c.customer, http.MethodPatch, "/v1/preferences/push", promotions(c.grant))

	if !c.grant {
		c.requireHeld(t, op)
	}
	switch {
	case c.fault.harmless, c.fault.effect && !c.blind():
		c.requireAgreement(t, op, "applied", before)
	case c.grant && (c.every() || c.fault.refuses):
		c.requireCompensated(t, op, id, before)
	case c.fault.refuses:
		parked := c.awaitStatus(t, c.customer, op, 90*time.Second, "needs_attention")
		require.Equal(t, c.target, parked.text("reason", "target"))
		c.requireHeld(t, op)
		c.lift(t, id)
		a := c.asOperator(t, http.MethodPost, "/v1/operations/"+op+"/retry", nil)
		require.Less(t, a.status, 300, a.body)
		c.requireAgreement(t, op, "applied", before)
	case c.every():
		c.awaitHits(t, id, 2)
		require.Equal(t, "running", c.operation(t, c.customer, op).text("status"))
		c.requireHeld(t, op)
		c.lift(t, id)
		c.requireAgreement(t, op, "applied", before)
	default:
		c.requireAgreement(t, op, "applied", before)
	}
}

// inject adds the fault for this customer's writes.
func (c matrixCase) inject(t *testing.T) (id string) {
	body := map[string]any{"target": c.target, "customer": c.customer, "calls": "write", "times": 1}
	for k, v := range c.fault.body {
		body[k] = v
	}
	if c.every() {
		body["times"] = 0
	}
	if c.blind() {
		body["calls"] = "any"
	}
	return c.control(t, http.MethodPost, "/faults", body).text("id")
}

func (c matrixCase) lift(t *testing.T, id string) {
	c.control(t, http.MethodDelete, "/faults/"+id, nil)
}

func (c matrixCase) awaitHits(t *testing.T, id string, atLeast float64) {
	eventually(t, 30*time.Second, func() string {
		list, _ := c.control(t, http.MethodGet, "/faults", nil).at("faults").([]any)
		for _, f := range list {
			if dig(f, "id") == id {
				if hits, _ := dig(f, "hits").(float64); hits >= atLeast {
					return ""
				}
				return fmt.Sprint(f)
			}
		}
		return "the fault is gone"
	})
}

// requireHeld: as long as the withdrawal is under way nothing may be sent, and the reader is told why.
func (c matrixCase) requireHeld(t *testing.T, op string) {
	view := c.as(t, c.customer, http.MethodGet, "/v1/preferences/push", nil)
	if c.operation(t, c.customer, op).text("status") == "applied" {
		return // quicker than we could look
	}
	for _, e := range view.at("effective").([]any) {
		if dig(e, "channel") == "promotions" {
			require.Equal(t, false, dig(e, "deliverable"), e)
			require.Contains(t, dig(e, "blocked_by"), "hold")
		}
	}
	may := c.asOperator(t, http.MethodGet, "/v1/customers/"+c.customer+"/deliverability?channel=promotions", nil)
	require.Equal(t, false, may.at("deliverable"), may.body)
}

// requireCompensated: the customer is told who refused, and nothing was changed anywhere.
func (c matrixCase) requireCompensated(t *testing.T, op, fault string, before answer) {
	c.awaitStatus(t, c.customer, op, 90*time.Second, "compensating", "compensated")
	c.lift(t, fault)
	done := c.requireAgreement(t, op, "compensated", before)
	require.Equal(t, c.target, done.text("reason", "target"), done.body)
}

// requireAgreement waits for the end and compares what API, ledger and all three vendors say.
func (c matrixCase) requireAgreement(t *testing.T, op, status string, before answer) answer {
	done := c.awaitStatus(t, c.customer, op, 2*time.Minute, "applied", "compensated")
	require.Equal(t, status, done.text("status"), done.body)
	on := c.grant == (status == "applied")

	c.requirePromotions(t, c.customer, on)
	if status == "compensated" {
		require.Equal(t, before.body, c.vendors(t, c.customer).body)
	}
	c.requireLedger(t, op, status)
	return done
}

func (c matrixCase) requireLedger(t *testing.T, op, status string) {
	entries, events := c.ledgerOf(t, c.customer, op)
	for _, e := range entries {
		require.Contains(t, dig(e, "before"), "push.channels.promotions")
		require.Contains(t, dig(e, "after"), "push.channels.promotions")
	}
	require.Equal(t, "requested", events[0])
	require.Equal(t, status, events[len(events)-1])
	if c.fault.refuses && !c.grant {
		require.Equal(t, []string{"requested", "needs_attention", "retry_requested", "applied"}, events)
	} else {
		require.Len(t, events, 2)
	}
}
