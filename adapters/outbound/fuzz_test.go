package outbound

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzDecode: an answer is taken as a whole and within bounds, or not at all, and an error repeats nothing of it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"id":"secret-value"}`, `{"id":5}`, ``, ` `, `null`, `[] []`, `<html>secret-value</html>`, `{"id":"a"}` + strings.Repeat(" ", 70), `{"Id":"a","id":"b"}`} {
		f.Add([]byte(seed), 200)
		f.Add([]byte(seed), 202)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		const limit = 64
		var out struct{ ID string }
		err := decode(strings.NewReader(string(body)), status, limit, &out)
		if err != nil {
			require.False(t, len(body) > 8 && strings.Contains(err.Error(), string(body)))
			return
		}
		require.LessOrEqual(t, len(body), limit)
		require.True(t, json.Valid(body) || len(body) == 0 && (status == http.StatusAccepted || status == http.StatusNoContent))
	})
}

// FuzzRetryAfter: whatever a vendor asks for, nobody waits longer than is configured, nor for a time before now.
func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, seed := range [][2]string{{"5", ""}, {"-5", "x"}, {"9223372036854775807", ""}, {"Sun, 01 Mar 2026 08:00:09 GMT", ""}, {"", "1772352009"}, {"", "-9223372036854775808"}, {"", "9223372036854775807"}, {"1e3", "0x1"}} {
		f.Add(seed[0], seed[1])
	}
	p := policy{maxRetryAfter: time.Minute, now: func() time.Time { return now }}
	f.Fuzz(func(t *testing.T, after, reset string) {
		h := http.Header{"Retry-After": {after}, "X-Ratelimit-Reset": {reset}}
		for _, wait := range []time.Duration{p.retryAfter(h), p.rateReset(h)} {
			require.True(t, wait >= 0 && wait <= time.Minute, wait)
		}
	})
}
