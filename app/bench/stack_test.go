package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"

	"accord/adapters/auth"
	"accord/adapters/devstack"
	httpapi "accord/adapters/http"
	"accord/adapters/postgres"
	"accord/adapters/temporal"
	"accord/app/compose"
	"accord/app/config"
	"accord/app/inbox"
	measures "accord/app/metrics"
	app "accord/app/preferences"
	"accord/app/stream"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
	"accord/workflows/preferences"
)

// binDir is where `make stack` puts the Temporal CLI.
const binDir = "../../.accord/bin"

// quiet formats what is logged, as a process in service does, and throws it away.
func quiet() *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // DiscardHandler would not format
}

// stop runs at the end of the benchmark, when its context has ended already.
func stop(b *testing.B, what string, fn func(context.Context) error) {
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := fn(ctx); err != nil {
			b.Errorf("stop %s: %v", what, err)
		}
	})
}

// cluster is a Postgres that keeps what it has committed: what a commit costs is part of what is measured.
type cluster struct{ server *devstack.Postgres }

func startPostgres(b *testing.B) cluster {
	b.Helper()
	dir := b.TempDir()
	server, err := devstack.StartPostgres(b.Context(), devstack.PostgresOptions{DataDir: dir, Durable: true})
	require.NoError(b, err)
	stop(b, "Postgres", func(ctx context.Context) error { return errors.Join(server.Stop(ctx), devstack.RemovePostgres(dir)) })
	return cluster{server}
}

// database is the URL of a new database with the schema in it.
func (c cluster) database(b *testing.B, name string) string {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), c.server.AdminURL())
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.Background())) }()
	_, err = conn.Exec(b.Context(), "CREATE DATABASE "+name+" OWNER accord")
	require.NoError(b, err)
	u, err := url.Parse(c.server.URL())
	require.NoError(b, err)
	u.Path = "/" + name
	require.NoError(b, postgres.Migrate(b.Context(), u.String(), func(string, ...any) {}))
	return u.String()
}

// startTemporal starts a server as the development stack does, its database a file.
func startTemporal(b *testing.B, namespace string) *devstack.Temporal {
	b.Helper()
	server, err := devstack.StartTemporal(b.Context(), devstack.TemporalOptions{BinDir: binDir, Namespace: namespace,
		DBFile: filepath.Join(b.TempDir(), "temporal.db")})
	require.NoError(b, err)
	stop(b, "Temporal", server.Stop)
	return server
}

// configured has the defaults of everything.
func configured(b *testing.B, database, temporalAddress string) config.Config {
	b.Helper()
	cfg := config.Load(nil)
	cfg.DatabaseURL, cfg.TemporalAddress, cfg.LedgerKeys = config.Secret(database), temporalAddress, ledgerKey
	return cfg
}

// accord is the API and, where there are targets, a worker in this process, as `accord dev` runs them.
type accord struct {
	service *app.Service
	db      *postgres.DB
	runs    *temporal.Connection
	inbox   *inbox.Service
	handler http.Handler
	issuer  *auth.DevIssuer
	base    string // of the API
}

func startAccord(b *testing.B, cfg config.Config, targets map[preference.Target]ports.TargetSystem, tracer pgx.QueryTracer) *accord {
	b.Helper()
	a, catalogue := &accord{}, catalogueOf(b, cfg)
	var err error
	a.db, err = postgres.Open(b.Context(), postgres.Config{URL: cfg.DatabaseURL.Reveal(), MaxConns: cfg.DatabaseConns,
		Catalogue: catalogue, Keys: ledgerKeys(b), Cards: httpapi.NewCards(), Logger: quiet(), Tracer: tracer})
	require.NoError(b, err)
	stop(b, "the store", func(context.Context) error { return a.db.Close() })
	a.runs, err = temporal.Connect(temporal.Config{Address: cfg.TemporalAddress, Namespace: cfg.TemporalNamespace, Logger: quiet()})
	require.NoError(b, err)
	b.Cleanup(a.runs.Close)
	if targets != nil {
		a.work(b, cfg, catalogue, targets)
	}
	a.service = app.New(app.Config{Accounts: a.db, Operations: a.db, Devices: a.db, Ledger: a.db, Outcomes: a.db, Runs: a.runs, Catalogue: catalogue,
		GrantBudget: cfg.GrantBudget, Now: time.Now, NewID: newID, Logger: quiet()})
	b.Cleanup(a.service.Close)
	a.inbox = inbox.New(inbox.Config{Inboxes: a.db, Globals: a.db, Messages: a.db, Feeds: a.db, Deliveries: a.runs, Cards: httpapi.NewCards(),
		Now: time.Now, Logger: quiet()})
	b.Cleanup(a.inbox.Close)
	a.serve(b, catalogue)
	return a
}

func catalogueOf(b *testing.B, cfg config.Config) *preference.Catalogue {
	b.Helper()
	catalogue, err := cfg.Catalogue()
	require.NoError(b, err)
	return catalogue
}

func newID() string { return "op_" + uuid.Must(uuid.NewV7()).String() }

func (a *accord) work(b *testing.B, cfg config.Config, catalogue *preference.Catalogue, targets map[preference.Target]ports.TargetSystem) {
	b.Helper()
	require.NoError(b, a.runs.Setup(b.Context()))
	w := worker.New(a.runs.Client(), preferences.TaskQueue, compose.WorkerOptions(cfg, quiet()))
	preferences.Register(w, &preferences.Activities{Accounts: a.db, Operations: a.db, Steps: a.db, Outcomes: a.db, Runs: a.runs,
		Targets: targets, Catalogue: catalogue, Now: time.Now, NewID: newID, Logger: quiet()})
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
}

func (a *accord) serve(b *testing.B, catalogue *preference.Catalogue) {
	b.Helper()
	var err error
	a.issuer, err = auth.NewDevIssuer(b.TempDir())
	require.NoError(b, err)
	verifier, err := a.issuer.Verifier()
	require.NoError(b, err)
	measured := measures.New(measures.Config{Store: a.db, Catalogue: catalogue, Now: time.Now, Logger: quiet()})
	stop(b, "the measures", measured.Close)
	streams := stream.New(stream.Config{Events: a.db, Standings: a.db, Inbox: a.inbox, Logger: quiet()})
	b.Cleanup(streams.Close)
	a.handler, err = httpapi.New(httpapi.Config{Preferences: a.service, Operators: a.service, Inbox: a.inbox, Messages: a.inbox, LinkTargets: a.inbox, EmailLinks: struct{ ports.EmailLinks }{},
		Engagement: measured, Auditing: struct{ ports.Auditing }{}, Rights: struct{ ports.Rights }{}, Reconciliation: struct{ ports.Reconciliation }{}, Streams: streams, Endpoints: mocks.NewMockEndpoints(nil), Verifier: auth.NewCache(verifier, a.issuer), Catalogue: catalogue, Metrics: prometheus.NewRegistry(), Logger: quiet(), Build: "bench"})
	require.NoError(b, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := httpapi.NewServer(a.handler, ln.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	stop(b, "the API", func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if said := <-ended; !errors.Is(said, http.ErrServerClosed) {
			err = errors.Join(err, said)
		}
		return err
	})
	a.base = "http://" + ln.Addr().String()
}

// startWhole runs everything the way `accord dev` does, against servers that are there already: with the adapters for the
// vendors, and the sandbox that emulates them.
func startWhole(b *testing.B, cfg config.Config) (base string, issuer *auth.DevIssuer) {
	b.Helper()
	cfg.StateDir = b.TempDir()
	cfg.HTTPAddr, cfg.SandboxAddr = freeAddr(b), freeAddr(b)
	ctx, end := context.WithCancel(context.Background())
	said := &ready{text: "Accord is ready", seen: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- compose.Dev(ctx, cfg, said) }()
	stop(b, "Accord", func(context.Context) error { end(); return <-ended })
	select {
	case <-said.seen:
	case err := <-ended:
		ended <- err
		b.Fatalf("Accord ended before it was ready: %v", err)
	}
	issuer, err := auth.NewDevIssuer(filepath.Join(cfg.StateDir, "dev-issuer"))
	require.NoError(b, err)
	return "http://" + cfg.HTTPAddr, issuer
}

func freeAddr(b *testing.B) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer ln.Close()
	return ln.Addr().String()
}

// ready waits for a text in what a command prints.
type ready struct {
	text string
	seen chan struct{}
	once atomic.Bool
}

func (r *ready) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(r.text)) && r.once.CompareAndSwap(false, true) {
		close(r.seen)
	}
	return len(p), nil
}
