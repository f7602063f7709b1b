package systemtest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"accord/app/config"
)

// spans is an OTLP collector that keeps what it is sent.
type spans struct {
	mu  sync.Mutex
	all []*otlp.Span
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &sent)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range sent.GetResourceSpans() {
		for _, scope := range from.GetScopeSpans() {
			s.all = append(s.all, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of are the spans of one trace, by id.
func (s *spans) of(trace string) map[string]*otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]*otlp.Span{}
	for _, span := range s.all {
		if hex.EncodeToString(span.GetTraceId()) == trace {
			out[string(span.GetSpanId())] = span
		}
	}
	return out
}

// way is the names from a span up to the first that is not ours.
func way(all map[string]*otlp.Span, span *otlp.Span) string {
	var names []string
	for span != nil {
		names = append(names, span.GetName())
		span = all[string(span.GetParentSpanId())]
	}
	return strings.Join(names, " < ")
}

// TestAChangeIsOneTrace: from the request that asks for it, through the run and its activities, to the calls at each
// vendor, in the caller's trace.
func TestAChangeIsOneTrace(t *testing.T) {
	t.Parallel()
	sink := &spans{}
	server := httptest.NewServer(sink)
	t.Cleanup(server.Close)
	s := start(t, func(cfg *config.Config) { cfg.Tracing.Endpoint = server.URL })
	const who = "traced@example.com"
	s.registerPhone(t, who)

	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a := s.as(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true), "traceparent", "00-"+trace+"-00f067aa0ba902b7-01", "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	operation := a.header.Get("Accord-Operation")

	const saga = " < RunActivity:preferences.Reach < StartActivity:preferences.Reach < RunWorkflow:preferences.Change < StartWorkflow:preferences.Change < PATCH /v1/preferences/push"
	want := map[string]bool{
		"postgres Update < PATCH /v1/preferences/push": true,
		"postgres UpdateOperation" + saga:              true,
	}
	for _, target := range []string{"crm", "push", "cmp"} {
		want[target+saga] = true
	}
	var all map[string]*otlp.Span
	eventually(t, 30*time.Second, func() string { // they are sent in batches
		all = sink.of(trace)
		missing := map[string]bool{}
		for w := range want {
			missing[w] = true
		}
		seen := ""
		for _, span := range all {
			path := way(all, span)
			for _, target := range []string{"crm", "push", "cmp"} { // whatever the call is called
				if strings.HasPrefix(path, target+" ") && strings.HasSuffix(path, saga) {
					delete(missing, target+saga)
				}
			}
			delete(missing, path)
			seen += "\n" + path
		}
		if len(missing) > 0 {
			return fmt.Sprintf("missing %v of:%s", missing, seen)
		}
		return ""
	})
	named := 0
	for _, span := range all {
		for _, attribute := range span.GetAttributes() {
			if attribute.GetKey() == "accord.operation" {
				require.Equal(t, operation, attribute.GetValue().GetStringValue(), span.GetName())
				named++
			}
		}
		require.NotContains(t, span.String(), "example.com", "personal data in a span")
		require.NotContains(t, span.String(), "token-", "a push token in a span")
	}
	require.GreaterOrEqual(t, named, 6, "spans that name the operation")

	s.requireOtherTrace(t, sink, who, trace)
}

// requireOtherTrace: a traceparent that makes no sense is as good as none.
func (s *system) requireOtherTrace(t *testing.T, sink *spans, who, trace string) {
	t.Helper()
	const malformed = "0af7651916cd43dd8448eb211c80319c"
	a := s.as(t, who, http.MethodGet, "/v1/preferences/email", nil, "traceparent", "00-"+malformed+"-nonsense-01", "X-Request-Id", "malformed-one")
	require.Equal(t, 200, a.status, a.body)
	eventually(t, 30*time.Second, func() string {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		for _, span := range sink.all {
			if strings.Contains(span.String(), "malformed-one") {
				id := hex.EncodeToString(span.GetTraceId())
				require.NotContains(t, []string{malformed, trace}, id)
				require.Empty(t, span.GetParentSpanId())
				return ""
			}
		}
		return "its span was not sent"
	})
}
