package httpapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHowMuchOfAnAddressIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy        AddressPolicy
		address, kept string
	}{
		{AddressNone, "203.0.113.77", ""},
		{"", "203.0.113.77", ""},
		{AddressTruncated, "203.0.113.77", "203.0.113.0/24"},
		{AddressTruncated, "::ffff:203.0.113.77", "203.0.113.0/24"},
		{AddressTruncated, "2001:db8:1:2:3::4", "2001:db8:1::/48"},
		{AddressTruncated, "fe80::1%eth0", "fe80::/48"},
		{AddressFull, "203.0.113.77", "203.0.113.77"},
		{AddressFull, "2001:DB8::4", "2001:db8::4"},
		{AddressFull, "not an address", ""},
		{AddressFull, "", ""},
	} {
		require.Equal(t, test.kept, test.policy.keep(test.address), "%s of %s", test.policy, test.address)
	}
}

// What the ledger learns of where a change came from: the app's version, and the address that a trusted proxy vouches for.
func TestWhereAChangeCameFrom(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0f", 32)
	body := `{"marketing":{"status":"subscribed"},"wording":{"id":"w","locale":"en","text_sha256":"` + hash + `"}}`
	ask := func(a *api, headers ...string) AuditEntry {
		a.call("PATCH", "/v1/preferences/email", "ada", body, headers...).is(200)
		var page AuditPage
		a.call("GET", "/v1/preferences/audit?limit=1", "ada", "").is(200).json(&page)
		return page.Entries[0]
	}
	direct := newAPI(t, func(c *Config) { c.Addresses = AddressFull })
	e := ask(direct, "X-Forwarded-For: 198.51.100.9", "Accord-App-Version: 4.2.0")
	require.Equal(t, "192.0.2.1", *e.Origin.Address, "nobody is believed who they are behind")
	require.Equal(t, "4.2.0", *e.Origin.AppVersion)
	require.Equal(t, hash, *e.Wording.TextSha256)

	behind := newAPI(t, func(c *Config) { c.Addresses, c.Proxies = AddressTruncated, []string{"192.0.2.0/24", "10.0.0.0/8"} })
	e = ask(behind, "X-Forwarded-For: 6.6.6.6, 198.51.100.9, 10.1.1.1", "X-Real-IP: 6.6.6.6")
	require.Equal(t, "198.51.100.0/24", *e.Origin.Address, "the last one that no trusted proxy has")
	require.Nil(t, e.Origin.AppVersion)
	e = ask(behind)
	require.Equal(t, "192.0.2.0/24", *e.Origin.Address)

	none := newAPI(t)
	require.Nil(t, ask(none).Origin.Address)

	// The installation's own device has told its version when it was registered.
	install := "8e03978e-40d5-43e8-bc93-6894a57f9324"
	none.call("PUT", "/v1/devices/"+install, "ada", `{"platform":"ios","token":"t","permission":"granted","app_version":"5.0"}`).is(200)
	e = ask(none, installationHeader+": "+install)
	require.Equal(t, "5.0", *e.Origin.AppVersion)
	for _, bad := range []string{"Accord-App-Version: " + strings.Repeat("x", 65)} {
		none.call("PATCH", "/v1/preferences/email", "ada", body, bad).is(400)
	}
}
