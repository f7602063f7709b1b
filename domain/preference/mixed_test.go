package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestAWithdrawalIsNotRefusedForWhatElseTheChangeAsks(t *testing.T) {
	t.Parallel()
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"}, preference.Channel{Key: "loyalty"})
	require.NoError(t, err)
	off := false
	mixed, err := preference.SwitchPush(&off, map[preference.ChannelKey]bool{"news": true}, nil)
	require.NoError(t, err)
	after, err := preference.Defaults("ada", cat).Apply(mixed, time.Unix(1, 0), preference.FromApp)
	require.NoError(t, err, "there is no device with permission, yet push must go off")
	require.False(t, after.Push().Enabled)

	grant, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"news": true}, nil)
	require.NoError(t, err)
	_, err = preference.Defaults("ada", cat).Apply(grant, time.Unix(1, 0), preference.FromApp)
	require.ErrorContains(t, err, "push-permission-required")
}
