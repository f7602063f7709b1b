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
func (p Preferences) Later(c Change, at time.Time) (Change, error) {
	d := c.c
	l := later{at: at.UTC()}
	if d.Push != nil && !l.counts(*d.Push, p.push.Enabled, p.push.At) {
		d.Push = nil
	}
	if d.Quiet != nil && !l.counts(d.Quiet.IsNone(), p.quiet.IsNone(), p.quiet.At) {
		d.Quiet = nil
	}
	d.Channels = switches(&l, d.Channels, func(key ChannelKey) (bool, time.Time) {
		choice := p.Channel(key)
		return choice.Enabled, choice.At
	})
	if d.Email != "" && !l.counts(d.Email == Subscribed, p.email.Status == Subscribed, p.email.At) {
		d.Email = ""
	}
	d.EmailTopics = switches(&l, d.EmailTopics, func(key TopicKey) (bool, time.Time) {
		choice := p.Topic(key)
		return choice.Enabled, choice.At
	})
	if d.Release != "" && d.Token != "" && !p.stillHas(d) {
		d.Release = ""
	}
	if dev, known := p.Device(d.Device); known {
		if d.Enabled != nil && !l.counts(*d.Enabled, dev.Enabled, dev.UpdatedAt) {
			d.Enabled = nil
		}
		d.Topics = switches(&l, d.Topics, func(key ChannelKey) (bool, time.Time) {
			on, switched := dev.Channels[key]
			return on || !switched, dev.UpdatedAt
		})
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

// later compares one decision with those that hold.
type later struct {
	at         time.Time
	superseded bool
}

func (l *later) counts(on, holds bool, since time.Time) bool {
	if on == holds {
		return l.at.After(since) // never so when it is not known
	}
	wins := since.IsZero() || l.at.After(since)
	if !wins && (l.at.IsZero() || l.at.Equal(since)) {
		wins = !on
	}
	l.superseded = l.superseded || !wins
	return wins
}

func switches[K comparable](l *later, m map[K]bool, holds func(K) (bool, time.Time)) map[K]bool {
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(key K, on bool) bool {
		is, since := holds(key)
		return !l.counts(on, is, since)
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
