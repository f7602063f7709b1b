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
	first, err := devTemporalKeys(dir)
	require.NoError(t, err)
	again, err := devTemporalKeys(dir)
	require.NoError(t, err)
	require.Equal(t, first.Reveal(), again.Reveal(), "what was encrypted before a restart is read after it")
	keys, err := temporalKeys(config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": first.Reveal()}))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Len(t, keys[0].Secret, 32)
	kept, err := os.Stat(filepath.Join(dir, devKeysFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), kept.Mode().Perm())
	other, err := devTemporalKeys(t.TempDir())
	require.NoError(t, err)
	require.NotEqual(t, first.Reveal(), other.Reveal())
	_, err = temporalKeys(config.Load(map[string]string{"ACCORD_TEMPORAL_KEYS": "x"}))
	require.Error(t, err)
}
