package keyring_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/keyring"
	"accord/domain/consent"
	"accord/ports"
)

func key(id string, fill byte) keyring.Key {
	return keyring.Key{ID: id, Secret: bytes.Repeat([]byte{fill}, 32)}
}

func ring(t *testing.T, keys ...keyring.Key) *keyring.Ring {
	t.Helper()
	r, err := keyring.New(keys...)
	require.NoError(t, err)
	return r
}

func TestAKeyIsWrappedUnderTheFirstAndUnwrappedByAll(t *testing.T) {
	t.Parallel()
	data := consent.Key{1, 2, 3}
	old := ring(t, key("2025", 1))
	wrapped, err := old.Wrap("ch_1", data)
	require.NoError(t, err)
	require.True(t, old.Current(wrapped))
	require.NotContains(t, string(wrapped), string(data[:]))
	both := ring(t, key("2026", 2), key("2025", 1))
	require.False(t, both.Current(wrapped))
	got, err := both.Unwrap("ch_1", wrapped)
	require.NoError(t, err)
	require.Equal(t, data, got)
	anew, err := both.Wrap("ch_1", data)
	require.NoError(t, err)
	require.True(t, both.Current(anew))
	_, err = old.Unwrap("ch_1", anew)
	require.ErrorIs(t, err, ports.ErrKeyMissing)
	twice, err := both.Wrap("ch_1", data)
	require.NoError(t, err)
	require.NotEqual(t, anew, twice)
}

func TestAWrappedKeyThatWasChangedOrMovedDoesNotOpen(t *testing.T) {
	t.Parallel()
	r := ring(t, key("k", 1))
	wrapped, err := r.Wrap("ch_1", consent.Key{9})
	require.NoError(t, err)
	_, err = r.Unwrap("ch_2", wrapped)
	require.Error(t, err, "it is of another chain")
	for i := range wrapped {
		changed := slices.Clone(wrapped)
		changed[i] ^= 1
		_, err := r.Unwrap("ch_1", changed)
		require.Error(t, err, "byte %d", i)
		_, err = r.Unwrap("ch_1", wrapped[:i])
		require.Error(t, err, "cut to %d bytes", i)
	}
	_, err = ring(t, key("k", 2)).Unwrap("ch_1", wrapped)
	require.Error(t, err, "another key of the same name")
}

func TestARingNeedsAKey(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]keyring.Key{nil, {{ID: "", Secret: make([]byte, 32)}}, {{ID: "k", Secret: make([]byte, 16)}}} {
		_, err := keyring.New(keys...)
		require.Error(t, err)
	}
}
