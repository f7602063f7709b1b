package compose

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// changes measures what becomes of changes, where they are stored: whoever asks for one, it goes through there. A count is
// taken after the commit, so a crash between the two loses it; the ledger is the truth, this is for rates.
type changes struct {
	accepted *prometheus.CounterVec
	settled  *prometheus.CounterVec
	took     *prometheus.HistogramVec
	hold     prometheus.Histogram
	parked   prometheus.Counter
	unstored *prometheus.CounterVec
	starts   *prometheus.CounterVec
	replays  prometheus.Counter
}

func newChanges(reg prometheus.Registerer) *changes {
	c := &changes{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_operations_accepted_total",
			Help: "Operations accepted, by kind and source."}, []string{"kind", "source"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_operations_settled_total",
			Help: "Operations settled, by outcome, kind, source and the target that refused (empty for none)."}, []string{"outcome", "kind", "source", "target"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "accord_operation_duration_seconds",
			Help:    "Time from an operation's acceptance to its end, by kind and outcome.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 150, 600, 3600, 6 * 3600, 24 * 3600}}, []string{"kind", "outcome"}),
		hold: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "accord_withdrawal_hold_seconds",
			Help:    "Time it took to store a withdrawal; when it is stored its hold is on.",
			Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		parked: prometheus.NewCounter(prometheus.CounterOpts{Name: "accord_operations_parked_total",
			Help: "Withdrawals that a target refused for good and that were put to the operators."}),
		unstored: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_ledger_append_failures_total",
			Help: "Times that ledger entries could not be stored, together with the change they are about, by the kind of failure."}, []string{"failure"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "accord_run_starts_total",
			Help: "Starts of runs by outcome (started, open, failed); restart says that the sweeper found a turn that may have lost its run."}, []string{"restart", "outcome"}),
		replays: prometheus.NewCounter(prometheus.CounterOpts{Name: "accord_idempotent_replays_total",
			Help: "Requests that were answered with the operation of an earlier one with their key."}),
	}
	// There from the start, so that the first one counts as an increase.
	for _, kind := range []preference.Kind{preference.Grant, preference.Withdrawal} {
		c.accepted.WithLabelValues(string(kind), string(preference.FromApp))
		for _, outcome := range []preference.Status{preference.Applied, preference.Compensated} {
			c.took.WithLabelValues(string(kind), string(outcome))
			c.settled.WithLabelValues(string(outcome), string(kind), string(preference.FromApp), "")
		}
	}
	for _, failure := range []fault.Kind{fault.Unavailable, fault.Internal} {
		c.unstored.WithLabelValues(failure.String())
	}
	for _, outcome := range []string{"started", "open", "failed"} {
		c.starts.WithLabelValues("false", outcome)
		c.starts.WithLabelValues("true", outcome)
	}
	reg.MustRegister(c.accepted, c.settled, c.took, c.hold, c.parked, c.unstored, c.starts, c.replays)
	return c
}

func (c *changes) started(restart bool, outcome string) {
	c.starts.WithLabelValues(strconv.FormatBool(restart), outcome).Inc()
}

// measured counts what is done to accounts.
func (c *changes) measured(accounts ports.Accounts) ports.Accounts {
	return &measuredAccounts{accounts, c}
}

type measuredAccounts struct {
	ports.Accounts
	c *changes
}

// done is what a function has done to an account in its last attempt: the store may call it more than once.
type done struct {
	ops    []*preference.Operation
	events []consent.Link
}

func (d *done) take(acc *preference.Account, err error) error {
	if *d = (done{}); err == nil {
		d.ops, d.events = acc.Pending()
	}
	return err
}

// Update implements ports.Accounts.
func (m *measuredAccounts) Update(ctx context.Context, customer preference.CustomerID, key string, fn func(*preference.Account) error) error {
	var d done
	began := time.Now()
	err := m.Accounts.Update(ctx, customer, key, func(acc *preference.Account) error { return d.take(acc, fn(acc)) })
	m.c.note(d, err, time.Since(began))
	return err
}

// UpdateOperation implements ports.Accounts.
func (m *measuredAccounts) UpdateOperation(ctx context.Context, id string, fn func(*preference.Account, *preference.Operation) error) error {
	var d done
	began := time.Now()
	err := m.Accounts.UpdateOperation(ctx, id, func(acc *preference.Account, op *preference.Operation) error { return d.take(acc, fn(acc, op)) })
	m.c.note(d, err, time.Since(began))
	return err
}

// UpdateStill implements ports.Accounts.
func (m *measuredAccounts) UpdateStill(ctx context.Context, id string, fn func(*preference.Account, *preference.Operation, bool) error) error {
	var d done
	began := time.Now()
	err := m.Accounts.UpdateStill(ctx, id, func(acc *preference.Account, op *preference.Operation, reached bool) error {
		return d.take(acc, fn(acc, op, reached))
	})
	m.c.note(d, err, time.Since(began))
	return err
}

// note counts by the ledger's events: there is exactly one for each thing that happens.
func (c *changes) note(d done, err error, took time.Duration) {
	if len(d.events) == 0 {
		return
	}
	if err != nil {
		c.unstored.WithLabelValues(fault.KindOf(err).String()).Inc()
		return
	}
	for _, e := range d.events {
		for _, op := range d.ops {
			if op.ID == e.Operation {
				c.count(e.Event, op, took)
				break
			}
		}
	}
}

func (c *changes) count(event consent.Event, op *preference.Operation, took time.Duration) {
	switch event {
	case consent.Requested:
		c.accepted.WithLabelValues(string(op.Kind), string(op.Source)).Inc()
		if op.Kind == preference.Withdrawal {
			c.hold.Observe(took.Seconds())
		}
	case consent.Applied, consent.Compensated:
		target := ""
		if op.Reason != nil {
			target = op.Reason.Target
		}
		c.settled.WithLabelValues(string(event), string(op.Kind), string(op.Source), target).Inc()
		c.took.WithLabelValues(string(op.Kind), string(event)).Observe(op.SettledAt.Sub(op.AcceptedAt).Seconds())
	case consent.NeedsAttention:
		c.parked.Inc()
	case consent.RetryRequested, consent.CompensationRequested, consent.Erased: // what comes of them counts
	}
}

// replaying counts repeated requests.
type replaying struct {
	ports.Preferences
	replays prometheus.Counter
}

// Change implements ports.Preferences.
func (r replaying) Change(ctx context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	result, err := r.Preferences.Change(ctx, c)
	if result.Replayed {
		r.replays.Inc()
	}
	return result, err
}
