package preference_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/consent"
	"accord/domain/fault"
	. "accord/domain/preference"
)

// machine drives one customer's account through random requests, operators' decisions, outages and crashes.
type machine struct {
	*shelf
	tags []string // seen so far

	// The ledger as far as it was read, and what it says.
	read     int
	verifier *consent.Verifier
	held     Preferences
	told     map[int64][]consent.Event // by operation
	moments  []moment
}

// moment is what held, to be asked of the ledger later.
type moment struct {
	at       time.Time
	held     Preferences
	withheld int // withdrawals that were not settled
}

// No sequence of requests, crashes, refusals and decisions breaks what the queue promises.
func TestAnyLifeOfAnAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{shelf: newShelf(), tags: []string{"0"}, held: Defaults(ada, catalogue), told: map[int64][]consent.Event{}}
		m.verifier = consent.NewVerifier(m.chain.ID, func(l consent.Link) (consent.Entry, error) { return l.Read(m.chain.Key) })
		for _, id := range []DeviceID{"phone", "tablet"} { // or else most changes would be refused
			m.accept(t, register(t, id, "token-of-"+string(id), Granted))
			m.finish(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":             m.invariants,
			"accept":       m.accepts,
			"accept more":  m.accepts,
			"accept twice": m.acceptsTwoWithOneTag,
			"work":         m.works,
			"work more":    m.works,
			"decide":       m.decides,
			"anything":     m.anything,
			"never start":  m.neverStarts,
			"expire":       m.expires,
		})
		m.drain(t)
		m.ledgerRemembers(t)
	})
}

// ledgerRemembers: asked later what held at a moment, the ledger alone answers what the account held then.
func (m *machine) ledgerRemembers(t *rapid.T) {
	var lines []consent.Line
	for _, l := range m.links {
		e, err := l.Read(m.chain.Key)
		require.NoError(t, err)
		lines = append(lines, consent.Line{Link: l, Entry: e})
	}
	for i, at := range m.moments {
		if i+1 < len(m.moments) && !m.moments[i+1].at.After(at.at) {
			continue // more has happened in the same moment
		}
		s := consent.StandingAt(lines, at.at)
		want := map[string]any{}
		for _, op := range m.ops {
			for path, value := range at.held.Facts(op.Change) {
				want[path] = value
			}
		}
		for path, f := range s.Facts {
			// A device may also change by what happens to another one: of those the ledger tells what each change made of it.
			if strings.HasPrefix(path, "devices.") || strings.HasPrefix(path, "reaffirmed.") {
				continue
			}
			require.JSONEq(t, asJSON(want[path]), asJSON(f.Value), "%s at %s", path, at.at)
		}
		require.False(t, at.withheld == 0 && len(s.Withheld) > 0, "nothing is withheld when nothing is withdrawn")
	}
}

// crashing runs a transaction, perhaps after one that was rolled back, perhaps again because the answer was lost.
func (m *machine) crashing(t *rapid.T, number int64, fn func(*Account, *Operation) error) error {
	crash := rapid.SampledFrom([]string{"no", "no", "before the commit", "after the commit"}).Draw(t, "crash")
	if crash == "before the commit" {
		a := m.load("")
		_ = fn(a, m.find(a, number))
	}
	err := m.step(t, number, fn)
	if crash == "after the commit" && err == nil {
		entries := len(m.links)
		require.NoError(t, m.step(t, number, fn), "a repeat")
		require.Len(t, m.links, entries, "a repeat is not recorded again")
	}
	return err
}

func (m *machine) accepts(t *rapid.T) {
	m.tick(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
	wish := usefulWish.Draw(t, "wish")
	r := m.request(wish.change(t))
	r.Source = rapid.SampledFrom([]Source{FromApp, FromApp, FromCRM, FromEmailLink}).Draw(t, "source")
	if wish.release != "" && wish.token != "" {
		r.Source = FromTokenMove
	}
	r.Key = rapid.SampledFrom([]string{"", "k1", "k2", "k3"}).Draw(t, "key")
	r.Fingerprint = rapid.SampledFrom([]string{"f1", "f1", "f2"}).Draw(t, "fingerprint")
	tag := m.load("").Tag()
	switch rapid.SampledFrom([]string{"none", "none", "any", "current", "seen"}).Draw(t, "If-Match") {
	case "any":
		r.IfMatch = []string{"*"}
	case "current":
		r.IfMatch = []string{"other", tag}
	case "seen":
		r.IfMatch = []string{rapid.SampledFrom(m.tags).Draw(t, "tag")}
	}
	var prior *Operation
	for _, op := range m.ops {
		if r.Key != "" && op.Key == r.Key {
			prior = copied(op)
		}
	}
	_, invalid := m.expected().Apply(r.Change, m.now, r.Source)

	var op *Operation
	var replayed, ahead bool
	size, free, wants := len(m.ops), m.turn == 0, rapid.Bool().Draw(t, "ahead")
	err := m.update(t, r.Key, func(a *Account) (err error) {
		if op, replayed, err = a.Accept(r, m.now); err == nil && !replayed && wants {
			ahead = a.BeginAhead(op)
		}
		return err
	})
	switch {
	case prior != nil && prior.Fingerprint != r.Fingerprint:
		require.Equal(t, fault.Mismatch, fault.KindOf(err))
	case prior != nil:
		require.NoError(t, err)
		require.True(t, replayed)
		require.Equal(t, prior.ID, op.ID, "the same key gives the same operation")
		require.Len(t, m.ops, size)
	case r.IfMatch != nil && !slices.Contains(r.IfMatch, "*") && !slices.Contains(r.IfMatch, tag):
		require.Equal(t, fault.Precondition, fault.KindOf(err))
	case invalid != nil:
		require.Equal(t, invalid, err)
	default:
		require.NoError(t, err)
		require.False(t, replayed)
		require.Len(t, m.ops, size+1)
		require.Equal(t, wants && free, ahead, "only where nobody else has the turn")
		require.Equal(t, map[bool]Status{true: Running, false: Accepted}[ahead], m.ops[size].Status)
		require.True(t, m.ops[size].StartedAt.IsZero())
		require.NotEqual(t, tag, m.load("").Tag())
	}
	m.tags = append(m.tags, m.load("").Tag())
}

// expected is what will hold when everything under way goes well.
func (m *machine) expected() Preferences {
	p := m.preferences()
	for _, op := range m.open() {
		if op.Status == Compensating {
			continue
		}
		if next, err := p.Apply(op.Change, op.AcceptedAt, op.Source); err == nil {
			p = next
		}
	}
	return p
}

func (m *machine) acceptsTwoWithOneTag(t *rapid.T) {
	tag := []string{m.load("").Tag()}
	for i, want := range []fault.Kind{{}, fault.Precondition} {
		r := m.request(setEmail(t, rapid.SampledFrom([]EmailStatus{Subscribed, Unsubscribed}).Draw(t, "e-mail")))
		r.IfMatch = tag
		err := m.update(t, "", func(a *Account) error { _, _, err := a.Accept(r, m.now); return err })
		if i == 0 {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, want, fault.KindOf(err), "of two that edit the same version one wins")
	}
}

// works is the run that holds the turn, doing its next step.
func (m *machine) works(t *rapid.T) {
	if m.turn == 0 {
		t.Skip("nothing to do")
	}
	m.tick(time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second)
	op := m.op(m.turn)
	require.Equal(t, op.ID, m.load("").Next(m.run).ID)
	switch op.Status {
	case Accepted:
		require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.Begin(op, m.run, m.now) }))
	case Running:
		if op.StartedAt.IsZero() && rapid.Bool().Draw(t, "asks") {
			require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.Begin(op, m.run, m.now) }))
			require.Equal(t, op.Kind == Grant && m.now.After(op.Deadline), m.op(op.Number).Status == Compensating)
			return
		}
		m.reachesTargets(t, op)
	case NeedsAttention:
		var d Decision
		require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { d = a.TakeDecision(op); return nil }))
		require.Equal(t, op.Decision, d)
		if d == CompensateIt {
			require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.StartCompensation(op, refused, m.now) }))
		}
	case Compensating:
		left := rapid.SampledFrom([][]string{nil, {"crm:email"}}).Draw(t, "left")
		require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.Compensate(op, left, m.now) }))
		require.Equal(t, left, last(m.entries(t, op.Number)).NotUndone)
	default:
		t.Fatalf("#%d has the turn and is %s", op.Number, op.Status)
	}
}

func (m *machine) reachesTargets(t *rapid.T, op *Operation) {
	switch rapid.SampledFrom([]string{"applied", "applied", "outage", "refused"}).Draw(t, "targets") {
	case "applied":
		require.NoError(t, m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.Commit(op, m.now) }))
	case "outage":
		err := m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.StartCompensation(op, refused, m.now) })
		require.Equal(t, op.Kind == Grant, err == nil, "a withdrawal goes forward")
	case "refused":
		err := m.crashing(t, op.Number, func(a *Account, op *Operation) error { return a.Park(op, refused, m.now) })
		require.Equal(t, op.Kind == Withdrawal, err == nil, "a grant is compensated")
	}
}

func (m *machine) decides(t *rapid.T) {
	if m.turn == 0 || m.op(m.turn).Status != NeedsAttention {
		t.Skip("nothing is parked")
	}
	had, d := m.op(m.turn).Decision, rapid.SampledFrom([]Decision{RetryIt, CompensateIt}).Draw(t, "decision")
	err := m.crashing(t, m.turn, func(a *Account, op *Operation) error { return a.Decide(op, d, operatorActor, m.now) })
	if had != "" && had != d {
		require.ErrorIs(t, err, fault.New(fault.Conflict, "already-decided", ""))
		return
	}
	if had != d && d == CompensateIt && m.op(m.turn).Source == FromTokenMove {
		require.ErrorIs(t, err, fault.New(fault.Conflict, "token-moved", ""))
		require.Empty(t, m.op(m.turn).Decision)
		return
	}
	require.NoError(t, err)
	require.Equal(t, d, m.op(m.turn).Decision)
}

// anything calls any method on any operation at any time. What is not refused must keep the invariants, and what is
// settled stays as it is.
func (m *machine) anything(t *rapid.T) {
	number := rapid.Int64Range(1, m.lastNumber).Draw(t, "operation")
	run := rapid.SampledFrom([]int64{m.run, m.run, m.run + 1}).Draw(t, "run")
	d := rapid.SampledFrom([]Decision{RetryIt, CompensateIt, "", "other"}).Draw(t, "decision")
	was, reached := m.op(number), rapid.Bool().Draw(t, "reached")
	entries := len(m.links)
	call := rapid.SampledFrom([]string{"begin", "begin", "commit", "start compensation", "compensate", "park", "decide", "take", "never started"}).Draw(t, "call")
	err := m.crashing(t, number, func(a *Account, op *Operation) error {
		switch call {
		case "begin":
			return a.Begin(op, run, m.now)
		case "commit":
			return a.Commit(op, m.now)
		case "start compensation":
			return a.StartCompensation(op, refused, m.now)
		case "compensate":
			return a.Compensate(op, nil, m.now)
		case "park":
			return a.Park(op, refused, m.now)
		case "decide":
			return a.Decide(op, d, operatorActor, m.now)
		case "take":
			a.TakeDecision(op)
			return nil
		}
		return a.NeverStarted(op, reached, m.now)
	})
	if call == "begin" && !was.Status.Settled() && (m.run != run && err == nil) && m.turn == number {
		t.Fatalf("run %d began what run %d holds", run, m.run)
	}
	if err != nil {
		require.Contains(t, []fault.Kind{fault.Conflict, fault.Invalid}, fault.KindOf(err))
	}
	if was.Status.Settled() {
		require.Equal(t, was, m.op(number))
		require.Len(t, m.links, entries)
	}
}

func (m *machine) neverStarts(t *rapid.T) {
	if m.lastNumber == 0 || m.ops[m.lastNumber-1].Status.Settled() || !m.ops[m.lastNumber-1].StartedAt.IsZero() {
		t.Skip("nothing has just been accepted")
	}
	was, reached := m.op(m.lastNumber), rapid.Bool().Draw(t, "reached")
	err := m.crashing(t, was.Number, func(a *Account, op *Operation) error { return a.NeverStarted(op, reached, m.now) })
	if reached {
		require.Equal(t, fault.Conflict, fault.KindOf(err), "something may have been written")
		require.Equal(t, was, m.op(was.Number))
		return
	}
	if was.Kind == Withdrawal {
		require.Equal(t, fault.Conflict, fault.KindOf(err), "a withdrawal is never given up")
		return
	}
	require.NoError(t, err)
	require.Empty(t, m.op(was.Number).Key, "its key may be used again")
}

func (m *machine) expires(t *rapid.T) {
	m.tick(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
	require.NoError(t, m.update(t, "", func(a *Account) error { return a.Expire(m.now) }))
	for _, op := range m.open() {
		require.False(t, op.Kind == Grant && op.Number != m.turn && m.now.After(op.Deadline), "#%d waits past its deadline", op.Number)
	}
}

// drain works with healthy targets until nothing is left: nothing can get stuck.
func (m *machine) drain(t *rapid.T) {
	for range 4 * (len(m.open()) + 1) {
		if m.turn == 0 {
			break
		}
		require.NoError(t, m.step(t, m.turn, func(a *Account, op *Operation) error {
			switch op.Status {
			case Accepted:
				return a.Begin(op, m.run, m.now)
			case Running:
				return a.Commit(op, m.now)
			case Compensating:
				return a.Compensate(op, nil, m.now)
			case NeedsAttention:
				if op.Decision == "" {
					require.NoError(t, a.Decide(op, RetryIt, operatorActor, m.now))
				}
				if a.TakeDecision(op) == CompensateIt {
					return a.StartCompensation(op, refused, m.now)
				}
				return nil
			default:
				return fmt.Errorf("#%d has the turn and is %s", op.Number, op.Status)
			}
		}))
		m.invariants(t)
	}
	require.Empty(t, m.open())
	require.Zero(t, m.turn)
	require.Empty(t, m.load("").Holds())
}

func (m *machine) invariants(t *rapid.T) {
	m.queueIsInOrder(t)
	m.ledgerTellsIt(t)
	m.holdsCover(t)
}

func (m *machine) queueIsInOrder(t *rapid.T) {
	require.Equal(t, m.lastNumber, int64(len(m.ops)), "numbers without a gap")
	open, busy := m.open(), 0
	keys := map[string]bool{}
	for i, op := range m.ops {
		require.Equal(t, int64(i+1), op.Number)
		require.False(t, op.Key != "" && keys[op.Key], "one operation per key")
		keys[op.Key] = true
		if op.Status == Running || op.Status == Compensating || op.Status == NeedsAttention {
			busy++
			require.Equal(t, m.turn, op.Number, "only who has the turn is worked on")
		}
		require.Equal(t, op.Kind == Withdrawal, op.Deadline.IsZero())
		require.False(t, op.Decision != "" && op.Status != NeedsAttention, "a decision is for what is parked")
	}
	require.LessOrEqual(t, busy, 1)
	if len(open) == 0 {
		require.Zero(t, m.turn)
		require.Zero(t, m.run)
	} else {
		require.Equal(t, open[0].Number, m.turn, "the oldest has the turn")
		require.Positive(t, m.run)
		require.LessOrEqual(t, m.run, m.turn)
	}
	var inOrder []int64
	for _, n := range m.ended {
		if op := m.ops[n-1]; op.Kind == Withdrawal || !op.StartedAt.IsZero() {
			inOrder = append(inOrder, n)
		}
	}
	require.True(t, slices.IsSorted(inOrder), "ended %v", inOrder)
}

// ledgerTellsIt reads on where it stopped: what holds is what the ledger says was applied, in that order, and nothing else.
func (m *machine) ledgerTellsIt(t *rapid.T) {
	for _, l := range m.links[m.read:] {
		m.verifier.Check(l)
		e, err := l.Read(m.chain.Key)
		require.NoError(t, err)
		op := m.ops[e.Number-1]
		require.Equal(t, op.ID, e.Operation)
		m.told[op.Number] = append(m.told[op.Number], e.Event)
		switch e.Event {
		case consent.Applied:
			require.JSONEq(t, facts(m.held, op.Change), asJSON(e.Before))
			m.held = must(m.held.Apply(op.Change, op.AcceptedAt, op.Source))
			require.JSONEq(t, facts(m.held, op.Change), asJSON(e.After))
		case consent.Compensated:
			require.JSONEq(t, facts(m.held, op.Change), asJSON(e.Before), "#%d: before is what held", op.Number)
			require.JSONEq(t, facts(m.held, op.Change), asJSON(e.After), "#%d: and holds still", op.Number)
			require.NotNil(t, e.Reason)
		default:
			continue
		}
		require.Equal(t, m.held.Version(), e.Version)
	}
	m.read = len(m.links)
	m.moments = append(m.moments, moment{m.now, m.held, len(m.load("").Holds())})
	require.Empty(t, m.verifier.Finish(m.chain.Head))
	require.Equal(t, stored(t, m.held), stored(t, m.preferences()))
	for _, op := range m.ops {
		mine := m.told[op.Number]
		require.Equal(t, consent.Requested, mine[0])
		require.Equal(t, 1, count(mine, consent.Requested))
		applied, compensated := count(mine, consent.Applied), count(mine, consent.Compensated)
		require.Equal(t, op.Status == Applied, applied == 1)
		require.Equal(t, op.Status == Compensated, compensated == 1)
		require.LessOrEqual(t, applied+compensated, 1)
		if op.Kind == Withdrawal && op.Status == Compensated {
			decided := count(mine, consent.CompensationRequested) == 1
			never := op.StartedAt.IsZero() && op.Reason.Target == "store"
			require.True(t, decided || never, "#%d was given up: %+v", op.Number, op.Reason)
		}
	}
}

// holdsCover: what an open withdrawal names is not sent to, whatever else holds.
func (m *machine) holdsCover(t *rapid.T) {
	a := m.load("")
	withdrawals := 0
	for _, op := range a.Open() {
		if op.Kind != Withdrawal {
			continue
		}
		withdrawals++
		alone := a.Preferences().Effective([]Hold{op.Change.Hold()}, time.Time{})
		for i, e := range a.Preferences().Effective(a.Holds(), time.Time{}) {
			if slices.Contains(alone[i].BlockedBy, BlockedByHold) {
				require.Contains(t, e.BlockedBy, BlockedByHold)
				require.False(t, e.Deliverable)
			}
		}
	}
	require.Len(t, a.Holds(), withdrawals)
}

func facts(p Preferences, c Change) string { return asJSON(p.Facts(c)) }

func asJSON(v any) string { return string(must(json.Marshal(v))) }

func last[T any](in []T) T { return in[len(in)-1] }
