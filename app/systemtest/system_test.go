package systemtest

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/auth"
	"accord/adapters/checkpoint"
	"accord/adapters/devstack/stacktest"
	"accord/adapters/postgres"
	"accord/app/compose"
	"accord/app/config"
)

// These tests wait more than they work, so more of them can run at once than there are cores. With many more, a small
// machine is so busy that budgets run out which are none of the test's.
func TestMain(m *testing.M) {
	flag.Parse()
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", "6")
	}
	stacktest.Main(m)
}

func given(name string) (yes bool) {
	flag.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

// system is a running Accord of a test's own: API, worker and sandbox in this process, so that the race detector sees
// all of them, a database and a Temporal namespace of its own.
type system struct {
	client
	cfg config.Config
}

// start brings a system up and stops it with the test. change may adjust the configuration.
func start(t *testing.T, change func(*config.Config)) *system {
	t.Helper()
	cfg := configure(t)
	if change != nil {
		change(&cfg)
	}
	issuer, err := auth.NewDevIssuer(t.TempDir())
	require.NoError(t, err)
	jwks := httptest.NewServer(issuer)
	t.Cleanup(jwks.Close)
	cfg.JWKSURL, cfg.JWTIssuer, cfg.JWTAudience = jwks.URL, auth.DevIssuerName, auth.DevAudience

	s := &system{cfg: cfg, client: newClient("http://"+cfg.HTTPAddr, "http://"+cfg.SandboxAddr, issuer)}
	background(t, func(ctx context.Context) error { return compose.Sandbox(ctx, cfg, quiet(t)) })
	background(t, func(ctx context.Context) error { return compose.Serve(ctx, cfg, quiet(t)) })
	background(t, func(ctx context.Context) error { return compose.Worker(ctx, cfg, quiet(t)) })
	t.Cleanup(s.http.CloseIdleConnections)
	s.awaitReady(t)
	s.awaitWorker(t)
	return s
}

// configure makes the settings of a system: a migrated database, a namespace, free ports, short limits.
func configure(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Load(nil)
	url := stacktest.PostgresFrom(t, "accord", func(url string) error {
		return postgres.Migrate(context.Background(), url, func(string, ...any) {})
	})
	cfg.DatabaseURL, cfg.LedgerKeys = config.Secret(url), ledgerKey
	cfg.CheckpointKey = config.Secret(checkpointKey())
	cfg.TemporalAddress, cfg.TemporalNamespace = stacktest.TemporalNamespace(t)
	cfg.HTTPAddr, cfg.SandboxAddr = freeAddr(t), freeAddr(t)
	cfg.SandboxApplyDelay = 3 * time.Millisecond
	cfg.GrantBudget = 12 * time.Second
	cfg.Vendors.Timeout = 2 * time.Second
	cfg.StopTimeout = 10 * time.Second // net/http takes a connection that was opened and not used yet for busy for five
	return compose.WithSandboxVendors(cfg)
}

// ledgerKey wraps the ledger's data keys in every test.
const ledgerKey = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// checkpointKey signs checkpoints in every test.
var checkpointKey = sync.OnceValue(func() string {
	key, err := checkpoint.NewKey("accord.test")
	if err != nil {
		panic(err)
	}
	return key
})

// background runs a part until the test ends, and fails the test when the part does.
func background(t *testing.T, part func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Error("a part of the system did not stop")
		}
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// quiet logs into a file when ACCORD_TEST_LOG_DIR asks for it.
func quiet(t *testing.T) *slog.Logger {
	dir := os.Getenv("ACCORD_TEST_LOG_DIR")
	if dir == "" {
		return slog.New(slog.DiscardHandler)
	}
	f, err := os.OpenFile(filepath.Join(dir, filepath.Base(t.Name())+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return slog.New(slog.NewTextHandler(io.Writer(f), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
