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
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), vendors: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "accord_vendor_call_duration_seconds", Help: "Calls to a target, by outcome: ok, or the code of the failure.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"target", "outcome"})}
	m.registry.MustRegister(m.vendors, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
