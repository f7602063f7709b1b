package preference_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

func quietHours(t require.TestingT, from, to, zone string) QuietHours {
	q, err := NewQuietHours(from, to, zone)
	require.NoError(t, err)
	return q
}

func setQuietHours(q QuietHours) Change {
	c, err := SetQuietHours(q, nil)
	if err != nil {
		panic(err)
	}
	return c
}

func TestQuietHoursNameEveryBrokenRule(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		start, end, zone string
		want             []string
	}{
		"good":                      {"22:00", "07:00", "Europe/Zurich", nil},
		"by day":                    {"09:00", "17:30", "America/Argentina/Buenos_Aires", nil},
		"UTC":                       {"00:00", "23:59", "UTC", nil},
		"nothing":                   {"", "", "", []string{"start invalid_time", "end invalid_time", "time_zone unknown_time_zone"}},
		"an hour too many":          {"24:00", "7:00", "UTC", []string{"start invalid_time", "end invalid_time"}},
		"seconds":                   {"22:00:00", "07:60", "UTC", []string{"start invalid_time", "end invalid_time"}},
		"no length":                 {"22:00", "22:00", "UTC", []string{"end empty_quiet_hours"}},
		"nowhere":                   {"22:00", "07:00", "Europe/Atlantis", []string{"time_zone unknown_time_zone"}},
		"this machine's":            {"22:00", "07:00", "Local", []string{"time_zone unknown_time_zone"}},
		"a file of the database":    {"22:00", "07:00", "posix/Europe/Zurich", []string{"time_zone unknown_time_zone"}},
		"a way out of the database": {"22:00", "07:00", "Europe/../Europe/Zurich", []string{"time_zone unknown_time_zone"}},
		"an offset":                 {"22:00", "07:00", "+01:00", []string{"time_zone unknown_time_zone"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewQuietHours(tc.start, tc.end, tc.zone)
			var got []string
			if f, is := fault.As(err); is {
				require.Equal(t, fault.Invalid, f.Kind)
				for _, field := range f.Fields {
					got = append(got, field.Path[len("quiet_hours."):]+" "+field.Code)
				}
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestQuietHoursGoByTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	const off = "off"
	for name, tc := range map[string]struct {
		from, to, zone, now, until string
	}{
		"before":                        {"22:00", "07:00", "Europe/Zurich", "2026-01-10T20:59:59Z", off},
		"the first moment":              {"22:00", "07:00", "Europe/Zurich", "2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"},
		"after midnight":                {"22:00", "07:00", "Europe/Zurich", "2026-01-11T03:00:00Z", "2026-01-11T06:00:00Z"},
		"the last moment":               {"22:00", "07:00", "Europe/Zurich", "2026-01-11T05:59:59Z", "2026-01-11T06:00:00Z"},
		"over":                          {"22:00", "07:00", "Europe/Zurich", "2026-01-11T06:00:00Z", off},
		"in summer":                     {"22:00", "07:00", "Europe/Zurich", "2026-07-10T20:00:00Z", "2026-07-11T05:00:00Z"},
		"by day":                        {"13:00", "14:00", "Asia/Kolkata", "2026-07-10T08:00:00Z", "2026-07-10T08:30:00Z"},
		"by day, at night":              {"13:00", "14:00", "Asia/Kolkata", "2026-07-10T20:00:00Z", off},
		"until midnight":                {"22:00", "00:00", "UTC", "2026-07-10T23:59:59Z", "2026-07-11T00:00:00Z"},
		"the short night":               {"22:00", "07:00", "Europe/Zurich", "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"},
		"the long night":                {"22:00", "07:00", "Europe/Zurich", "2026-10-24T21:00:00Z", "2026-10-25T06:00:00Z"},
		"starts in the gap":             {"02:30", "05:00", "Europe/Zurich", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"},
		"not before the gap":            {"02:30", "05:00", "Europe/Zurich", "2026-03-29T00:59:59Z", off},
		"ends in the gap":               {"22:00", "02:30", "Europe/Zurich", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"},
		"is over with the gap":          {"22:00", "02:30", "Europe/Zurich", "2026-03-29T01:00:00Z", off},
		"falls into the gap":            {"02:10", "02:50", "Europe/Zurich", "2026-03-29T01:00:00Z", off},
		"ends in the repeat, first":     {"22:00", "02:30", "Europe/Zurich", "2026-10-25T00:29:59Z", "2026-10-25T01:30:00Z"},
		"ends in the repeat, between":   {"22:00", "02:30", "Europe/Zurich", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"},
		"ends in the repeat, over":      {"22:00", "02:30", "Europe/Zurich", "2026-10-25T01:30:00Z", off},
		"starts in the repeat":          {"02:30", "05:00", "Europe/Zurich", "2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z"},
		"goes on when time goes back":   {"02:30", "05:00", "Europe/Zurich", "2026-10-25T01:10:00Z", "2026-10-25T04:00:00Z"},
		"half an hour of summer":        {"22:00", "07:00", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-03T20:00:00Z"},
		"a day that was left out":       {"22:00", "07:00", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T17:00:00Z"},
		"after a day that was left out": {"22:00", "07:00", "Pacific/Apia", "2011-12-30T18:00:00Z", off},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339, tc.now)
			require.NoError(t, err)
			until, on := quietHours(t, tc.from, tc.to, tc.zone).Until(now)
			got := off
			if on {
				got = until.Format(time.RFC3339)
			}
			require.Equal(t, tc.until, got)
		})
	}
}

var (
	someTime  = rapid.SampledFrom([]string{"00:00", "01:59", "02:00", "02:30", "03:00", "07:00", "12:15", "22:00", "23:59"})
	someZone  = rapid.SampledFrom([]string{"UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia"})
	someHours = rapid.Custom(func(t *rapid.T) QuietHours {
		from := someTime.Draw(t, "start")
		return quietHours(t, from, someTime.Filter(func(to string) bool { return to != from }).Draw(t, "end"), someZone.Draw(t, "zone"))
	})
)

// Wherever the clock on the wall is between the two, it is quiet; and quiet ends when it says it will.
func TestQuietHoursHoldWhatTheyPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := someHours.Draw(t, "hours")
		zone, err := time.LoadLocation(q.Zone)
		require.NoError(t, err)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 366*24*60).Draw(t, "minutes")) * time.Minute)
		wall := now.In(zone).Format("15:04")
		within := q.Start <= wall && wall < q.End
		if q.End < q.Start {
			within = q.Start <= wall || wall < q.End
		}
		until, on := q.Until(now)
		_, before := now.Add(-time.Hour).In(zone).Zone()
		_, after := now.Add(time.Hour).In(zone).Zone()
		switch {
		case within:
			require.True(t, on, "%s %s", q, now)
		case before == after:
			require.False(t, on, "%s %s", q, now)
		}
		if !on {
			return
		}
		require.True(t, until.After(now) && until.Sub(now) <= 25*time.Hour)
		_, still := q.Until(until.Add(-time.Second))
		require.True(t, still)
		_, still = q.Until(until)
		require.False(t, still, "%s until %s", q, until)
	})
}

func TestQuietHoursAreAWithdrawalUntilTheyAreRemoved(t *testing.T) {
	t.Parallel()
	q := quietHours(t, "22:00", "07:00", "Europe/Zurich")
	night, day := time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	set, remove := setQuietHours(q), setQuietHours(QuietHours{})
	require.Equal(t, Withdrawal, set.Kind())
	require.Equal(t, Grant, remove.Kind())
	require.Equal(t, Withdrawal, switchPush(t, ptr(false), nil).WithQuietHours(QuietHours{}).Kind())
	require.Equal(t, []Target{CRM, Push}, set.Targets(catalogue, FromApp))
	require.False(t, remove.IsZero())

	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), switchPush(t, nil, map[ChannelKey]bool{loyalty: true}))
	with := after(t, p, set)
	require.Equal(t, QuietChoice{QuietHours: q, At: start, Source: FromApp}, with.QuietHours())
	require.Equal(t, map[string]any{"push.quiet_hours": "22:00-07:00 Europe/Zurich"}, with.Facts(set))
	require.Equal(t, map[string]any{"push.quiet_hours": nil}, p.Facts(set))
	back := Restore(ada, with.Snapshot(), catalogue)
	require.Equal(t, stored(t, with), stored(t, back))
	gone := after(t, with, remove)
	require.True(t, gone.QuietHours().IsNone())
	require.Equal(t, start, gone.QuietHours().At, "when they were removed is kept")

	ch, _ := catalogue.Channel(loyalty)
	required, _ := catalogue.Channel(orderUpdates)
	quiet := with.Deliverability(ch, nil, night)
	require.Equal(t, []Blocker{BlockedByQuietHours}, quiet.BlockedBy)
	require.Equal(t, time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC), quiet.Until)
	require.True(t, with.Deliverability(ch, nil, day).Deliverable)
	require.Zero(t, with.Deliverability(ch, nil, day).Until)
	require.True(t, with.Deliverability(required, nil, night).Deliverable, "what is required passes")
	holds := []Hold{set.Hold()}
	require.Equal(t, []Blocker{BlockedByHold}, p.Deliverability(ch, holds, night).BlockedBy, "from the moment they are asked for")
	require.True(t, p.Deliverability(ch, holds, day).Deliverable)
	require.True(t, p.Deliverability(required, holds, night).Deliverable)

	require.Equal(t, "7", TagAt("7", with, nil, day))
	require.NotEqual(t, "7", TagAt("7", with, nil, night))
	require.NotEqual(t, TagAt("7", with, nil, night), TagAt("7", p, holds, night))
	require.Equal(t, "7", TagAt("7", p, holds, day))
}

// The stored form of a change is what a run works on; nothing of it may be lost.
func TestAChangeOfQuietHoursSurvivesItsStoredForm(t *testing.T) {
	t.Parallel()
	for _, c := range []Change{setQuietHours(quietHours(t, "22:00", "07:00", "UTC")), setQuietHours(QuietHours{}),
		switchPush(t, ptr(true), nil).WithQuietHours(QuietHours{})} {
		text, err := json.Marshal(c)
		require.NoError(t, err)
		var back Change
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, c, back)
	}
}

// A client edits what it saw, whatever the time of day was then.
func TestAnEditIsTakenFromBeforeAndAfterQuietHoursBegan(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, setQuietHours(quietHours(t, "22:00", "07:00", "UTC")))
	s.finish(t)
	night := time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)
	for _, tag := range []string{TagAt(s.load("").Tag(), s.preferences(), nil, night), s.load("").Tag()} {
		a := s.load("")
		r := s.request(setQuietHours(QuietHours{}))
		r.IfMatch = []string{tag}
		_, _, err := a.Accept(r, night)
		require.NoError(t, err, tag)
	}
	a := s.load("")
	r := s.request(setQuietHours(QuietHours{}))
	r.IfMatch = []string{TagAt("0", s.preferences(), nil, night)}
	_, _, err := a.Accept(r, night)
	require.Equal(t, fault.Precondition, fault.KindOf(err))
}

// Targets are told, can be put back exactly, and what they hold differently shows.
func TestTargetsAreToldOfQuietHours(t *testing.T) {
	t.Parallel()
	hours, zone := Item{Kind: QuietItem}, Item{Kind: ZoneItem}
	none := Defaults(ada, catalogue)
	set, other, remove := setQuietHours(quietHours(t, "22:00", "07:00", "Europe/Zurich")), setQuietHours(quietHours(t, "21:00", "06:00", "Asia/Tokyo")), setQuietHours(QuietHours{})
	with := after(t, none, set)
	for _, target := range []Target{CRM, Push} {
		require.Equal(t, State("22:00-07:00 Europe/Zurich"), with.Desired(target).State(hours))
		require.Equal(t, State("Europe/Zurich"), with.Desired(target).State(zone))
		require.Equal(t, Unknown, none.Desired(target).State(hours))

		known := none.Desired(target) // all but the hours
		known[zone] = "Europe/Paris"  // from elsewhere
		a := Assign(target, set, none, with, known)
		require.Equal(t, Holding{hours: "22:00-07:00 Europe/Zurich", zone: "Europe/Zurich"}, a.Write)
		restore, left := a.Undo(with.Desired(target))
		require.Equal(t, Holding{hours: Unknown, zone: "Europe/Paris"}, restore)
		require.Empty(t, left)
		require.Empty(t, a.Lossy(restore))

		changed := after(t, with, other)
		a = Assign(target, other, with, changed, with.Desired(target))
		restore, _ = a.Undo(changed.Desired(target))
		require.Equal(t, Holding{hours: "22:00-07:00 Europe/Zurich", zone: "Europe/Zurich"}, restore)

		a = Assign(target, remove, with, after(t, with, remove), with.Desired(target))
		require.Equal(t, Holding{hours: Unknown}, a.Write, "where the customer lives stays known")
		drifted := none.Desired(target)
		drifted[hours] = "01:00-02:00 UTC"
		a = Assign(target, remove, none, after(t, none, remove), drifted)
		require.Equal(t, Holding{hours: Unknown}, a.Write, "who removes them means it")
		require.Equal(t, Holding{hours: "22:00-07:00 Europe/Zurich"}, drift(with.Desired(target), drifted, hours))
		require.Contains(t, with.Concerns(set, target), hours)
	}
	require.NotContains(t, with.Desired(CMP), hours)
}

func drift(want, held Holding, only Item) Holding {
	missing := held.Missing(want)
	for i := range missing {
		if i != only {
			delete(missing, i)
		}
	}
	return missing
}

// What readers are shown, what whoever sends is told and what each target holds are the same thing, for every combination.
func TestWhatTargetsAreToldAgreesWithWhatIsShown(t *testing.T) {
	t.Parallel()
	everySituation(func(s situation) {
		p := s.preferences()
		ch, _ := catalogue.Channel(s.channelKind)
		shown := p.Deliverability(ch, nil, time.Time{})
		item := Item{Kind: ChannelItem, Key: string(s.channelKind)}
		push, crm := p.Desired(Push), p.Desired(CRM)
		device := push.State(Item{Kind: DeviceItem, Key: "token-1"})
		require.Equal(t, shown.Deliverable, device == On && push.State(item) == On, "%+v", s)
		if shown.Deliverable {
			require.Equal(t, On, crm.State(item), "%+v", s)
			require.Equal(t, On, crm.State(Item{Kind: ReachableItem}), "%+v", s)
			require.NotEqual(t, Off, crm.State(Item{Kind: PushItem}), "%+v", s)
		}
		reasons := shown.BlockedBy
		without := func(b ...Blocker) bool {
			return !slices.ContainsFunc(b, func(b Blocker) bool { return slices.Contains(reasons, b) })
		}
		require.Equal(t, without(BlockedByPermission, BlockedByDevice, BlockedByPush), device == On, "%+v", s)
		require.Equal(t, without(BlockedByPermission, BlockedByDevice, BlockedByPush), crm.State(Item{Kind: ReachableItem}) == On, "%+v", s)
		require.Equal(t, without(BlockedByChannel, BlockedByConsent), crm.State(item) == On, "%+v", s)
		require.Equal(t, without(BlockedByPush), crm.State(Item{Kind: PushItem}) != Off, "%+v", s)
		if s.consent != ConsentUnknown {
			require.Equal(t, s.consent == ConsentGranted, p.Desired(CMP).State(Item{Kind: PurposeItem, Key: string(pushMarketing)}) == On)
		}
	})
}

// The global switch masks: whatever is chosen beneath it while it is off, or was before, is there when it is on again.
func TestTheGlobalSwitchMasksEveryCombination(t *testing.T) {
	t.Parallel()
	everySituation(func(s situation) {
		p := s.preferences()
		masked := after(t, p, switchPush(t, ptr(false), nil))
		for _, e := range masked.Effective(nil, time.Time{}) {
			require.Contains(t, e.BlockedBy, BlockedByPush)
		}
		back, err := masked.Apply(switchPush(t, ptr(true), nil), start, FromOperator)
		require.NoError(t, err)
		on := s
		on.push = true
		require.Equal(t, on.preferences().Effective(nil, time.Time{}), back.Effective(nil, time.Time{}), "%+v", s)
	})
}

func everySituation(check func(situation)) {
	switches := []*bool{nil, ptr(true), ptr(false)}
	for _, kind := range []ChannelKey{promotions, loyalty, orderUpdates} {
		for _, permission := range []Permission{Granted, Denied, Provisional, Undetermined} {
			for i := range 2 * 3 * 2 * 3 * 3 {
				check(situation{permission: permission, device: i%2 == 0, topic: switches[i/2%3], push: i/6%2 == 0, channel: switches[i/12%3],
					consent: []ConsentState{ConsentUnknown, ConsentGranted, ConsentWithdrawn}[i/36%3], channelKind: kind})
			}
		}
	}
}
