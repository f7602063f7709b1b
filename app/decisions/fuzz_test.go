package decisions_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// FuzzReceive: whatever events and messages are called, what is recorded can be stored and is a repeat the next time, and
// nothing is recorded of what is not signed.
func FuzzReceive(f *testing.F) {
	for _, seed := range [][3]string{{"e1", "", "m1"}, {"", "", "m1"}, {"e\x00", "e1", "m1"}, {strings.Repeat("x", 200), "\xff", "m\xff"}, {"e1", "e1", strings.Repeat("m", 200)}, {"a", "b", "m 1"}, {"", "", "m.1"}} {
		f.Add(seed[0], seed[1], seed[2], []byte("x"), "")
		f.Add(seed[0], seed[1], seed[2], []byte("x"), "v1,AAAA")
	}
	f.Fuzz(func(t *testing.T, first, second, id string, body []byte, signature string) {
		w := newWorld(t, preference.FromExternal, ports.WebhookEvent{ID: first, Told: promotions("", false, now.Add(-time.Minute)).Told},
			ports.WebhookEvent{ID: second, Ignored: "unknown_type"})
		m := message(id, now, string(body))
		if signature != "" {
			signed := m.Header
			m.Header = func(name string) string {
				if name == webhook.HeaderSignature {
					return signature
				}
				return signed(name)
			}
		}
		got, err := w.Receive(t.Context(), "vendor", m)
		if err != nil {
			require.Contains(t, []fault.Kind{fault.Denied, fault.Invalid}, fault.KindOf(err))
			require.Empty(t, w.received)
			return
		}
		require.Len(t, got.Events, 2)
		for name, e := range w.received {
			require.True(t, utf8.ValidString(name) && len(name) <= 255 && !strings.ContainsFunc(name, unicode.IsControl), "%q can't be stored", name)
			require.Equal(t, name, e.ID)
		}
		for _, c := range w.commands {
			require.True(t, utf8.ValidString(c.Key) && len(c.Key) <= 512 && !strings.ContainsFunc(c.Key, unicode.IsControl), "%q can't be stored", c.Key)
		}
		again, err := w.Receive(t.Context(), "vendor", m)
		require.NoError(t, err)
		for _, e := range again.Events {
			require.Equal(t, ports.DecisionDuplicate, e.Outcome)
		}
	})
}

// FuzzSharedSecret: nobody is let in who does not send the secret, in one of the ways that it may be sent in.
func FuzzSharedSecret(f *testing.F) {
	basic := func(credentials string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
	}
	for _, seed := range []string{"Bearer " + shared, "bearer  " + shared, "Bearer", "Bearer " + shared + " x", basic("u:" + shared), basic(shared), basic(":" + shared + ":"), shared, "Basic " + shared} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, authorization string) {
		w := newWorld(t, preference.FromExternal, ports.WebhookEvent{ID: "e1", Ignored: "unknown_type"})
		_, err := w.Receive(t.Context(), "simple", ports.WebhookMessage{Body: []byte("x"), Header: func(name string) string {
			if name == "authorization" {
				return authorization
			}
			return ""
		}})
		if err != nil {
			require.Equal(t, fault.Denied, fault.KindOf(err))
			require.Empty(t, w.received)
			return
		}
		scheme, credentials, _ := strings.Cut(strings.TrimSpace(authorization), " ")
		credentials = strings.TrimSpace(credentials)
		if strings.EqualFold(scheme, "bearer") {
			require.Equal(t, shared, credentials)
			return
		}
		require.True(t, strings.EqualFold(scheme, "basic"))
		plain, err := base64.StdEncoding.DecodeString(credentials)
		require.NoError(t, err)
		require.Equal(t, base64.StdEncoding.EncodeToString(plain), credentials, "there is one spelling")
		_, password, _ := strings.Cut(string(plain), ":")
		require.Equal(t, shared, password)
	})
}
