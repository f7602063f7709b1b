package outbound_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"accord/adapters/outbound"
	"accord/ports"
)

func TestACallIsASpan(t *testing.T) {
	t.Parallel()
	for _, tell := range []bool{false, true} {
		recorder := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("")
		var told []string
		c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
			told = append(told, r.Header.Get("traceparent"))
			w.WriteHeader(http.StatusServiceUnavailable)
		}, func(cfg *outbound.Config) { cfg.Tracer, cfg.TellTrace = tracer, tell })
		ctx, root := tracer.Start(ports.About(t.Context(), "op_1"), "attempt")
		call := write("/users/ada")
		call.Name = "track"
		_, err := c.Call(ctx, call)
		require.Error(t, err)
		root.End()

		require.Len(t, recorder.Ended(), 2)
		span := recorder.Ended()[0]
		require.Equal(t, root.SpanContext().SpanID(), span.Parent().SpanID())
		require.Equal(t, codes.Error, span.Status().Code)
		said := map[string]any{}
		for _, a := range span.Attributes() {
			said[string(a.Key)] = a.Value.AsInterface()
			require.NotContains(t, a.Value.String(), "ada", "a path holds a customer's id")
		}
		require.Equal(t, "op_1", said["accord.operation"])
		require.Equal(t, "server_error", said["accord.outcome"])
		require.EqualValues(t, 503, said["http.response.status_code"])
		if tell {
			require.Equal(t, []string{"00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"}, told)
		} else {
			require.Equal(t, []string{""}, told, "no vendor is told of our traces unless it is wanted")
		}
	}
}
