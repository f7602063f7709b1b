package auth

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

func TestDevTokensAreTrustedByTheirOwnVerifierAndOverHTTP(t *testing.T) {
	t.Parallel()
	dev, err := NewDevIssuer(t.TempDir())
	require.NoError(t, err)
	token, expires, err := dev.Mint("ada", "audit:read operations:write")
	require.NoError(t, err)
	require.False(t, expires.IsZero())
	own, err := dev.Verifier()
	require.NoError(t, err)

	server := httptest.NewServer(dev)
	t.Cleanup(server.Close)
	remote, _ := newRemote(t, server.URL)
	elsewhere, err := NewVerifier(Config{Issuer: DevIssuerName, Audience: DevAudience, Keys: remote})
	require.NoError(t, err)

	for _, v := range []*Verifier{own, elsewhere} {
		got, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, "ada", got.Subject)
		require.Equal(t, []string{"audit:read", "operations:write"}, got.Scopes)
		require.False(t, got.IsClient())
	}

	real, err := NewVerifier(Config{Issuer: issuer, Audience: audience, Keys: dev})
	require.NoError(t, err)
	_, err = real.Verify(t.Context(), token)
	require.Equal(t, fault.Denied, fault.KindOf(err), "an API that trusts a real issuer must not trust these")
}

func TestDevKeySurvivesARestartAndIsNotSharedWithOthers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	first, err := NewDevIssuer(dir)
	require.NoError(t, err)
	token, _, err := first.Mint("ada", "")
	require.NoError(t, err)

	again, err := NewDevIssuer(dir)
	require.NoError(t, err)
	v, err := again.Verifier()
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)

	info, err := os.Stat(filepath.Join(dir, devKeyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "drafts are cleared away")
	require.NotContains(t, string(again.jwks), `"d"`, "the private part stays here")

	stranger, err := NewDevIssuer(t.TempDir())
	require.NoError(t, err)
	v, err = stranger.Verifier()
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token)
	require.Error(t, err)
}

func TestDevIssuersThatStartAtOnceAgreeOnOneKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			if dev, err := NewDevIssuer(dir); err == nil {
				ids[i] = dev.id
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.NotEmpty(t, id)
		require.Equal(t, ids[0], id)
	}
}

func TestDamagedDevKey(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", `{"kty":"oct","k":"AAAA"}`} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, devKeyFile), []byte(content), 0o600))
		_, err := NewDevIssuer(dir)
		require.ErrorContains(t, err, "remove it")
	}
}

func TestDevTokensNeedASubject(t *testing.T) {
	t.Parallel()
	dev, err := NewDevIssuer(t.TempDir())
	require.NoError(t, err)
	_, _, err = dev.Mint("", "")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
