package devstack

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckPort(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		listener, err := net.Listen("tcp4", where)
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		err = CheckPort("ACCORD_HTTP_ADDR", port)
		require.ErrorContains(t, err, "port "+strconv.Itoa(port)+" is taken by another process", where)
		require.ErrorContains(t, err, "ACCORD_HTTP_ADDR")
		require.NoError(t, listener.Close())
		require.NoError(t, CheckPort("ACCORD_HTTP_ADDR", port), "free again")
	}
	for _, port := range []int{-1, 0, 65536} {
		require.ErrorContains(t, CheckPort("ACCORD_HTTP_ADDR", port), "ACCORD_HTTP_ADDR")
	}
}
