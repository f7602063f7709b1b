package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzKeys: what is taken are keys that can be used, each under a name of its own; what is refused is not quoted.
func FuzzKeys(f *testing.F) {
	const good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, seed := range []string{"a:" + good, "a:" + good + ", b:" + good, "a:" + good + ",a:" + good, ":" + good, "a:" + good[4:], "a", ",", " a:" + good + "\n", "a:a:" + good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := Secret(text).keys()
		if err != nil {
			for part := range strings.SplitSeq(text, ",") {
				_, secret, _ := strings.Cut(part, ":")
				require.False(t, len(secret) > 20 && strings.Contains(err.Error(), secret))
			}
			return
		}
		require.Equal(t, text == "", len(keys) == 0)
		names := map[string]bool{}
		for _, k := range keys {
			require.Len(t, k.Secret, 32)
			require.Regexp(t, `^[A-Za-z0-9._-]{1,64}$`, k.ID)
			require.False(t, names[k.ID])
			require.NotContains(t, k.String(), string(k.Secret))
			names[k.ID] = true
		}
	})
}

// FuzzRateLimit: what is taken is a limit that lets somebody call, and is not endless.
func FuzzRateLimit(f *testing.F) {
	for _, seed := range []string{"20/200", "off", "0.5/1", "NaN/1", "Inf/1", "1e400/1", "0x1p-2/3", "-1/1", "1/0", "1/", "/", "1/2/3", "1_000/1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := RateLimit{Rate: 7, Burst: 7}
		if err := r.UnmarshalText([]byte(text)); err != nil || text == "off" {
			require.Equal(t, RateLimit{}, r, "what was there before does not shine through")
			return
		}
		require.True(t, r.Rate > 0 && r.Rate <= 1e6 && r.Burst >= 1 && r.Burst <= 1e7, "%+v", r)
	})
}
