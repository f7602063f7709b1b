package links_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/adapters/links"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// key is the same at every run, so that the seeds of the fuzz test stay good tokens.
func key(id string, fill byte) links.Key {
	return links.Key{ID: id, Secret: []byte(strings.Repeat(string(rune(fill)), links.KeySize))}
}

func tokens(t require.TestingT, keys ...links.Key) *links.Tokens {
	out, err := links.New(keys)
	require.NoError(t, err)
	return out
}

var link = ports.Link{Purpose: ports.UnsubscribeLink, Customer: "ada.lovelace@example.test", Topic: "offers",
	Issued: time.Date(2026, 3, 1, 8, 0, 0, 123456000, time.UTC)}

func unknown(t require.TestingT, ts *links.Tokens, token string) {
	_, err := ts.Open(token)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%s", token)
}

func TestWhatIsSealedComesBack(t *testing.T) {
	t.Parallel()
	ts := tokens(t, key("k1", 'a'))
	rapid.Check(t, func(t *rapid.T) {
		l := ports.Link{Purpose: rapid.SampledFrom([]ports.LinkPurpose{ports.UnsubscribeLink, ports.ConfirmLink}).Draw(t, "purpose"),
			Customer: preference.CustomerID(rapid.StringMatching(`[^\s\pC]{1,60}`).Filter(func(s string) bool { _, err := preference.ParseCustomerID(s); return err == nil }).Draw(t, "customer")),
			Topic:    preference.TopicKey(rapid.StringMatching(`[a-z_-]{0,64}`).Draw(t, "topic")), Request: rapid.StringMatching(`(op_[0-9a-f-]{36})?`).Draw(t, "request"),
			Issued: time.UnixMicro(rapid.Int64Range(1, 1<<52).Draw(t, "issued")).UTC()}
		if rapid.Bool().Draw(t, "ends") {
			l.Expires = l.Issued.Add(time.Hour)
		}
		token, err := ts.Seal(l)
		require.NoError(t, err)
		require.Regexp(t, `^[A-Za-z0-9_.-]+$`, token)
		got, err := ts.Open(token)
		require.NoError(t, err)
		require.Equal(t, l, got)
	})
}

func TestATokenShowsNobodyAndFitsAHeader(t *testing.T) {
	t.Parallel()
	ts := tokens(t, key("k1", 'a'))
	long := link
	long.Customer = preference.CustomerID(strings.Repeat("x", 255))
	token, err := ts.Seal(long)
	require.NoError(t, err)
	require.Less(t, len("List-Unsubscribe: <https://"+strings.Repeat("h", 200)+"/u/>")+len(token), 998, "RFC 5322 allows no longer line")
	token, err = ts.Seal(link)
	require.NoError(t, err)
	for _, part := range strings.Split(token, ".") {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "ada")
		require.NotContains(t, string(raw), "offers")
	}
	again, err := ts.Seal(link)
	require.NoError(t, err)
	require.NotEqual(t, token, again, "two e-mails to one person cannot be told to be that")
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	before := tokens(t, key("old", 'a'))
	token, err := before.Seal(link)
	require.NoError(t, err)
	during := tokens(t, key("new", 'b'), key("old", 'a'))
	got, err := during.Open(token)
	require.NoError(t, err)
	require.Equal(t, link, got)
	fresh, err := during.Seal(link)
	require.NoError(t, err)
	unknown(t, before, fresh)
	after := tokens(t, key("new", 'b'))
	unknown(t, after, token)
	_, err = after.Open(fresh)
	require.NoError(t, err)
	unknown(t, tokens(t, key("old", 'z')), token)
}

func TestEveryChangedCharacterBreaksIt(t *testing.T) {
	t.Parallel()
	ts := tokens(t, key("k1", 'a'))
	token, err := ts.Seal(link)
	require.NoError(t, err)
	for i := range token {
		other := byte('A')
		if token[i] == other {
			other = 'Z'
		}
		changed := token[:i] + string(other) + token[i+1:]
		if got, err := ts.Open(changed); err == nil { // base64 leaves bits of a last character unused
			require.Equal(t, link, got)
			require.True(t, i == len(token)-1 || token[i+1] == '.', "at %d", i)
		}
		unknown(t, ts, token[:i])
	}
	unknown(t, ts, token+"A")
	unknown(t, ts, token+".")
}

// A token chooses nothing: what another algorithm, or other headers, have made with our own key is not opened.
func TestNothingButOurOwnSealIsOpened(t *testing.T) {
	t.Parallel()
	k := key("k1", 'a')
	ts := tokens(t, k)
	payload := []byte(`{"p":"unsubscribe","c":"ada","i":1}`)
	headers := jwe.NewHeaders()
	require.NoError(t, headers.Set(jwe.KeyIDKey, "k1"))
	for name, options := range map[string][]jwe.EncryptOption{
		"key wrapping":   {jwe.WithKey(jwa.A256KW(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers)},
		"compression":    {jwe.WithKey(jwa.DIRECT(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers), jwe.WithCompress(jwa.Deflate())},
		"JSON form":      {jwe.WithKey(jwa.DIRECT(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers), jwe.WithJSON()},
		"without key id": {jwe.WithKey(jwa.DIRECT(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM())},
	} {
		made, err := jwe.Encrypt(payload, options...)
		require.NoError(t, err, name)
		unknown(t, ts, string(made))
	}
	good, err := jwe.Encrypt(payload, jwe.WithKey(jwa.DIRECT(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers))
	require.NoError(t, err)
	_, err = ts.Open(string(good))
	require.NoError(t, err, "or else the others fail for another reason")
	for _, payload := range []string{``, `null`, `[]`, `{"p":"else","c":"ada"}`, `{"p":"unsubscribe","c":""}`, `{"p":"unsubscribe","c":"a b"}`, `{"p":"unsubscribe","c":1}`} {
		odd, err := jwe.Encrypt([]byte(payload), jwe.WithKey(jwa.DIRECT(), k.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers))
		require.NoError(t, err)
		unknown(t, ts, string(odd))
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	good := links.NewKey("k1")
	got, err := links.ParseKeys([]string{good, links.NewKey("k-2_b")})
	require.NoError(t, err)
	require.Equal(t, []string{"k1", "k-2_b"}, []string{got[0].ID, got[1].ID})
	secret := strings.TrimPrefix(good, "k1:")
	for _, bad := range [][]string{{""}, {"k1"}, {"k1:"}, {":" + secret}, {"k 1:" + secret}, {"k1:" + secret[4:]}, {"k1:" + secret + "AAAA"}, {"k1:!" + secret[1:]}, {good, good}} {
		_, err := links.ParseKeys(bad)
		require.Error(t, err, "%v", bad)
		require.NotContains(t, err.Error(), secret[4:])
	}
	_, err = links.New(nil)
	require.Error(t, err)
}

func TestDevKeysAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "links")
	first, err := links.DevKeys(dir)
	require.NoError(t, err)
	_, err = links.ParseKeys(first)
	require.NoError(t, err)
	again, err := links.DevKeys(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	info, err := files[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// FuzzOpen: whatever comes, the answer is "unknown", or a link that was sealed here. To see it fail, let Open skip the
// decryption.
func FuzzOpen(f *testing.F) {
	ts := tokens(f, key("k1", 'a'), key("k0", 'b'))
	sealed, err := ts.Seal(link)
	require.NoError(f, err)
	for _, seed := range []string{sealed, respelt(sealed), sealed + sealed, strings.ToUpper(sealed), strings.Repeat(".", 4), "", "eyJhbGciOiJkaXIifQ....", `{"protected":""}`, "\x00", fmt.Sprint(strings.Repeat("A", 3000))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := ts.Open(token)
		if err == nil {
			require.Equal(t, link, got, "made by nobody")
			for part := range strings.SplitSeq(token, ".") {
				raw, err := base64.RawURLEncoding.DecodeString(part)
				require.NoError(t, err)
				require.Equal(t, base64.RawURLEncoding.EncodeToString(raw), part, "a link has one spelling")
			}
			return
		}
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.Equal(t, ports.Link{}, got)
	})
}

// respelt changes bits of the last letter that belong to no byte: a reader that is not strict takes it for the same.
func respelt(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])^1])
}

// TestALinkHasOneSpelling: any byte of a link that is changed makes it none, in each of its parts.
func TestALinkHasOneSpelling(t *testing.T) {
	t.Parallel()
	ts := tokens(t, key("k1", 'a'))
	for range 4 {
		sealed, err := ts.Seal(link)
		require.NoError(t, err)
		for i := range sealed {
			for bit := byte(1); bit < 128; bit <<= 1 {
				changed := []byte(sealed)
				changed[i] ^= bit
				_, err := ts.Open(string(changed))
				require.Error(t, err, "byte %d of %q", i, sealed)
			}
		}
	}
}

// FuzzParseKeys: what is taken opens what it has sealed, and what is refused is not quoted.
func FuzzParseKeys(f *testing.F) {
	good := links.NewKey("k1")
	for _, seed := range []string{good, good + "," + good, good + "," + links.NewKey("k2"), "k1:", ":" + good, good + "\n", "k1:" + strings.Repeat("A", 43) + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pairs := strings.Split(text, ",")
		keys, err := links.ParseKeys(pairs)
		if err != nil {
			for _, pair := range pairs {
				require.False(t, len(pair) > 20 && strings.Contains(err.Error(), pair))
			}
			return
		}
		require.Len(t, keys, len(pairs))
		ts, err := links.New(keys)
		require.NoError(t, err)
		sealed, err := ts.Seal(link)
		require.NoError(t, err)
		got, err := ts.Open(sealed)
		require.NoError(t, err)
		require.Equal(t, link, got)
	})
}
