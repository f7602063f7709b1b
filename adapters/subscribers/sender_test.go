package subscribers

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/ports"
)

func TestNoNetworkOfOursIsReached(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "fe80::1", "fd00::1", "0.0.0.0", "::",
		"100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "64:ff9b::a00:1", "2002:a00:1::1", "fec0::1", "::10.0.0.1"} {
		require.False(t, allowed(netip.MustParseAddr(a), false), a)
	}
	require.True(t, allowed(netip.MustParseAddr("93.184.216.34"), false))
	require.True(t, allowed(netip.MustParseAddr("2606:2800:220:1::1"), false))
	require.True(t, allowed(netip.MustParseAddr("127.0.0.1"), true))
	require.False(t, allowed(netip.MustParseAddr("10.0.0.1"), true), "development opens this machine, and nothing else")
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"", "x", "http://receiver.example", "ftp://receiver.example", "https://", "https://u:p@receiver.example", "https://receiver.example/#x",
		"https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://10.0.0.1/", "mailto:a@b.example", "https:receiver.example", "://"} {
		require.Equal(t, fault.Invalid, fault.KindOf(New(false).Check(a)), a)
	}
	require.NoError(t, New(false).Check("https://receiver.example:8443/hooks?x=1"))
	require.NoError(t, New(true).Check("http://127.0.0.1:9999/"))
	require.Error(t, New(true).Check("http://receiver.example/"))
}

// TestTheAddressThatIsDialledCounts, not the name: a name may lead into our own network.
func TestTheAddressThatIsDialledCounts(t *testing.T) {
	t.Parallel()
	reached := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	s := New(false)
	// The check of the text is passed over here, as a name would.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, nil)
	require.NoError(t, err)
	_, err = s.client.Do(req)
	require.ErrorIs(t, err, errNotAllowed)
	require.Equal(t, "not_allowed", codeOf(err))
	require.False(t, reached)
}

func TestWhatComesOfAnAttempt(t *testing.T) {
	t.Parallel()
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	for _, c := range []struct {
		answer http.HandlerFunc
		want   ports.DeliveryResult
	}{
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, ports.DeliveryResult{Status: 202}},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, ports.DeliveryResult{Status: 500, Code: "status"}},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, ports.DeliveryResult{Status: 410, Code: "status"}},
		{func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "30"); w.WriteHeader(429) }, ports.DeliveryResult{Status: 429, Code: "status", RetryAfter: 30 * time.Second}},
		{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, ports.DeliveryResult{Status: 307, Code: "redirect"}},
		{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ports.DeliveryResult{Code: "connection"}},
	} {
		srv := httptest.NewServer(c.answer)
		got := New(true).Send(t.Context(), srv.URL, ports.OutgoingWebhook{ID: "evt_1", Body: []byte("{}")})
		srv.Close()
		got.Took = 0
		require.Equal(t, c.want, got)
	}
	require.False(t, followed)
	require.Equal(t, "not_allowed", New(false).Send(t.Context(), other.URL, ports.OutgoingWebhook{}).Code)
}
