package config

import (
	"net"
	"net/netip"
)

// checkProfileAddr refuses an address that others than this machine could reach.
func checkProfileAddr(address string, bad func(setting, format string, args ...any)) {
	if address == "" {
		return
	}
	host, _, err := net.SplitHostPort(address)
	ip, _ := netip.ParseAddr(host)
	if err != nil || (host != "localhost" && !ip.IsLoopback()) {
		bad("ACCORD_PROFILE_ADDR", "must be host:port with 127.0.0.1, [::1] or localhost as the host, not %q: profiles are not for others", address)
	}
}
