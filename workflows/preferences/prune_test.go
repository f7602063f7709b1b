package preferences

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

// What the push provider has found out is acted upon when it is read: the device goes, by an operation of its own behind the
// one that has read it. It is not asked for twice, and what is being registered by this very change stays.
func TestATokenThatIsReadAsUnregisteredIsPruned(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	accounts, runs := mocks.NewMockAccounts(ctrl), mocks.NewMockRuns(ctrl)
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).AnyTimes()
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	read := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	device := func(id preference.DeviceID, token string, claimed time.Time) preference.Device {
		return preference.Device{ID: id, Token: token, Permission: preference.Granted, Enabled: true, TokenAt: claimed}
	}
	p := preference.Restore("ada", preference.Snapshot{Push: preference.Choice{Enabled: true}, Devices: []preference.Device{
		device("again", "again", read.Add(time.Second)), device("dead", "dead", read.Add(-time.Hour)),
		device("live", "live", read.Add(-time.Hour)), device("mine", "mine", read.Add(-time.Hour))}}, cat)
	account := preference.RestoreAccount(preference.Standing{Preferences: p, Chain: consent.Chain{ID: "ch_ada", Key: consent.Key{1}}})
	accounts.EXPECT().Update(gomock.Any(), preference.CustomerID("ada"), "", gomock.Any()).AnyTimes().DoAndReturn(
		func(_ context.Context, _ preference.CustomerID, _ string, fn func(*preference.Account) error) error {
			return fn(account)
		})
	a := &Activities{Accounts: accounts, Runs: runs, Catalogue: cat, Now: func() time.Time { return read.Add(time.Minute) },
		NewID: func() string { return "op-prune" }, Logger: slog.New(slog.DiscardHandler)}
	change, err := preference.RegisterDevice(preference.Registration{Device: "mine", Platform: preference.IOS, Token: "mine", Permission: preference.Granted})
	require.NoError(t, err)
	current := preference.Holding{deviceItem("dead"): preference.Unregistered, deviceItem("live"): preference.On, deviceItem("stray"): preference.Unregistered,
		deviceItem("mine"): preference.Unregistered, deviceItem("again"): preference.Unregistered}
	for range 2 {
		a.pruneUnregistered(t.Context(), preference.Operation{ID: "op", Customer: "ada", Change: change, After: p.Snapshot()}, current, read)
	}
	ops, _ := account.Pending()
	require.Len(t, ops, 1)
	require.Equal(t, preference.CauseUnregistered, ops[0].Cause)
	require.Equal(t, preference.FromPush, ops[0].Source)
	require.Equal(t, []preference.Target{preference.CRM, preference.Push}, ops[0].Targets)
	require.Equal(t, read, ops[0].DecidedAt)
	var left []preference.DeviceID
	for _, d := range ops[0].After.Devices {
		left = append(left, d.ID)
	}
	require.Equal(t, []preference.DeviceID{"again", "live", "mine"}, left)
}

// Only the push provider is asked for tokens, and only by the attempt that fixes what is to be written.
func TestOnlyTheFirstReadingOfThePushProviderPrunes(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	a.Now = time.Now
	held := preference.Holding{deviceItem("dead"): preference.Unregistered}
	crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(held, nil)
	steps.EXPECT().StartStep(gomock.Any(), "op", gomock.Any()).Return(ports.TargetStep{Target: preference.CRM}, true, nil)
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true) // Accounts is nil: nothing may be asked of it
	require.NoError(t, err)
}
