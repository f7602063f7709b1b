package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// counter counts statements on the wire, and those that commit.
type counter struct{ statements, commits atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	if q.SQL == "commit" {
		c.commits.Add(1)
	}
	return ctx
}

func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// perUnit does some units, one after the other.
func (c *counter) perUnit(b *testing.B, name string, op func(context.Context) error) string {
	b.Helper()
	const units = 20
	statements, commits := c.statements.Load(), c.commits.Load()
	for range units {
		require.NoError(b, op(b.Context()))
	}
	each := func(n int64) float64 { return float64(n) / units }
	return fmt.Sprintf("%s: %.1f statements on the wire, %.1f of them commits (the sweeper's and the watcher's included)", name,
		each(c.statements.Load()-statements), each(c.commits.Load()-commits))
}
