package outbound

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"accord/ports"
)

// startSpan begins the span of one call; it does nothing, and answers nil, while nothing is traced.
func (c *Client) startSpan(ctx context.Context, call ports.VendorCall) (context.Context, trace.Span) {
	if c.cfg.Tracer == nil {
		return ctx, nil
	}
	ctx, span := c.cfg.Tracer.Start(ctx, string(c.cfg.Target)+" "+call.Name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("accord.target", string(c.cfg.Target)), attribute.String("accord.call", call.Name),
		attribute.String("http.request.method", call.Method), attribute.Bool("accord.write", call.Write)))
	if op := ports.Concerning(ctx); op != "" {
		span.SetAttributes(attribute.String("accord.operation", op))
	}
	return ctx, span
}

// endSpan says what came of it: as in our logs, no path, no header and no body.
func endSpan(span trace.Span, status int, outcome string) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.String("accord.outcome", outcome))
	if status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if outcome != outcomeOK {
		span.SetStatus(codes.Error, outcome)
	}
	span.End()
}

// tellTrace lets the vendor join the trace, where that is wanted.
func (c *Client) tellTrace(ctx context.Context, h http.Header) {
	if c.cfg.TellTrace {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
