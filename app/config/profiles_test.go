package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

func TestProfilesAreForThisMachineAlone(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"", "127.0.0.1:6060", "localhost:6060", "[::1]:0"} {
		require.NoError(t, config.Load(map[string]string{"ACCORD_PROFILE_ADDR": good}).Validate(), good)
	}
	for _, bad := range []string{"0.0.0.0:6060", ":6060", "10.0.0.1:6060", "127.0.0.1", "example.com:6060"} {
		require.ErrorContains(t, config.Load(map[string]string{"ACCORD_PROFILE_ADDR": bad}).Validate(), "ACCORD_PROFILE_ADDR must be host:port", bad)
	}
}
