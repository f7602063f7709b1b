package compose

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"accord/domain/preference"
)

// metrics is one process's registry and what the composition root itself measures.
type metrics struct {
	registry *prometheus.Registry
	vendors  *prometheus.HistogramVec
	skipped  *prometheus.CounterVec
	streams  prometheus.Gauge
	ended    *prometheus.CounterVec
	told     *prometheus.CounterVec
	signals  *prometheus.CounterVec
	changes  *changes
	inboxes  *inboxes
	drift    *driftMetrics
	webhooks *prometheus.CounterVec
	sent     *prometheus.CounterVec // attempts at webhooks
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
		}, []string{"kind"}),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accord_gpc_signals_total", Help: "What became of Global Privacy Control signals: withdrawn, nothing_on, stands, gone, failed or dropped (both tried again with the next request).",
		}, []string{"outcome"})}
	m.registry.MustRegister(m.vendors, m.skipped, m.streams, m.ended, m.told, m.signals, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.changes, m.inboxes, m.drift = newChanges(m.registry), newInboxes(m.registry), newDriftMetrics(m.registry)
	m.webhooks, m.sent = newReceivedWebhooks(m.registry), newSentWebhooks(m.registry)
	return m
}

func (m *metrics) vendorCall(t preference.Target, outcome string, took time.Duration) {
	m.vendors.WithLabelValues(string(t), outcome).Observe(took.Seconds())
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
