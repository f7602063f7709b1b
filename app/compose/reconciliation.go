package compose

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	app "accord/app/preferences"
	"accord/app/reconcile"
	"accord/domain/preference"
	"accord/ports"
)

// reconciliation builds the use case that compares targets with us, over those of the preferences.
func (c *core) reconciliation(service *app.Service, systems map[preference.Target]ports.TargetSystem) *reconcile.Service {
	r := c.cfg.Reconciliation
	return reconcile.New(reconcile.Config{Store: c.db, Accounts: c.db, Preferences: service, Targets: systems, Now: time.Now, Logger: c.log,
		Window: r.Window, Rate: r.Rate, SecondLook: r.SecondLook, Observe: c.metrics.drift})
}

// onRequest has customers compared at once, where Temporal can be reached.
type onRequest struct{ c *core }

// Ask implements ports.Reconciliation. What is stored is done by the schedule, should the call to run it now be lost.
func (a onRequest) Ask(ctx context.Context, customers []preference.CustomerID) error {
	if err := a.c.db.AskFor(ctx, customers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // to be there a little sooner is not worth more
	defer cancel()
	if err := a.c.temporal.ReconcileNow(ctx); err != nil {
		a.c.log.WarnContext(ctx, "reconciliation not run at once; its schedule does it", "error", err)
	}
	return nil
}

// driftMetrics measures what reconciliation finds.
type driftMetrics struct {
	found, repaired *prometheus.CounterVec
	checked         prometheus.Counter
}

func newDriftMetrics(reg prometheus.Registerer) *driftMetrics {
	by := []string{"target", "field"}
	m := &driftMetrics{
		found: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_drift_found_total",
			Help: "Items that a target held differently from what it should, by target and kind of item."}, by),
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_drift_repaired_total",
			Help: "Those of them for which a change was accepted that ends it: the target is put right, or the customer's withdrawal there is taken over."}, by),
		checked: prometheus.NewCounter(prometheus.CounterOpts{Name: "accord_reconciliation_customers_checked_total",
			Help: "Customers who were compared with every target."})}
	for _, t := range preference.Targets {
		for _, kind := range preference.ItemKinds[t] {
			m.found.WithLabelValues(string(t), string(kind))
			m.repaired.WithLabelValues(string(t), string(kind))
		}
	}
	reg.MustRegister(m.found, m.repaired, m.checked)
	return m
}

// Checked implements reconcile.Observer, as do Found and Repaired.
func (m *driftMetrics) Checked() { m.checked.Inc() }

// Found counts a drift.
func (m *driftMetrics) Found(t preference.Target, d preference.Drift) {
	m.found.WithLabelValues(string(t), string(d.Item.Kind)).Inc()
}

// Repaired counts a drift that is being ended.
func (m *driftMetrics) Repaired(t preference.Target, d preference.Drift) {
	m.repaired.WithLabelValues(string(t), string(d.Item.Kind)).Inc()
}

// watchRounds shows how long ago everybody was compared.
func (m *metrics) watchRounds(store ports.ReconciliationStore) {
	m.registry.MustRegister(&roundAge{store})
}

type roundAge struct{ store ports.ReconciliationStore }

var roundDesc = prometheus.NewDesc("accord_reconciliation_round_age_seconds", "How long ago the last round ended that has compared everybody; since the first one began, until it ends.", nil, nil)

// Describe implements prometheus.Collector.
func (*roundAge) Describe(ch chan<- *prometheus.Desc) { ch <- roundDesc }

// Collect asks the database at each scrape.
func (r *roundAge) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	age, err := r.store.RoundAge(ctx)
	if err != nil {
		return // as everywhere: what the database does not tell is left out, and the rest is still shown
	}
	ch <- prometheus.MustNewConstMetric(roundDesc, prometheus.GaugeValue, age.Seconds())
}
