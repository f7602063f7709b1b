package compose

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

func TestTheDevelopmentStackKeepsItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := func(dir string) config.Config {
		cfg := config.Config{StateDir: dir}
		require.NoError(t, devSecrets(&cfg))
		return cfg
	}
	first, again := made(dir).TemporalKeys, made(dir).TemporalKeys
	require.Equal(t, first.Reveal(), again.Reveal(), "what was encrypted before a restart is read after it")
	ledger := made(dir).LedgerKeys.Reveal()
	require.Equal(t, ledger, made(dir).LedgerKeys.Reveal())
	require.NotEqual(t, first.Reveal(), made(dir).LedgerKeys.Reveal())
	given := config.Config{StateDir: dir, LedgerKeys: "mine"}
	require.NoError(t, devSecrets(&given))
	require.Equal(t, "mine", given.LedgerKeys.Reveal())
	keys, err := temporalKeys(config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": first.Reveal()}))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Len(t, keys[0].Secret, 32)
	kept, err := os.Stat(filepath.Join(dir, devTemporalKeysFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), kept.Mode().Perm())
	require.NotEqual(t, first.Reveal(), made(t.TempDir()).TemporalKeys.Reveal())
	_, err = temporalKeys(config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": "x"}))
	require.Error(t, err)
}
