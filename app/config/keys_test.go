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

func TestTheSettingsOfTheLedgerAreChecked(t *testing.T) {
	t.Parallel()
	good := config.Load(map[string]string{"ACCORD_LEDGER_KEYS": "2026:" + oneKey, "ACCORD_TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"})
	require.NoError(t, good.Validate(config.NeedLedgerKeys))
	keys, err := good.KeysOfLedger()
	require.NoError(t, err)
	require.Equal(t, "2026", keys[0].ID)
	require.Equal(t, "truncated", good.AuditAddress)
	for setting, value := range map[string]string{"ACCORD_LEDGER_KEYS": "2026:" + oneKey[:8], "ACCORD_AUDIT_ADDRESS": "some", "ACCORD_TRUSTED_PROXIES": "10.0.0.1"} {
		require.ErrorContains(t, config.Load(map[string]string{setting: value}).Validate(), setting)
	}
	require.ErrorContains(t, config.Load(nil).Validate(config.NeedLedgerKeys), "ACCORD_LEDGER_KEYS must be set")
}
