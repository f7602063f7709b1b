package httpapi

import (
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type unanswered struct{ desc *prometheus.Desc }

func (u unanswered) Describe(ch chan<- *prometheus.Desc) { ch <- u.desc }

func (u unanswered) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(u.desc, errors.New("the database does not answer"))
}

// TestWhatCanNotBeMeasuredKeepsNothingElseBack: while the database is down, the other measures are wanted most.
func TestWhatCanNotBeMeasuredKeepsNothingElseBack(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.metrics.MustRegister(unanswered{prometheus.NewDesc("asked", "of the database", nil, nil)})
	a.call("GET", "/v1/preferences", "", "").is(401)
	text := string(a.call("GET", "/metrics", "", "").is(200).body)
	require.Contains(t, text, `accord_http_problems_total{code="unauthenticated"} 1`)
	require.Contains(t, text, `accord_http_problems_total{code="refresh-limit"} 0`, "there before it happens")
	require.NotContains(t, text, "asked")
	require.Contains(t, a.logs.String(), "the database does not answer")
}

func TestRequestsAreSpans(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	a := newAPI(t, func(c *Config) {
		c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("")
	})
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for i, c := range []struct {
		path, traceparent string
		ours              bool
	}{
		{"/v1/preferences", "00-" + trace + "-" + parent + "-01", true},
		{"/v1/preferences", "", false},
		{"/v1/preferences", "00-" + trace + "-" + parent, false},
		{"/v1/preferences", "ff-" + trace + "-" + parent + "-01", false},
		{"/v1/preferences", "00-00000000000000000000000000000000-" + parent + "-01", false},
	} {
		a.call("GET", c.path, "ada", "", "Traceparent: "+c.traceparent).is(200)
		span := recorder.Ended()[i]
		require.Equal(t, http.MethodGet+" "+c.path, span.Name())
		require.Equal(t, c.ours, span.SpanContext().TraceID().String() == trace, c.traceparent)
		require.Equal(t, c.ours, span.Parent().IsValid(), c.traceparent)
		for _, attribute := range span.Attributes() {
			require.NotContains(t, attribute.Value.String(), "ada")
		}
	}
}
