package preference_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

// hear takes a decision that was made elsewhere, as Accept and Commit do.
func hear(t require.TestingT, p Preferences, c Change, at time.Time) Preferences {
	left, err := p.Later(c, at)
	if f, is := fault.As(err); is {
		require.Contains(t, []string{"superseded", "unchanged"}, f.Code)
		return p
	}
	require.NoError(t, err)
	next, err := p.Apply(left, at, FromCRM)
	require.NoError(t, err)
	return next
}

type decision struct {
	about string // email, push or a channel
	on    bool
	at    time.Time
}

func (d decision) change(t require.TestingT) Change {
	switch d.about {
	case "email":
		return setEmail(t, map[bool]EmailStatus{true: Subscribed, false: Unsubscribed}[d.on])
	case "push":
		return switchPush(t, &d.on, nil)
	}
	return switchPush(t, nil, map[ChannelKey]bool{ChannelKey(d.about): d.on})
}

func holds(p Preferences, about string) bool {
	switch about {
	case "email":
		return p.Email().Status == Subscribed
	case "push":
		return p.Push().Enabled
	}
	return p.Channel(ChannelKey(about)).Enabled
}

// latest is when it was decided at the latest, as many systems tell whole seconds, and some milliseconds.
func (d decision) latest() time.Time {
	if d.on {
		return d.at
	}
	if d.at.Nanosecond() == 0 {
		return d.at.Add(time.Second - time.Microsecond)
	}
	if d.at.Nanosecond()%1_000_000 == 0 {
		return d.at.Add(time.Millisecond - time.Microsecond)
	}
	return d.at
}

func TestDecisionsMadeElsewhereEndAlikeInWhateverOrderTheyAreHeard(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		abouts := []string{"email", "push", string(promotions), string(loyalty)}
		unit := rapid.SampledFrom([]time.Duration{time.Microsecond, 500 * time.Microsecond, 250 * time.Millisecond, time.Second})
		var heard []decision
		for range rapid.IntRange(1, 12).Draw(t, "decisions") {
			heard = append(heard, decision{rapid.SampledFrom(abouts).Draw(t, "about"), rapid.Bool().Draw(t, "on"),
				start.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "when")) * unit.Draw(t, "unit"))}) // often at the same moment
		}
		p := Defaults(ada, catalogue)
		for _, d := range rapid.Permutation(heard).Draw(t, "order") {
			p = hear(t, p, d.change(t), d.at)
		}
		for _, about := range abouts {
			var last *decision
			for _, d := range heard {
				if d.about == about && (last == nil || d.latest().After(last.latest()) || d.latest().Equal(last.latest()) && !d.on) {
					last = &d
				}
			}
			if last != nil {
				require.Equal(t, last.on, holds(p, about), "%s of %v", about, heard)
			}
		}
	})
}

func TestADecisionWithoutATimeWinsOnlyWhenItWithdraws(t *testing.T) {
	t.Parallel()
	on, off := decision{about: "email", on: true}, decision{about: "email"}
	never := Defaults(ada, catalogue)
	require.True(t, holds(hear(t, never, on.change(t), time.Time{}), "email"), "nobody has said anything else")
	subscribed := after(t, never, setEmail(t, Subscribed))
	require.False(t, holds(hear(t, subscribed, off.change(t), time.Time{}), "email"))
	unsubscribed := after(t, never, setEmail(t, Unsubscribed))
	_, err := unsubscribed.Later(on.change(t), time.Time{})
	require.ErrorIs(t, err, fault.New(fault.Conflict, "superseded", ""))
	_, err = subscribed.Later(on.change(t), time.Time{})
	require.ErrorIs(t, err, fault.New(fault.Conflict, "unchanged", ""))
}

func TestAWithdrawalOfTheSameSecondWinsWhenItWasToldInWholeSeconds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grant, withdrawal time.Duration
		kept              bool
	}{
		"within the second":      {700 * time.Millisecond, 0, false},
		"at its end":             {time.Second - time.Microsecond, 0, false},
		"a second later":         {time.Second, 0, true},
		"within the millisecond": {300*time.Millisecond + 7*time.Microsecond, 300 * time.Millisecond, false},
		"a millisecond later":    {301 * time.Millisecond, 300 * time.Millisecond, true},
		"to the microsecond":     {300*time.Millisecond + 8*time.Microsecond, 300*time.Millisecond + 7*time.Microsecond, true},
	} {
		granted, withdrawn := decision{"email", true, start.Add(c.grant)}, decision{"email", false, start.Add(c.withdrawal)}
		p := Defaults(ada, catalogue)
		one := hear(t, hear(t, p, granted.change(t), granted.at), withdrawn.change(t), withdrawn.at)
		other := hear(t, hear(t, p, withdrawn.change(t), withdrawn.at), granted.change(t), granted.at)
		require.Equal(t, c.kept, holds(one, "email"), name)
		require.Equal(t, c.kept, holds(other, "email"), name)
	}
}

// Registering says where a device is, and not again that it is to be notified.
func TestRegisteringAgainIsNoLaterDecision(t *testing.T) {
	t.Parallel()
	register := func(p Preferences, at time.Duration, token string) Preferences {
		next, err := p.Apply(register(t, "phone", token, Granted), start.Add(at), FromApp)
		require.NoError(t, err)
		return next
	}
	off, err := SwitchDevice("phone", new(false), nil)
	require.NoError(t, err)
	p := register(register(Defaults(ada, catalogue), 0, "token-1"), 2*time.Minute, "token-1")
	_, err = p.Later(off, start.Add(-time.Minute))
	require.ErrorIs(t, err, fault.New(fault.Conflict, "superseded", ""), "that was before it was registered")
	p = hear(t, p, off, start.Add(time.Minute))
	dev, _ := p.Device("phone")
	require.False(t, dev.Enabled)
}

func TestOnlyWhatIsLaterIsTaken(t *testing.T) {
	t.Parallel()
	p, err := Defaults(ada, catalogue).Apply(switchPush(t, nil, map[ChannelKey]bool{promotions: true}), start.Add(time.Hour), FromCRM)
	require.NoError(t, err)
	p = hear(t, p, switchPush(t, nil, map[ChannelKey]bool{promotions: false, loyalty: true}), start)
	require.True(t, p.Channel(promotions).Enabled, "the customer said so later")
	require.True(t, p.Channel(loyalty).Enabled)
	require.Equal(t, start, p.Channel(loyalty).At, "it counts as of when it was decided")
}

func TestAcceptingADecisionMadeElsewhere(t *testing.T) {
	t.Parallel()
	s := newShelf()
	elsewhere := func(c Change, at time.Time) error {
		return s.update(t, "", func(a *Account) error {
			r := s.request(c)
			r.Source, r.Elsewhere, r.DecidedAt, r.Cause = FromCRM, true, at, "told_by_vendor"
			_, _, err := a.Accept(r, s.now)
			return err
		})
	}
	require.NoError(t, elsewhere(setEmail(t, Subscribed), s.now.Add(time.Hour)), "a clock that is ahead")
	op := s.op(1)
	require.Equal(t, s.now, op.DecidedAt, "never later than now")
	require.Equal(t, "told_by_vendor", op.Cause)
	require.Equal(t, []Target{CMP}, op.Targets, "no echo, and the push provider is not concerned")
	entry, err := s.links[0].Read(s.chain.Key)
	require.NoError(t, err)
	require.Equal(t, "told_by_vendor", entry.Cause)
	require.Equal(t, s.now, entry.DecidedAt.UTC())
	// What waits in the queue counts as what holds, but for a withdrawal, as it may come to nothing.
	require.ErrorIs(t, elsewhere(setEmail(t, Subscribed), s.now), fault.New(fault.Conflict, "unchanged", ""))
	require.Len(t, s.ops, 1)
	require.NoError(t, elsewhere(setEmail(t, Unsubscribed), s.now.Add(-time.Minute)))
	require.ErrorIs(t, elsewhere(setEmail(t, Subscribed), s.now), fault.New(fault.Conflict, "unchanged", ""))
	require.Len(t, s.ops, 2)
	s.finish(t)
	s.workOn(t, 2)
	require.Equal(t, Subscribed, s.preferences().Email().Status)
	require.ErrorIs(t, elsewhere(setEmail(t, Unsubscribed), s.now.Add(-time.Minute)), fault.New(fault.Conflict, "superseded", ""))
}

func TestReaffirmingTellsTargetsAndChangesNothingOfOurs(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), setEmail(t, Subscribed))
	items := []Item{{Kind: EmailItem}, {Kind: DeviceItem, Key: "stray"}, {Kind: EmailItem}}
	c, err := Reaffirm(Withdrawal, items)
	require.NoError(t, err)
	require.Equal(t, Withdrawal, c.Kind())
	next, err := p.Apply(c, start, FromReconciler)
	require.NoError(t, err)
	require.Equal(t, stored(t, p), stored(t, next), "not even the version")

	current := p.Desired(CRM)
	current[Item{Kind: EmailItem}] = Neutral
	current[Item{ChannelItem, string(promotions)}] = On // drift that nobody asked to put right
	a := Assign(CRM, c, p, next, current)
	require.Equal(t, Holding{{Kind: EmailItem}: On, {Kind: DeviceItem, Key: "stray"}: Unknown}, a.Write)
	require.Contains(t, c.Summary(), "put right email")
	require.NotContains(t, c.Summary(), "stray", "a token is a credential")

	s := newShelf()
	require.NoError(t, s.update(t, "", func(a *Account) error {
		before := a.Tag()
		r := s.request(c)
		r.Only = []Target{Push, CRM}
		op, _, err := a.Accept(r, s.now)
		require.NoError(t, err)
		require.Equal(t, []Target{CRM, Push}, op.Targets)
		require.Equal(t, before, a.Tag(), "a reader will see nothing of it")
		return nil
	}))
	_, err = Reaffirm(Grant, nil)
	require.Error(t, err)
}

func TestWhatADecisionConcernsAtItsOrigin(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted))
	c := switchPush(t, nil, map[ChannelKey]bool{promotions: true, loyalty: true})
	require.Equal(t, []Item{{ChannelItem, string(loyalty)}, {ChannelItem, string(promotions)}}, p.Concerns(c, CRM))
	require.Equal(t, []Item{{Kind: EmailItem}}, p.Concerns(setEmail(t, Subscribed), CRM))
	require.Empty(t, p.Concerns(setEmail(t, Subscribed), Push))
	require.Subset(t, slices.Collect(maps.Keys(p.Desired(Push))), p.Concerns(switchPush(t, ptr(true), nil), Push))
}
