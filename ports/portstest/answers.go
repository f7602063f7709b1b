package portstest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

// AnyAnswer is the contract of ports.TargetSystem for a vendor that answers whatever it likes, to everything: open gives a
// system that speaks to it. What is read can be stored and is in our words, and a failure is a *ports.TargetError whose text
// repeats nothing of the answer.
func AnyAnswer(t *testing.T, target preference.Target, w ports.TargetWrite, status int, body string, open func(http.Handler) ports.TargetSystem) {
	t.Helper()
	if status < 200 || status > 599 {
		return // no final status
	}
	var calls atomic.Int64
	s := open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	held, err := s.Read(t.Context(), w.Customer)
	answered(t, target, body, err)
	for item, state := range held {
		require.Contains(t, preference.ItemKinds[target], item.Kind)
		worded := item.Kind == preference.QuietItem || item.Kind == preference.ZoneItem
		require.Equal(t, worded, state.Words(), "%v is %q", item, state)
		for _, text := range []string{item.Key, string(state)} {
			require.True(t, utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl), "%q can't be stored", text)
		}
		require.LessOrEqual(t, len(state), 255)
	}
	_, err = json.Marshal(held)
	require.NoError(t, err)
	answered(t, target, body, s.Write(t.Context(), w))
	answered(t, target, body, s.Forget(t.Context(), w.Customer))
	require.LessOrEqual(t, calls.Load(), int64(30), "whatever it answers, it is left in peace")
}

func answered(t *testing.T, target preference.Target, body string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	failure, is := ports.AsTargetError(err)
	require.True(t, is, "%v", err)
	require.Equal(t, target, failure.Target)
	require.True(t, slices.Contains([]ports.TargetErrorClass{ports.Transient, ports.Refused}, failure.Class))
	require.Regexp(t, `^[a-z_]+$`, failure.Code)
	require.False(t, len(body) > 12 && strings.Contains(failure.Error(), body))
}
