// Package compose is the composition root: it puts the adapters behind the ports, and each command's parts together.
// Everything is built here and passed down; nothing is global.
package compose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/collectors"

	httpapi "accord/adapters/http"
	"accord/adapters/postgres"
	"accord/adapters/telemetry"
	"accord/adapters/temporal"
	"accord/app/config"
	"accord/app/inbox"
	measures "accord/app/metrics"
	app "accord/app/preferences"
	"accord/app/rights"
	"accord/domain/preference"
	"accord/ports"
)

// core is what the API and the worker both stand on.
type core struct {
	cfg       config.Config
	log       *slog.Logger
	catalogue *preference.Catalogue
	db        *postgres.DB
	accounts  ports.Accounts // the database's, measured
	temporal  *temporal.Connection
	metrics   *metrics
	inbox     *inbox.Service
	measures  *measures.Service
	tracing   *telemetry.Tracing
}

// openCore connects to Postgres, which must be there and migrated, and prepares the connection to Temporal, which need
// not be there yet.
func openCore(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *core, err error) {
	catalogue, err := cfg.Catalogue()
	if err != nil {
		return nil, err
	}
	log = telemetry.WithIDs(log)
	c := &core{cfg: cfg, log: log, catalogue: catalogue, metrics: newMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.tracing, err = startTracing(ctx, cfg.Tracing, log); err != nil {
		return c, err
	}
	chainKeys, err := ledgerKeys(cfg)
	if err != nil {
		return c, err
	}
	c.db, err = postgres.Open(ctx, postgres.Config{URL: cfg.DatabaseURL.Reveal(), MaxConns: cfg.DatabaseConns, Catalogue: catalogue, Keys: chainKeys, Cards: httpapi.NewCards(), Logger: log,
		Spans: c.tracing.Tracer("postgres")})
	if err != nil {
		return c, fmt.Errorf("database: %w", err)
	}
	c.accounts = c.metrics.changes.measured(c.db)
	pending, err := c.db.Pending(ctx)
	if err != nil {
		return c, fmt.Errorf("database: %w", err)
	}
	if pending {
		return c, errors.New("database: migrations are pending; run `accord migrate` first")
	}
	keys, err := temporalKeys(cfg)
	if err != nil {
		return c, err
	}
	library, err := c.metrics.temporalLibrary()
	if err != nil {
		return c, err
	}
	c.temporal, err = temporal.Connect(temporal.Config{Address: cfg.TemporalAddress, Namespace: cfg.TemporalNamespace, UIAddress: cfg.TemporalUI,
		PullEvery: cfg.Inbox.PullEvery, ReconcileEvery: cfg.Reconciliation.Every, SealEvery: cfg.CheckpointEvery, Keys: keys, Logger: log, Tracer: c.tracing.Tracer("temporal"),
		Started: c.metrics.changes.started, Metrics: library})
	if err != nil {
		return c, err
	}
	c.metrics.watchOperations(c.db)
	c.metrics.watchDeliveries(c.db)
	c.metrics.watchRounds(c.db)
	c.metrics.watchSeals(c.db)
	c.metrics.registry.MustRegister(collectors.NewDBStatsCollector(c.db.Pool(), "accord"))
	c.measures = measures.New(measures.Config{Store: c.db, Catalogue: catalogue, Now: time.Now, Logger: log})
	return c, c.openInbox()
}

// openInbox builds the use cases of the inbox. API and worker of one process share them, and so what they know of it.
func (c *core) openInbox() error {
	campaigns, customers, err := engagement(c.outside())
	if err != nil {
		return err
	}
	if campaigns != nil {
		c.metrics.watchCampaigns(c.db)
	}
	i := c.cfg.Inbox
	c.inbox = inbox.New(inbox.Config{Inboxes: c.db, Globals: c.db, Messages: c.db,
		Feeds: measuredFeeds{c.db, c.metrics.inboxes}, Campaigns: campaigns, Customers: customers,
		Deliveries: c.temporal, Cards: httpapi.NewCards(), Now: time.Now, Logger: c.log, Limits: inbox.Limits{MaxAge: i.MaxAge, OwnTTL: i.OwnTTL,
			PullBudget: i.PullBudget, Pulls: i.Pulls, RefreshBudget: i.RefreshBudget, RefreshEvery: i.RefreshEvery, RefreshBurst: i.RefreshBurst,
			Retention: i.Retention}})
	return nil
}

func (c *core) close() (err error) {
	if c.inbox != nil {
		c.inbox.Close()
	}
	if c.measures != nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.cfg.StopTimeout)
		defer cancel()
		err = c.measures.Close(ctx) // what was noted last
	}
	if c.temporal != nil {
		c.temporal.Close()
	}
	if c.db != nil {
		err = errors.Join(err, c.db.Close())
	}
	return errors.Join(err, c.stopTracing())
}

// service builds the use cases.
func (c *core) service() *app.Service {
	return app.New(app.Config{Accounts: c.accounts, Operations: c.db, Devices: c.db, Ledger: c.db, Outcomes: c.db, Runs: c.temporal, Catalogue: c.catalogue,
		GrantBudget: c.cfg.GrantBudget, RefreshAfter: c.cfg.Devices.RefreshAfter, StaleAfter: c.cfg.Devices.StaleAfter, Now: time.Now, NewID: newOperationID, Logger: c.log})
}

// rights builds the use cases of what a person may demand, over those of the preferences.
func (c *core) rights(service *app.Service) *rights.Service {
	return rights.New(rights.Config{Preferences: service, Operators: service, Ledger: c.db, Inbox: c.inbox, Data: c.db, Erasures: c.db, Now: time.Now})
}

// newOperationID is ordered by time, which keeps the index of operations compact.
func newOperationID() string { return "op_" + uuid.Must(uuid.NewV7()).String() }
