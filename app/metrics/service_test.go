package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/metrics"
	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

var (
	noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	ada  = inbox.CustomerViewer("ada")
)

// service over a mocked store, at noon.
func service(t *testing.T, options ...func(*metrics.Config)) (*metrics.Service, *mocks.MockEngagementStore) {
	t.Helper()
	store := mocks.NewMockEngagementStore(gomock.NewController(t))
	catalogue, err := preference.NewCatalogue("", preference.Channel{Key: "promotions"}, preference.Channel{Key: "news"})
	require.NoError(t, err)
	cfg := metrics.Config{Store: store, Catalogue: catalogue, Now: func() time.Time { return noon }, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(&cfg)
	}
	s := metrics.New(cfg)
	t.Cleanup(func() { require.NoError(t, s.Close(context.WithoutCancel(t.Context()))) })
	return s, store
}

func TestEachEventIsAnsweredByItself(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	event := func(id string, kind engagement.Kind, at time.Time, m inbox.MessageID) ports.ClientEvent {
		return ports.ClientEvent{ID: id, Type: kind, At: at, Message: m}
	}
	old := noon.Add(-30*24*time.Hour - time.Microsecond)
	cases := []struct {
		event       ports.ClientEvent
		field, code string // of a refusal, before the store is asked
		stored      ports.EventStatus
	}{
		{event: event("sound", engagement.InboxOpened, noon, 0), stored: ports.EventRecorded},
		{event: event("", engagement.InboxOpened, noon, 0), field: "id", code: "invalid_id"},
		{event: event("white space", engagement.InboxOpened, noon, 0), field: "id", code: "invalid_id"},
		{event: event("type", engagement.MessageSeen, noon, 0), field: "type", code: "unknown_type"},
		{event: event("no-time", engagement.InboxOpened, time.Time{}, 0), field: "at", code: "required"},
		{event: event("old", engagement.InboxOpened, old, 0), field: "at", code: "too_old"},
		{event: event("just", engagement.InboxOpened, noon.Add(-30*24*time.Hour), 0), stored: ports.EventDuplicate},
		{event: event("future", engagement.InboxOpened, noon.AddDate(1, 0, 0), 0), stored: ports.EventRecorded},
		{event: event("of-what", engagement.LinkConverted, noon, 0), field: "message_id", code: "required"},
		{event: event("too-much", engagement.InboxOpened, noon, 7), field: "message_id", code: "not_allowed"},
		{event: event("unknown", engagement.LinkConverted, noon, 7), stored: ports.EventRefused, field: "message_id", code: "unknown_message"},
		{event: event("known", engagement.LinkConverted, noon, 8), stored: ports.EventRecorded},
	}
	var all, asked []ports.ClientEvent
	var answers []ports.EventStatus
	for _, c := range cases {
		if all = append(all, c.event); c.stored != "" {
			asked, answers = append(asked, c.event), append(answers, c.stored)
		}
	}
	store.EXPECT().RecordEvents(gomock.Any(), ada, asked).Return(answers, nil)
	got, err := s.RecordEvents(t.Context(), ada, all)
	require.NoError(t, err)
	require.Len(t, got, len(cases))
	for i, c := range cases {
		require.Equal(t, c.event.ID, got[i].ID)
		if c.field == "" {
			require.Equal(t, c.stored, got[i].Status, c.event.ID)
			require.Nil(t, got[i].Why, c.event.ID)
			continue
		}
		require.Equal(t, ports.EventRefused, got[i].Status, c.event.ID)
		require.Equal(t, []string{c.field, c.code}, []string{got[i].Why.Path, got[i].Why.Code}, c.event.ID)
	}
}

func TestWhatIsNoBatchIsRefused(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	sound := ports.ClientEvent{ID: "a", Type: engagement.InboxOpened, At: noon}
	for name, tc := range map[string]struct {
		viewer inbox.Viewer
		events []ports.ClientEvent
	}{"nobody": {inbox.Viewer{}, []ports.ClientEvent{sound}}, "nothing": {ada, nil}, "too many": {ada, make([]ports.ClientEvent, 101)}} {
		_, err := s.RecordEvents(t.Context(), tc.viewer, tc.events)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
	store.EXPECT().RecordEvents(gomock.Any(), ada, gomock.Any()).Return(nil, errDown)
	_, err := s.RecordEvents(t.Context(), ada, []ports.ClientEvent{sound})
	require.ErrorIs(t, err, errDown)
	_, err = s.RecordEvents(t.Context(), ada, make([]ports.ClientEvent, 100))
	require.NoError(t, err, "where every event is refused nobody needs the store")
}

var errDown = fault.New(fault.Unavailable, "unavailable", "down")

func TestAPeriodIsChecked(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	day := func(n int) time.Time { return engagement.Day(noon).AddDate(0, 0, n) }
	for name, tc := range map[string]struct {
		ask       ports.EngagementQuery
		from, to  time.Time
		by        engagement.Grouping
		badMember string
	}{
		"nothing said":            {from: day(-29), to: day(0), by: engagement.ByDay},
		"from alone":              {ask: ports.EngagementQuery{From: day(-3)}, from: day(-3), to: day(0), by: engagement.ByDay},
		"to alone":                {ask: ports.EngagementQuery{To: day(-3), By: engagement.ByChannel}, from: day(-32), to: day(-3), by: engagement.ByChannel},
		"one day":                 {ask: ports.EngagementQuery{From: noon.Add(time.Hour), To: noon}, from: day(0), to: day(0), by: engagement.ByDay},
		"as long as it may be":    {ask: ports.EngagementQuery{From: day(-365), To: day(0)}, from: day(-365), to: day(0), by: engagement.ByDay},
		"longer":                  {ask: ports.EngagementQuery{From: day(-366), To: day(0)}, badMember: "from"},
		"backwards":               {ask: ports.EngagementQuery{From: day(0), To: day(-1)}, badMember: "to"},
		"from tomorrow, no end":   {ask: ports.EngagementQuery{From: day(1)}, badMember: "to"},
		"grouped by nobody knows": {ask: ports.EngagementQuery{By: "weather"}, badMember: "group_by"},
	} {
		if tc.badMember == "" {
			store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), noon, true, nil)
			store.EXPECT().EngagementCounts(gomock.Any(), ports.EngagementQuery{From: tc.from, To: tc.to, By: tc.by}).Return(ports.EngagementCounts{}, nil)
		}
		got, err := s.Engagement(t.Context(), tc.ask)
		if tc.badMember != "" {
			f, _ := fault.As(err)
			require.NotNil(t, f, name)
			require.Equal(t, tc.badMember, f.Fields[0].Path, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, []time.Time{tc.from, tc.to, noon}, []time.Time{got.From, got.To, got.AsOf}, name)
	}
}

func period(before, within engagement.Counts) engagement.Period {
	return engagement.Period{Before: before, Within: within}
}

func of(numerator, denominator int64) engagement.Rate {
	return engagement.Rate{Numerator: numerator, Denominator: denominator}
}

func TestRowsOfEachGrouping(t *testing.T) {
	t.Parallel()
	day := engagement.Day(noon)
	total := period(engagement.Counts{engagement.PushOn: 4, engagement.CustomerWithDevice: 5},
		engagement.Counts{engagement.PushOn: -1, engagement.PushOut: 1, engagement.CustomerWithDevice: 1, engagement.ViewerPresent: 9})
	ask := func(by engagement.Grouping, groups map[string]engagement.Period) ports.EngagementReport {
		s, store := service(t)
		store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), noon, true, nil)
		store.EXPECT().EngagementCounts(gomock.Any(), gomock.Any()).Return(ports.EngagementCounts{Total: total, Groups: groups}, nil)
		got, err := s.Engagement(t.Context(), ports.EngagementQuery{From: day.AddDate(0, 0, -2), To: day, By: by})
		require.NoError(t, err)
		require.Equal(t, total.Measures(), got.Total)
		return got
	}

	days := ask(engagement.ByDay, map[string]engagement.Period{"2026-05-03": period(nil, total.Within)}).Rows
	require.Len(t, days, 3)
	require.Equal(t, []string{"2026-05-02", "2026-05-03", "2026-05-04"}, []string{days[0].Key, days[1].Key, days[2].Key})
	require.Equal(t, []engagement.Rate{of(4, 5), of(3, 6), of(3, 6)}, []engagement.Rate{*days[0].PushOptIn, *days[1].PushOptIn, *days[2].PushOptIn})
	require.Equal(t, []engagement.Rate{of(0, 4), of(1, 4), of(0, 3)}, []engagement.Rate{*days[0].PushOptOut, *days[1].PushOptOut, *days[2].PushOptOut})
	require.Equal(t, []engagement.Rate{of(0, 0), of(0, 9), of(0, 0)}, []engagement.Rate{*days[0].InboxOpen, *days[1].InboxOpen, *days[2].InboxOpen})

	channels := ask(engagement.ByChannel, map[string]engagement.Period{
		"news": period(nil, engagement.Counts{engagement.PushOn: 2, engagement.PushIn: 3, engagement.PushOut: 1}), "old": period(engagement.Counts{engagement.PushOn: 1}, nil)}).Rows
	require.Equal(t, []string{"promotions", "news", "old"}, []string{channels[0].Key, channels[1].Key, channels[2].Key})
	require.Equal(t, []engagement.Rate{of(0, 6), of(2, 6), of(1, 6)}, []engagement.Rate{*channels[0].PushOptIn, *channels[1].PushOptIn, *channels[2].PushOptIn})
	require.Equal(t, []engagement.Rate{of(0, 0), of(1, 3), of(0, 1)}, []engagement.Rate{*channels[0].PushOptOut, *channels[1].PushOptOut, *channels[2].PushOptOut})
	require.Nil(t, channels[0].InboxOpen)

	groups := map[string]engagement.Period{"": period(nil, engagement.Counts{engagement.MessageSeen: 5000, engagement.MessageClicked: 7, engagement.LinkConverted: 2})}
	for i := range 1000 {
		groups[fmt.Sprintf("c-%04d", i)] = period(nil, engagement.Counts{engagement.MessageSeen: int64(i / 2)})
	}
	campaigns := ask(engagement.ByCampaign, groups)
	require.True(t, campaigns.More)
	require.Len(t, campaigns.Rows, ports.MaxRows)
	require.Equal(t, []string{"", "c-0998", "c-0999", "c-0996"}, []string{campaigns.Rows[0].Key, campaigns.Rows[1].Key, campaigns.Rows[2].Key, campaigns.Rows[3].Key})
	require.Equal(t, []engagement.Rate{of(7, 5000), of(2, 7)}, []engagement.Rate{*campaigns.Rows[0].MessageClick, *campaigns.Rows[0].LinkConversion})
	require.Nil(t, campaigns.Rows[0].PushOptIn)
	delete(groups, "")
	require.False(t, ask(engagement.ByCategory, groups).More)
}

func TestARollUpGoesOnUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	gomock.InOrder(
		store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(700), noon, false, nil),
		store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(3), noon, true, nil),
		store.EXPECT().CheckCustomers(gomock.Any(), gomock.Any()).Return(int64(2), nil),
		store.EXPECT().AddUp(gomock.Any(), 20_000).Return(int64(20_000), nil),
		store.EXPECT().AddUp(gomock.Any(), 20_000).Return(int64(1), nil),
		store.EXPECT().ForgetMarks(gomock.Any(), noon.AddDate(0, 0, -35), 10_000).Return(int64(10_000), nil),
		store.EXPECT().ForgetMarks(gomock.Any(), noon.AddDate(0, 0, -35), 10_000).Return(int64(0), nil),
	)
	got, err := s.RollUp(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.RolledUp{Changes: 703, Repaired: 2, Facts: 20_001, Forgotten: 10_000}, got)

	store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), time.Time{}, false, errDown)
	_, err = s.RollUp(t.Context())
	require.ErrorIs(t, err, errDown)
}

func TestARollUpLeavesTheRestToTheNext(t *testing.T) {
	t.Parallel()
	now := noon
	s, store := service(t, func(c *metrics.Config) { c.Now = func() time.Time { now = now.Add(time.Second); return now } })
	calls := 0
	store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).DoAndReturn(func(context.Context, int) (int64, time.Time, bool, error) {
		calls++
		return 1, noon, false, nil
	}).AnyTimes()
	got, err := s.RollUp(t.Context())
	require.NoError(t, err)
	require.True(t, got.More)
	require.InDelta(t, 30, calls, 2)
}

// kept is a store of presences that fails while it is told to.
type kept struct {
	*mocks.MockEngagementStore
	mu     sync.Mutex
	stored [][]ports.Presence
	fail   error
}

func (k *kept) RecordPresence(_ context.Context, p []ports.Presence) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail == nil {
		k.stored = append(k.stored, p)
	}
	return k.fail
}

func (k *kept) failWith(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

func (k *kept) calls() [][]ports.Presence {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.stored)
}

// presences runs a test in a bubble, where time passes at once and only when everybody waits.
func presences(t *testing.T, test func(*testing.T, *metrics.Service, *kept)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		s := metrics.New(metrics.Config{Store: k, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		test(t, s, k)
		k.failWith(nil)
		require.NoError(t, s.Close(context.Background()))
	})
}

func aLittleLater() {
	<-time.After(1500 * time.Millisecond) // of the bubble's time
	synctest.Wait()
}

func TestAViewerIsNotedOnceADayAndStoredBehindTheRequest(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		for range 1000 {
			s.Present(ada)
			s.Present(inbox.Viewer{})
		}
		synctest.Wait()
		require.Empty(t, k.calls(), "not on the request's way")
		aLittleLater()
		today := engagement.Day(time.Now())
		require.Equal(t, [][]ports.Presence{{{Day: today, Viewer: ada}}}, k.calls())
		s.Present(ada)
		aLittleLater()
		require.Len(t, k.calls(), 1)
		<-time.After(24 * time.Hour)
		s.Present(ada)
		aLittleLater()
		require.Equal(t, []ports.Presence{{Day: today.AddDate(0, 0, 1), Viewer: ada}}, k.calls()[1])
	})
}

func TestAFullBatchDoesNotWait(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		for i := range 1000 {
			s.Present(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("customer-", i))))
		}
		synctest.Wait()
		require.Len(t, k.calls(), 1)
		require.Len(t, k.calls()[0], 1000)
	})
}

func TestWhoCouldNotBeStoredIsTriedAgain(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		k.failWith(errDown)
		s.Present(ada)
		aLittleLater()
		s.Present(inbox.CustomerViewer("grace"))
		aLittleLater()
		k.failWith(nil)
		aLittleLater()
		require.Len(t, k.calls(), 1)
		require.Len(t, k.calls()[0], 2)
	})
}

// What waits is bounded while the database is away; who was too many is noted when they come again.
func TestWhatWaitsIsBounded(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		k.failWith(errDown)
		const all = 60_000
		for i := range all {
			s.Present(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("customer-", i))))
		}
		k.failWith(nil)
		aLittleLater()
		count := func() (n int) {
			for _, c := range k.calls() {
				n += len(c)
			}
			return n
		}
		require.Equal(t, 50_000, count())
		for i := range all {
			s.Present(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("customer-", i))))
		}
		aLittleLater()
		require.Equal(t, all, count())
	})
}

func TestClosingStoresWhoeverWaits(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		s.Present(ada)
		require.NoError(t, s.Close(context.Background()))
		require.Len(t, k.calls(), 1)
		s.Present(inbox.CustomerViewer("grace"))
		require.NoError(t, s.Close(context.Background()))
		require.Len(t, k.calls(), 1)
	})
}

func TestClosingSaysWhenItCouldNotStore(t *testing.T) {
	presences(t, func(t *testing.T, s *metrics.Service, k *kept) {
		k.failWith(errDown)
		s.Present(ada)
		require.ErrorIs(t, s.Close(context.Background()), errDown)
	})
}

func TestAReportHasWhoIsStillWaiting(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	s.Present(ada)
	gomock.InOrder(
		store.EXPECT().RecordPresence(gomock.Any(), []ports.Presence{{Day: engagement.Day(noon), Viewer: ada}}).Return(nil),
		store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), noon, true, nil),
		store.EXPECT().EngagementCounts(gomock.Any(), gomock.Any()).Return(ports.EngagementCounts{}, nil),
	)
	_, err := s.Engagement(t.Context(), ports.EngagementQuery{})
	require.NoError(t, err)
}

func TestAReportFailsWithTheStore(t *testing.T) {
	t.Parallel()
	s, store := service(t)
	store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), noon, false, errDown)
	_, err := s.Engagement(t.Context(), ports.EngagementQuery{})
	require.ErrorIs(t, err, errDown)
	store.EXPECT().CountChanges(gomock.Any(), gomock.Any()).Return(int64(0), noon, true, nil)
	store.EXPECT().EngagementCounts(gomock.Any(), gomock.Any()).Return(ports.EngagementCounts{}, errors.Join(errDown))
	_, err = s.Engagement(t.Context(), ports.EngagementQuery{})
	require.ErrorIs(t, err, errDown)
}

func TestNotingWhoIsKnownAllocatesNothing(t *testing.T) {
	s, store := service(t)
	store.EXPECT().RecordPresence(gomock.Any(), gomock.Any()).Return(nil).AnyTimes()
	s.Present(ada)
	require.Zero(t, testing.AllocsPerRun(1000, func() { s.Present(ada) }))
}

func BenchmarkPresent(b *testing.B) {
	k := &kept{}
	s := metrics.New(metrics.Config{Store: k, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	viewers := make([]inbox.Viewer, 10_000)
	for i := range viewers {
		viewers[i] = inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("customer-", i)))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			s.Present(viewers[i%len(viewers)])
		}
	})
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// Whoever stores receipts and whoever sums them up must mean the same.
func TestKindsOfFactsAreTheSameOnBothSides(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{ports.FactSeen, ports.FactClicked, ports.FactConverted},
		[]string{string(engagement.MessageSeen), string(engagement.MessageClicked), string(engagement.LinkConverted)})
}
