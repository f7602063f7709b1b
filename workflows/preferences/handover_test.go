package preferences

import (
	"context"
	"fmt"
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

func TestHandingOverOneTokenIsNotStoppedByTokensThatNobodyElseHas(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	steps, accounts, push := mocks.NewMockSteps(ctrl), mocks.NewMockAccounts(ctrl), mocks.NewMockTargetSystem(ctrl)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	grace := preference.Restore("grace", preference.Snapshot{Push: preference.Choice{Enabled: true},
		Devices: []preference.Device{{ID: "phone", Token: "taken", Permission: preference.Granted, Enabled: true}}}, cat)

	current, set := preference.Holding{}, preference.Holding{}
	for i := range 30 {
		current[deviceItem(fmt.Sprint("free-", i))], set[deviceItem(fmt.Sprint("free-", i))] = preference.On, preference.Unknown
	}
	current[deviceItem("taken")], set[deviceItem("taken")] = preference.On, preference.Unknown
	steps.EXPECT().Holders(gomock.Any(), gomock.Any(), preference.CustomerID("ada")).AnyTimes().DoAndReturn(
		func(_ context.Context, token string, _ preference.CustomerID) ([]ports.Holder, error) {
			if token != "taken" {
				return nil, nil
			}
			return []ports.Holder{{Customer: "grace", Device: grace.Devices()[0]}}, nil
		})
	accounts.EXPECT().Load(gomock.Any(), preference.CustomerID("grace")).Times(2).Return(preference.RestoreAccount(preference.Standing{Preferences: grace}), nil)
	theirs := preference.Holding{deviceItem("taken"): preference.On}
	push.EXPECT().Write(gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, w ports.TargetWrite) error {
		require.Equal(t, preference.CustomerID("grace"), w.Customer)
		require.Equal(t, theirs, w.Set)
		return nil
	})
	push.EXPECT().Read(gomock.Any(), preference.CustomerID("grace")).Return(theirs, nil)

	a := &Activities{Steps: steps, Accounts: accounts, Targets: map[preference.Target]ports.TargetSystem{preference.Push: push}}
	require.NoError(t, a.handOver(t.Context(), preference.Operation{ID: "op", Customer: "ada"}, &ports.TargetStep{Target: preference.Push}, current, set))
	require.NotContains(t, set, deviceItem("taken"))
	require.Len(t, set, 30)
}

// A hand-over is a write outside of the owner's turn. When a change of theirs that gives the token up has looked at the provider
// before the token was there, the token would stay with somebody who does not have it.
func TestATokenHandedToSomebodyWhoGivesItUpIsPutRightInTheirTurn(t *testing.T) {
	t.Parallel()
	token, item := "passed-on", deviceItem("passed-on")
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	device := preference.Device{ID: "phone", Token: token, Permission: preference.Granted, Enabled: true}
	had := preference.Restore("grace", preference.Snapshot{Push: preference.Choice{Enabled: true}, Devices: []preference.Device{device}}, cat)
	none := preference.Restore("grace", preference.Snapshot{Push: preference.Choice{Enabled: true}}, cat)
	release := &preference.Operation{ID: "op-grace", Customer: "grace", Number: 1, Status: preference.Running, Change: preference.ReleaseDevice("phone")}
	for name, tc := range map[string]struct {
		standing preference.Standing
		left     bool
		gone     bool // she has it no more when it is to be handed over
	}{
		"she keeps it":                        {preference.Standing{Preferences: had}, false, false},
		"a change that gives it up runs":      {preference.Standing{Preferences: had, Open: []*preference.Operation{release}, LastNumber: 1, Turn: 1, Run: 1}, true, false},
		"she has given it up in the meantime": {preference.Standing{Preferences: none}, true, true},
	} {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resumed %t", name, resumed), func(t *testing.T) {
				t.Parallel()
				ctrl := gomock.NewController(t)
				steps, accounts, push, runs := mocks.NewMockSteps(ctrl), mocks.NewMockAccounts(ctrl), mocks.NewMockTargetSystem(ctrl), mocks.NewMockRuns(ctrl)
				steps.EXPECT().Holders(gomock.Any(), token, preference.CustomerID("ada")).Return([]ports.Holder{{Customer: "grace", Device: device}}, nil)
				accounts.EXPECT().Load(gomock.Any(), preference.CustomerID("grace")).AnyTimes().DoAndReturn(func(context.Context, preference.CustomerID) (*preference.Account, error) {
					return preference.RestoreAccount(tc.standing), nil
				})
				push.EXPECT().Write(gomock.Any(), gomock.Any()).AnyTimes().Return(nil)
				push.EXPECT().Read(gomock.Any(), preference.CustomerID("grace")).AnyTimes().Return(preference.Holding{item: preference.On}, nil)
				runs.EXPECT().Start(gomock.Any(), gomock.Any()).AnyTimes().Return(nil)
				var again []*preference.Operation
				accounts.EXPECT().Update(gomock.Any(), preference.CustomerID("grace"), gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
					func(_ context.Context, _ preference.CustomerID, key string, fn func(*preference.Account) error) error {
						require.Contains(t, key, "op-ada")
						hers := tc.standing
						hers.Chain = consent.Chain{ID: "ch_grace", Key: consent.Key{1}}
						acc := preference.RestoreAccount(hers)
						err := fn(acc)
						again, _ = acc.Pending()
						return err
					})
				a := &Activities{Steps: steps, Accounts: accounts, Runs: runs, Catalogue: cat, Now: time.Now, NewID: func() string { return "op-again" },
					Logger: slog.New(slog.DiscardHandler), Targets: map[preference.Target]ports.TargetSystem{preference.Push: push}}
				op, set := preference.Operation{ID: "op-ada", Customer: "ada"}, preference.Holding{item: preference.Unknown}
				if resumed { // the attempt before has handed it over, and ended there
					require.NoError(t, a.lookAfterHandOvers(t.Context(), op, set, preference.Holding{}))
				} else {
					require.NoError(t, a.handOver(t.Context(), op, &ports.TargetStep{Target: preference.Push}, preference.Holding{item: preference.On}, set))
					require.Equal(t, tc.gone, len(set) > 0, "what nobody has is to be deleted")
				}
				if !tc.left || tc.gone && !resumed {
					require.Empty(t, again)
					return
				}
				require.Len(t, again, 1)
				require.Equal(t, preference.Withdrawal, again[0].Kind)
				require.Equal(t, []preference.Target{preference.Push}, again[0].Targets)
				require.Equal(t, preference.FromTokenMove, again[0].Source)
			})
		}
	}
}
