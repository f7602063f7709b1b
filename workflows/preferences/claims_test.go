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

// A registration that still waits in its queue would look who has the token when its turn comes. By then the one who claimed
// it last may have given it up, and the token would stay with somebody who had lost it.
func TestATokenIsTakenFromWhoeverWaitsToRegisterItToo(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	steps, accounts := mocks.NewMockSteps(ctrl), mocks.NewMockAccounts(ctrl)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	registered := func(id string, at time.Time) *preference.Operation {
		change, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "token", Permission: preference.Granted})
		require.NoError(t, err)
		return &preference.Operation{ID: id, Number: 1, Status: preference.Running, Change: change, AcceptedAt: at, Targets: []preference.Target{preference.Push}}
	}
	mine := registered("op-ada", now)
	mine.Customer = "ada"
	waits := func(customer preference.CustomerID, at time.Time) ports.Holder {
		return ports.Holder{Customer: customer, Device: preference.Device{ID: "phone", Token: "token", TokenAt: at}}
	}
	steps.EXPECT().Holders(gomock.Any(), "token", preference.CustomerID("ada")).Return(nil, nil)
	steps.EXPECT().Claimants(gomock.Any(), "token", preference.CustomerID("ada")).Return([]ports.Holder{waits("grace", now.Add(-time.Minute)), waits("heidi", now.Add(time.Minute))}, nil)
	var released *preference.Operation
	accounts.EXPECT().Update(gomock.Any(), preference.CustomerID("grace"), "token-move/op-ada", gomock.Any()).DoAndReturn(
		func(_ context.Context, _ preference.CustomerID, _ string, fn func(*preference.Account) error) error {
			theirs := registered("op-grace", now.Add(-time.Minute))
			theirs.Customer = "grace"
			acc := preference.RestoreAccount(preference.Standing{Preferences: preference.Restore("grace", preference.Snapshot{}, cat), Open: []*preference.Operation{theirs},
				LastNumber: 1, Turn: 1, Run: 1, Chain: consent.Chain{ID: "ch_grace", Key: consent.Key{1}}})
			err := fn(acc)
			if accepted, _ := acc.Pending(); len(accepted) > 0 {
				released = accepted[0]
			}
			return err
		})
	a := &Activities{Steps: steps, Accounts: accounts, Catalogue: cat, Now: func() time.Time { return now.Add(time.Second) }, NewID: func() string { return "op-release" },
		Logger: slog.New(slog.DiscardHandler)}
	require.NoError(t, a.releaseMovedToken(t.Context(), *mine))
	require.NotNil(t, released, "behind the registration in her queue")
	require.EqualValues(t, 2, released.Number)
	require.Equal(t, preference.FromTokenMove, released.Source)
}
