package preference_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	. "accord/domain/preference"
)

// order is the design's: every reason that applies, in this order.
var order = []Blocker{BlockedByPermission, BlockedByDevice, BlockedByDeviceChannel, BlockedByPush, BlockedByChannel, BlockedByConsent, BlockedByHold, BlockedByQuietHours}

func TestTheOrderOfBlockersIsTheContracts(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Blocker{"os_permission", "device_disabled", "device_channel_disabled", "push_disabled", "channel_disabled", "consent_withdrawn", "hold", "quiet_hours"}, order)
}

// situation is one combination of everything that decides about one channel on one device.
type situation struct {
	permission  Permission
	device      bool
	topic       *bool
	push        bool
	channel     *bool
	consent     ConsentState
	hold        string
	hours       string     // of quiet, at night
	channelKind ChannelKey // promotions is linked to a purpose, loyalty to none, orderUpdates is required
}

func (s situation) preferences() Preferences {
	snap := Snapshot{Push: Choice{Enabled: s.push}, Channels: map[ChannelKey]Choice{}, Purposes: map[PurposeID]ConsentState{},
		Devices: []Device{{ID: "phone", Token: "token-1", Permission: s.permission, Enabled: s.device, Channels: map[ChannelKey]bool{}}}}
	if s.topic != nil {
		snap.Devices[0].Channels[s.channelKind] = *s.topic
	}
	if s.channel != nil {
		snap.Channels[s.channelKind] = Choice{Enabled: *s.channel}
	}
	if s.hours != "" {
		snap.Quiet = QuietChoice{QuietHours: nightly}
	}
	if s.consent != ConsentUnknown {
		snap.Purposes[pushMarketing] = s.consent
	}
	return Restore(ada, snap, catalogue)
}

func (s situation) holds(t *testing.T) []Hold {
	switch s.hold {
	case "push":
		return []Hold{switchPush(t, ptr(false), nil).Hold()}
	case "channel":
		return []Hold{setEmail(t, Unsubscribed).Hold(), switchPush(t, nil, map[ChannelKey]bool{s.channelKind: false, "other": true}).Hold()}
	case "device":
		return []Hold{ReleaseDevice("phone").Hold()}
	case "quiet hours":
		return []Hold{setQuietHours(nightly).Hold()}
	case "device channel":
		return []Hold{switchDevice(t, "phone", nil, map[ChannelKey]bool{s.channelKind: false}).Hold()}
	case "something else":
		return []Hold{setEmail(t, Unsubscribed).Hold(), ReleaseDevice("watch").Hold(), switchPush(t, ptr(true), map[ChannelKey]bool{"other": false}).Hold(),
			switchDevice(t, "watch", ptr(false), map[ChannelKey]bool{s.channelKind: false}).Hold(), switchDevice(t, "phone", ptr(true), map[ChannelKey]bool{"other": false}).Hold(), {}}
	}
	return nil
}

var nightly = QuietHours{Start: "22:00", End: "07:00", Zone: "Europe/Zurich"}

// now of a situation: by day where nothing is said of quiet hours.
func (s situation) now() time.Time {
	if s.hours == "on" {
		return time.Date(2026, 5, 1, 23, 30, 0, 0, time.UTC)
	}
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
}

// expected is the rule, told once more in the plainest way.
func (s situation) expected() []Blocker {
	night := s.hours == "on"
	required, linked := s.channelKind == orderUpdates, s.channelKind == promotions
	applies := map[Blocker]bool{
		BlockedByPermission:    s.permission == Denied || s.permission == Undetermined,
		BlockedByDevice:        !s.device,
		BlockedByDeviceChannel: s.topic != nil && !*s.topic && !required,
		BlockedByPush:          !s.push,
		BlockedByChannel:       !required && (s.channel == nil || !*s.channel),
		BlockedByConsent:       linked && s.consent == ConsentWithdrawn,
		BlockedByHold:          s.hold != "" && s.hold != "something else" && (s.hold != "quiet hours" || night && !required),
		BlockedByQuietHours:    night && !required,
	}
	var out []Blocker
	for _, b := range order {
		if applies[b] {
			out = append(out, b)
		}
	}
	return out
}

func TestEffectiveAndDeliverabilityAgreeForEveryCombination(t *testing.T) {
	t.Parallel()
	everySituation(func(s situation) {
		ch, _ := catalogue.Channel(s.channelKind)
		for _, s.hold = range []string{"", "push", "channel", "device", "device channel", "quiet hours", "something else"} {
			holds := s.holds(t)
			for _, s.hours = range []string{"", "off", "on"} {
				p := s.preferences()
				want := Effect{Channel: s.channelKind, Device: "phone", BlockedBy: s.expected()}
				want.Deliverable = len(want.BlockedBy) == 0

				effects := p.Effective(holds, s.now())
				at := slices.IndexFunc(effects, func(e Effect) bool { return e.Channel == s.channelKind })
				same(t, want, effects[at], s)
				whole := Deliverability{Channel: s.channelKind, Deliverable: want.Deliverable, BlockedBy: want.BlockedBy, Devices: []Effect{want}}
				if slices.Contains(want.BlockedBy, BlockedByQuietHours) {
					whole.Until = time.Date(2026, 5, 2, 5, 0, 0, 0, time.UTC)
				}
				same(t, whole, p.Deliverability(ch, holds, s.now()), s)
			}
		}
	})
}

// same is require.Equal, for tens of thousands of comparisons in a moment.
func same(t *testing.T, want, got any, s situation) {
	if !reflect.DeepEqual(want, got) {
		t.Helper()
		require.Equal(t, want, got, "%+v", s)
	}
}

func TestDeliverabilityIsThatOfTheClosestDevice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Restore(ada, someSnapshot.Draw(t, "snapshot"), catalogue)
		var holds []Hold
		for _, w := range rapid.SliceOfN(someWish, 0, 2).Draw(t, "under way") {
			holds = append(holds, w.change(t).Hold())
		}
		effects := p.Effective(holds, time.Time{})
		require.Len(t, effects, len(catalogue.Channels())*len(p.Devices()))
		for i, ch := range catalogue.Channels() {
			d := p.Deliverability(ch, holds, time.Time{})
			mine := effects[i*len(p.Devices()):][:len(p.Devices())]
			require.Equal(t, d.Deliverable, slices.ContainsFunc(mine, func(e Effect) bool { return e.Deliverable }))
			require.Equal(t, d.Deliverable, len(d.BlockedBy) == 0)
			if len(mine) == 0 {
				require.Contains(t, d.BlockedBy, BlockedByPermission, "without a device nothing may be shown")
				continue
			}
			require.Equal(t, mine, d.Devices)
			for _, e := range mine {
				require.GreaterOrEqual(t, len(e.BlockedBy), len(d.BlockedBy))
				require.True(t, slices.IsSortedFunc(e.BlockedBy, func(a, b Blocker) int { return slices.Index(order, a) - slices.Index(order, b) }))
			}
		}
	})
}

// What a withdrawal names is withheld from the moment it is accepted, and nothing else is.
func TestAHoldBlocksExactlyWhatTheWithdrawalNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, w := somePreferences.Draw(t, "preferences"), someWish.Draw(t, "wish")
		c := w.change(t)
		held := p.Effective([]Hold{c.Hold()}, time.Time{})
		for i, free := range p.Effective(nil, time.Time{}) {
			channelOff, named := w.channels[free.Channel]
			topicOff, topicNamed := w.topics[free.Channel]
			want := w.push != nil && !*w.push || named && !channelOff ||
				w.release == free.Device || w.device == free.Device && (w.enabled != nil && !*w.enabled || topicNamed && !topicOff) ||
				w.register != nil && w.register.Device == free.Device && !w.register.Permission.Delivers()
			require.Equal(t, want, slices.Contains(held[i].BlockedBy, BlockedByHold), "%+v", free)
			var others []Blocker
			for _, b := range held[i].BlockedBy {
				if b != BlockedByHold {
					others = append(others, b)
				}
			}
			require.Equal(t, free.BlockedBy, others)
		}
		require.Equal(t, w.email == Unsubscribed, slices.Contains(p.EmailBlockers("", []Hold{c.Hold()}), BlockedByHold))
		if c.Kind() == Grant {
			require.Equal(t, p.Effective(nil, time.Time{}), held, "a grant withholds nothing")
		}
	})
}

func TestEmailBlockers(t *testing.T) {
	t.Parallel()
	hold := setEmail(t, Unsubscribed).Hold()
	off := Defaults(ada, catalogue)
	on := after(t, off, setEmail(t, Subscribed))
	pending := Restore(ada, Snapshot{Email: Email{Status: PendingConfirmation}}, catalogue)
	withdrawn := Restore(ada, Snapshot{Email: Email{Status: Subscribed}, Purposes: map[PurposeID]ConsentState{emailMarketing: ConsentWithdrawn}}, catalogue)
	for name, tc := range map[string]struct {
		preferences Preferences
		holds       []Hold
		want        []Blocker
	}{
		"never subscribed":     {off, nil, []Blocker{BlockedBySubscription}},
		"subscribed":           {on, nil, nil},
		"under way":            {on, []Hold{{}, hold, hold}, []Blocker{BlockedByHold}},
		"push is another tale": {on, []Hold{switchPush(t, ptr(false), nil).Hold()}, nil},
		"not confirmed":        {pending, nil, []Blocker{BlockedByConfirmation}},
		"consent withdrawn":    {withdrawn, nil, []Blocker{BlockedByConsent}},
		"every reason":         {after(t, on, setEmail(t, Unsubscribed)), []Hold{hold}, []Blocker{BlockedBySubscription, BlockedByConsent, BlockedByHold}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.preferences.EmailBlockers("", tc.holds))
		})
	}
}
