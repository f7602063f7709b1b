package preference_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	. "accord/domain/preference"
)

var (
	emailItem     = Item{Kind: EmailItem}
	pushItem      = Item{Kind: PushItem}
	reachableItem = Item{Kind: ReachableItem}
)

func channelItem(k ChannelKey) Item { return Item{Kind: ChannelItem, Key: string(k)} }
func deviceItem(token string) Item  { return Item{Kind: DeviceItem, Key: token} }
func purposeItem(id PurposeID) Item { return Item{Kind: PurposeItem, Key: string(id)} }

// write does to a target's holding what a TargetSystem's Write promises.
func write(h, set Holding) Holding {
	out := maps.Clone(h)
	if out == nil {
		out = Holding{}
	}
	for i, s := range set {
		if s == Unknown {
			delete(out, i)
			continue
		}
		out[i] = s
	}
	return out
}

// someHolding is what a target may hold: ours with drift, items it has lost, and items that are not ours.
func someHolding(base Holding) *rapid.Generator[Holding] {
	return rapid.Custom(func(t *rapid.T) Holding {
		h := Holding{}
		for _, i := range slices.SortedFunc(maps.Keys(base), byLabel) {
			switch rapid.SampledFrom([]string{"ours", "ours", "ours", "lost", "drift"}).Draw(t, "holds") {
			case "ours":
				h[i] = base[i]
			case "drift":
				h[i] = rapid.SampledFrom([]State{On, Off, Neutral}).Draw(t, "drift")
			}
		}
		if rapid.Bool().Draw(t, "somebody else's") {
			h[channelItem("theirs")], h[deviceItem("their token")] = On, On
		}
		return h
	})
}

func byLabel(a, b Item) int {
	x, y := must(a.MarshalText()), must(b.MarshalText())
	return slices.Compare(x, y)
}

// transition draws a valid change with what holds before and after it, and what the target holds meanwhile.
type transition struct {
	target        Target
	wish          wish
	change        Change
	before, after Preferences
	current       Holding
}

var someTransition = rapid.Custom(func(t *rapid.T) transition {
	x := transition{target: rapid.SampledFrom(Targets).Draw(t, "target"), before: somePreferences.Draw(t, "before"), wish: usefulWish.Draw(t, "wish")}
	x.change = x.wish.change(t)
	next, err := x.before.Apply(x.change, start, FromOperator)
	if err != nil { // the device does not exist: there is always a way to ask for something valid
		x.wish = wish{push: ptr(rapid.Bool().Draw(t, "push")), channels: goodChannels.Draw(t, "channels")}
		x.change = x.wish.change(t)
		next, err = x.before.Apply(x.change, start, FromOperator)
		require.NoError(t, err)
	}
	x.after = next
	x.current = someHolding(x.before.Desired(x.target)).Draw(t, "current")
	return x
})

func (x transition) assign() Assignment {
	return Assign(x.target, x.change, x.before, x.after, x.current)
}

func TestDesiredOfACustomerNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	p := Defaults(ada, catalogue)
	channels := Holding{channelItem(promotions): Off, channelItem(loyalty): Off, channelItem(news): Off, channelItem(orderUpdates): On}
	require.Equal(t, channels, p.Desired(Push))
	require.Empty(t, p.Desired(CMP))
	// Never chosen is not an opt-in.
	require.Equal(t, write(channels, Holding{emailItem: Off, pushItem: Neutral, reachableItem: Off}), p.Desired(CRM))
}

func TestDesiredFollowsTheChoices(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), register(t, "tablet", "token-2", Denied), register(t, "watch", "token-3", Provisional),
		switchDevice(t, "watch", ptr(false), nil), switchPush(t, ptr(true), map[ChannelKey]bool{promotions: true}), setEmail(t, Subscribed))
	require.Equal(t, Holding{}, p.Desired(CRM).Missing(p.Desired(CRM)))
	require.Empty(t, p.Desired(CRM).Missing(Holding{emailItem: On, pushItem: On, reachableItem: On, channelItem(promotions): On, channelItem(news): Off}))
	require.Empty(t, p.Desired(Push).Missing(Holding{deviceItem("token-1"): On, deviceItem("token-2"): Off, deviceItem("token-3"): Off}))
	require.Equal(t, Holding{purposeItem(pushMarketing): On, purposeItem(emailMarketing): On}, p.Desired(CMP))

	p = after(t, p, switchPush(t, ptr(false), nil), setEmail(t, Unsubscribed))
	require.Empty(t, p.Desired(CRM).Missing(Holding{emailItem: Off, pushItem: Off, reachableItem: Off, channelItem(promotions): On}))
	require.Equal(t, Off, p.Desired(Push).State(deviceItem("token-1")))
	require.Equal(t, Off, p.Desired(CMP).State(purposeItem(emailMarketing)))
	require.Equal(t, Holding{pushItem: On}, p.Desired(CRM).Missing(Holding{pushItem: On, emailItem: Off, channelItem("theirs"): Unknown}))
}

func TestTheFirstChangeCreatesThePersonWithExactlyOurState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := someTransition.Draw(t, "transition")
		x.current = Holding{}
		require.Equal(t, x.after.Desired(x.target), write(nil, x.assign().Write))
	})
}

func TestAnAssignmentBringsTheTargetWhereTheChangeWantsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := someTransition.Draw(t, "transition")
		a := x.assign()
		was, shall, got := x.before.Desired(x.target), x.after.Desired(x.target), write(x.current, a.Write)
		require.Empty(t, got.Missing(a.Write))
		for i := range x.current {
			if _, ours := shall[i]; !ours {
				if _, before := was[i]; !before {
					require.NotContains(t, a.Write, i, "what is not ours is not written")
				}
			}
		}
		for i, s := range shall {
			switch _, written := a.Write[i]; {
			case was.State(i) != s, x.names(i):
				require.Equal(t, s, got.State(i), "%v is what the change is about", i)
			case x.current.State(i) == Unknown:
				require.True(t, written, "%v is unknown to the target", i)
			default:
				require.False(t, written, "%v is not touched by the change; if it differs that is drift", i)
			}
		}
		for i := range a.Write {
			require.Equal(t, x.current.State(i), a.Saw.State(i))
		}
		require.Len(t, a.Saw, len(a.Write))
		require.Len(t, a.Restore, len(a.Write))
	})
}

// names tells from the wish which items the change is about.
func (x transition) names(i Item) bool {
	switch i.Kind {
	case EmailItem:
		return x.wish.email != ""
	case PushItem:
		return x.wish.push != nil
	case QuietItem, ZoneItem:
		return x.wish.quiet != nil
	case ChannelItem:
		_, named := x.wish.channels[ChannelKey(i.Key)]
		return named
	case DeviceItem:
		d, known := x.after.Device(x.wish.device)
		return x.wish.push != nil || known && d.Token == i.Key || x.wish.register != nil && x.wish.register.Token == i.Key
	case PurposeItem:
		_, promotionsNamed := x.wish.channels[promotions]
		_, newsNamed := x.wish.channels[news]
		return i.Key == string(pushMarketing) && (promotionsNamed || newsNamed) || i.Key == string(emailMarketing) && x.wish.email != ""
	default:
		return false
	}
}

func TestUndoGivesBackWhatWasThere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := someTransition.Draw(t, "transition")
		a := x.assign()
		arrived := rapid.Bool().Draw(t, "the write arrived")
		written := x.current
		if arrived {
			written = write(x.current, a.Write)
		}
		restore, left := a.Undo(written)
		require.Empty(t, left)
		got := write(written, restore)
		want := maps.Clone(x.current)
		for i := range a.Write {
			// A target can't be told to forget a person: what it heard of only through us stays with our own state before.
			if prior, ours := x.before.Desired(x.target)[i]; arrived && ours && x.current.State(i) == Unknown && a.Write[i] != Unknown {
				want[i] = prior
			}
		}
		require.Equal(t, want, got)

		again, left := a.Undo(got)
		require.Empty(t, left, "a repeat sees its own work as such")
		require.Equal(t, got, write(got, again))
	})
}

func TestUndoLeavesWhatWasChangedElsewhereMeanwhile(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := someTransition.Draw(t, "transition")
		a := x.assign()
		now := write(x.current, a.Write)
		elsewhere := map[Item]bool{}
		for _, i := range slices.SortedFunc(maps.Keys(a.Write), byLabel) {
			s := rapid.SampledFrom([]State{On, Off, Neutral, Unknown}).Draw(t, "now")
			if rapid.Bool().Draw(t, "changed elsewhere") && s != a.Write[i] && s != a.Restore[i] && s != a.Saw[i] {
				now = write(now, Holding{i: s})
				elsewhere[i] = true
			}
		}
		restore, left := a.Undo(now)
		require.Len(t, left, len(elsewhere))
		for _, i := range left {
			require.True(t, elsewhere[i])
			require.NotContains(t, restore, i)
		}
		require.True(t, slices.IsSortedFunc(left, byLabel), "the same answer every time")
		for i := range restore {
			require.Contains(t, a.Write, i, "only what we wrote is undone")
		}
	})
}

func TestUndoOfATokenTheTargetNeverHadDoesNotCreateIt(t *testing.T) {
	t.Parallel()
	before := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted))
	release := ReleaseDevice("phone")
	a := Assign(Push, release, before, after(t, before, release), write(before.Desired(Push), Holding{deviceItem("token-1"): Unknown}))
	require.Equal(t, Unknown, a.Write.State(deviceItem("token-1")))
	restore, left := a.Undo(Holding{})
	require.NotContains(t, restore, deviceItem("token-1"))
	require.Empty(t, left)
}

func TestARefreshedTokenReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	before := after(t, Defaults(ada, catalogue), register(t, "phone", "old", Granted))
	refresh := register(t, "phone", "new", Granted)
	current := before.Desired(Push)
	a := Assign(Push, refresh, before, after(t, before, refresh), current)
	require.Equal(t, Holding{deviceItem("old"): Unknown, deviceItem("new"): On}, a.Write)
	restore, left := a.Undo(write(current, a.Write))
	require.Empty(t, left)
	require.Equal(t, Holding{deviceItem("old"): On, deviceItem("new"): Unknown}, restore)
}

func TestAnAssignmentSurvivesItsStoredForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := someTransition.Draw(t, "transition").assign()
		var back Assignment
		require.NoError(t, json.Unmarshal(must(json.Marshal(a)), &back))
		require.Equal(t, a, back)
	})
	odd := Holding{deviceItem("a/b:c/"): On, {Kind: EmailItem}: Neutral}
	var back Holding
	require.NoError(t, json.Unmarshal(must(json.Marshal(odd)), &back))
	require.Equal(t, odd, back)
	require.Error(t, json.Unmarshal([]byte(`{"email":"on"}`), &back))
}

func TestALabelGivesNoTokenAway(t *testing.T) {
	t.Parallel()
	require.Equal(t, "email", emailItem.Label())
	require.Equal(t, "channel/promotions", channelItem(promotions).Label())
	require.Equal(t, "device/"+Fingerprint("secret"), deviceItem("secret").Label())
	require.NotContains(t, deviceItem("secret").Label(), "secret")
}
