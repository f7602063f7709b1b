package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// change is one thing that happens to the vendors' state. Applying it must depend on the state and the effect alone —
// no clock, no randomness, no configuration — because opening the journal applies it again.
type change interface {
	kind() string
	apply(st *state, e *effect)
}

// changeKinds makes an empty change to decode a journal entry into.
var changeKinds = map[string]func() change{}

func registerChange(makers ...func() change) struct{} {
	for _, maker := range makers {
		changeKinds[maker().kind()] = maker
	}
	return struct{}{}
}

// effect is an accepted change: when it was accepted, when it is due, and whom it concerns.
type effect struct {
	Target string
	At     time.Time
	Due    time.Time // zero: synchronous, applied when accepted
	Keys   []string  // the vendor's own keys of the people concerned; keeps the order of their changes
	change change
}

type effectRecord struct {
	Kind   string          `json:"kind"`
	Target string          `json:"target"`
	At     time.Time       `json:"at"`
	Due    time.Time       `json:"due,omitzero"`
	Keys   []string        `json:"keys,omitempty"`
	Change json.RawMessage `json:"change"`
}

func (e *effect) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(e.change)
	if err != nil {
		return nil, err
	}
	return json.Marshal(effectRecord{e.change.kind(), e.Target, e.At, e.Due, e.Keys, body})
}

func (e *effect) UnmarshalJSON(raw []byte) error {
	var rec effectRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return err
	}
	maker, ok := changeKinds[rec.Kind]
	if !ok {
		return fmt.Errorf("unknown kind of change %q", rec.Kind)
	}
	*e = effect{Target: rec.Target, At: rec.At, Due: rec.Due, Keys: rec.Keys, change: maker()}
	return json.Unmarshal(rec.Change, e.change)
}

func (e *effect) touches(target string, keys []string) bool {
	return e.Target == target && slices.ContainsFunc(e.Keys, func(key string) bool { return slices.Contains(keys, key) })
}

// state is everything the vendors hold: what is applied, and the accepted effects that wait for their time. It is a pure
// fold over the effects, so the journal is those effects and nothing else.
type state struct {
	Braze      brazeState      `json:"braze"`
	OneSignal  oneSignalState  `json:"onesignal"`
	OneTrust   oneTrustState   `json:"onetrust"`
	Engagement engagementState `json:"engagement"`
	Pending    []*effect       `json:"pending"` // by due time, first accepted first
	Latest     time.Time       `json:"latest"`  // time of the newest effect; time does not run backwards
}

func newState() *state {
	st := &state{}
	st.index()
	return st
}

// index makes what a snapshot leaves out.
func (st *state) index() {
	st.Braze.index()
	st.OneSignal.index()
	st.OneTrust.index()
	st.Engagement.index()
}

// settle applies what is due by now.
func (st *state) settle(now time.Time) {
	if now.After(st.Latest) {
		st.Latest = now
	}
	for len(st.Pending) > 0 && !st.Pending[0].Due.After(now) {
		e := st.Pending[0]
		st.Pending[0] = nil // do not keep it alive in the shared array
		st.Pending = st.Pending[1:]
		e.change.apply(st, e)
	}
}

// accept takes an effect in: a synchronous one is applied after everything that waits for the same people, another is
// queued behind what waits for its target.
func (st *state) accept(e *effect) {
	st.settle(e.At)
	if e.Due.IsZero() {
		st.applyWaiting(e.Target, e.Keys)
		e.change.apply(st, e)
		return
	}
	at := len(st.Pending)
	for at > 0 && st.Pending[at-1].Due.After(e.Due) {
		at--
	}
	st.Pending = slices.Insert(st.Pending, at, e)
	st.settle(e.At)
}

// applyWaiting applies ahead of time what waits for these people.
func (st *state) applyWaiting(target string, keys []string) {
	waiting := st.Pending
	st.Pending = make([]*effect, 0, len(waiting))
	for _, e := range waiting {
		if e.touches(target, keys) {
			e.change.apply(st, e)
		} else {
			st.Pending = append(st.Pending, e)
		}
	}
}

// waits reports whether anything waits for these people.
func (st *state) waits(target string, keys []string) bool {
	return slices.ContainsFunc(st.Pending, func(e *effect) bool { return e.touches(target, keys) })
}

// due is when an asynchronous effect accepted now is applied: never before what was accepted earlier for the same
// target, also when a restart made the delay shorter.
func (st *state) due(target string, now time.Time, delay time.Duration) time.Time {
	due := now.Add(delay)
	for _, e := range st.Pending {
		if e.Target == target && e.Due.After(due) {
			due = e.Due
		}
	}
	return due
}

// catchUp is a synchronous change of nothing: accepting it applies what waits for its keys.
type catchUp struct{}

func (*catchUp) kind() string          { return "catch_up" }
func (*catchUp) apply(*state, *effect) {}

var _ = registerChange(func() change { return &catchUp{} })
