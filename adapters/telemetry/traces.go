package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where traces go. What it does not name (headers, certificates, time-outs, the sampler, batches) the
// OpenTelemetry library reads from its own standard variables.
type Config struct {
	Endpoint string // whole address that spans are posted to (OTLP over HTTP, protobuf); empty for no tracing
	Service  string // shown with every span
	Build    string
	Logger   *slog.Logger
}

// Tracing hands out tracers. Its zero value, and nil, are tracing that is off.
type Tracing struct{ provider *sdktrace.TracerProvider }

// Start prepares the exporter. It connects to nothing: a collector that is down loses spans and nothing else.
func Start(ctx context.Context, cfg Config) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return &Tracing{}, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv(),
		resource.WithAttributes(attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Build)))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	// The library tells its own troubles to a global, by default past our logs.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { cfg.Logger.Warn("traces are not sent", "error", err) }))
	return &Tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}, nil
}

// Endpoint is where traces are posted to, given a base address for all signals and one for traces alone, which counts as
// it is: the same that the standard variables mean.
func Endpoint(base, traces string) string {
	if traces != "" || base == "" {
		return traces
	}
	return strings.TrimRight(base, "/") + "/v1/traces"
}

// Tracer for a part of the program; nil while tracing is off.
func (t *Tracing) Tracer(part string) trace.Tracer {
	if t == nil || t.provider == nil {
		return nil
	}
	return t.provider.Tracer("accord/" + part)
}

// Close sends what is left, for as long as ctx allows.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil || t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
