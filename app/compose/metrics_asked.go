package compose

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"accord/domain/preference"
	"accord/ports"
)

// scrapeWithin bounds what a scrape waits for the database.
const scrapeWithin = 2 * time.Second

// watchOperations adds what the database knows: how many operations are open, by status and kind, and how old the oldest
// is. That is what alerts are made of: a withdrawal that hangs, a compensation that takes long, a parked operation.
func (m *metrics) watchOperations(ops ports.Operations) {
	m.registry.MustRegister(&openOperations{ops: ops})
}

type openOperations struct{ ops ports.Operations }

var (
	openDesc   = prometheus.NewDesc("accord_operations_open", "Operations that are not settled, by status and kind.", []string{"status", "kind"}, nil)
	oldestDesc = prometheus.NewDesc("accord_operations_oldest_seconds", "Age of the oldest operation that is not settled, by status and kind.", []string{"status", "kind"}, nil)
	holdsDesc  = prometheus.NewDesc("accord_holds_active", "Holds that are on: withdrawals that are not settled.", nil, nil)
)

func (*openOperations) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc
	ch <- oldestDesc
	ch <- holdsDesc
}

// Collect asks the database at each scrape. Without it there is nothing to report, and /readyz says so.
func (o *openOperations) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	counts, err := o.ops.OpenCounts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(openDesc, err)
		return
	}
	holds := 0
	for _, s := range preference.Statuses {
		if s.Settled() {
			continue
		}
		for _, k := range []preference.Kind{preference.Grant, preference.Withdrawal} {
			c, age := counts[ports.OpenKind{Status: s, Kind: k}], 0.0
			if c.Count > 0 {
				age = time.Since(c.Oldest).Seconds()
			}
			if k == preference.Withdrawal {
				holds += c.Count
			}
			ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(c.Count), string(s), string(k))
			ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, string(s), string(k))
		}
	}
	ch <- prometheus.MustNewConstMetric(holdsDesc, prometheus.GaugeValue, float64(holds))
}

// asked is a gauge whose value is asked for at each scrape. While there is no answer it is left out.
type asked struct {
	name, help string
	ask        func(context.Context) (float64, error)
}

func (a *asked) desc() *prometheus.Desc { return prometheus.NewDesc(a.name, a.help, nil, nil) }

func (a *asked) Describe(ch chan<- *prometheus.Desc) { ch <- a.desc() }

func (a *asked) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	value, err := a.ask(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(a.desc(), err)
		return
	}
	ch <- prometheus.MustNewConstMetric(a.desc(), prometheus.GaugeValue, value)
}
