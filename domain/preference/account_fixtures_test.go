package preference_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	. "accord/domain/preference"
)

// shelf keeps one customer's account between steps as a database does: what was not handed over as pending is lost,
// and nothing that is loaded shares memory with what is kept.
type shelf struct {
	prefs      Snapshot
	ops        []*Operation // by number, from 1
	lastNumber int64
	turn, run  int64
	chain      consent.Chain
	links      []consent.Link
	ended      []int64 // numbers in the order in which they were settled
	now        time.Time
	catalogue  *Catalogue
}

func newShelf() *shelf {
	return shelfOf(catalogue)
}

func shelfOf(catalogue *Catalogue) *shelf {
	return &shelf{prefs: Defaults(ada, catalogue).Snapshot(), now: start, catalogue: catalogue, chain: consent.Chain{ID: "ch_1", Key: consent.Key{7}}}
}

func (s *shelf) preferences() Preferences { return Restore(ada, s.prefs, s.catalogue) }

func (s *shelf) tick(d time.Duration) { s.now = s.now.Add(d) }

// op is a copy of what is stored.
func (s *shelf) op(number int64) *Operation { return copied(s.ops[number-1]) }

func (s *shelf) open() []*Operation {
	var out []*Operation
	for _, op := range s.ops {
		if !op.Status.Settled() {
			out = append(out, copied(op))
		}
	}
	return out
}

func copied(op *Operation) *Operation {
	out := *op
	return &out
}

// row is an operation as it comes back from a database.
func row(op *Operation) *Operation {
	var out Operation
	if err := json.Unmarshal(must(json.Marshal(op)), &out); err != nil {
		panic(err)
	}
	return &out
}

// load gives the account as a transaction gets it, with the operation that has used the key.
func (s *shelf) load(key string) *Account {
	standing := Standing{Preferences: s.preferences(), Open: s.open(), LastNumber: s.lastNumber, Turn: s.turn, Run: s.run, Chain: s.chain}
	for _, op := range s.ops {
		if key != "" && op.Key == key {
			standing.Prior = copied(op)
		}
	}
	return RestoreAccount(standing)
}

// find is the operation in a loaded account, or the settled one.
func (s *shelf) find(a *Account, number int64) *Operation {
	for _, op := range a.Open() {
		if op.Number == number {
			return op
		}
	}
	return s.op(number)
}

// save stores what a transaction did.
func (s *shelf) save(t require.TestingT, a *Account) {
	ops, links := a.Pending()
	for _, op := range ops {
		if op.Number == int64(len(s.ops))+1 {
			s.ops = append(s.ops, nil)
		} else if !s.ops[op.Number-1].Status.Settled() && op.Status.Settled() {
			s.ended = append(s.ended, op.Number)
		}
		s.ops[op.Number-1] = row(op)
	}
	standing := a.Standing()
	s.prefs, s.lastNumber, s.turn, s.run, s.chain = standing.Preferences.Snapshot(), standing.LastNumber, standing.Turn, standing.Run, standing.Chain
	s.links = append(s.links, links...)
	require.Equal(t, image(s.load("")), image(a), "what was not pending is lost")
}

// image is all there is to an account.
func image(a *Account) string {
	st := a.Standing()
	open := make([]string, len(st.Open))
	for i, op := range st.Open {
		open[i] = fmt.Sprint(op.ID, op.Number, op.Kind, op.Status, op.AcceptedAt, op.Deadline, op.StartedAt, op.SettledAt, op.Before.Version, op.After.Version,
			op.Reason, op.Decision, op.Key, op.Fingerprint)
	}
	return fmt.Sprint(st.Preferences.Version(), open, st.LastNumber, st.Turn, st.Run, st.Chain.Head, a.Tag(), len(a.Holds()))
}

// update is one transaction; a failing one stores nothing, and must not have changed anything either.
func (s *shelf) update(t require.TestingT, key string, fn func(*Account) error) error {
	a := s.load(key)
	before := image(a)
	if err := fn(a); err != nil {
		require.Equal(t, before, image(a), "%v", err)
		ops, links := a.Pending()
		require.Empty(t, ops)
		require.Empty(t, links)
		return err
	}
	s.save(t, a)
	return nil
}

// step is update for one operation.
func (s *shelf) step(t require.TestingT, number int64, fn func(*Account, *Operation) error) error {
	return s.update(t, "", func(a *Account) error { return fn(a, s.find(a, number)) })
}

func (s *shelf) request(c Change) Request {
	return Request{ID: fmt.Sprint("op-", s.lastNumber+1), Change: c, Source: FromApp, Actor: customerActor,
		Origin: consent.Origin{Source: string(FromApp)}, Budget: time.Minute}
}

// accept takes changes that are valid, and answers the number of the last one.
func (s *shelf) accept(t require.TestingT, changes ...Change) int64 {
	for _, c := range changes {
		require.NoError(t, s.update(t, "", func(a *Account) error {
			_, _, err := a.Accept(s.request(c), s.now)
			return err
		}))
	}
	return s.lastNumber
}

func (s *shelf) begin(t require.TestingT) int64 {
	number := s.turn
	require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error { return a.Begin(op, s.run, s.now) }))
	return number
}

// finish brings the operation whose turn it is to "applied".
func (s *shelf) finish(t require.TestingT) {
	number := s.begin(t)
	require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error { return a.Commit(op, s.now) }))
}

// compensate brings the operation whose turn it is to "compensated": an outage, or an operator's decision.
func (s *shelf) compensate(t require.TestingT) {
	number := s.startCompensation(t)
	require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error { return a.Compensate(op, nil, s.now) }))
}

func (s *shelf) startCompensation(t require.TestingT) int64 {
	number := s.begin(t)
	require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error {
		if op.Kind == Withdrawal {
			require.NoError(t, a.Park(op, refused, s.now))
			require.NoError(t, a.Decide(op, CompensateIt, operatorActor, s.now))
		}
		return a.StartCompensation(op, refused, s.now)
	}))
	return number
}

var (
	refused       = consent.Reason{Code: "refused", Target: "crm"}
	operatorActor = consent.Actor{Type: "operator", ID: "operator-1"}
)

// entries of one operation.
func (s *shelf) entries(t require.TestingT, number int64) []consent.Entry {
	var out []consent.Entry
	for _, l := range s.links {
		e, err := l.Read(s.chain.Key)
		require.NoError(t, err)
		if e.Number == number {
			out = append(out, e)
		}
	}
	return out
}

func (s *shelf) events(t require.TestingT, number int64) []consent.Event {
	var out []consent.Event
	for _, e := range s.entries(t, number) {
		out = append(out, e.Event)
	}
	return out
}

func count[T comparable](in []T, v T) int {
	return len(slices.DeleteFunc(slices.Clone(in), func(x T) bool { return x != v }))
}
