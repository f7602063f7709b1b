package keyring_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/keyring"
	"accord/domain/consent"
)

// FuzzUnwrap: nothing but a key that was wrapped for this very chain is unwrapped, whole and unchanged.
func FuzzUnwrap(f *testing.F) {
	r, err := keyring.New(key("k", 1), key("older", 2))
	require.NoError(f, err)
	data := consent.Key{9, 8, 7}
	wrapped, err := r.Wrap("ch_1", data)
	require.NoError(f, err)
	for _, seed := range [][]byte{wrapped, wrapped[:len(wrapped)-1], append(bytes.Clone(wrapped), 0), {1, 255, 'k'}, {1, 1, 'k'}, {1, 0}, {}, {2, 1, 'k'}} {
		f.Add("ch_1", seed)
		f.Add("ch_2", seed)
	}
	f.Fuzz(func(t *testing.T, chain string, text []byte) {
		got, err := r.Unwrap(chain, text)
		if err != nil {
			require.Equal(t, consent.Key{}, got)
			return
		}
		// What each process has wrapped is another text, so that it is told by what is in it.
		require.Equal(t, data, got)
		require.Equal(t, "ch_1", chain)
		require.Len(t, text, len(wrapped))
		require.True(t, r.Current(text))
	})
}
