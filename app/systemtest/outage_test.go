package systemtest

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/client"

	"accord/domain/preference"
	"accord/workflows/preferences"
)

// TestOutages: what a customer asks for while something is down, and what becomes of it.
func TestOutages(t *testing.T) {
	t.Parallel()
	p := startProcesses(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"without Temporal", p.withoutTemporal},
		{"without anything but Postgres", p.withoutAnything},
		{"Postgres lost while a client waits", p.withoutPostgres},
		{"a run terminated by hand", p.terminatedByHand},
		{"a worker paused and taken over", p.pausedWorker},
	} {
		if !t.Run(part.name, part.run) {
			return
		}
	}
}

// atOnce is far below any time-out on the way to Temporal or a vendor.
const atOnce = 2 * time.Second

// withdraw asks for promotions off, and requires that it is accepted at once and that nothing is sent from then on.
func (p *processes) withdraw(t *testing.T, customer string) (operation string) {
	t.Helper()
	began := time.Now()
	operation = p.respondAsync(t, customer, http.MethodPatch, "/v1/preferences/push", promotions(false))
	require.Less(t, time.Since(began), atOnce)
	p.requireBlocked(t, customer, "promotions", "hold")
	return operation
}

// requireSettled waits for the end of an operation and requires that everybody says the same then.
func (p *processes) requireSettled(t *testing.T, customer, operation string, on bool) {
	t.Helper()
	done := p.awaitStatus(t, customer, operation, 90*time.Second, "applied", "compensated", "needs_attention")
	require.Equal(t, "applied", done.text("status"), done.body)
	p.requirePromotions(t, customer, on)
	_, events := p.ledgerOf(t, customer, operation)
	require.Equal(t, []string{"requested", "applied"}, events)
}

func (p *processes) subscribed(t *testing.T) string {
	t.Helper()
	id := customer()
	p.registerPhone(t, id)
	p.requireSwitched(t, id, true)
	return id
}

// withoutTemporal: a withdrawal is accepted, a grant is refused and leaves nothing behind, and both work afterwards.
func (p *processes) withoutTemporal(t *testing.T) {
	leaves, waits, joins := p.subscribed(t), p.subscribed(t), customer()
	p.registerPhone(t, joins)
	before := p.vendors(t, joins)
	p.killTemporal(t)

	left := p.withdraw(t, leaves)
	patient := p.as(t, waits, http.MethodPatch, "/v1/preferences/push", promotions(false), "Prefer", "wait=1")
	require.Equal(t, 202, patient.status, patient.body)
	p.requireBlocked(t, waits, "promotions", "hold")

	grant := func() answer {
		return p.as(t, joins, http.MethodPatch, "/v1/preferences/push", promotions(true), "Idempotency-Key", "join", "Prefer", "wait=30")
	}
	refused := grant()
	require.Equal(t, 503, refused.status, refused.body)
	require.Equal(t, "unavailable", refused.text("code"))
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	p.requireNothingLeft(t, joins, before)

	p.restartAPI(t) // what it meant to start is forgotten: the sweeper alone knows
	p.requireBlocked(t, leaves, "promotions", "hold")
	p.startTemporal(t)
	p.requireSettled(t, leaves, left, false)
	p.requireSettled(t, waits, patient.text("id"), false)

	granted := grant() // the key is as good as new
	require.Equal(t, 200, granted.status, granted.body)
	p.requirePromotions(t, joins, true)
	p.requireSwitched(t, joins, false)
	p.requireSwitched(t, joins, true)
	p.requireIdle(t)
	p.requireUntampered(t)
}

// requireNothingLeft: a refused grant is over, in the ledger too, and nobody holds any of it.
func (p *processes) requireNothingLeft(t *testing.T, customer string, before answer) {
	t.Helper()
	view := p.as(t, customer, http.MethodGet, "/v1/preferences/push", nil)
	require.Equal(t, false, view.at("channels", "promotions", "enabled"))
	require.Equal(t, `"1"`, view.header.Get("ETag"), "a change seems to be under way")
	require.Equal(t, before.body, p.vendors(t, customer).body)
	entries := p.ledger(t, customer)
	require.Equal(t, "compensated", dig(entries[len(entries)-1], "event"))
	for _, e := range entries {
		id := dig(e, "operation").(string)
		require.Contains(t, []string{"applied", "compensated"}, p.operation(t, customer, id).text("status"))
	}
}

// withoutAnything: with Temporal and all vendors down, Postgres is enough to withdraw.
func (p *processes) withoutAnything(t *testing.T) {
	id := p.subscribed(t)
	p.killTemporal(t)
	p.sandboxing.kill(t)
	op := p.withdraw(t, id)
	p.restartAPI(t)
	p.requireBlocked(t, id, "promotions", "hold")
	p.startTemporal(t)
	// The run tries the vendors again and again.
	eventually(t, 60*time.Second, func() string {
		if attempts, _ := p.operation(t, id, op).at("targets", "crm", "attempts").(float64); attempts < 2 {
			return fmt.Sprintf("%v attempts at the CRM", attempts)
		}
		return ""
	})
	require.Equal(t, "running", p.operation(t, id, op).text("status"))
	p.requireBlocked(t, id, "promotions", "hold")
	p.sandboxing = p.launch(t, "sandbox", "sandbox")
	p.awaitReady(t)
	p.requireSettled(t, id, op, false)
	p.requireIdle(t)
}

// withoutPostgres: who waits for the outcome of what is accepted is not told that it is refused.
func (p *processes) withoutPostgres(t *testing.T) {
	id := p.subscribed(t)
	held := p.hold(t, id, "crm", "write")
	answers := p.later(id, http.MethodPatch, "/v1/preferences/push", promotions(false), "Prefer", "wait=3")
	p.awaitInFlight(t, held, 1)
	p.killPostgres(t)
	a := <-answers
	require.NoError(t, a.err)
	require.Equal(t, 202, a.status, a.body)
	require.Equal(t, "/v1/operations/"+a.text("id"), a.header.Get("Location"))
	p.startPostgres(t)
	p.requireBlocked(t, id, "promotions", "hold")
	p.liftFault(t, held)
	p.requireSettled(t, id, a.text("id"), false)
	p.requireIdle(t)
}

// dialTemporal is an operator's way in.
func (p *processes) dialTemporal(t *testing.T) sdk.Client {
	t.Helper()
	c, err := sdk.Dial(sdk.Options{HostPort: p.temporal.Address()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// terminatedByHand: the sweeper notices that a change has lost its run and starts another one, which goes on.
func (p *processes) terminatedByHand(t *testing.T) {
	temporal := p.dialTemporal(t)
	joins, leaves := customer(), p.subscribed(t)
	p.registerPhone(t, joins)
	type change struct {
		customer, operation, held string
		number                    int64
		grant                     bool
	}
	changes := []*change{{customer: joins, number: 2, grant: true}, {customer: leaves, number: 3}}
	together(t, changes, func(c *change) {
		c.held = p.hold(t, c.customer, "crm", "write")
		c.operation = p.respondAsync(t, c.customer, http.MethodPatch, "/v1/preferences/push", promotions(c.grant))
		p.awaitInFlight(t, c.held, 1)
		workflow := preferences.WorkflowID(preference.CustomerID(c.customer), c.number)
		require.NoError(t, temporal.TerminateWorkflow(t.Context(), workflow, "", "by hand"))
	})
	together(t, changes, func(c *change) {
		p.awaitInFlight(t, c.held, 2) // another run has got there too
		p.liftFault(t, c.held)
		p.requireSettled(t, c.customer, c.operation, c.grant)
	})
	p.requireIdle(t)
	p.requireUntampered(t)
}

// pausedWorker: a worker that stands still while another takes over, and that then goes on as if nothing had been, must
// not bring back what has been changed since. The runs are terminated, so that the other one takes over before a
// time-out could save the sleeper.
func (p *processes) pausedWorker(t *testing.T) {
	line := newRelay(t, p.temporal.Address())
	p.worker().kill(t)
	sleeper := p.startWorker(t, "ACCORD_TEMPORAL_ADDRESS="+line.address)
	type caught struct {
		customer, look, on string
		writes             int
	}
	changes := make([]*caught, 5)
	for i := range changes {
		changes[i] = &caught{customer: customer()}
	}
	together(t, changes, func(c *caught) { p.registerPhone(t, c.customer) })
	together(t, changes, func(c *caught) {
		// The push adapter looks once more right before it writes; there the worker is caught, with its mind made up.
		p.addFault(t, c.customer, "push", "read", "delay", "delay_ms", 1, "times", 1)
		c.look = p.hold(t, c.customer, "push", "read", "times", 1)
		c.on = p.respondAsync(t, c.customer, http.MethodPatch, "/v1/preferences/push", promotions(true))
		p.awaitInFlight(t, c.look, 1)
	})
	sleeper.signal(t, syscall.SIGSTOP)
	longEnough := time.After(preferences.Standstill + time.Second)
	line.cut() // or Temporal would go on handing it work
	temporal := p.dialTemporal(t)
	together(t, changes, func(c *caught) {
		require.NoError(t, temporal.TerminateWorkflow(t.Context(), preferences.WorkflowID(preference.CustomerID(c.customer), 2), "", "by hand"))
	})
	other := p.startWorker(t) // sweeps as it starts
	together(t, changes, func(c *caught) {
		p.liftFault(t, c.look) // its answer waits in the sleeper's socket
		p.requireSettled(t, c.customer, c.on, true)
		off := p.respondAsync(t, c.customer, http.MethodPatch, "/v1/preferences/push", promotions(false))
		p.requireSettled(t, c.customer, off, false)
		c.writes = p.writes(t, c.customer)
	})

	<-longEnough
	line.mend(t)
	sleeper.signal(t, syscall.SIGCONT)
	other.kill(t)
	p.workers = append(p.workers, sleeper) // the one that is left
	p.subscribed(t)                        // nobody but the sleeper can have done that, after whatever it still had in mind
	together(t, changes, func(c *caught) {
		p.requirePromotions(t, c.customer, false)
		require.Equal(t, c.writes, p.writes(t, c.customer), "the sleeper has written")
	})
	p.requireIdle(t)
	p.requireUntampered(t)
}

// writes counts what was written to the vendors for a customer.
func (p *processes) writes(t *testing.T, customer string) (n int) {
	t.Helper()
	for _, r := range p.control(t, http.MethodGet, "/requests?customer="+customer, nil).at("requests").([]any) {
		if dig(r, "call") == "write" {
			n++
		}
	}
	return n
}
