package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"accord/adapters/telemetry"
	"accord/ports"
)

// line is what one call logs, decoded. A key that is there twice would be decoded once, so it is counted in the text.
func line(t *testing.T, say func(*slog.Logger)) (map[string]any, string) {
	t.Helper()
	var b bytes.Buffer
	say(telemetry.WithIDs(slog.New(slog.NewJSONHandler(&b, nil))))
	var out map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &out))
	delete(out, "time")
	return out, b.String()
}

func TestLinesNameWhatTheyBelongTo(t *testing.T) {
	t.Parallel()
	ctx, span := sdktrace.NewTracerProvider().Tracer("").Start(ports.About(t.Context(), "op_1"), "x")
	got, _ := line(t, func(l *slog.Logger) { l.With("part", "crm").InfoContext(ctx, "said") })
	require.Equal(t, map[string]any{"level": "INFO", "msg": "said", "part": "crm", "operation": "op_1",
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String()}, got)

	got, text := line(t, func(l *slog.Logger) { l.InfoContext(ctx, "said", "operation", "op_2") })
	require.Equal(t, "op_2", got["operation"], "a line knows better")
	require.Equal(t, 1, bytes.Count([]byte(text), []byte(`"operation"`)))

	got, _ = line(t, func(l *slog.Logger) { l.Info("said") })
	require.Equal(t, map[string]any{"level": "INFO", "msg": "said"}, got)
}

func TestIDsAreAddedOnce(t *testing.T) {
	t.Parallel()
	_, text := line(t, func(l *slog.Logger) {
		telemetry.WithIDs(l).InfoContext(ports.About(context.Background(), "op_1"), "said")
	})
	require.Equal(t, 1, bytes.Count([]byte(text), []byte(`"operation"`)), text)
}

func TestTracingThatIsOffMakesNoSpans(t *testing.T) {
	t.Parallel()
	off, err := telemetry.Start(t.Context(), telemetry.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.Nil(t, off.Tracer("http"))
	require.NoError(t, off.Close(t.Context()))
	var none *telemetry.Tracing
	require.Nil(t, none.Tracer("http"))
	require.NoError(t, none.Close(t.Context()))
}

func TestWhereTracesGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, traces, want string }{
		{"", "", ""},
		{"http://c:4318", "", "http://c:4318/v1/traces"},
		{"http://c:4318/otlp/", "", "http://c:4318/otlp/v1/traces"},
		{"http://c:4318", "http://d/spans", "http://d/spans"},
		{"", "http://d/spans", "http://d/spans"},
	} {
		require.Equal(t, c.want, telemetry.Endpoint(c.base, c.traces), c)
	}
}
