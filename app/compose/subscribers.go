package compose

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	sending "accord/adapters/subscribers"
	"accord/app/subscribers"
)

// subscribers builds what tells other systems of changes.
func (c *core) subscribers() *subscribers.Service {
	return subscribers.New(subscribers.Config{Store: c.db, Sender: sending.New(c.cfg.Webhooks.AllowLocal), Catalogue: c.catalogue, Now: time.Now,
		NewID:   func() string { return "we_" + uuid.Must(uuid.NewV7()).String() },
		Observe: func(outcome string) { c.metrics.sent.WithLabelValues(outcome).Inc() }, Logger: c.log})
}

func newSentWebhooks(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_webhook_deliveries_total",
		Help: "Attempts to tell other systems of changes: delivered, or why not; and endpoint_disabled for each one that was given up."}, []string{"outcome"})
	reg.MustRegister(c)
	for _, outcome := range []string{"delivered", "endpoint_disabled"} {
		c.WithLabelValues(outcome) // so that the first one is an increase
	}
	return c
}

// watchDeliveries shows how much is still to be sent.
func (m *metrics) watchDeliveries(store interface {
	Backlog(ctx context.Context) (int64, error)
}) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "accord_webhook_delivery_backlog",
		Help: "Events that are still to be sent to enabled endpoints; NaN while the database does not answer."}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n, err := store.Backlog(ctx)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	}))
}
