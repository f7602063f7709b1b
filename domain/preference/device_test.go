package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	. "accord/domain/preference"
)

// A device is pruned for what was found at one time: who has registered since keeps it, and twice is once.
func TestAPrunedDeviceGoesUnlessItWasRegisteredSince(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.accept(t, register(t, "phone", "token-1", Granted))
	s.finish(t)
	claimed := s.now
	ask := func(found time.Time) error {
		return s.update(t, "", func(a *Account) error {
			r := s.request(PruneDevice("phone", "token-1", found))
			r.Source, r.Cause, r.Elsewhere, r.DecidedAt, r.Only = FromPush, CauseUnregistered, true, found, []Target{CRM, Push}
			_, _, err := a.Accept(r, s.now)
			return err
		})
	}
	s.tick(time.Hour)
	require.ErrorIs(t, ask(claimed.Add(-time.Second)), fault.New(fault.Conflict, "unchanged", ""))
	require.NoError(t, ask(claimed.Add(time.Minute)))
	require.ErrorIs(t, ask(claimed.Add(time.Minute)), fault.New(fault.Conflict, "unchanged", ""), "it is on its way out")
	op := s.op(s.lastNumber)
	require.Equal(t, Withdrawal, op.Kind)
	require.Equal(t, []Target{CRM, Push}, op.Targets, "it leaves the provider too, which has found it")
	require.Equal(t, CauseUnregistered, s.entries(t, op.Number)[0].Cause)
	s.finish(t)
	require.Empty(t, s.preferences().Devices())
	require.ErrorIs(t, ask(s.now), fault.New(fault.Conflict, "unchanged", ""))
}

func TestARegistrationThatSaysNothingNewIsARepeat(t *testing.T) {
	t.Parallel()
	r := Registration{Device: "phone", Platform: IOS, Token: "token-1", Permission: Granted, AppVersion: "4.2", Locale: "de-CH"}
	s := newShelf()
	s.accept(t, ok(t, must(RegisterDevice(r)), nil), setEmail(t, Subscribed))
	s.finish(t)
	registered := s.now
	repeats := func(change Registration, adjust func(*Request), since, now time.Duration) bool {
		req := s.request(must(RegisterDevice(change)))
		if adjust != nil {
			adjust(&req)
		}
		return s.load("").Repeats(req, registered.Add(since), registered.Add(now))
	}
	require.False(t, repeats(r, nil, -time.Hour, time.Hour), "while something is under way")
	s.finish(t)
	require.True(t, repeats(r, nil, -time.Hour, time.Hour))
	require.False(t, repeats(r, nil, time.Second, time.Hour), "too long ago")
	require.False(t, repeats(r, nil, -time.Hour, -time.Second), "registered by a clock that was ahead")
	require.False(t, repeats(r, func(r *Request) { r.Key = "k" }, -time.Hour, time.Hour), "a key is remembered")
	require.False(t, repeats(r, func(r *Request) { r.IfMatch = []string{"1"} }, -time.Hour, time.Hour))
	require.True(t, repeats(r, func(r *Request) { r.IfMatch = []string{s.load("").Tag()} }, -time.Hour, time.Hour))
	for _, other := range []func(*Registration){
		func(r *Registration) { r.Device = "tablet" }, func(r *Registration) { r.Token = "token-2" }, func(r *Registration) { r.Permission = Provisional },
		func(r *Registration) { r.Platform = Android }, func(r *Registration) { r.AppVersion = "4.3" }, func(r *Registration) { r.Locale = "" },
	} {
		changed := r
		other(&changed)
		require.False(t, repeats(changed, nil, -time.Hour, time.Hour), "%+v", changed)
	}
	require.False(t, s.load("").Repeats(s.request(setEmail(t, Subscribed)), registered.Add(-time.Hour), registered.Add(time.Hour)))
}

// A token that its platform does not know gets nothing: nothing waits for it to be on or off, and it is no drift.
func TestATokenThatIsNotRegisteredAnyMoreHoldsNothingUp(t *testing.T) {
	t.Parallel()
	before := after(t, Defaults(ada, catalogue), register(t, "phone", "dead", Granted), register(t, "tablet", "live", Granted))
	held := write(before.Desired(Push), Holding{deviceItem("dead"): Unregistered})
	require.Empty(t, held.Missing(Holding{deviceItem("dead"): Off}))
	require.NotEmpty(t, held.Missing(Holding{deviceItem("dead"): On}))

	for _, c := range []Change{switchPush(t, ptr(false), nil), switchPush(t, ptr(true), nil)} {
		a := Assign(Push, c, before, after(t, before, c), held)
		require.NotContains(t, a.Write, deviceItem("dead"))
		require.Contains(t, a.Write, deviceItem("live"))
	}
	again := register(t, "phone", "dead", Granted) // the app knows better
	a := Assign(Push, again, before, after(t, before, again), held)
	require.Equal(t, On, a.Write.State(deviceItem("dead")))
	restore, left := a.Undo(write(held, a.Write))
	require.Empty(t, left)
	require.Equal(t, Off, restore.State(deviceItem("dead")), "nobody can be told that it is not registered")

	prune := PruneDevice("phone", "dead", later)
	a = Assign(Push, prune, before, after(t, before, prune), held)
	require.Equal(t, Holding{deviceItem("dead"): Unknown}, a.Write)
	restore, left = a.Undo(held)
	require.Empty(t, restore, "it never went")
	require.Empty(t, left)
	restore, left = a.Undo(write(held, a.Write))
	require.Equal(t, Holding{deviceItem("dead"): Off}, restore)
	require.Empty(t, left)
	require.False(t, Unregistered.Words())
}

// A comparison finds what the push provider has found out, and quiet hours that differ on either side.
func TestDriftOfDevicesAndQuietHours(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "dead", Granted), setQuietHours(quietHours(t, "22:00", "07:00", "UTC")))
	held := p.Desired(Push)
	require.Empty(t, p.Drift(Push, held))
	held[deviceItem("dead")] = Unregistered
	held[Item{Kind: QuietItem}] = "01:00-02:00 UTC"
	drifts := p.Drift(Push, held)
	require.Equal(t, []Drift{{deviceItem("dead"), On, Unregistered, Discard}, {Item{Kind: QuietItem}, "22:00-07:00 UTC", "01:00-02:00 UTC", Withhold}}, drifts)
	require.Empty(t, p.Adopted(drifts))
	gone := p.Discarded(drifts)
	require.Len(t, gone, 1)
	require.Empty(t, after(t, p, gone...).Devices())
	put := PutRight(drifts)
	require.Len(t, put, 1)
	a := Assign(Push, put[0], p, p, held)
	require.Equal(t, Holding{{Kind: QuietItem}: "22:00-07:00 UTC"}, a.Write)

	none := after(t, p, setQuietHours(QuietHours{}))
	held = none.Desired(Push)
	held[Item{Kind: ZoneItem}] = "Asia/Tokyo" // nobody's business
	held[Item{Kind: QuietItem}] = "01:00-02:00 UTC"
	drifts = none.Drift(Push, held)
	require.Equal(t, []Drift{{Item{Kind: QuietItem}, Unknown, "01:00-02:00 UTC", Restate}}, drifts)
	put = PutRight(drifts)
	require.Equal(t, Holding{{Kind: QuietItem}: Unknown}, Assign(Push, put[0], none, none, held).Write)
}
