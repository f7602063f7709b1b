package httpapi

import (
	"net/netip"

	"github.com/gin-gonic/gin"
)

// appVersionHeader is the version of the app that asks.
const appVersionHeader = "Accord-App-Version"

// AddressPolicy is how much of a client's network address the ledger keeps.
type AddressPolicy string

const (
	AddressNone      AddressPolicy = "none"
	AddressTruncated AddressPolicy = "truncated" // the network: IPv4 to /24, IPv6 to /48
	AddressFull      AddressPolicy = "full"
)

// keep is what is kept of an address; nothing of what is none.
func (p AddressPolicy) keep(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	switch p {
	case AddressFull:
		return ip.String()
	case AddressTruncated:
		return netip.PrefixFrom(ip, bits).Masked().String()
	case AddressNone:
	}
	return ""
}

// address of the client, as much as is kept. Who it is behind a proxy is believed of trusted ones only.
func (s *server) address(g *gin.Context) string { return s.addresses.keep(g.ClientIP()) }
