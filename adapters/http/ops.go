package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"accord/ports"
)

// NewOps builds the handler of a process that has no API, such as a worker: /healthz, /readyz and /metrics alone.
func NewOps(ready map[string]ports.Readiness, metrics prometheus.Gatherer, log *slog.Logger, build string) (http.Handler, error) {
	engine, err := newGin()
	if err != nil {
		return nil, fmt.Errorf("health and metrics: %w", err)
	}
	s := &server{ready: ready, metrics: metrics, log: log, build: build}
	engine.Use(recoverPanics(log), secure)
	engine.NoRoute(notFound)
	engine.NoMethod(methodNotAllowed)
	engine.GET("/healthz", s.GetHealth)
	engine.GET("/readyz", s.GetReadiness)
	engine.GET("/metrics", s.GetMetrics)
	return engine.Handler(), nil
}
