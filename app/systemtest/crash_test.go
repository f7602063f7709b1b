package systemtest

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestKill9 is the promise under crashes: whichever process is killed, in whatever phase of a change, the change ends
// applied everywhere or compensated everywhere, and who asked for it gets one answer.
//
// It runs alone: calls are held for as long as a vendor may take to answer, and what happens to them meanwhile is only what
// the test does when nothing else keeps the machine busy.
func TestKill9(t *testing.T) {
	p := startProcesses(t)
	for _, v := range []victim{
		{"API", func(t *testing.T) { p.api.kill(t) }, p.startAPI},
		{"worker", func(t *testing.T) { p.worker().kill(t) }, func(t *testing.T) { p.startWorker(t) }},
		{"Temporal", p.killTemporal, p.startTemporal},
		{"Postgres", p.killPostgres, p.startPostgres},
	} {
		if !t.Run(v.name, func(t *testing.T) { p.crash(t, v) }) {
			return // what it has left behind says nothing about the next one
		}
	}
}

type victim struct {
	name        string
	kill, start func(*testing.T)
}

// crash brings a grant and a withdrawal into every phase, all at the same time, and then kills the victim.
func (p *processes) crash(t *testing.T, v victim) {
	var unbegun, begun []*crashCase
	for _, grant := range []bool{true, false} {
		unbegun = append(unbegun, p.newCase("accepted", grant, "applied", (*crashCase).accepted))
		begun = append(begun,
			p.newCase("apply held before its effect", grant, "applied", (*crashCase).applyHeld),
			p.newCase("apply held after its effect", grant, "applied", (*crashCase).replyHeld),
			p.newCase("read-back held", grant, "applied", (*crashCase).readBackHeld),
			p.newCase("commit under way", grant, "applied", (*crashCase).commitHeld),
			p.newCase("refused after the crash", grant, "compensated", (*crashCase).halfDone),
			p.newCase("undo held", grant, "compensated", (*crashCase).undoHeld))
	}
	all := append(begun, unbegun...)
	together(t, all, func(c *crashCase) { c.arrange(t) })
	together(t, begun, func(c *crashCase) { c.freeze(c, t) })

	// With Temporal frozen a change is accepted and cannot begin.
	frozen := p.temporal.PID()
	require.NoError(t, syscall.Kill(frozen, syscall.SIGSTOP))
	together(t, unbegun, func(c *crashCase) { c.freeze(c, t) })
	together(t, all, func(c *crashCase) { c.requirePhase(t) })
	v.kill(t)
	if v.name != "Temporal" {
		require.NoError(t, syscall.Kill(frozen, syscall.SIGCONT))
	}
	v.start(t)
	together(t, all, func(c *crashCase) { c.requireHoldStays(t) })
	together(t, all, func(c *crashCase) { c.release(t) })
	together(t, all, func(c *crashCase) { c.verify(t) })
	p.requireIdle(t)
	p.requireUntampered(t)
}

// crashCase is one change of one customer in one phase.
type crashCase struct {
	*processes
	phase, end    string
	grant         bool
	freeze        func(*crashCase, *testing.T)
	customer, key string
	number        float64 // of the change, in the customer's queue
	before        answer
	answered      chan result
	faults        []string
	refusal       string     // the fault by which the CRM says neither yes nor no, until release has it say no
	held          string     // the fault that holds a call, empty when none does
	unlock        func()     // lets go of the customer's row; nil when it is not locked
	waiting       func() int // sessions that wait for the lock
}

func (p *processes) newCase(phase string, grant bool, end string, freeze func(*crashCase, *testing.T)) *crashCase {
	id := customer()
	return &crashCase{processes: p, phase: phase, end: end, grant: grant, freeze: freeze, customer: id, key: "key-" + id,
		number: 2, answered: make(chan result, 1)}
}

func (c *crashCase) String() string {
	return fmt.Sprintf("%s, grant %t, %s", c.phase, c.grant, c.customer)
}

func (c *crashCase) arrange(t *testing.T) {
	c.registerPhone(t, c.customer)
	if !c.grant {
		c.requireSwitched(t, c.customer, true)
		c.number = 3
	}
	c.before = c.vendors(t, c.customer)
}

// ask sends the change. Who grants waits for the outcome, and insists on it; who withdraws is told at once that it is
// accepted.
func (c *crashCase) ask(t *testing.T) {
	if !c.grant {
		a := c.change(t, promotions(false), "Prefer", "respond-async")
		require.Equal(t, 202, a.status, "%s: %v", c, a.body)
		c.answered <- result{answer: a}
		return
	}
	go func() {
		a, err := c.insist(c.customer, http.MethodPatch, "/v1/preferences/push", promotions(true), "Idempotency-Key", c.key, "Prefer", "wait=30")
		c.answered <- result{a, err}
	}()
}

func (c *crashCase) change(t *testing.T, body any, headers ...string) answer {
	return c.as(t, c.customer, http.MethodPatch, "/v1/preferences/push", body, append(headers, "Idempotency-Key", c.key)...)
}

// operationID of the change, "" until it is accepted.
func (c *crashCase) operationID(t *testing.T) string {
	for _, e := range c.ledger(t, c.customer) {
		if dig(e, "event") == "requested" && dig(e, "number") == c.number {
			return dig(e, "operation").(string)
		}
	}
	return ""
}

func (c *crashCase) awaitAccepted(t *testing.T) (operation string) {
	eventually(t, 30*time.Second, func() string {
		if operation = c.operationID(t); operation == "" {
			return c.String() + ": not accepted yet"
		}
		return ""
	})
	return operation
}

func (c *crashCase) holdCalls(t *testing.T, target, calls string) {
	c.held = c.hold(t, c.customer, target, calls)
	c.faults = append(c.faults, c.held)
}

func (c *crashCase) accepted(t *testing.T) {
	c.ask(t)
	id := c.awaitAccepted(t)
	require.Equal(t, "accepted", c.operation(t, c.customer, id).text("status"))
}

func (c *crashCase) applyHeld(t *testing.T) {
	c.holdCalls(t, "crm", "write")
	c.ask(t)
	c.awaitInFlight(t, c.held, 1)
}

func (c *crashCase) replyHeld(t *testing.T) {
	c.held = c.addFault(t, c.customer, "cmp", "write", "timeout_after")
	c.faults = append(c.faults, c.held)
	c.ask(t)
	c.awaitInFlight(t, c.held, 1)
	c.awaitEffect(t)
}

// halfDone is a change whose effect is at two vendors, one of which has not said so, when it turns out that the third
// will not have it: what is put back then is what was there before, and not what the first attempt has left.
func (c *crashCase) halfDone(t *testing.T) {
	c.refusal = c.addFault(t, c.customer, "crm", "write", "status", "status", 503)
	c.replyHeld(t)
}

// refuse is the CRM's no.
func (c *crashCase) refuse(t *testing.T) {
	no := c.addFault(t, c.customer, "crm", "write", "status", "status", 400)
	c.liftFault(t, c.refusal)
	id := c.operationID(t)
	if !c.grant {
		c.awaitStatus(t, c.customer, id, 60*time.Second, "needs_attention")
		a := c.asOperator(t, http.MethodPost, "/v1/operations/"+id+"/compensate", nil)
		require.Equal(t, 202, a.status, a.body)
	}
	c.awaitStatus(t, c.customer, id, 60*time.Second, "compensating", "compensated")
	c.liftFault(t, no)
}

// awaitEffect waits until push provider and CMP have the change.
func (c *crashCase) awaitEffect(t *testing.T) {
	consent := map[bool]string{true: "granted", false: "withdrawn"}[c.grant]
	eventually(t, 30*time.Second, func() string {
		if now := c.vendors(t, c.customer).text("cmp", "purposes", "push-marketing"); now != consent {
			return fmt.Sprintf("%s: the CMP holds %s", c, now)
		}
		if tag := c.pushTag(t, c.customer, "promotions"); tag != onOff(c.grant) {
			return fmt.Sprintf("%s: the push provider holds %s", c, tag)
		}
		return ""
	})
}

// readBackHeld lets the write through only once whatever reads next is held.
func (c *crashCase) readBackHeld(t *testing.T) {
	write := c.hold(t, c.customer, "push", "write")
	c.ask(t)
	c.awaitInFlight(t, write, 1)
	c.holdCalls(t, "push", "read")
	c.liftFault(t, write)
	c.awaitInFlight(t, c.held, 1)
}

// commitHeld locks the customer's row before the last target has the change.
func (c *crashCase) commitHeld(t *testing.T) {
	last := c.hold(t, c.customer, "crm", "write")
	c.ask(t)
	c.awaitInFlight(t, last, 1)
	c.lockRow(t)
	c.liftFault(t, last)
	eventually(t, 30*time.Second, func() string {
		if c.waiting() == 0 {
			return c.String() + ": the commit does not wait for the customer's row"
		}
		return ""
	})
}

func (c *crashCase) lockRow(t *testing.T) {
	lock, err := pgx.Connect(t.Context(), c.postgres.AdminURL())
	require.NoError(t, err)
	watch, err := pgx.Connect(t.Context(), c.postgres.AdminURL())
	require.NoError(t, err)
	tx, err := lock.Begin(t.Context())
	require.NoError(t, err)
	tag, err := tx.Exec(t.Context(), `SELECT FROM customers WHERE id = $1 FOR UPDATE`, c.customer)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
	c.unlock = func() { // the database may be gone by now, and the lock with it
		_, _ = lock.Close(context.Background()), watch.Close(context.Background())
	}
	c.waiting = func() (n int) {
		require.NoError(t, watch.QueryRow(t.Context(),
			`SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))`, int32(lock.PgConn().PID())).Scan(&n))
		return n
	}
}

// undoHeld has the CRM refuse when the others have the change already, and holds the CMP's undo. A withdrawal is taken
// back only because an operator says so.
func (c *crashCase) undoHeld(t *testing.T) {
	down := c.addFault(t, c.customer, "crm", "write", "status", "status", 503)
	c.ask(t)
	id := c.awaitAccepted(t)
	c.awaitEffect(t)
	c.holdCalls(t, "cmp", "write")
	c.faults = append(c.faults, c.addFault(t, c.customer, "crm", "write", "status", "status", 400))
	c.liftFault(t, down)
	if !c.grant {
		c.awaitStatus(t, c.customer, id, 30*time.Second, "needs_attention")
		a := c.asOperator(t, http.MethodPost, "/v1/operations/"+id+"/compensate", nil)
		require.Equal(t, 202, a.status, a.body)
	}
	c.awaitInFlight(t, c.held, 1)
	require.Equal(t, "compensating", c.operation(t, c.customer, id).text("status"))
}

// requirePhase makes sure that nothing has gone on while the others got to their phase.
func (c *crashCase) requirePhase(t *testing.T) {
	if c.held != "" {
		require.Positive(t, c.inFlight(t, c.held), "%s: the call is not held any more", c)
	}
	if c.waiting != nil {
		require.Positive(t, c.waiting(), "%s: the commit does not wait any more", c)
	}
	id := c.operationID(t)
	want := map[string]string{"accepted": "accepted", "undo held": "compensating"}[c.phase]
	if want == "" {
		want = "running"
	}
	require.Equal(t, want, c.operation(t, c.customer, id).text("status"), "%s", c)
}

// requireHoldStays: from the moment a withdrawal is accepted to its end, nothing is sent, whatever dies meanwhile.
func (c *crashCase) requireHoldStays(t *testing.T) {
	if c.grant || c.phase == "accepted" || c.phase == "commit under way" {
		return // nothing holds these up any more
	}
	c.requireBlocked(t, c.customer, "promotions", "hold")
}

func (c *crashCase) release(t *testing.T) {
	if c.unlock != nil {
		c.unlock()
	}
	for _, id := range c.faults {
		c.liftFault(t, id)
	}
	if c.refusal != "" {
		c.refuse(t)
	}
}

// verify waits for the end and compares what everybody says.
func (c *crashCase) verify(t *testing.T) {
	first := <-c.answered
	require.NoError(t, first.err, "%s", c)
	id := first.header.Get("Accord-Operation")
	require.NotEmpty(t, id, "%s: %v", c, first.body)
	done := c.awaitStatus(t, c.customer, id, 90*time.Second, "applied", "compensated")
	require.Equal(t, c.end, done.text("status"), "%s: %v", c, done.body)

	c.requirePromotions(t, c.customer, c.grant == (c.end == "applied"))
	if c.end == "compensated" {
		require.Equal(t, c.before.body, c.vendors(t, c.customer).body, "%s", c)
	}
	_, events := c.ledgerOf(t, c.customer, id)
	if c.end == "compensated" && !c.grant {
		require.Equal(t, []string{"requested", "needs_attention", "compensation_requested", "compensated"}, events)
	} else {
		require.Equal(t, []string{"requested", c.end}, events, "%s", c)
	}
	c.requireReplay(t, id, first.answer)
}

// requireReplay: the key gives the same operation and the same answer for ever, and none for another request.
func (c *crashCase) requireReplay(t *testing.T, id string, first answer) {
	again := c.change(t, promotions(c.grant), "Prefer", "wait=30")
	require.Equal(t, map[string]int{"applied": 200, "compensated": 502}[c.end], again.status, "%s: %v", c, again.body)
	require.Equal(t, id, again.header.Get("Accord-Operation"))
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	if first.status != 202 { // an answer after the outcome
		require.Equal(t, first.status, again.status, "%s", c)
		require.Equal(t, first.body, again.body, "%s", c)
		require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"))
	}
	require.Equal(t, again.body, c.change(t, promotions(c.grant), "Prefer", "wait=30").body)
	other := c.change(t, promotions(!c.grant))
	require.Equal(t, 422, other.status, "%s: %v", c, other.body)
	require.Equal(t, "idempotency-key-reused", other.text("code"))
}
