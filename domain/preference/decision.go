package preference

import (
	"maps"
	"slices"
	"time"

	"accord/domain/fault"
)

// Decisions that were made elsewhere (a vendor tells us, a reconciliation finds it) come late, twice and out of order. What
// they say counts as of when the person decided, not of when we heard.

// decided is when the person decided, as far as it can be told: never later than now, whatever another machine's clock says.
func (r Request) decided(now time.Time) time.Time {
	at := r.DecidedAt.UTC().Truncate(time.Microsecond)
	if r.DecidedAt.IsZero() || !at.After(now) {
		return at
	}
	return now
}

func (r Request) targets(cat *Catalogue) []Target {
	if r.Only == nil {
		return r.Change.Targets(cat, r.Source)
	}
	return slices.DeleteFunc(slices.Clone(Targets), func(t Target) bool { return !slices.Contains(r.Only, t) })
}

func (o *Operation) decided() time.Time { return orElse(o.DecidedAt, o.AcceptedAt) }

func orElse(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}

// Later is the part of a change decided elsewhere at the given time (zero where that is not known) that counts on top of
// what holds: the later decision wins, and between a withdrawal and a grant that cannot be ordered the withdrawal does. To
// say again, later, what holds counts too: what was decided in between and is heard of afterwards must not win. Errors:
// Conflict "superseded" when nothing is left because a later decision holds, Conflict "unchanged" when nothing is left
// because it all holds, decided then or later.
func (p Preferences) Later(c Change, at time.Time) (Change, error) { return p.laterThan(p, c, at) }

// laterThan is Later for what is expected, not all of which is applied: what was decided after a withdrawal and lets us send
// may be taken back still, and something that was decided before it may hold then. So the withdrawal counts until that is
// applied. Whether it still does is seen when its turn comes; see Preferences.after.
func (p Preferences) laterThan(applied Preferences, c Change, at time.Time) (Change, error) {
	d := c.c
	l := later{at: at.UTC()}
	if d.Push != nil && !l.counts(*d.Push, p.push.held(), applied.push.held()) {
		d.Push = nil
	}
	if d.Quiet != nil && !l.counts(d.Quiet.IsNone(), p.quiet.held(), applied.quiet.held()) {
		d.Quiet = nil
	}
	d.Channels = switches(&l, d.Channels, func(key ChannelKey) (is, was held) { return p.Channel(key).held(), applied.Channel(key).held() })
	if d.Email != "" && !l.counts(d.Email == Subscribed, p.email.held(), applied.email.held()) {
		d.Email = ""
	}
	d.EmailTopics = switches(&l, d.EmailTopics, func(key TopicKey) (is, was held) { return p.Topic(key).held(), applied.Topic(key).held() })
	if d.Release != "" && d.Token != "" && !p.stillHas(d) {
		d.Release = ""
	}
	if dev, known := p.Device(d.Device); known {
		before, knew := applied.Device(d.Device)
		if !knew {
			before = dev
		}
		if d.Enabled != nil && !l.counts(*d.Enabled, dev.held(), before.held()) {
			d.Enabled = nil
		}
		d.Topics = switches(&l, d.Topics, func(key ChannelKey) (is, was held) { return dev.heldFor(key), before.heldFor(key) })
		if d.Enabled == nil && len(d.Topics) == 0 {
			d.Device = ""
		}
	}
	if left := (Change{d}); !left.IsZero() {
		return left, nil
	}
	if l.superseded {
		return c, fault.New(fault.Conflict, "superseded", "a later decision holds")
	}
	return c, fault.New(fault.Conflict, "unchanged", "it says what holds already")
}

// after is what holds once the operation is applied. Of a decision made elsewhere only what is later than what holds by now
// counts. Errors: those of Later, and of Apply.
func (p Preferences) after(op *Operation) (Preferences, error) {
	c := op.Change
	if !op.DecidedAt.IsZero() && c.c.Release == "" { // the release of a token says itself which it means
		var err error
		if c, err = p.Later(c, op.DecidedAt); err != nil {
			return p, err
		}
	}
	return p.Apply(c, op.decided(), op.Source)
}

// held is what holds for something, and since when it was decided.
type held struct {
	on    bool
	since time.Time
	asks  bool // to be on: it is not yet, and needs no more than a confirmation
}

func (c Choice) held() held { return held{on: c.Enabled, since: c.At} }

func (q QuietChoice) held() held { return held{on: q.IsNone(), since: q.At} }

func (e Email) held() held {
	return held{on: e.Status == Subscribed, since: e.At, asks: e.Status == PendingConfirmation}
}

func (d Device) held() held { return held{on: d.Enabled, since: orElse(d.SwitchedAt, d.UpdatedAt)} }

func (d Device) heldFor(key ChannelKey) held {
	on, switched := d.Channels[key]
	return held{on: on || !switched, since: d.UpdatedAt}
}

// later compares one decision with those that hold.
type later struct {
	at         time.Time
	superseded bool
}

// counts on top of what is expected to hold; off also on top of what lets us send, or asks to, and is not applied yet, as that may
// come to nothing.
func (l *later) counts(on bool, expected, applied held) bool {
	more := expected.on || expected.asks
	wins := l.beats(on, expected) || !on && more && expected != applied
	l.superseded = l.superseded || !wins && (on != expected.on || !on && more)
	return wins
}

func (l *later) beats(on bool, h held) bool {
	at, since := latestOf(on, l.at), latestOf(h.on, h.since)
	switch {
	case on == h.on:
		return at.After(since) // never so when it is not known
	case since.IsZero() || at.After(since):
		return true
	}
	return !on && (at.IsZero() || at.Equal(since))
}

// latestOf is the latest moment at which something can have been decided that is told as of a whole second, or of a whole
// millisecond, as most systems do. It is that of a withdrawal, which wins where the order is in doubt; a grant counts as of the
// earliest.
func latestOf(on bool, at time.Time) time.Time {
	if on || at.IsZero() {
		return at
	}
	for _, unit := range []time.Duration{time.Second, time.Millisecond} {
		if at.Truncate(unit).Equal(at) {
			return at.Add(unit - time.Microsecond)
		}
	}
	return at
}

func switches[K comparable](l *later, m map[K]bool, holds func(K) (is, was held)) map[K]bool {
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(key K, on bool) bool {
		is, was := holds(key)
		return !l.counts(on, is, was)
	})
	if len(out) == 0 {
		return nil
	}
	return out
}

// Reaffirm puts right what targets hold differently from us. Nothing of ours changes. It is a Withdrawal when a target
// would send where we may not, so that it goes forward until that has ended; else a Grant, which is given up in time. At
// least one item must be given.
func Reaffirm(kind Kind, items []Item) (Change, error) {
	if len(items) == 0 {
		return Change{}, fault.OnField("", "empty_change", "must name at least one item")
	}
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, byItem)
	return Change{changeDoc{Reaffirm: kind, Items: slices.Compact(sorted)}}, nil
}

func (c Change) reaffirms() bool { return len(c.c.Items) > 0 }

// Concerns are the items of a target that the change speaks about, on these preferences: what a target that told us of a
// decision that came too late has to be put right about.
func (p Preferences) Concerns(c Change, t Target) []Item {
	var out []Item
	for i := range p.Desired(t) {
		if c.names(i, t, p) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, byItem)
	return out
}

// desiredAnywhere is what the targets that know of such an item shall hold for it.
func (p Preferences) desiredAnywhere(i Item) State {
	for _, t := range Targets {
		if s, ours := p.Desired(t)[i]; ours {
			return s
		}
	}
	return Unknown
}
