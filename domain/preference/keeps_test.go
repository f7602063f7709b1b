package preference_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	. "accord/domain/preference"
)

func TestWhoKeepsAToken(t *testing.T) {
	t.Parallel()
	register := func(id DeviceID, token string) Change {
		c, err := RegisterDevice(Registration{Device: id, Platform: IOS, Token: token, Permission: Granted})
		require.NoError(t, err)
		return c
	}
	with, err := Defaults("ada", catalogue).Apply(register("phone", "t"), start, FromApp)
	require.NoError(t, err)
	queued := func(changes ...Change) *Account {
		s := Standing{Preferences: with}
		for i, c := range changes {
			s.Open = append(s.Open, &Operation{ID: "op", Number: int64(i + 1), Status: Accepted, Change: c, AcceptedAt: start})
		}
		return RestoreAccount(s)
	}
	require.True(t, queued().Keeps("t"))
	require.False(t, queued().Keeps("another"))
	require.True(t, queued(setEmail(t, Subscribed)).Keeps("t"))
	require.False(t, queued(ReleaseDevice("phone")).Keeps("t"))
	require.False(t, queued(register("phone", "new")).Keeps("t"), "another token on the same device")
	require.False(t, queued(register("phone", "new"), register("tablet", "t")).Keeps("t"), "given up, and claimed again behind that")
	require.True(t, queued(register("tablet", "t")).Keeps("t"), "it moves within the customer")
	require.False(t, RestoreAccount(Standing{Preferences: Defaults("ada", catalogue)}).Keeps("t"))
}
