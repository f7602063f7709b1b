package preferences

import (
	"context"
	"fmt"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

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
	accounts.EXPECT().Load(gomock.Any(), preference.CustomerID("grace")).Return(preference.RestoreAccount(preference.Standing{Preferences: grace}), nil)
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
