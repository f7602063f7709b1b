package webhook

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// The specification's own example.
const (
	exampleSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	exampleID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	exampleBody      = `{"test": 2432232314}`
	exampleSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var exampleAt = time.Unix(1614265330, 0)

func secret(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	require.NoError(t, err)
	return s
}

func example(t testing.TB) ([]Secret, Signed) {
	t.Helper()
	return []Secret{secret(t, exampleSecret)}, Signed{exampleID, strconv.FormatInt(exampleAt.Unix(), 10), exampleSignature}
}

func TestTheExampleOfTheSpecification(t *testing.T) {
	t.Parallel()
	secrets, m := example(t)
	require.Equal(t, exampleSignature, Sign(secrets, exampleID, exampleAt, []byte(exampleBody)))
	require.NoError(t, m.Verify(secrets, []byte(exampleBody), exampleAt))
	require.Equal(t, exampleSecret, secrets[0].Reveal())
	require.Equal(t, "***", secrets[0].String())
}

func TestWhatIsNotSignedAsItShouldBeIsRefused(t *testing.T) {
	t.Parallel()
	other := secret(t, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	for name, spoil := range map[string]func(m *Signed, secrets *[]Secret, body *string, now *time.Time){
		"nothing signed":     func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { *m = Signed{} },
		"no signature":       func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.Signature = "" },
		"an empty signature": func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.Signature = "v1," },
		"another version": func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) {
			m.Signature = strings.Replace(m.Signature, "v1", "v2", 1)
		},
		"half a signature":      func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.Signature = "v1,g0hM9SsE" },
		"another body":          func(_ *Signed, _ *[]Secret, body *string, _ *time.Time) { *body += " " },
		"another id":            func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.ID += "x" },
		"an id with a dot":      func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.ID = "a." + m.ID },
		"another time":          func(m *Signed, _ *[]Secret, _ *string, now *time.Time) { m.Timestamp = "1614265331" },
		"no number as time":     func(m *Signed, _ *[]Secret, _ *string, _ *time.Time) { m.Timestamp = "now" },
		"another secret":        func(_ *Signed, secrets *[]Secret, _ *string, _ *time.Time) { *secrets = []Secret{other} },
		"no secret":             func(_ *Signed, secrets *[]Secret, _ *string, _ *time.Time) { *secrets = nil },
		"an empty secret":       func(_ *Signed, secrets *[]Secret, _ *string, _ *time.Time) { *secrets = []Secret{{}} },
		"too old":               func(_ *Signed, _ *[]Secret, _ *string, now *time.Time) { *now = now.Add(Tolerance + time.Second) },
		"too far in the future": func(_ *Signed, _ *[]Secret, _ *string, now *time.Time) { *now = now.Add(-Tolerance - time.Second) },
	} {
		secrets, m := example(t)
		body, now := exampleBody, exampleAt
		spoil(&m, &secrets, &body, &now)
		err := m.Verify(secrets, []byte(body), now)
		require.Equal(t, fault.Denied, fault.KindOf(err), "%s: %v", name, err)
	}
}

func TestSecretsCanBeChanged(t *testing.T) {
	t.Parallel()
	secrets, m := example(t)
	next := secret(t, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	require.NoError(t, m.Verify([]Secret{next, secrets[0]}, []byte(exampleBody), exampleAt.Add(Tolerance)), "a receiver with both")
	both := Signed{m.ID, m.Timestamp, Sign([]Secret{next, secrets[0]}, exampleID, exampleAt, []byte(exampleBody))}
	require.NoError(t, both.Verify(secrets, []byte(exampleBody), exampleAt), "a sender with both")
	require.NoError(t, both.Verify([]Secret{next}, []byte(exampleBody), exampleAt))
}

func TestWeakSecretsAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "whsec_", "whsec_c2hvcnQ=", "not base64 at all!!", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))} {
		_, err := ParseSecret(text)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", text)
		if len(text) > 6 {
			require.NotContains(t, err.Error(), text)
		}
	}
	require.False(t, SameSecret("", []string{""}))
	require.False(t, SameSecret("", nil))
	require.False(t, SameSecret("a", []string{"b", ""}))
	require.True(t, SameSecret("b", []string{"a", "b"}))
}

// FuzzVerify: whatever is sent, nothing but our own signature of this very message passes.
func FuzzVerify(f *testing.F) {
	f.Add(exampleID, "1614265330", exampleSignature, []byte(exampleBody))
	f.Add(exampleID, "1614265330", "v1,AAAA "+exampleSignature, []byte(exampleBody))
	f.Add("", "", "", []byte{})
	f.Add(exampleID, "1614265330", respelt(exampleSignature), []byte(exampleBody))
	f.Add("a.1614265330", "-1", "v1, v1a,x v1,=", []byte("."))
	secrets, _ := example(f)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		err := Signed{id, timestamp, signature}.Verify(secrets, body, exampleAt)
		if err != nil {
			require.Equal(t, fault.Denied, fault.KindOf(err))
			return
		}
		seconds, broken := strconv.ParseInt(timestamp, 10, 64)
		require.NoError(t, broken)
		ours := "v1," + base64.StdEncoding.EncodeToString(secrets[0].sum(id, timestamp, body))
		require.Contains(t, strings.Fields(signature), ours, "to the letter, in whatever company")
		require.LessOrEqual(t, exampleAt.Sub(time.Unix(seconds, 0)).Abs(), Tolerance)
	})
}

// respelt changes bits of the last letter that belong to no byte: a reader that is not strict takes it for the same.
func respelt(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := len(strings.TrimRight(signature, "=")) - 1
	return signature[:at] + string(alphabet[strings.IndexByte(alphabet, signature[at])^1]) + signature[at+1:]
}

func TestAnotherSpellingOfASignatureIsNone(t *testing.T) {
	t.Parallel()
	secrets, _ := example(t)
	other := respelt(exampleSignature)
	require.NotEqual(t, exampleSignature, other)
	require.Error(t, Signed{exampleID, "1614265330", other}.Verify(secrets, []byte(exampleBody), exampleAt))
}

// FuzzParseSecret: what is taken is written back as the same secret, and what is refused is not quoted.
func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", " whsec_", "whsec_whsec_AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseSecret(text)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			if len(text) > 16 {
				require.NotContains(t, err.Error(), text)
			}
			return
		}
		again, err := ParseSecret(secret.Reveal())
		require.NoError(t, err)
		require.Equal(t, secret, again)
	})
}
