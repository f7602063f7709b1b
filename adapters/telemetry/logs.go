package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"accord/ports"
)

// Names of what is added to log lines.
const (
	traceID   = "trace_id"
	spanID    = "span_id"
	operation = "operation"
)

// WithIDs makes every line that is logged with a context name the trace, the span and the operation it belongs to, where
// there are any. A line that names its operation itself is left as it is.
func WithIDs(log *slog.Logger) *slog.Logger {
	if _, is := log.Handler().(*handler); is {
		return log
	}
	return slog.New(&handler{log.Handler()})
}

type handler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	about := ports.Concerning(ctx)
	if about != "" && names(r, operation) {
		about = ""
	}
	if about == "" && !span.IsValid() {
		return h.Handler.Handle(ctx, r)
	}
	r = r.Clone()
	if about != "" {
		r.AddAttrs(slog.String(operation, about))
	}
	if span.IsValid() {
		r.AddAttrs(slog.String(traceID, span.TraceID().String()), slog.String(spanID, span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func names(r slog.Record, key string) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == key
		return !found
	})
	return found
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler { return &handler{h.Handler.WithGroup(name)} }
