package postgres

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"accord/domain/fault"
	"accord/ports"
)

// span puts one around a transaction, the wait for its locks included. done takes how it ended: the code of a fault, never
// a message, which may repeat what was stored. While nothing is traced both do nothing.
func (db *DB) span(ctx context.Context, name, operation string) (_ context.Context, done func(error)) {
	if db.spans == nil {
		return ctx, func(error) {}
	}
	if operation == "" {
		operation = ports.Concerning(ctx)
	}
	ctx, span := db.spans.Start(ctx, "postgres "+name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql")))
	if operation != "" {
		span.SetAttributes(attribute.String("accord.operation", operation))
	}
	return ctx, func(err error) {
		if f, is := fault.As(err); is {
			span.SetAttributes(attribute.String("accord.outcome", f.Code))
		}
		if kind := fault.KindOf(err); err != nil && (kind == fault.Unavailable || kind == fault.Internal) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
