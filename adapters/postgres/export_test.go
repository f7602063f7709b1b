package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// OpenTraced is Open with a tracer that sees every statement on the wire.
func OpenTraced(ctx context.Context, c Config, tracer pgx.QueryTracer) (*DB, error) {
	c.Timeout = 10 * time.Second
	conf, err := connConfig(c.URL, c.Timeout)
	if err != nil {
		return nil, err
	}
	conf.Tracer = tracer
	return open(ctx, c, conf)
}
