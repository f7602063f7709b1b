package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// health knows which of the pool's connections are not to be trusted. When one is lost, a restart of the server may have
// taken all of them; trying again would find one dead connection after the other.
type health struct{ lost atomic.Int64 } // when a connection was found to be lost, in Unix nanoseconds

func (h *health) heard(err error) {
	if err != nil && lostConnection(err) {
		h.lost.Store(time.Now().UnixNano())
	}
}

// doubtful reports whether a connection has to be asked before it is used: it was not for a second, or not since one was lost.
func (h *health) doubtful(_ context.Context, c stdlib.ShouldPingParams) bool {
	used := time.Now().Add(-c.IdleDuration)
	return c.IdleDuration > time.Second || used.UnixNano() < h.lost.Load()
}
