package systemtest

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// relay is a line to a server that can be cut.
type relay struct {
	address, server string

	mu    sync.Mutex
	line  net.Listener // nil while it is cut
	conns []net.Conn
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	r := &relay{address: freeAddr(t), server: server}
	r.mend(t)
	t.Cleanup(r.cut)
	return r
}

// mend opens the line, again at the same address.
func (r *relay) mend(t *testing.T) {
	t.Helper()
	line, err := net.Listen("tcp", r.address)
	require.NoError(t, err)
	r.mu.Lock()
	r.line = line
	r.mu.Unlock()
	go func() {
		for {
			conn, err := line.Accept()
			if err != nil {
				return // cut
			}
			go r.carry(conn)
		}
	}()
}

func (r *relay) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer to.Close()
	r.mu.Lock()
	cut := r.line == nil
	r.conns = append(r.conns, from, to)
	r.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // ends with either end
			done <- struct{}{}
		}()
	}
	<-done
}

// cut closes the line and every connection over it.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line != nil {
		_ = r.line.Close()
	}
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.line, r.conns = nil, nil
}
