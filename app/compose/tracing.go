package compose

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"accord/adapters/telemetry"
	"accord/app/config"
)

// named gives traces the command's name where the settings have none.
func named(cfg config.Config, service string) config.Config {
	cfg.Tracing.Service = cmp.Or(cfg.Tracing.Service, service)
	return cfg
}

func startTracing(ctx context.Context, cfg config.Tracing, log *slog.Logger) (*telemetry.Tracing, error) {
	endpoint := telemetry.Endpoint(cfg.Endpoint, cfg.TracesEndpoint)
	if cfg.Disabled {
		endpoint = ""
	}
	return telemetry.Start(ctx, telemetry.Config{Endpoint: endpoint, Service: cfg.Service, Build: Build, Logger: log})
}

// stopTracing sends the last spans. A collector that is down must not make a stop fail.
func (c *core) stopTracing() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := c.tracing.Close(ctx); err != nil {
		c.log.Warn("the last traces are not sent", "error", err)
	}
	return nil
}
