package engagement_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/engagement"
	"accord/domain/preference"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func catalogue(t testing.TB) *preference.Catalogue {
	t.Helper()
	c, err := preference.NewCatalogue("email-marketing", preference.Channel{Key: "promotions", Purpose: "push-marketing"},
		preference.Channel{Key: "news"}, preference.Channel{Key: "orders", Required: true})
	require.NoError(t, err)
	return c
}

type edit func(*preference.Snapshot)

func device(d preference.Device) edit {
	return func(s *preference.Snapshot) { s.Devices = append(s.Devices, d) }
}

func phone(change ...func(*preference.Device)) edit {
	d := preference.Device{ID: "phone", Token: "t", Permission: preference.Granted, Enabled: true}
	for _, c := range change {
		c(&d)
	}
	return device(d)
}

func on(channel preference.ChannelKey) edit {
	return func(s *preference.Snapshot) { s.Channels[channel] = preference.Choice{Enabled: true} }
}

func reach(t testing.TB, edits ...edit) engagement.Reach {
	t.Helper()
	s := preference.Defaults("ada", catalogue(t)).Snapshot()
	s.Version = 1
	s.Channels, s.Purposes = map[preference.ChannelKey]preference.Choice{}, map[preference.PurposeID]preference.ConsentState{}
	for _, e := range edits {
		e(&s)
	}
	return engagement.ReachOf(preference.Restore("ada", s, catalogue(t)))
}

func TestReachSaysWhatMayBeSent(t *testing.T) {
	t.Parallel()
	pushOff := func(s *preference.Snapshot) { s.Push.Enabled = false }
	withdrawn := func(p preference.PurposeID) edit {
		return func(s *preference.Snapshot) { s.Purposes[p] = preference.ConsentWithdrawn }
	}
	email := func(status preference.EmailStatus) edit {
		return func(s *preference.Snapshot) { s.Email.Status = status }
	}
	for name, tc := range map[string]struct {
		edits []edit
		want  []string
	}{
		"nothing chosen":                      {nil, []string{}},
		"a device gets what is required":      {[]edit{phone()}, []string{"device", "push", "push:orders"}},
		"a channel is on":                     {[]edit{phone(), on("news")}, []string{"device", "push", "push:news", "push:orders"}},
		"a channel is on, without a device":   {[]edit{on("news")}, []string{}},
		"push is off":                         {[]edit{phone(), on("news"), pushOff}, []string{"device"}},
		"provisional permission delivers":     {[]edit{phone(func(d *preference.Device) { d.Permission = preference.Provisional })}, []string{"device", "push", "push:orders"}},
		"permission denied":                   {[]edit{phone(func(d *preference.Device) { d.Permission = preference.Denied }), on("news")}, []string{"device"}},
		"permission not asked for":            {[]edit{phone(func(d *preference.Device) { d.Permission = preference.Undetermined })}, []string{"device"}},
		"the device is switched off":          {[]edit{phone(func(d *preference.Device) { d.Enabled = false }), on("news")}, []string{"device"}},
		"the channel is off on the device":    {[]edit{phone(func(d *preference.Device) { d.Channels = map[preference.ChannelKey]bool{"news": false} }), on("news")}, []string{"device", "push", "push:orders"}},
		"another device makes up for it":      {[]edit{phone(func(d *preference.Device) { d.Enabled = false }), device(preference.Device{ID: "tablet", Token: "u", Permission: preference.Granted, Enabled: true}), on("news")}, []string{"device", "push", "push:news", "push:orders"}},
		"consent is withdrawn":                {[]edit{phone(), on("promotions"), withdrawn("push-marketing")}, []string{"device", "push", "push:orders"}},
		"subscribed":                          {[]edit{email(preference.Subscribed)}, []string{"email"}},
		"subscription not confirmed":          {[]edit{email(preference.PendingConfirmation)}, []string{}},
		"subscribed, but consent withdrawn":   {[]edit{email(preference.Subscribed), withdrawn("email-marketing")}, []string{}},
		"a channel that left is not a reason": {[]edit{phone(), on("gone")}, []string{"device", "push", "push:orders"}},
	} {
		require.Equal(t, tc.want, reach(t, tc.edits...).Words(), name)
	}
}

func TestStepsTellOptingOutFromLeaving(t *testing.T) {
	t.Parallel()
	type steps = []engagement.Step
	step := func(k engagement.Kind, channel string, n int64) engagement.Step {
		return engagement.Step{Kind: k, Channel: channel, Count: n}
	}
	nobody, none := engagement.Reach{}, engagement.KnownReach(nil)
	all := engagement.KnownReach([]string{"device", "push", "push:news"})
	for name, tc := range map[string]struct {
		from, to engagement.Reach
		want     steps
	}{
		"nothing changes":    {all, all, nil},
		"somebody new":       {nobody, none, steps{step(engagement.CustomerKnown, "", 1)}},
		"subscribes":         {none, engagement.KnownReach([]string{"email"}), steps{step(engagement.EmailOn, "", 1)}},
		"opts in":            {engagement.KnownReach([]string{"device"}), all, steps{step(engagement.PushOn, "", 1), step(engagement.PushIn, "", 1), step(engagement.PushOn, "news", 1), step(engagement.PushIn, "news", 1)}},
		"opts out":           {all, engagement.KnownReach([]string{"device"}), steps{step(engagement.PushOn, "", -1), step(engagement.PushOut, "", 1), step(engagement.PushOn, "news", -1), step(engagement.PushOut, "news", 1)}},
		"opts out of one":    {all, engagement.KnownReach([]string{"device", "push", "push:orders"}), steps{step(engagement.PushOn, "news", -1), step(engagement.PushOut, "news", 1), step(engagement.PushOn, "orders", 1), step(engagement.PushIn, "orders", 1)}},
		"signs out":          {all, none, steps{step(engagement.CustomerWithDevice, "", -1), step(engagement.PushOn, "", -1), step(engagement.PushOn, "news", -1)}},
		"is erased":          {engagement.KnownReach([]string{"email"}), nobody, steps{step(engagement.CustomerKnown, "", -1), step(engagement.EmailOn, "", -1)}},
		"erased when opt in": {all, nobody, steps{step(engagement.CustomerKnown, "", -1), step(engagement.CustomerWithDevice, "", -1), step(engagement.PushOn, "", -1), step(engagement.PushOn, "news", -1)}},
	} {
		require.Equal(t, tc.want, tc.from.StepsTo(tc.to), name)
	}
}

func TestMeasures(t *testing.T) {
	t.Parallel()
	p := engagement.Period{
		Before: engagement.Counts{engagement.ViewerPresent: 1000, engagement.MessageSeen: 1000, engagement.CustomerKnown: 50, engagement.CustomerWithDevice: 40,
			engagement.PushOn: 30, engagement.EmailOn: 5, engagement.PushIn: 31, engagement.PushOut: 1},
		Within: engagement.Counts{engagement.ViewerPresent: 20, engagement.InboxOpened: 8, engagement.MessageSeen: 100, engagement.MessageClicked: 25,
			engagement.LinkConverted: 5, engagement.CustomerKnown: 10, engagement.CustomerWithDevice: -4, engagement.PushOn: -6, engagement.EmailOn: 7,
			engagement.PushIn: 2, engagement.PushOut: 4},
	}
	m := p.Measures()
	for name, tc := range map[string]struct {
		got  *engagement.Rate
		want engagement.Rate
		rate float64
	}{
		"inbox open":     {m.InboxOpen, engagement.Rate{Numerator: 8, Denominator: 20}, 0.4},
		"message click":  {m.MessageClick, engagement.Rate{Numerator: 25, Denominator: 100}, 0.25},
		"conversion":     {m.LinkConversion, engagement.Rate{Numerator: 5, Denominator: 25}, 0.2},
		"push opt-in":    {m.PushOptIn, engagement.Rate{Numerator: 24, Denominator: 36}, 2.0 / 3},
		"push opt-out":   {m.PushOptOut, engagement.Rate{Numerator: 4, Denominator: 32}, 0.125},
		"e-mail opt-in":  {m.EmailOptIn, engagement.Rate{Numerator: 12, Denominator: 60}, 0.2},
		"of one channel": {p.OfChannel(48).PushOptIn, engagement.Rate{Numerator: 24, Denominator: 48}, 0.5},
	} {
		require.Equal(t, &tc.want, tc.got, name)
		rate, ok := tc.got.Value()
		require.True(t, ok, name)
		require.InDelta(t, tc.rate, rate, 1e-9, name)
	}
	next := p.Next(nil).Measures()
	require.Equal(t, m.PushOptIn, next.PushOptIn, "what holds at a moment is carried on")
	require.Equal(t, &engagement.Rate{Numerator: 0, Denominator: 24}, next.PushOptOut)
	require.Equal(t, &engagement.Rate{}, next.InboxOpen)
	_, ok := next.InboxOpen.Value()
	require.False(t, ok, "there is nothing to divide by")
}

func TestADayIsUTC(t *testing.T) {
	t.Parallel()
	zurich := time.FixedZone("CEST", 2*60*60)
	require.Equal(t, time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC), engagement.Day(time.Date(2026, 5, 4, 1, 59, 59, 0, zurich)))
	require.Equal(t, time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC), engagement.Day(now))
}

// Whatever a customer does, those who can be reached at the end are those of the start, and those who came, without those
// who went; and never do more opt out than could.
func TestTheBooksBalance(t *testing.T) {
	t.Parallel()
	words := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"device", "email", "push", "push:news", "push:orders"}), rapid.ID[string])
	rapid.Check(t, func(t *rapid.T) {
		was, sum := engagement.Reach{}, map[string]engagement.Counts{"": {}, "news": {}, "orders": {}}
		left := map[string]int64{}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			next := engagement.Reach{}
			if rapid.IntRange(0, 9).Draw(t, "erased") > 0 {
				next = engagement.KnownReach(words.Draw(t, "words"))
			}
			moved := map[string]int64{}
			for _, s := range was.StepsTo(next) {
				sum[s.Channel][s.Kind] += s.Count
				if s.Kind == engagement.PushOn {
					moved[s.Channel] -= s.Count
				}
				if s.Kind == engagement.PushIn {
					moved[s.Channel] += s.Count
				}
				if s.Kind == engagement.PushOut {
					moved[s.Channel] -= s.Count
				}
			}
			for channel, n := range moved { // who went without opting out
				left[channel] += n
			}
			require.Equal(t, engagement.KnownReach(next.Words()).Words(), next.Words())
			was = next
		}
		for channel, c := range sum {
			require.Equal(t, c[engagement.PushIn]-c[engagement.PushOut]-left[channel], c[engagement.PushOn], "channel %q", channel)
			require.GreaterOrEqual(t, left[channel], int64(0))
			require.LessOrEqual(t, c[engagement.PushOut], c[engagement.PushIn])
			require.Contains(t, []int64{0, 1}, c[engagement.PushOn])
			require.Contains(t, []int64{0, 1}, c[engagement.CustomerWithDevice])
		}
	})
}
