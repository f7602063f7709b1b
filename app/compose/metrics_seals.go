package compose

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"accord/ports"
)

// watchSeals adds how far the ledger is sealed. An alert is made of both: entries wait, and the last checkpoint is old.
func (m *metrics) watchSeals(seals ports.Seals) { m.registry.MustRegister(&sealState{seals}) }

type sealState struct{ seals ports.Seals }

var (
	unsealedDesc = prometheus.NewDesc("accord_ledger_unsealed_entries", "Entries of the ledger that no checkpoint covers yet.", nil, nil)
	sealAgeDesc  = prometheus.NewDesc("accord_ledger_checkpoint_age_seconds", "Time since the last checkpoint of the ledger; 0 while nothing waits for one, or none was ever made.", nil, nil)
)

func (*sealState) Describe(ch chan<- *prometheus.Desc) {
	ch <- unsealedDesc
	ch <- sealAgeDesc
}

// Collect asks the database at each scrape.
func (s *sealState) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	state, err := s.seals.SealState(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(unsealedDesc, err)
		return
	}
	age := 0.0
	if state.Unsealed > 0 && !state.Last.IsZero() {
		age = time.Since(state.Last).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(unsealedDesc, prometheus.GaugeValue, float64(state.Unsealed))
	ch <- prometheus.MustNewConstMetric(sealAgeDesc, prometheus.GaugeValue, age)
}
