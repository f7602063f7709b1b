package config_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

const oneKey, otherKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="

func TestEncryptionKeys(t *testing.T) {
	t.Parallel()
	none, err := config.Load(nil).EncryptionKeys()
	require.NoError(t, err)
	require.Empty(t, none)
	keys, err := config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": "2026-11:" + oneKey + ", 2026-05:" + otherKey}).EncryptionKeys()
	require.NoError(t, err)
	require.Len(t, keys, 2)
	require.Equal(t, "2026-11", keys[0].ID, "the first is the current one")
	require.Len(t, keys[1].Secret, 32)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, keys[0]), "2, 2", "a key is never printed")
	for _, bad := range []string{oneKey, ":" + oneKey, "a b:" + oneKey, "a:" + oneKey[:20], "a:" + oneKey + ",a:" + otherKey, "a:" + oneKey + ",", "a:" + oneKey + "AAAA"} {
		err := config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": bad}).Validate()
		require.ErrorContains(t, err, "ACCORD_TEMPORAL_KEYS", bad)
		require.NotContains(t, err.Error(), oneKey[:8], "nor what is wrong with it")
	}
}
