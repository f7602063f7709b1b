package preference_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

func TestDefaultsOfACustomerNobodyHasHeardOf(t *testing.T) {
	t.Parallel()
	p := Defaults(ada, catalogue)
	require.Equal(t, ada, p.Customer())
	require.Zero(t, p.Version())
	require.Equal(t, Choice{Enabled: true, Source: FromDefault}, p.Push())
	require.Equal(t, Email{Status: Unsubscribed, Source: FromDefault}, p.Email())
	require.Empty(t, p.Devices())
	for _, key := range []ChannelKey{promotions, loyalty, news} {
		require.Equal(t, Choice{Source: FromDefault}, p.Channel(key), key)
	}
	require.Equal(t, Choice{Enabled: true, Source: FromDefault}, p.Channel(orderUpdates))
	require.Equal(t, ConsentUnknown, p.Purpose(pushMarketing))
	require.Same(t, catalogue, p.Catalogue())
}

func TestRestoringASnapshotGivesThePreferencesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreferences.Draw(t, "preferences")
		require.Equal(t, stored(t, p), stored(t, Restore(ada, p.Snapshot(), catalogue)))

		var s Snapshot
		require.NoError(t, json.Unmarshal([]byte(stored(t, p)), &s))
		back := Restore(ada, s, catalogue)
		require.Equal(t, stored(t, p), stored(t, back))
		require.Equal(t, p.Effective(nil, time.Time{}), back.Effective(nil, time.Time{}))
		for _, target := range Targets {
			require.Equal(t, p.Desired(target), back.Desired(target))
		}
	})
}

func TestRestoringNeverFailsAndForgetsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := someSnapshot.Draw(t, "stored some time ago")
		p := Restore(ada, s, catalogue)
		require.JSONEq(t, string(must(json.Marshal(s))), stored(t, p))
		for _, e := range p.Effective(nil, time.Time{}) {
			require.NotEqual(t, retired, e.Channel, "what left the catalogue is not shown")
		}
		// What was chosen for it before is kept while life goes on.
		next, err := p.Apply(setEmail(t, Unsubscribed), start, FromApp)
		require.NoError(t, err)
		require.Equal(t, s.Channels[retired], next.Snapshot().Channels[retired])
	})
}

func TestPreferencesAreAValue(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), switchDevice(t, "phone", nil, map[ChannelKey]bool{news: false}),
		switchPush(t, nil, map[ChannelKey]bool{promotions: true}))
	was := stored(t, p)

	s := p.Snapshot()
	s.Devices[0].Channels[news], s.Devices[0].Token = true, "other"
	s.Channels[promotions], s.Purposes[pushMarketing] = Choice{}, ConsentWithdrawn
	d, _ := p.Device("phone")
	d.Channels[news] = true
	p.Devices()[0].Channels[news] = true
	require.Equal(t, was, stored(t, p))

	rapid.Check(t, func(t *rapid.T) {
		p := somePreferences.Draw(t, "preferences")
		was := stored(t, p)
		_, _ = p.Apply(someWish.Draw(t, "wish").change(t), start, FromApp)
		require.Equal(t, was, stored(t, p))
	})
}

func TestEachAppliedChangeIsOneVersionAndARefusedOneIsNone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreferences.Draw(t, "preferences")
		next, err := p.Apply(someWish.Draw(t, "wish").change(t), start, someSource.Draw(t, "source"))
		if err != nil {
			require.Equal(t, stored(t, p), stored(t, next))
			require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict}, fault.KindOf(err))
			return
		}
		require.Equal(t, p.Version()+1, next.Version())
	})
}

func TestRepeatingAChangeChangesNothingButTheVersion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, source := someWish.Draw(t, "wish"), someSource.Draw(t, "source")
		once, err := somePreferences.Draw(t, "preferences").Apply(w.change(t), start, source)
		if err != nil {
			return
		}
		twice, err := once.Apply(w.change(t), start, source)
		if w.release != "" && w.token == "" {
			require.Equal(t, fault.NotFound, fault.KindOf(err))
			return
		}
		require.NoError(t, err)
		want := once.Snapshot()
		want.Version++
		require.JSONEq(t, string(must(json.Marshal(want))), stored(t, twice))
	})
}

func TestTheGlobalSwitchMasksAndNeverDeletes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreferences.Draw(t, "preferences")
		off, err := p.Apply(switchPush(t, ptr(false), nil), start, FromApp)
		require.NoError(t, err, "a withdrawal is not refused")
		for _, e := range off.Effective(nil, time.Time{}) {
			require.False(t, e.Deliverable)
			require.Contains(t, e.BlockedBy, BlockedByPush)
		}
		require.Equal(t, p.Snapshot().Channels, off.Snapshot().Channels)
		require.Equal(t, p.Snapshot().Devices, off.Snapshot().Devices)
		require.Equal(t, p.Snapshot().Purposes, off.Snapshot().Purposes)

		on, err := off.Apply(switchPush(t, ptr(true), nil), start, FromOperator)
		require.NoError(t, err)
		if p.Push().Enabled {
			require.Equal(t, p.Effective(nil, time.Time{}), on.Effective(nil, time.Time{}))
		}
	})
}

func TestARequiredChannelIsAlwaysOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for _, p := range []Preferences{somePreferences.Draw(t, "preferences"), Restore(ada, someSnapshot.Draw(t, "snapshot"), catalogue)} {
			require.True(t, p.Channel(orderUpdates).Enabled)
			require.Equal(t, On, p.Desired(CRM).State(Item{Kind: ChannelItem, Key: string(orderUpdates)}))
			for _, e := range p.Effective(nil, time.Time{}) {
				if e.Channel == orderUpdates {
					require.NotContains(t, e.BlockedBy, BlockedByChannel)
					require.NotContains(t, e.BlockedBy, BlockedByDeviceChannel)
				}
			}
		}
	})
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	none := Defaults(ada, catalogue)
	allowed := after(t, none, register(t, "phone", "token-1", Granted))
	quiet := after(t, none, register(t, "phone", "token-1", Provisional))
	for name, tc := range map[string]struct {
		on     Preferences
		change Change
		source Source
		kind   fault.Kind
		code   string
		paths  []string
	}{
		"unknown channels, all of them": {allowed, switchPush(t, nil, map[ChannelKey]bool{"zoo": true, "abc": false, orderUpdates: false}), FromApp, fault.Invalid, "invalid-request", []string{"channels.abc", "channels.zoo"}},
		"unknown device channels":       {allowed, switchDevice(t, "phone", nil, map[ChannelKey]bool{"zoo": true, "abc": false}), FromApp, fault.Invalid, "invalid-request", []string{"channels.abc", "channels.zoo"}},
		"required channel off":          {allowed, switchPush(t, nil, map[ChannelKey]bool{orderUpdates: false}), FromApp, fault.Conflict, "channel-required", nil},
		"required off from outside":     {allowed, switchPush(t, nil, map[ChannelKey]bool{orderUpdates: false}), FromCRM, fault.Conflict, "channel-required", nil},
		"required device channel off":   {allowed, switchDevice(t, "phone", nil, map[ChannelKey]bool{orderUpdates: false}), FromApp, fault.Conflict, "channel-required", nil},
		"push on without a device":      {none, switchPush(t, ptr(true), nil), FromApp, fault.Conflict, "push-permission-required", nil},
		"channel on, permission quiet":  {quiet, switchPush(t, nil, map[ChannelKey]bool{loyalty: true}), FromApp, fault.Conflict, "push-permission-required", nil},
		"unknown device":                {allowed, switchDevice(t, "watch", ptr(false), nil), FromApp, fault.NotFound, "not-found", nil},
		"release of an unknown device":  {allowed, ReleaseDevice("watch"), FromApp, fault.NotFound, "not-found", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tc.on.Apply(tc.change, start, tc.source)
			f, is := fault.As(err)
			require.True(t, is, "%v", err)
			require.Equal(t, tc.kind, f.Kind)
			require.Equal(t, tc.code, f.Code)
			var paths []string
			for _, field := range f.Fields {
				paths = append(paths, field.Path)
			}
			require.Equal(t, tc.paths, paths)
		})
	}
	// Only the app can ask for the permission: from outside the choice counts without it.
	_, err := none.Apply(switchPush(t, ptr(true), map[ChannelKey]bool{promotions: true}), start, FromCRM)
	require.NoError(t, err)
}

func TestRegisteringDevices(t *testing.T) {
	t.Parallel()
	later := start.Add(time.Hour)
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), switchDevice(t, "phone", ptr(false), map[ChannelKey]bool{news: false}))

	t.Run("a refresh keeps the switches", func(t *testing.T) {
		t.Parallel()
		refresh := must(RegisterDevice(Registration{Device: "phone", Platform: Android, Token: "token-2", Permission: Denied, AppVersion: "5", Locale: "de"}))
		d, known := must(p.Apply(refresh, later, FromApp)).Device("phone")
		require.True(t, known)
		require.Equal(t, Device{ID: "phone", Platform: Android, Token: "token-2", Permission: Denied, AppVersion: "5", Locale: "de",
			Enabled: false, Channels: map[ChannelKey]bool{news: false}, TokenAt: later, RegisteredAt: start, SwitchedAt: start, UpdatedAt: later}, d)
	})
	t.Run("a token is held by one device", func(t *testing.T) {
		t.Parallel()
		next := after(t, p, register(t, "tablet", "token-1", Granted))
		require.Len(t, next.Devices(), 1)
		require.Equal(t, DeviceID("tablet"), next.Devices()[0].ID)
		rapid.Check(t, func(t *rapid.T) {
			seen := map[string]bool{}
			last := DeviceID("")
			for _, d := range somePreferences.Draw(t, "preferences").Devices() {
				require.False(t, seen[d.Token])
				require.Less(t, last, d.ID, "ordered by id")
				seen[d.Token], last = true, d.ID
			}
		})
	})
	t.Run("at most MaxDevices", func(t *testing.T) {
		t.Parallel()
		full := Defaults(ada, catalogue)
		for i := range MaxDevices {
			full = after(t, full, register(t, DeviceID(fmt.Sprint("d", i)), fmt.Sprint("t", i), Granted))
		}
		_, err := full.Apply(register(t, "one-more", "new", Granted), start, FromApp)
		require.ErrorIs(t, err, fault.New(fault.Conflict, "too-many-devices", ""))
		require.Len(t, after(t, full, register(t, "d3", "new", Granted)).Devices(), MaxDevices)
		require.Len(t, after(t, full, register(t, "one-more", "t3", Granted)).Devices(), MaxDevices)
	})
	t.Run("a moved token takes only the device that still has it", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, after(t, p, ReleaseMovedToken("phone", "token-1", later)).Devices())
		require.Len(t, after(t, p, ReleaseMovedToken("phone", "token-2", later)).Devices(), 1)
		require.Len(t, after(t, p, ReleaseMovedToken("watch", "token-1", later)).Devices(), 1)
	})
}

func TestConsentFollowsTheChoices(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted))
	p = after(t, p, switchPush(t, nil, map[ChannelKey]bool{promotions: true, news: true}))
	require.Equal(t, ConsentGranted, p.Purpose(pushMarketing))
	require.Equal(t, ConsentUnknown, p.Purpose(emailMarketing))
	p = after(t, p, switchPush(t, nil, map[ChannelKey]bool{promotions: false}))
	require.Equal(t, ConsentGranted, p.Purpose(pushMarketing), "news shares the purpose and is on still")
	p = after(t, p, switchPush(t, nil, map[ChannelKey]bool{news: false}))
	require.Equal(t, ConsentWithdrawn, p.Purpose(pushMarketing))
	p = after(t, p, setEmail(t, Subscribed))
	require.Equal(t, ConsentGranted, p.Purpose(emailMarketing))
	p = after(t, p, setEmail(t, Unsubscribed), switchPush(t, ptr(false), nil))
	require.Equal(t, ConsentWithdrawn, p.Purpose(emailMarketing))
}

func TestOfTwoWhoClaimATokenTheEarlierLosesIt(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted)) // claimed at start
	require.Empty(t, after(t, p, ReleaseMovedToken("phone", "token-1", start)).Devices())
	require.Empty(t, after(t, p, ReleaseMovedToken("phone", "token-1", start.Add(time.Second))).Devices())
	require.Len(t, after(t, p, ReleaseMovedToken("phone", "token-1", start.Add(-time.Second))).Devices(), 1, "ada has claimed it since")
}
