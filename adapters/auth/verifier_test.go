package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/ports"
)

const (
	issuer   = "https://id.example.org"
	audience = "accord"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// issuerKeys are the keys of an issuer, by id.
type issuerKeys map[string]jwk.Key

func (k issuerKeys) Key(_ context.Context, id string) (jwk.Key, error) {
	if id == "down" {
		return nil, fault.New(fault.Unavailable, "unavailable", "tokens cannot be checked now")
	}
	key, ok := k[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "not-found", "no such key")
	}
	return jwk.PublicKeyOf(key)
}

func imported(t testing.TB, raw any, settings map[string]any) jwk.Key {
	t.Helper()
	key, err := jwk.Import(raw)
	require.NoError(t, err)
	for name, value := range settings {
		require.NoError(t, key.Set(name, value))
	}
	return key
}

func newKeys(t testing.TB) issuerKeys {
	t.Helper()
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return issuerKeys{
		"rsa": imported(t, strong, nil), "p384": imported(t, p384, nil), "ec": imported(t, p256, map[string]any{jwk.AlgorithmKey: jwa.ES256()}),
		"ed": imported(t, ed, map[string]any{jwk.KeyUsageKey: "sig"}), "encryption": imported(t, ed, map[string]any{jwk.KeyUsageKey: "enc"}),
		"pss-only": imported(t, strong, map[string]any{jwk.AlgorithmKey: jwa.PS256()}),
	}
}

func claims(changes map[string]any) map[string]any {
	c := map[string]any{"iss": issuer, "aud": audience, "sub": "ada", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func header(changes map[string]any) map[string]any {
	h := map[string]any{"kid": "ed", "typ": "at+jwt"}
	maps.Copy(h, changes)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return h
}

func signed(t testing.TB, alg jwa.SignatureAlgorithm, key any, head, body map[string]any) string {
	t.Helper()
	h := jws.NewHeaders()
	for name, value := range head {
		require.NoError(t, h.Set(name, value))
	}
	token := jwt.New()
	for name, value := range body {
		require.NoError(t, token.Set(name, value))
	}
	// A key that says what it is for would refuse to sign what the test wants signed.
	if own, ok := key.(jwk.Key); ok {
		raw := any(nil)
		require.NoError(t, jwk.Export(own, &raw))
		key = raw
	}
	out, err := jwt.Sign(token, jwt.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	require.NoError(t, err)
	return string(out)
}

func newVerifier(t *testing.T, keys KeySource) *Verifier {
	t.Helper()
	v, err := NewVerifier(Config{Issuer: issuer, Audience: audience, Keys: keys, Now: func() time.Time { return now }})
	require.NoError(t, err)
	return v
}

func TestTokensThatAreTrusted(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	v := newVerifier(t, keys)
	ed, body := keys["ed"], claims(nil)
	for what, token := range map[string]string{
		"EdDSA":            signed(t, jwa.EdDSA(), ed, header(nil), body),
		"ES256":            signed(t, jwa.ES256(), keys["ec"], header(map[string]any{"kid": "ec"}), body),
		"RS256":            signed(t, jwa.RS256(), keys["rsa"], header(map[string]any{"kid": "rsa"}), body),
		"PS256":            signed(t, jwa.PS256(), keys["pss-only"], header(map[string]any{"kid": "pss-only"}), body),
		"no type":          signed(t, jwa.EdDSA(), ed, header(map[string]any{"typ": nil}), body),
		"type JWT":         signed(t, jwa.EdDSA(), ed, header(map[string]any{"typ": "JWT"}), body),
		"long type":        signed(t, jwa.EdDSA(), ed, header(map[string]any{"typ": "application/AT+JWT"}), body),
		"several audience": signed(t, jwa.EdDSA(), ed, header(nil), claims(map[string]any{"aud": []string{"other", audience}})),
		"just expired":     signed(t, jwa.EdDSA(), ed, header(nil), claims(map[string]any{"exp": now.Add(-29 * time.Second).Unix()})),
		"nearly valid":     signed(t, jwa.EdDSA(), ed, header(nil), claims(map[string]any{"nbf": now.Add(29 * time.Second).Unix()})),
	} {
		got, err := v.Verify(t.Context(), token)
		require.NoError(t, err, what)
		require.Equal(t, "ada", got.Subject)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	token := signed(t, jwa.EdDSA(), keys["ed"], header(nil), claims(map[string]any{"sub": "desk", "scope": "audit:read  operations:write", "client_id": "desk"}))
	got, err := newVerifier(t, keys).Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, ports.Principal{Subject: "desk", Scopes: []string{"audit:read", "operations:write"}, ClientID: "desk",
		Expires: now.Add(time.Hour).Add(Leeway)}, got)
	require.True(t, got.IsClient())
	require.True(t, got.HasAny("x", "audit:read"))
	require.False(t, got.HasAny("audit"))
	require.False(t, got.HasAny())
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	v := newVerifier(t, keys)
	ed := keys["ed"]
	good := signed(t, jwa.EdDSA(), ed, header(nil), claims(nil))
	parts := strings.Split(good, ".")
	encoded := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	publicEd, err := jwk.PublicKeyOf(ed)
	require.NoError(t, err)
	var raw ed25519.PublicKey
	require.NoError(t, jwk.Export(publicEd, &raw))
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	withClaim := func(name string, value any) string {
		return signed(t, jwa.EdDSA(), ed, header(nil), claims(map[string]any{name: value}))
	}
	withHeader := func(name string, value any) string {
		return signed(t, jwa.EdDSA(), ed, header(map[string]any{name: value}), claims(nil))
	}
	for what, token := range map[string]string{
		"nothing":              "",
		"no JWT":               "ada",
		"too long":             good + strings.Repeat("A", maxToken),
		"JSON form":            `{"payload":"e30","signatures":[]}`,
		"no signature":         parts[0] + "." + parts[1] + ".",
		"alg none":             encoded(`{"alg":"none","kid":"ed"}`) + "." + parts[1] + ".AA",
		"changed claims":       parts[0] + "." + encoded(`{"iss":"https://id.example.org","aud":"accord","sub":"grace","exp":9999999999}`) + "." + parts[2],
		"HMAC with public key": signed(t, jwa.HS256(), []byte(raw), header(nil), claims(nil)),
		"RS384":                signed(t, jwa.RS384(), keys["rsa"], header(map[string]any{"kid": "rsa"}), claims(nil)),
		"key of other curve":   signed(t, jwa.ES256(), keys["ec"], header(map[string]any{"kid": "p384"}), claims(nil)),
		"key of other alg":     signed(t, jwa.RS256(), keys["rsa"], header(map[string]any{"kid": "pss-only"}), claims(nil)),
		"key of other type":    signed(t, jwa.RS256(), keys["rsa"], header(map[string]any{"kid": "ed"}), claims(nil)),
		"encryption key":       signed(t, jwa.EdDSA(), ed, header(map[string]any{"kid": "encryption"}), claims(nil)),
		"stranger's key":       signed(t, jwa.EdDSA(), stranger, header(nil), claims(nil)),
		"no kid":               withHeader("kid", nil),
		"unknown kid":          withHeader("kid", "other"),
		"other type":           withHeader("typ", "dpop+jwt"),
		"other issuer":         withClaim("iss", "https://evil.example.org"),
		"no issuer":            withClaim("iss", nil),
		"other audience":       withClaim("aud", "shop"),
		"no audience":          withClaim("aud", nil),
		"expired":              withClaim("exp", now.Add(-31*time.Second).Unix()),
		"never expires":        withClaim("exp", nil),
		"not yet valid":        withClaim("nbf", now.Add(31*time.Second).Unix()),
		"no subject":           withClaim("sub", nil),
		"empty subject":        withClaim("sub", ""),
		"ID token":             withClaim("nonce", "n"),
		"other ID token":       withClaim("at_hash", "h"),
		"scope list":           withClaim("scope", []string{"audit:read"}),
	} {
		_, err := v.Verify(t.Context(), token)
		require.Equal(t, fault.Denied, fault.KindOf(err), "%s: %v", what, err)
		require.NotContains(t, err.Error(), "ada", what)
		if strings.HasPrefix(what, "key of other ") && what != "key of other alg" {
			require.ErrorContains(t, err, "does not fit", "%s must be refused before any signature is looked at", what)
		}
	}
	critical := encoded(`{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":true}`)
	_, err = v.Verify(t.Context(), critical+"."+parts[1]+"."+parts[2])
	require.ErrorContains(t, err, "extension")
}

func TestKeysThatCannotBeHadAreNobodysFault(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	_, err := newVerifier(t, keys).Verify(t.Context(), signed(t, jwa.EdDSA(), keys["ed"], header(map[string]any{"kid": "down"}), claims(nil)))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestWeakRSAKeysAreNotTakenIn(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	_, err = jwk.Import(weak.Public())
	require.Error(t, err)
	n := base64.RawURLEncoding.EncodeToString(weak.N.Bytes())
	set, err := jwk.Parse([]byte(`{"keys":[{"kty":"RSA","kid":"weak","e":"AQAB","n":"`+n+`"}]}`), jwk.WithStrictKeySetParsing(false))
	require.NoError(t, err)
	key, _ := set.Key(0)
	require.False(t, anyRSA(key))
}

func TestVerifierNeedsToKnowWhomToTrust(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{Audience: audience, Keys: issuerKeys{}}, {Issuer: issuer, Keys: issuerKeys{}}, {Issuer: issuer, Audience: audience}} {
		_, err := NewVerifier(cfg)
		require.Error(t, err)
	}
}

// FuzzVerify: whatever comes, nothing is trusted but what was signed, to the letter.
func FuzzVerify(f *testing.F) {
	// The key is the same in every process, so that seeds stay good tokens.
	ed := imported(f, ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize))), nil)
	good := signed(f, jwa.EdDSA(), ed, header(nil), claims(nil))
	for _, seed := range []string{good, respelt(good), good + "=", strings.ToUpper(good), good + "." + good, "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.e30.AAAA"} {
		f.Add(seed)
	}
	for _, seed := range []string{signed(f, jwa.EdDSA(), ed, header(map[string]any{"kid": "down"}), claims(nil)),
		signed(f, jwa.EdDSA(), ed, header(nil), claims(map[string]any{"aud": []string{"x"}, "scope": "a b"}))} {
		f.Add(seed)
	}
	v, err := NewVerifier(Config{Issuer: issuer, Audience: audience, Keys: issuerKeys{"ed": ed}, Now: func() time.Time { return now }})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(t.Context(), token)
		if err != nil {
			require.Contains(t, []fault.Kind{fault.Denied, fault.Unavailable}, fault.KindOf(err))
			require.Equal(t, ports.Principal{}, p)
			return
		}
		require.Equal(t, good, token, "EdDSA signs the same in the same way")
		require.Equal(t, "ada", p.Subject)
	})
}

// respelt changes bits of the last letter that belong to no byte: a reader that is not strict takes it for the same.
func respelt(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])^1])
}

func TestATokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	good := signed(t, jwa.EdDSA(), keys["ed"], header(nil), claims(nil))
	v := newVerifier(t, keys)
	_, err := v.Verify(t.Context(), good)
	require.NoError(t, err)
	for i := range good {
		for bit := byte(1); bit < 128; bit <<= 1 {
			changed := []byte(good)
			changed[i] ^= bit
			_, err := v.Verify(t.Context(), string(changed))
			require.Equal(t, fault.Denied, fault.KindOf(err), "byte %d", i)
		}
	}
}

// FuzzReadKeys: a document of keys is some keys or an error, and none of them is taken for one of a kind that it is not.
func FuzzReadKeys(f *testing.F) {
	keys := newKeys(f)
	for _, id := range []string{"rsa", "ec", "ed"} {
		public, err := jwk.PublicKeyOf(keys[id])
		require.NoError(f, err)
		text, err := json.Marshal(map[string]any{"keys": []jwk.Key{public}})
		require.NoError(f, err)
		f.Add(text)
	}
	for _, seed := range []string{`{"keys":[]}`, `{"keys":[null,{}]}`, `{"kty":"oct","k":"AAAA"}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":""}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := readKeys(body)
		if err != nil {
			return
		}
		require.Positive(t, set.Len())
		for i := range set.Len() {
			key, ok := set.Key(i)
			require.True(t, ok)
			id, _ := key.KeyID()
			for alg, fits := range keyOf {
				if !fits(key) {
					continue
				}
				public, err := jwk.PublicKeyOf(key)
				require.NoError(t, err)
				require.NotEqual(t, jwa.OctetSeq(), public.KeyType(), "a secret verifies nothing here")
				choice := &keyChoice{keys: issuerKeys{id: key}}
				h := jws.NewHeaders()
				require.NoError(t, h.Set(jws.AlgorithmKey, alg))
				require.NoError(t, h.Set(jws.KeyIDKey, id))
				_, _, _ = choice.find(t.Context(), h)
			}
		}
	})
}
