package systemtest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"accord/app/config"
	"accord/app/operationstest"
)

// measures are what one process shows at /metrics.
type measures map[string]*dto.MetricFamily

func (c client) scrape(t *testing.T, base string) measures {
	t.Helper()
	res, err := c.http.Get(base + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	require.NoError(t, err)
	return families
}

// value adds up the series that have the labels: of a histogram how often it was observed.
func (m measures) value(name string, labels ...string) (sum float64) {
	for _, series := range m[name].GetMetric() {
		if has(series, labels) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func has(series *dto.Metric, labels []string) bool {
	given := map[string]string{}
	for _, l := range series.GetLabel() {
		given[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if given[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// TestWhatIsMeasured drives one of each and looks whether it counts, then holds the alerts and the dashboard against what
// API and worker really show.
func TestWhatIsMeasured(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *config.Config) { hearing(cfg); cfg.WorkerAddr = freeAddr(t) })
	api, worker := s.api, "http://"+s.cfg.WorkerAddr
	before := s.scrape(t, api)

	who := customer()
	s.registerPhone(t, who)
	s.control(t, http.MethodPost, "/faults", map[string]any{"target": "cmp", "customer": who, "calls": "write", "kind": "status", "status": 400, "times": 0})
	a := s.as(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=30")
	require.Equal(t, 502, a.status, a.body)
	s.control(t, http.MethodDelete, "/faults", nil)
	for range 2 {
		a = s.as(t, who, http.MethodPatch, "/v1/preferences/push", map[string]any{"enabled": false}, "Prefer", "wait=30", "Idempotency-Key", "once")
		require.Equal(t, 200, a.status, a.body)
	}
	require.Equal(t, 412, s.as(t, who, http.MethodPatch, "/v1/preferences/push", map[string]any{"enabled": true}, "If-Match", `"0"`).status)
	require.Equal(t, 200, s.as(t, who, http.MethodGet, "/v1/inbox", nil).status)

	after, work := s.scrape(t, api), s.scrape(t, worker)
	grew := func(name string, by float64, labels ...string) {
		t.Helper()
		require.InDelta(t, by, after.value(name, labels...)-before.value(name, labels...), 0.1, "%s %v", name, labels)
	}
	grew("accord_operations_accepted_total", 2, "kind", "grant", "source", "app")
	grew("accord_operations_accepted_total", 1, "kind", "withdrawal", "source", "app")
	grew("accord_withdrawal_hold_seconds", 1)
	grew("accord_idempotent_replays_total", 1)
	grew("accord_http_problems_total", 1, "code", "change-compensated")
	grew("accord_http_problems_total", 1, "code", "version-changed")
	grew("accord_run_starts_total", 3, "restart", "false", "outcome", "started")
	grew("accord_inbox_answers_total", 1)
	require.InDelta(t, 1, work.value("accord_operations_settled_total", "outcome", "compensated", "kind", "grant", "source", "app", "target", "cmp"), 0.1)
	require.InDelta(t, 1, work.value("accord_operations_settled_total", "outcome", "applied", "kind", "withdrawal", "source", "app", "target", ""), 0.1)
	require.InDelta(t, 1, work.value("accord_operation_duration_seconds", "kind", "withdrawal", "outcome", "applied"), 0.1)
	require.Zero(t, work.value("accord_ledger_append_failures_total"))
	for _, target := range []string{"crm", "push", "cmp"} {
		require.NotEmpty(t, work["accord_vendor_breaker_open"].GetMetric(), target)
		require.NotZero(t, work.value("accord_vendor_call_duration_seconds", "target", target, "outcome", "ok"))
	}
	require.Less(t, work.value("accord_campaign_pull_age_seconds"), time.Minute.Seconds())
	require.NotZero(t, work.value("temporal_activity_execution_latency_seconds"))

	requireAskedIsShown(t, []measures{after, work})
	requireBounded(t, []measures{after, work}, who)
}

// requireBounded: no customer, token or operation is a label, and no measure has very many series.
func requireBounded(t *testing.T, all []measures, who string) {
	t.Helper()
	for _, m := range all {
		for name, family := range m {
			require.Less(t, len(family.GetMetric()), 200, name)
			for _, series := range family.GetMetric() {
				for _, l := range series.GetLabel() {
					require.NotContains(t, l.GetValue(), who, "%s has a customer in its label %s", name, l.GetName())
					require.NotContains(t, l.GetValue(), "op_", "%s has an operation in its label %s", name, l.GetName())
				}
			}
		}
	}
}

// ofPrometheus are labels and metrics that Prometheus itself adds.
var ofPrometheus = map[string]bool{"up": true, "job": true, "instance": true}

// onceFailed are metrics of Temporal's library that are there from the first failure on, and not before.
var onceFailed = map[string]bool{"temporal_request_failure_total": true}

// requireAskedIsShown: every metric that alerts and panels ask for is shown, with every label they ask for; of what is
// there from the start, the values too.
func requireAskedIsShown(t *testing.T, all []measures) {
	t.Helper()
	asked, err := operationstest.Asked("../../docs")
	require.NoError(t, err)
	for where, selectors := range asked {
		for _, s := range selectors {
			if ofPrometheus[s.Metric] {
				continue
			}
			shown := map[string]map[string]bool{}
			for _, m := range all {
				m.labels(s.Metric, shown)
			}
			if len(shown) == 0 && onceFailed[s.Metric] {
				continue
			}
			require.NotEmpty(t, shown, "%s asks for %s, which nobody shows", where, s.Metric)
			for _, label := range s.Labels {
				require.True(t, ofPrometheus[label] || shown[label] != nil, "%s asks for a label %s of %s", where, label, s.Metric)
			}
			for label, value := range s.Values {
				if !rare[s.Metric] && !ofPrometheus[label] {
					require.True(t, shown[label][value], "%s asks for %s{%s=%q}; shown are %v", where, s.Metric, label, value, shown[label])
				}
			}
		}
	}
}

// rare have series only for what has happened, as there is too much that could.
var rare = map[string]bool{"accord_vendor_call_duration_seconds_count": true, "accord_http_request_duration_seconds_count": true}

// labels adds the labels under which a metric is shown, with their values. "" stands for the metric itself.
func (m measures) labels(metric string, shown map[string]map[string]bool) {
	note := func(label, value string) {
		if shown[label] == nil {
			shown[label] = map[string]bool{}
		}
		shown[label][value] = true
	}
	family := m[metric]
	for _, part := range []string{"_bucket", "_count", "_sum"} {
		if name, is := strings.CutSuffix(metric, part); is && m[name].GetType() == dto.MetricType_HISTOGRAM {
			family = m[name]
			if part == "_bucket" {
				note("le", "")
			}
		}
	}
	if family.GetType() == dto.MetricType_HISTOGRAM && family == m[metric] {
		return // is asked for by its parts
	}
	for _, series := range family.GetMetric() {
		note("", "")
		for _, l := range series.GetLabel() {
			note(l.GetName(), l.GetValue())
		}
	}
}
