package httpapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced puts a span around every request, in the caller's trace where there is one. A traceparent that is malformed, and
// one from whoever is no caller of ours (a vendor's webhook, a mail program), begins a new trace; in the latter case it
// is linked to theirs. No address, query or customer is told: the route is.
func traced(tracer trace.Tracer) gin.HandlerFunc {
	var w3c propagation.TraceContext
	return func(g *gin.Context) {
		ctx := w3c.Extract(g.Request.Context(), propagation.HeaderCarrier(g.Request.Header))
		method := knownMethod(g.Request.Method)
		options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", routeName(g)))}
		if notOurCaller(g.FullPath()) {
			options = append(options, trace.WithNewRoot())
			if theirs := trace.SpanContextFromContext(ctx); theirs.IsValid() {
				options = append(options, trace.WithLinks(trace.Link{SpanContext: theirs}))
			}
		}
		ctx, span := tracer.Start(ctx, method+" "+routeName(g), options...)
		defer span.End()
		g.Request = g.Request.WithContext(ctx)
		defer func() {
			status := g.Writer.Status()
			span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.String("accord.request_id", exchangeOf(g).requestID))
			if op := exchangeOf(g).operation; op != "" {
				span.SetAttributes(attribute.String("accord.operation", op))
			}
			if status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, http.StatusText(status))
			}
		}()
		g.Next()
	}
}

func notOurCaller(route string) bool {
	return strings.HasPrefix(route, "/v1/webhooks/") || strings.HasPrefix(route, "/u/")
}
