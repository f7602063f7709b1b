package checkpoint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/checkpoint"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/ports"
)

var at = time.Date(2026, 3, 1, 8, 0, 0, 123456000, time.UTC)

func signer(t *testing.T, name string) *checkpoint.Signer {
	t.Helper()
	key, err := checkpoint.NewKey(name)
	require.NoError(t, err)
	s, err := checkpoint.NewSigner(key)
	require.NoError(t, err)
	return s
}

func TestASignedCheckpointIsVerifiedByItsKeyAlone(t *testing.T) {
	t.Parallel()
	for range 20 { // keys whose base64 has a plus, too
		s, other := signer(t, "accord.test"), signer(t, "accord.test")
		signed, verifier, err := s.Sign(7, consent.Hash{1}, at)
		require.NoError(t, err)
		require.Equal(t, s.Verifier(), verifier)
		mine, err := checkpoint.NewVerifiers(other.Verifier(), verifier)
		require.NoError(t, err)
		c, err := mine.Open(signed)
		require.NoError(t, err)
		require.Equal(t, consent.Checkpoint{Origin: "accord.test", Size: 7, Root: consent.Hash{1}, At: at}, c)
		theirs, err := checkpoint.NewVerifiers(other.Verifier())
		require.NoError(t, err)
		_, err = theirs.Open(signed)
		require.Error(t, err)
	}
}

func TestAnyChangedByteOfACheckpointIsFound(t *testing.T) {
	t.Parallel()
	for range 4 { // signatures whose last letters differ in the bits that belong to no byte
		s := signer(t, "accord.test")
		signed, verifier, err := s.Sign(1234, consent.Hash{5}, at)
		require.NoError(t, err)
		v, err := checkpoint.NewVerifiers(verifier)
		require.NoError(t, err)
		for i := range signed {
			for bit := byte(1); bit != 0; bit <<= 1 {
				changed := []byte(signed)
				changed[i] ^= bit
				_, err := v.Open(string(changed))
				require.Error(t, err, "byte %d: %q", i, changed)
			}
			for _, more := range "\r\n x" {
				changed := signed[:i] + string(more) + signed[i:]
				_, err := v.Open(changed)
				require.Error(t, err, "byte %d: %q", i, changed)
			}
		}
	}
}

func TestKeysAreNotQuotedInErrors(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "PRIVATE+KEY+accord+00000000+AbCdEf", "secret"} {
		_, err := checkpoint.NewSigner(key)
		require.Error(t, err)
		require.False(t, key != "" && strings.Contains(err.Error(), key))
	}
	_, err := checkpoint.NewVerifiers("x")
	require.Error(t, err)
}

func TestCopiesAreKeptInFiles(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "outside")
	n := checkpoint.Notary{Signer: signer(t, "accord.test"), Folder: folder}
	last, err := n.HandedOut(t.Context())
	require.NoError(t, err)
	require.Zero(t, last)
	all := []ports.SealedCheckpoint{{Number: 1, Note: "one"}, {Number: 2, Note: "two"}}
	for range 2 {
		require.NoError(t, n.HandOut(t.Context(), all), "again changes nothing")
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, ".draft-1"), []byte("half"), 0o600))
	last, err = n.HandedOut(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, last)
	names, notes, err := checkpoint.Kept(folder)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, notes)
	require.Equal(t, []string{"000000000001.checkpoint", "000000000002.checkpoint"}, names)

	_, _, err = checkpoint.Kept(t.TempDir())
	require.Error(t, err, "nothing proves nothing")
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	require.Equal(t, fault.Unavailable, fault.KindOf(checkpoint.Notary{Folder: filepath.Join(blocked, "x")}.HandOut(t.Context(), all)))
	require.NoError(t, checkpoint.Notary{}.HandOut(t.Context(), all), "nowhere")
}
