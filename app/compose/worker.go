package compose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	httpapi "accord/adapters/http"
	"accord/app/config"
	sealing "accord/app/ledger"
	"accord/ports"
	"accord/workflows/devices"
	"accord/workflows/inbox"
	"accord/workflows/ledger"
	upkeep "accord/workflows/metrics"
	"accord/workflows/preferences"
	"accord/workflows/reconciliation"
)

// Worker runs the saga until ctx ends, then lets running steps finish. It waits for Temporal as long as it takes.
func Worker(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := cfg.Validate(config.NeedDatabase, config.NeedTemporal, config.NeedLedgerKeys, config.NeedCheckpointKey, config.NeedVendors); err != nil {
		return err
	}
	c, err := openCore(ctx, named(cfg, "accord-worker"), log)
	if err != nil {
		return err
	}
	stopProfiles, err := c.serveProfiles(ctx)
	if err != nil {
		return errors.Join(err, c.close())
	}
	defer stopProfiles()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.serveOps(gctx) })
	g.Go(func() error { return c.runWorker(gctx, func() { log.Info("worker is ready") }) })
	return errors.Join(g.Wait(), c.close())
}

// serveOps answers health checks and scrapes where ACCORD_WORKER_ADDR says.
func (c *core) serveOps(ctx context.Context) error {
	if c.cfg.WorkerAddr == "" {
		return nil
	}
	ln, err := listen(ctx, "ACCORD_WORKER_ADDR", c.cfg.WorkerAddr)
	if err != nil {
		return err
	}
	handler, err := httpapi.NewOps(map[string]ports.Readiness{"database": c.db, "temporal": c.temporal}, c.metrics.registry, c.log, Build)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	return serve(ctx, ln, httpapi.NewServer(handler, c.cfg.WorkerAddr), c.cfg.StopTimeout)
}

// runWorker calls ready once the worker polls.
func (c *core) runWorker(ctx context.Context, ready func()) error {
	systems, err := targets(c.outside())
	if err != nil {
		return err
	}
	acts := &preferences.Activities{Accounts: c.accounts, Operations: c.db, Steps: c.db, Outcomes: c.db, Erasures: c.db, Runs: c.temporal, Restarts: c.temporal.Restarts(), Targets: systems,
		Catalogue: c.catalogue, Now: time.Now, NewID: newOperationID, Logger: c.log}
	notary, err := c.notary()
	if err != nil {
		return err
	}
	if err := c.untilTemporalAnswers(ctx); err != nil {
		return nil // asked to stop while waiting
	}
	w := worker.New(c.temporal.Client(), preferences.TaskQueue, WorkerOptions(c.cfg, c.log))
	preferences.Register(w, acts)
	// Apart, so that a million inboxes to fill do not keep a change of somebody's preferences waiting.
	own := worker.New(c.temporal.Client(), inbox.TaskQueue, upkeepOptions(c.cfg, c.log))
	inbox.Register(own, &inbox.Activities{Upkeep: measuredUpkeep{c.inbox, c.metrics.inboxes}, Now: time.Now, Logger: c.log})
	upkeep.Register(own, &upkeep.Activities{Upkeep: c.measures})
	service := c.service()
	defer service.Close()
	reconciliation.Register(own, &reconciliation.Activities{Upkeep: c.reconciliation(service, systems)})
	ledger.Register(own, &ledger.Activities{Upkeep: &sealing.Sealer{Seals: c.db, Notary: notary, Now: time.Now}})
	devices.Register(own, &devices.Activities{Upkeep: service})
	if err := w.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	defer w.Stop()
	if err := own.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	defer own.Stop()
	if _, err := acts.SweepNow(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("first sweep failed; the schedule goes on", "error", err)
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { c.subscribers().Run(ctx) })
	ready()
	if _, err := c.inbox.PullCampaigns(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("first reading of the campaign feed failed; the schedule goes on", "error", err)
	}
	<-ctx.Done()
	return nil
}

// WorkerOptions are what a worker runs with. Local activities are nothing but transactions, and get a connection each. Of
// steps and workflow tasks there may be as many at a time as the library allows (1000): a step waits for vendors, and for
// Temporal to take its answer, more than for the database; one that finds no room is not handed over at once (eagerly) but
// comes by way of a queue, which costs Temporal more and the change seconds. The stop time lets a step finish rather than
// be repeated elsewhere.
//
// Pollers scale by themselves. That is not for speed: a fixed number of them is shared between the task queue and the
// worker's own sticky one, and as long as the latter has a backlog all of them go there. Under a burst, runs that were
// not started eagerly then waited for minutes. Scaling pollers keep some on each.
func WorkerOptions(cfg config.Config, log *slog.Logger) worker.Options {
	scaling := worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{})
	return worker.Options{
		MaxConcurrentLocalActivityExecutionSize: cfg.DatabaseConns,
		WorkflowTaskPollerBehavior:              scaling,
		ActivityTaskPollerBehavior:              scaling,
		WorkerStopTimeout:                       cfg.StopTimeout / 2,
		DisableRegistrationAliasing:             true,
		OnFatalError:                            func(err error) { log.Error("worker stopped", "error", err) },
	}
}

// upkeepOptions are for what nobody waits for: a few at a time leave the connections to those who do.
func upkeepOptions(cfg config.Config, log *slog.Logger) worker.Options {
	return worker.Options{
		MaxConcurrentActivityExecutionSize:     4,
		MaxConcurrentWorkflowTaskExecutionSize: 16,
		WorkerStopTimeout:                      cfg.StopTimeout / 2,
		DisableRegistrationAliasing:            true,
		OnFatalError:                           func(err error) { log.Error("worker stopped", "error", err) },
	}
}

// untilTemporalAnswers sets up search attributes and the sweeper, again and again until Temporal is there.
func (c *core) untilTemporalAnswers(ctx context.Context) error {
	pause := time.NewTicker(500 * time.Millisecond)
	defer pause.Stop()
	for warned := false; ; warned = true {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.temporal.Setup(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if !warned {
			c.log.Warn("waiting for Temporal", "address", c.cfg.TemporalAddress, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}
