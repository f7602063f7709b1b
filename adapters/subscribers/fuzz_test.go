package subscribers

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// FuzzCheck: an address that is taken is https, can be asked, and names nothing that is known to be on this machine or in a
// network of ours. What a name resolves to is looked at when it is dialled.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"https://shop.example/hooks?x=1", "https://127.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/",
		"https://[fe80::1%25eth0]/", "https://[64:ff9b::7f00:1]/", "https://u@shop.example/", "https://shop.example#x", "HTTPS://shop.example:99999/", "https:shop.example", "//shop.example",
		"https://shop.example\\@127.0.0.1/", "https://10.0.0.1.", "https://shop.example/\x00"} {
		f.Add(seed)
	}
	s := New(false)
	f.Fuzz(func(t *testing.T, address string) {
		if err := s.Check(address); err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, "url", broken.Fields[0].Path)
			return
		}
		u, err := url.Parse(address)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		host := strings.ToLower(strings.TrimRight(u.Hostname(), "."))
		require.False(t, host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost"), "%q", host)
		if at, err := netip.ParseAddr(host); err == nil {
			require.True(t, allowed(at, false), "%q", host)
		}
		_, err = http.NewRequestWithContext(t.Context(), http.MethodPost, address, http.NoBody)
		require.NoError(t, err)
	})
}

// FuzzRetryAfter: nobody is asked again before now.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"5", "-5", "2147483648", "Sun, 01 Mar 2026 08:00:09 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x"} {
		f.Add(seed)
	}
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		require.GreaterOrEqual(t, retryAfter(value, now), time.Duration(0))
	})
}
