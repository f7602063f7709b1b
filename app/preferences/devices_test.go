package preferences_test

import (
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/preferences"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

// deviceRig is the rig with a customer who has registered a phone, seen at the given age.
func deviceRig(t *testing.T, age time.Duration) (*preferences.Service, *memory, *mocks.MockDevices) {
	t.Helper()
	service, store, runs := rig(t)
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).AnyTimes()
	devices := mocks.NewMockDevices(gomock.NewController(t))
	service.Devices, service.RefreshAfter, service.StaleAfter = devices, 24*time.Hour, 270*24*time.Hour
	p, err := store.standing.Preferences.Apply(registration(t).Change, now.Add(-age), preference.FromApp)
	require.NoError(t, err)
	store.standing.Preferences = p
	return service, store, devices
}

func registration(t *testing.T) ports.ChangeCommand {
	t.Helper()
	change, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "token-1", Permission: preference.Granted})
	require.NoError(t, err)
	return ports.ChangeCommand{Customer: ada, Change: change, Source: preference.FromApp, Actor: consent.Actor{Type: "customer", ID: "ada"}}
}

// Apps register at each launch; that must not cost a saga each time.
func TestARegistrationThatSaysNothingNewIsAnsweredWithoutAnOperation(t *testing.T) {
	t.Parallel()
	service, store, devices := deviceRig(t, time.Hour)
	devices.EXPECT().Contested(gomock.Any(), "token-1", ada).Return(false, nil)
	result, err := service.Change(t.Context(), registration(t))
	require.NoError(t, err)
	require.True(t, result.Unchanged)
	require.Equal(t, "1", result.View.Tag)
	require.Empty(t, store.ops)
}

func TestARegistrationIsBroughtToTheVendorsWhereItMayMatter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age       time.Duration
		contested bool
		adjust    func(*preferences.Service, *ports.ChangeCommand)
	}{
		"a day ago":               {age: 24 * time.Hour},
		"somebody else claims it": {age: time.Hour, contested: true},
		"with a key":              {age: time.Hour, adjust: func(_ *preferences.Service, c *ports.ChangeCommand) { c.Key = "k" }},
		"switched off":            {age: time.Hour, adjust: func(s *preferences.Service, _ *ports.ChangeCommand) { s.RefreshAfter = 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, store, devices := deviceRig(t, tc.age)
			devices.EXPECT().Contested(gomock.Any(), "token-1", ada).Return(tc.contested, nil).AnyTimes()
			c := registration(t)
			if tc.adjust != nil {
				tc.adjust(service, &c)
			}
			result, err := service.Change(t.Context(), c)
			require.NoError(t, err)
			require.False(t, result.Unchanged)
			require.Len(t, store.ops, 1)
		})
	}
}

func TestAFailedQuestionForOthersIsNoAnswer(t *testing.T) {
	t.Parallel()
	service, store, devices := deviceRig(t, time.Hour)
	devices.EXPECT().Contested(gomock.Any(), gomock.Any(), gomock.Any()).Return(false, fault.New(fault.Unavailable, "unavailable", "not now"))
	_, err := service.Change(t.Context(), registration(t))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Empty(t, store.ops)
}

func TestATokenIsPrunedOnce(t *testing.T) {
	t.Parallel()
	service, store, devices := deviceRig(t, time.Hour)
	phone, _ := store.standing.Preferences.Device("phone")
	devices.EXPECT().Holders(gomock.Any(), "token-1", preference.CustomerID("")).Return([]ports.Holder{{Customer: ada, Device: phone}}, nil).AnyTimes()
	prune := ports.TokenPrune{Token: "token-1", Cause: preference.CauseUnregistered, Source: preference.FromPush}

	late := prune
	late.DecidedAt = now.Add(-2 * time.Hour) // heard of late: the app has registered since
	ops, err := service.PruneToken(t.Context(), late)
	require.NoError(t, err)
	require.Empty(t, ops)

	for range 3 {
		again, err := service.PruneToken(t.Context(), prune)
		require.NoError(t, err)
		ops = append(ops, again...)
	}
	byName, err := service.PruneToken(t.Context(), ports.TokenPrune{Customer: ada, Device: "phone", Cause: "c", Source: preference.FromPush})
	require.NoError(t, err)
	require.Empty(t, byName)
	require.Len(t, ops, 1)
	op := store.copy(ops[0])
	require.Equal(t, preference.CauseUnregistered, op.Cause)
	require.Equal(t, preference.FromPush, op.Source)
	require.Equal(t, []preference.Target{preference.CRM, preference.Push}, op.Targets)
	require.Equal(t, preference.System, op.Actor)
	require.Equal(t, now, op.DecidedAt)
	require.Empty(t, op.After.Devices)
}

func TestAPruneNamesItsToken(t *testing.T) {
	t.Parallel()
	service, _, _ := deviceRig(t, time.Hour)
	_, err := service.PruneToken(t.Context(), ports.TokenPrune{Device: "phone"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, unknown := range []ports.TokenPrune{{Customer: ada, Token: "token-9"}, {Customer: ada, Device: "watch"}} {
		ops, err := service.PruneToken(t.Context(), unknown)
		require.NoError(t, err)
		require.Empty(t, ops)
	}
}

// What is under way already is passed over, and what was heard of since stays.
func TestStaleDevicesAreTakenAwayOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age  time.Duration
		want int
	}{"stale": {271 * 24 * time.Hour, 1}, "heard of since": {time.Hour, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, store, devices := deviceRig(t, tc.age)
			before := now.Add(-service.StaleAfter)
			unseen := ports.UnseenDevice{Customer: ada, Device: "phone", SeenAt: before.Add(-time.Hour)}
			devices.EXPECT().Unseen(gomock.Any(), before, ports.UnseenDevice{}, gomock.Any()).Return([]ports.UnseenDevice{unseen}, nil).Times(2)
			out, err := service.PruneStale(t.Context())
			require.NoError(t, err)
			require.Equal(t, ports.PrunedDevices{Found: 1, Pruned: tc.want}, out)
			out, err = service.PruneStale(t.Context())
			require.NoError(t, err)
			require.Equal(t, ports.PrunedDevices{Found: 1}, out)
			require.Len(t, store.ops, tc.want)
			for _, op := range store.ops {
				require.Equal(t, preference.CauseStale, op.Cause)
				require.Equal(t, preference.FromUpkeep, op.Source)
				require.Zero(t, op.DecidedAt, "nobody has decided anything")
				require.Empty(t, op.After.Devices)
			}
		})
	}
}
