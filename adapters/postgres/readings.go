package postgres

import (
	"errors"
	"sync"
	"sync/atomic"

	"accord/domain/preference"
)

// reading is an account as it was at one moment, with the operation that was asked for and the version that the
// customer's row had. What is done to it may be stored as long as the row has that version.
type reading struct {
	standing preference.Standing
	op       *preference.Operation
	version  string
}

// update runs fn on it and answers what there is to store. It can be done once: fn changes what was read.
func (r *reading) update(fn func(*preference.Account, *preference.Operation) error) (writes, error) {
	account := preference.RestoreAccount(r.standing)
	if err := fn(account, r.op); err != nil {
		return nil, callerError{err}
	}
	return changes(r.standing, account, r.version)
}

// maxReadings bounds how many operations under way are remembered, and with it the memory for those that end elsewhere.
const maxReadings = 1024

// readings remembers what was read when an operation's steps began: they begin together, so one query is enough for all
// of them, and what was read is what the settling of the operation starts from, as hardly ever anybody comes between.
//
// What was accepted here and begun with it was read by that, so its steps need not read it again. They start in the same
// process, nearly always, where one works on operations at all.
type readings struct {
	asked  atomic.Bool // steps begin here
	mu     sync.Mutex
	known  map[string]*pending
	oldest []string // in the order in which they were asked for; some are taken already
}

type pending struct {
	ready   chan struct{}
	reading *reading             // nil when it could not be read
	op      preference.Operation // as it was read, whatever is done to the reading
	err     error
}

// operation answers from what is known, or reads: once, however many ask.
func (k *readings) operation(id string, read func() (*reading, error)) (preference.Operation, error) {
	p, mine := k.ask(id)
	if mine {
		k.fill(id, p, read)
		return p.op, p.err
	}
	<-p.ready
	if p.err == nil {
		return p.op, nil
	}
	r, err := read() // whoever has tried may have been cancelled, and that is nobody else's business
	if err != nil {
		return preference.Operation{}, err
	}
	return *r.op, nil
}

// keep remembers an account that has been stored, for the steps of the operation that was begun with it.
func (k *readings) keep(account *preference.Account, version string) {
	if !k.asked.Load() {
		return
	}
	r := &reading{standing: account.Standing(), version: version}
	r.standing.Prior = nil
	for i, op := range r.standing.Open {
		mine := *op // whoever has accepted it may go on reading theirs
		r.standing.Open[i] = &mine
		if op.Number == r.standing.Turn && op.Status == preference.Running {
			r.op = &mine
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.op == nil || k.known[r.op.ID] != nil {
		return
	}
	p := k.remember(r.op.ID)
	p.reading, p.op, p.err = r, *r.op, nil
	close(p.ready)
}

// targets is how many targets an operation has whose steps begin here, 0 when that is not known.
func (k *readings) targets(id string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.known[id]; p != nil {
		select {
		case <-p.ready:
			return len(p.op.Targets)
		default:
		}
	}
	return 0
}

// ask answers what is known or being read, and whether it is the caller who has to read it.
func (k *readings) ask(id string) (p *pending, mine bool) {
	k.asked.Store(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.known[id]; p != nil {
		return p, false
	}
	return k.remember(id), true
}

func (k *readings) remember(id string) *pending {
	if k.known == nil {
		k.known = map[string]*pending{}
	}
	if len(k.oldest) >= maxReadings {
		delete(k.known, k.oldest[0])
		k.oldest = k.oldest[1:]
	}
	p := &pending{ready: make(chan struct{}), err: errNotRead}
	k.known[id], k.oldest = p, append(k.oldest, id)
	return p
}

// fill reads. A failure is kept for nobody, and neither is what may still change before it runs.
func (k *readings) fill(id string, p *pending, read func() (*reading, error)) {
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if p.err != nil || p.op.Status != preference.Running {
			delete(k.known, id)
		}
		close(p.ready)
	}()
	r, err := read()
	if p.err = err; err == nil {
		p.reading, p.op = r, *r.op
	}
}

var errNotRead = errors.New("not read")

// take gives a reading away, as it can be changed once. nil when there is none, or it is still on its way.
func (k *readings) take(id string) *reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.known[id]
	if p == nil {
		return nil
	}
	delete(k.known, id)
	select {
	case <-p.ready:
		return p.reading
	default:
		return nil
	}
}
