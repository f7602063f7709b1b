package preference

import (
	"slices"
	"strings"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
)

// Status of an operation. accepted → running → applied, or running → compensating → compensated. A withdrawal that a
// target refuses for good is parked in needs_attention until an operator decides.
type Status string

const (
	Accepted       Status = "accepted"
	Running        Status = "running"
	Applied        Status = "applied"
	Compensating   Status = "compensating"
	Compensated    Status = "compensated"
	NeedsAttention Status = "needs_attention"
)

// Statuses in the order of an operation's life.
var Statuses = []Status{Accepted, Running, NeedsAttention, Compensating, Applied, Compensated}

// Settled reports that nothing will happen any more.
func (s Status) Settled() bool { return s == Applied || s == Compensated }

// Decision is what an operator chose for a parked operation.
type Decision string

const (
	RetryIt      Decision = "retry"
	CompensateIt Decision = "compensate"
)

// Operation is one requested change and all that happened to it. Fields are read by everybody and changed only
// through Account.
type Operation struct {
	ID          string
	Customer    CustomerID
	Number      int64 // position in the customer's queue: 1, 2, 3 …
	Kind        Kind
	Status      Status
	Change      Change
	Source      Source
	Actor       consent.Actor
	Origin      consent.Origin
	Targets     []Target
	AcceptedAt  time.Time
	DecidedAt   time.Time // when the person decided, where that is known and was elsewhere; else zero
	Cause       string    // why nobody asked for it in so many words: a stable code, empty where somebody did
	Deadline    time.Time // grants only: compensated when not applied by then
	StartedAt   time.Time // zero until a run is known to have begun it, also when it was begun ahead of its run
	SettledAt   time.Time
	Before      Snapshot // what is expected while it waits in the queue, what held once it runs or is closed
	After       Snapshot
	Reason      *consent.Reason
	Decision    Decision // made by an operator and not yet acted upon
	Key         string   // idempotency key, empty for none
	Fingerprint string   // of the request that used the key
}

// Request asks for a change.
type Request struct {
	ID          string // of the operation to be, unique
	Change      Change
	Source      Source
	Actor       consent.Actor
	Origin      consent.Origin
	Key         string
	Fingerprint string
	IfMatch     []string      // nil for no condition; "*" matches any
	Budget      time.Duration // how long a grant may take
	Cause       string        // see Operation
	Only        []Target      // reach these and no other; nil for those that the change concerns
	// Elsewhere is set for a decision that was made elsewhere, at DecidedAt (zero where that is not known). Of such a
	// change only what is later than what holds is taken; see Preferences.Later.
	Elsewhere bool
	DecidedAt time.Time
	// Unless is set for a withdrawal by a link, to when the link was made: one that has been made since, and holds, is
	// not made again. Whoever is still sent e-mail after it uses a later link, which works.
	Unless time.Time
}

// MaxQueue bounds how many changes of one customer may wait. Past it a grant is refused, a withdrawal never.
const MaxQueue = 1000

// Account is the aggregate that everything about one customer's changes goes through: the preferences, the queue of
// operations that are not settled, the turn, and the end of the ledger's chain. Whoever loads it holds its lock until
// what it did is stored; it has no other protection against concurrent use.
type Account struct {
	prefs      Preferences
	open       []*Operation // by number
	prior      *Operation   // with the idempotency key that was asked for
	lastNumber int64
	turn       int64 // number of the operation that may be worked on, 0 for none
	run        int64 // number that names the workflow run which holds the turn
	chain      consent.Chain

	touched []*Operation
	links   []consent.Link
}

// Standing is the stored form of an account.
type Standing struct {
	Preferences Preferences
	Open        []*Operation
	Prior       *Operation
	LastNumber  int64
	Turn, Run   int64
	Chain       consent.Chain // its key is needed only for what is written to the ledger
}

// RestoreAccount rebuilds an account.
func RestoreAccount(s Standing) *Account {
	return &Account{prefs: s.Preferences, open: s.Open, prior: s.Prior, lastNumber: s.LastNumber, turn: s.Turn, run: s.Run, chain: s.Chain}
}

// Standing copies the account out.
func (a *Account) Standing() Standing {
	return Standing{Preferences: a.prefs, Open: slices.Clone(a.open), Prior: a.prior, LastNumber: a.lastNumber, Turn: a.turn, Run: a.run, Chain: a.chain}
}

// Pending is what was done since the account was loaded and must be stored with it: the operations added or changed,
// and the ledger's new entries.
func (a *Account) Pending() ([]*Operation, []consent.Link) { return a.touched, a.links }

// Preferences as last applied.
func (a *Account) Preferences() Preferences { return a.prefs }

// Turn is the number of the operation that has the turn and of the run that holds it, 0 when nobody has it.
func (a *Account) Turn() (operation, run int64) { return a.turn, a.run }

// Open operations in the order in which they were accepted.
func (a *Account) Open() []*Operation { return slices.Clone(a.open) }

// Holds of the withdrawals that are not settled.
func (a *Account) Holds() []Hold {
	var out []Hold
	for _, op := range a.open {
		if op.Kind == Withdrawal {
			out = append(out, op.Change.Hold())
		}
	}
	return out
}

// Tag names what a reader sees: the version, and the last change accepted on top of it. It is the ETag, so a client
// that edits what it saw is told when somebody else has a change under way.
func (a *Account) Tag() string {
	return Tag(a.prefs.version, a.lastOpen())
}

// meets a condition: none, any, or one of the tags.
func (a *Account) meets(ifMatch []string) bool {
	return ifMatch == nil || slices.Contains(ifMatch, "*") || slices.ContainsFunc(ifMatch, a.isTag)
}

// isTag recognises the tag also as a reader saw it at some moment.
func (a *Account) isTag(seen string) bool {
	tag, _, _ := strings.Cut(seen, momentMark)
	return tag == a.Tag()
}

func (a *Account) lastOpen() int64 {
	for _, op := range slices.Backward(a.open) {
		if !op.Change.reaffirms() { // of which a reader will see nothing
			return op.Number
		}
	}
	return 0
}

// Accept takes a change into the queue, writes "requested" into the ledger, and takes the turn when it is free. The
// same key gives the operation it gave before (replayed). Errors: Mismatch when the key was used for another request,
// Precondition when IfMatch fails, what Apply answers when the change is not valid on top of everything queued,
// Unavailable when too many changes wait, Conflict "unchanged" for a withdrawal made since Unless, Conflict "being-erased" for a grant while the person is being erased (a withdrawal is
// part of the erasure, and gives that), and for a decision made elsewhere Conflict "superseded" when a later one holds
// and Conflict "unchanged" when it says what holds. Nothing is changed on error.
func (a *Account) Accept(r Request, now time.Time) (op *Operation, replayed bool, err error) {
	if a.prior != nil && r.Key != "" {
		if a.prior.Fingerprint != r.Fingerprint {
			return nil, false, fault.New(fault.Mismatch, "idempotency-key-reused", "this Idempotency-Key was used for another request")
		}
		return a.prior, true, nil
	}
	if !a.meets(r.IfMatch) {
		return nil, false, fault.New(fault.Precondition, "version-changed", "the preferences have changed; the current ETag is %q", a.Tag())
	}
	if erasing := a.erasing(); erasing != nil {
		if r.Change.Kind() == Withdrawal { // which is part of it
			return erasing, true, nil
		}
		return nil, false, fault.New(fault.Conflict, "being-erased", "this person is being erased: everything is withheld and will be gone")
	}
	now = now.UTC().Truncate(time.Microsecond)
	expected := a.expected()
	decided := r.decided(now)
	if r.Elsewhere {
		if r.Change, err = expected.laterThan(a.prefs, r.Change, decided); err != nil {
			return nil, false, err
		}
	}
	if expected.heldSince(r.Change, r.Unless) {
		return nil, false, fault.New(fault.Conflict, "unchanged", "it was withdrawn since")
	}
	r.Change = expected.emailRequested(r.Change, r.ID, orElse(decided, now))
	kind := r.Change.Kind()
	if kind == Grant && len(a.open) >= MaxQueue {
		return nil, false, fault.New(fault.Unavailable, "unavailable", "too many changes of this customer are under way")
	}
	after, err := expected.Apply(r.Change, orElse(decided, now), r.Source)
	if err != nil {
		return nil, false, err
	}
	op = &Operation{ID: r.ID, Customer: a.prefs.customer, Number: a.lastNumber + 1, Kind: kind, Status: Accepted, Change: r.Change,
		Source: r.Source, Actor: r.Actor, Origin: a.from(r.Origin), Targets: r.targets(a.prefs.catalogue), Cause: r.Cause,
		AcceptedAt: now, DecidedAt: decided, Before: expected.Snapshot(), After: after.Snapshot(), Key: r.Key, Fingerprint: r.Fingerprint}
	if kind == Grant {
		op.Deadline = now.Add(r.Budget)
	}
	if err := a.record(op, consent.Requested, op.Actor, nil, now); err != nil {
		return nil, false, err
	}
	a.lastNumber = op.Number
	a.open = append(a.open, op)
	if a.turn == 0 {
		a.turn, a.run = op.Number, op.Number
	}
	a.touch(op)
	return op, false, nil
}

// from adds what is known of the app that asks: a device that is registered under the installation's id has told its version.
func (a *Account) from(o consent.Origin) consent.Origin {
	if d, known := a.prefs.Device(DeviceID(o.Installation)); known && o.AppVersion == "" {
		o.AppVersion = d.AppVersion
	}
	return o
}

// expected are the preferences once everything in the queue is applied. They are worked out from what holds now: what
// an operation expected when it was accepted may rest on a change that was taken back since. One that is being taken
// back, cannot be applied any more or is superseded by what is ahead of it does not count.
func (a *Account) expected() Preferences {
	p := a.prefs
	for _, op := range a.open {
		if op.Status == Compensating {
			continue
		}
		if next, err := p.after(op); err == nil {
			p = next
		}
	}
	return p
}

func (a *Account) touch(op *Operation) {
	if !slices.Contains(a.touched, op) {
		a.touched = append(a.touched, op)
	}
}

// record appends to the ledger. Before and after are those of the operation at this moment.
func (a *Account) record(op *Operation, e consent.Event, by consent.Actor, left []string, now time.Time) error {
	before := Restore(op.Customer, op.Before, a.prefs.catalogue)
	after := Restore(op.Customer, op.After, a.prefs.catalogue)
	if e == consent.Compensated {
		after = before
	}
	entry := consent.Entry{Event: e, At: now, Operation: op.ID, Number: op.Number, Kind: string(op.Kind), Actor: by,
		Origin: op.Origin, Cause: op.Cause, Before: before.Facts(op.Change), After: after.Facts(op.Change), Version: after.version,
		Reason: op.Reason, NotUndone: left}
	if !op.DecidedAt.IsZero() {
		entry.DecidedAt = &op.DecidedAt
	}
	if w := op.Change.Wording(); w != nil {
		entry.Wording = &consent.Wording{ID: w.ID, Locale: w.Locale, TextHash: w.TextHash}
	}
	link, chain, err := a.chain.Append(entry)
	if err != nil {
		return err
	}
	a.links, a.chain = append(a.links, link), chain
	return nil
}
