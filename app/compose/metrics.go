package compose

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"accord/domain/preference"
	"accord/ports"
)

// metrics is one process's registry and what the composition root itself measures.
type metrics struct {
	registry *prometheus.Registry
	vendors  *prometheus.HistogramVec
	skipped  *prometheus.CounterVec
	streams  prometheus.Gauge
	ended    *prometheus.CounterVec
	told     *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), vendors: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "accord_vendor_call_duration_seconds", Help: "Calls to a target, by outcome: ok, or the code of the failure.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"target", "outcome"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accord_engagement_messages_skipped_total", Help: "Messages read from the engagement platform that are not for the inbox, by feed and reason, once per reading.",
		}, []string{"feed", "reason"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "accord_streams_open", Help: "Streams that are open."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accord_streams_ended_total", Help: "Streams that have ended, by why: closed, drained, replaced or slow.",
		}, []string{"why"}),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accord_stream_words_total", Help: "Events that streams were told, by kind.",
		}, []string{"kind"})}
	m.registry.MustRegister(m.vendors, m.skipped, m.streams, m.ended, m.told, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) vendorCall(t preference.Target, outcome string, took time.Duration) {
	m.vendors.WithLabelValues(string(t), outcome).Observe(took.Seconds())
}

// watchOperations adds what the database knows: how many operations are open, by status, and how old the oldest is.
// That is what alerts are made of: a withdrawal that hangs, a compensation that takes long, a parked operation.
func (m *metrics) watchOperations(ops ports.Operations) {
	m.registry.MustRegister(&openOperations{ops: ops})
}

type openOperations struct{ ops ports.Operations }

var (
	openDesc   = prometheus.NewDesc("accord_operations_open", "Operations that are not settled, by status.", []string{"status"}, nil)
	oldestDesc = prometheus.NewDesc("accord_operations_oldest_seconds", "Age of the oldest operation that is not settled, by status.", []string{"status"}, nil)
)

func (*openOperations) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc
	ch <- oldestDesc
}

// Collect asks the database at each scrape. Without it there is nothing to report, and /readyz says so.
func (o *openOperations) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := o.ops.OpenCount(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(openDesc, err)
		return
	}
	for _, s := range preference.Statuses {
		if s.Settled() {
			continue
		}
		c, age := counts[s], 0.0
		if c.Count > 0 {
			age = time.Since(c.Oldest).Seconds()
		}
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(c.Count), string(s))
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, string(s))
	}
}

// Opened, Ended and Told implement stream.Measures.
func (m *metrics) Opened() { m.streams.Inc() }

// Ended counts a stream that is over.
func (m *metrics) Ended(why string) {
	m.streams.Dec()
	m.ended.WithLabelValues(why).Inc()
}

// Told counts words that went out.
func (m *metrics) Told(kind string, n int) { m.told.WithLabelValues(kind).Add(float64(n)) }

// watchBreaker shows whether the breaker in front of one API lets calls through. The feeds' clients are made by API and
// worker of one process alike: each is asked, and one that is open counts.
func (m *metrics) watchBreaker(t preference.Target, api string, client interface{ BreakerOpen() bool }) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "accord_vendor_breaker_open",
		Help:        "1 while calls to one API of a target are refused because it is down, or one is let through to see.",
		ConstLabels: prometheus.Labels{"target": string(t), "api": api}}, func() float64 {
		if client.BreakerOpen() {
			return 1
		}
		return 0
	}))
}
