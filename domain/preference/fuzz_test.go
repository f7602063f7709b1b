package preference_test

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	. "accord/domain/preference"
)

// FuzzIDs: an id is taken as it is, and can be a segment of an address.
func FuzzIDs(f *testing.F) {
	for _, seed := range []string{"ada", "ada@example.org", "..", ".", "a/b", "a b", "a\u2028b", "\xff", "\ufeff", strings.Repeat("é", 127), strings.Repeat("é", 128)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		customer, err := ParseCustomerID(s)
		if err == nil {
			require.Equal(t, s, string(customer))
			require.LessOrEqual(t, len(s), 255)
			escaped := "/users/" + url.PathEscape(s)
			require.Equal(t, escaped, path.Clean(escaped), "it leads nowhere else")
			require.False(t, strings.ContainsFunc(s, unicode.IsSpace))
		} else {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		}
		if device, err := ParseDeviceID(s); err == nil {
			require.Equal(t, s, string(device))
			require.LessOrEqual(t, len(s), 128)
		}
	})
}

// FuzzQuietHours: what is taken is written and read the same, and quiet ends within a day and a bit.
func FuzzQuietHours(f *testing.F) {
	for _, seed := range [][3]string{{"22:00", "07:00", "Europe/Zurich"}, {"00:00", "23:59", "Pacific/Apia"}, {"24:00", "7:00", "../etc/passwd"}, {"22:00", "22:00", "Local"},
		{"02:30", "03:30", "America/New_York"}, {"22:00", "07:00", "posix/UTC"}, {"22:00", "07:00", "Etc/GMT+12"}, {"22:00", "07:00", "Europe//Zurich"}} {
		f.Add(seed[0], seed[1], seed[2], int64(1772352000))
	}
	f.Fuzz(func(t *testing.T, start, end, zone string, seconds int64) {
		q, err := NewQuietHours(start, end, zone)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			for _, field := range broken.Fields {
				require.Contains(t, []string{"quiet_hours.start", "quiet_hours.end", "quiet_hours.time_zone"}, field.Path)
			}
			return
		}
		words, says := InWords(q.String())
		require.True(t, says)
		require.Equal(t, start+"-"+end+" "+zone, string(words))
		known, err := time.LoadLocation(zone)
		require.NoError(t, err)
		require.Equal(t, zone, known.String())
		if seconds < 0 || seconds > 253402300799 {
			return
		}
		now := time.Unix(seconds, 0)
		if until, on := q.Until(now); on {
			require.True(t, until.After(now))
			require.LessOrEqual(t, until.Sub(now), 26*time.Hour)
		} else {
			require.True(t, until.IsZero())
		}
	})
}

// FuzzInWords: what a target says in its own words is none of our states.
func FuzzInWords(f *testing.F) {
	for _, seed := range []string{"22:00-07:00 UTC", "on", "", "a\x00b", "\xff", strings.Repeat("x", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		state, says := InWords(text)
		require.Equal(t, text, string(state))
		if says {
			require.True(t, state.Words())
			require.False(t, text == "" || len(text) > 255 || strings.ContainsFunc(text, unicode.IsControl))
			require.Equal(t, text, strings.ToValidUTF8(text, ""))
		}
	})
}
