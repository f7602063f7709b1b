// Package temporal is the client side of Temporal: it starts and wakes runs, and sets up what the workflows need in the
// namespace. The workflows themselves know nothing of it.
package temporal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/workflows/preferences"
)

// Config says where Temporal is.
type Config struct {
	Address      string        // host:port
	Namespace    string        // default "default"
	UIAddress    string        // base URL of the Temporal UI for links, empty for none
	StartTimeout time.Duration // how long a start may take before it counts as unreachable, default 5 s
	// PullEvery bounds how old the campaigns here may be, and how long a delivery waits whose run could not be started;
	// default 20 s.
	PullEvery time.Duration
	// ReconcileEvery is how often somebody looks who is to be compared with the targets; default 30 s.
	ReconcileEvery time.Duration
	// SealEvery bounds how long what was added to the ledger waits for a checkpoint; 0 for a minute.
	SealEvery time.Duration
	// Keys encrypt what Temporal keeps: the first encrypts, all of them decrypt. None leaves it readable.
	Keys    []Key
	Logger  *slog.Logger
	Tracer  trace.Tracer          // traces runs, their activities and what starts them; nil for none
	Metrics client.MetricsHandler // is told what the library measures; nil for none
	// Started is told what came of each start: started, open (there was such a run) or failed; nil for nobody. restart tells
	// the sweeper's from those in time. It must not block.
	Started func(restart bool, outcome string)
}

// Connection is a lazy connection: making one succeeds with Temporal down, and calls reconnect by themselves.
type Connection struct {
	client   client.Client
	cfg      Config
	restarts bool
}

var _ ports.Runs = (*Connection)(nil)

// Connect never waits for Temporal.
func Connect(cfg Config) (*Connection, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = client.DefaultNamespace
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 5 * time.Second
	}
	if cfg.SealEvery == 0 {
		cfg.SealEvery = defaultSealEvery
	}
	if cfg.PullEvery == 0 {
		cfg.PullEvery = defaultPullEvery
	}
	if cfg.ReconcileEvery == 0 {
		cfg.ReconcileEvery = defaultReconcileEvery
	}
	if cfg.Started == nil {
		cfg.Started = func(bool, string) {}
	}
	traced, err := interceptors(cfg.Tracer)
	if err != nil {
		return nil, fmt.Errorf("temporal client: %w", err)
	}
	options := client.Options{HostPort: cfg.Address, Namespace: cfg.Namespace, Logger: tlog.NewStructuredLogger(cfg.Logger),
		Interceptors: traced, MetricsHandler: cfg.Metrics,
		// What we send is small and the server near: compressing it costs both sides more than it saves on the way.
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}}}
	if len(cfg.Keys) > 0 {
		encryption, err := NewEncryption(cfg.Keys...)
		if err != nil {
			return nil, fmt.Errorf("temporal client: %w", err)
		}
		options.DataConverter = encryption // a worker takes its client's
		// Messages stay readable, they say no more than a code; what a failure carries along is encrypted.
		options.FailureConverter = temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: encryption})
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("temporal client: %w", err)
	}
	return &Connection{client: c, cfg: cfg}, nil
}

// Restarts is the connection for the sweeper, whose starts are counted apart, each in a trace of its own. It shares what it
// is of: only one of the two is closed.
func (c *Connection) Restarts() *Connection {
	out := *c
	out.restarts = true
	return &out
}

// Client for the worker.
func (c *Connection) Client() client.Client { return c.client }

// Close ends the connection.
func (c *Connection) Close() { c.client.Close() }

// Start implements ports.Runs. The id of a run that is open makes a second start fail, which is what we want to know.
func (c *Connection) Start(ctx context.Context, r ports.Run) error {
	ctx, done := c.apart(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	options := client.StartWorkflowOptions{
		ID:                                       preferences.WorkflowID(r.Customer, r.Number),
		TaskQueue:                                preferences.TaskQueue,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         true, // the first task comes with the answer when a worker is in this process
		StaticSummary:                            fmt.Sprintf("%s: %s", r.Kind, r.Summary),
		TypedSearchAttributes:                    temporal.NewSearchAttributes(preferences.AttributesOf(r.Operation, r.Kind, r.Source, r.Targets)...),
	}
	err := c.start(ctx, options, preferences.ChangeWorkflow, preferences.InputFor(r))
	var open *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		c.cfg.Started(c.restarts, "started")
		return nil
	case errors.As(err, &open):
		c.cfg.Started(c.restarts, "open")
		return nil
	}
	c.cfg.Started(c.restarts, "failed")
	return c.unavailable(ctx, "start", err)
}

// start makes the search attributes and tries again when the namespace does not know them (yet): on a new cluster the
// first change must not be refused because it was quicker than the first worker.
func (c *Connection) start(ctx context.Context, options client.StartWorkflowOptions, workflow string, in any) error {
	for {
		_, err := c.client.ExecuteWorkflow(ctx, options, workflow, in)
		var unknown *serviceerror.InvalidArgument
		if !errors.As(err, &unknown) {
			return err
		}
		if setup := c.searchAttributes(ctx); setup != nil {
			return errors.Join(err, setup)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Wake implements ports.Runs.
func (c *Connection) Wake(ctx context.Context, customer preference.CustomerID, number int64) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	err := c.client.SignalWorkflow(ctx, preferences.WorkflowID(customer, number), "", preferences.DecisionSignal, nil)
	var gone *serviceerror.NotFound
	if err == nil || errors.As(err, &gone) {
		return nil
	}
	return c.unavailable(ctx, "wake", err)
}

// Link implements ports.Runs.
func (c *Connection) Link(customer preference.CustomerID, number int64) string {
	if c.cfg.UIAddress == "" || number == 0 {
		return ""
	}
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s", c.cfg.UIAddress, url.PathEscape(c.cfg.Namespace),
		url.PathEscape(preferences.WorkflowID(customer, number)))
}

// Ready implements ports.Readiness.
func (c *Connection) Ready(ctx context.Context) error {
	if _, err := c.client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return c.unavailable(ctx, "health check", err)
	}
	return nil
}

func (c *Connection) unavailable(ctx context.Context, what string, err error) error {
	c.cfg.Logger.WarnContext(ctx, "temporal call failed", "call", what, "error", err)
	return fault.New(fault.Unavailable, "unavailable", "the workflow service can't be reached")
}
