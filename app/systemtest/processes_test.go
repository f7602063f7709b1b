package systemtest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/auth"
	"accord/adapters/devstack"
	running "accord/app/systemtest/process"
)

// bin is .accord/bin of this checkout: the Temporal CLI is there, and the command under test goes there.
var bin = filepath.Join("..", "..", ".accord", "bin")

// command is the accord command, built once for a test process. It is built as it is shipped: the race detector watches
// the same code in the tests that run it in this process.
var command = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.Join(bin, "accord-systemtest"))
	if err != nil {
		return "", err
	}
	return path, running.Build(context.Background(), path)
})

// processes is Accord as it runs scaled out: every part is a process of its own that can be killed and started again,
// the servers below included, each of them this test's own.
type processes struct {
	client
	owner *testing.T // ends what its subtests have started
	logs  string
	env   []string

	postgresAt devstack.PostgresOptions
	temporalAt devstack.TemporalOptions
	postgres   *devstack.Postgres
	temporal   *devstack.Temporal
	sandboxing *process
	api        *process
	workers    []*process
}

// startProcesses brings everything up with one worker, and stops it with the test.
func startProcesses(t *testing.T) *processes {
	t.Helper()
	_, err := command()
	require.NoError(t, err)
	dir := t.TempDir()
	// As root, Postgres runs as another user, who has to pass through.
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	p := &processes{owner: t, logs: logFolder(t, dir)}
	p.postgresAt = devstack.PostgresOptions{DataDir: filepath.Join(dir, "postgres"), Durable: true}
	p.temporalAt = devstack.TemporalOptions{BinDir: bin, DBFile: filepath.Join(dir, "temporal", "temporal.db")}

	issuer, err := auth.NewDevIssuer(filepath.Join(dir, "issuer"))
	require.NoError(t, err)
	jwks := httptest.NewServer(issuer)
	t.Cleanup(jwks.Close)
	api, sandbox := freeAddr(t), freeAddr(t)
	p.client = newClient("http://"+api, "http://"+sandbox, issuer)
	t.Cleanup(p.http.CloseIdleConnections)

	p.startServers(t)
	p.env = append(os.Environ(), "ACCORD_HTTP_ADDR="+api, "ACCORD_SANDBOX_ADDR="+sandbox,
		"ACCORD_SANDBOX_STATE="+filepath.Join(dir, "sandbox.journal"),
		"ACCORD_DATABASE_URL="+p.postgres.URL(), "ACCORD_LEDGER_KEYS="+ledgerKey, "ACCORD_CHECKPOINT_KEY="+checkpointKey(), "ACCORD_TEMPORAL_ADDRESS="+p.temporal.Address(),
		"ACCORD_JWT_JWKS_URL="+jwks.URL, "ACCORD_JWT_ISSUER="+auth.DevIssuerName, "ACCORD_JWT_AUDIENCE="+auth.DevAudience,
		// Long enough that a held call is still in flight when the victim is killed, however slow the machine.
		"ACCORD_VENDOR_TIMEOUT=8s", "ACCORD_STOP_TIMEOUT=5s", "ACCORD_LOG_LEVEL=debug")
	p.env = append(p.env, p.sandboxSettings(t)...)
	p.accord(t, "migrate")

	p.sandboxing = p.launch(t, "sandbox", "sandbox")
	p.startAPI(t)
	p.startWorker(t)
	p.awaitReady(t)
	return p
}

func logFolder(t *testing.T, otherwise string) string {
	t.Helper()
	dir := filepath.Join(otherwise, "logs")
	if given := os.Getenv("ACCORD_TEST_LOG_DIR"); given != "" {
		dir = filepath.Join(given, filepath.Base(t.Name()))
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// startServers brings up Postgres and Temporal side by side.
func (p *processes) startServers(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	var pgErr, temporalErr error
	wg.Go(func() { p.postgres, pgErr = devstack.StartPostgres(t.Context(), p.postgresAt) })
	wg.Go(func() { p.temporal, temporalErr = devstack.StartTemporal(t.Context(), p.temporalAt) })
	wg.Wait()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if p.temporal != nil {
			require.NoError(t, p.temporal.Stop(ctx))
		}
		if p.postgres != nil {
			require.NoError(t, p.postgres.Stop(ctx))
		}
	})
	require.NoError(t, pgErr)
	require.NoError(t, temporalErr)
	p.postgresAt.Port = p.postgres.Port()
	p.temporalAt.Port = portOf(t, p.temporal.Address())
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	port, err := strconv.Atoi(regexp.MustCompile(`\d+$`).FindString(address))
	require.NoError(t, err)
	return port
}

// sandboxSettings are what `accord sandbox env` tells a shell.
func (p *processes) sandboxSettings(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`).FindAllStringSubmatch(p.accord(t, "sandbox", "env"), -1) {
		out = append(out, m[1]+"="+m[2])
	}
	require.NotEmpty(t, out)
	return out
}

// accord runs a command to its end and gives what it printed.
func (p *processes) accord(t *testing.T, arguments ...string) string {
	t.Helper()
	path, err := command()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, arguments...)
	var problems bytes.Buffer
	cmd.Env, cmd.Stderr = p.env, &problems
	out, err := cmd.Output()
	require.NoError(t, err, "accord %v: %s%s", arguments, out, &problems)
	return string(out)
}

// startWorker starts one more worker, with settings of its own if need be.
func (p *processes) startWorker(t *testing.T, settings ...string) *process {
	t.Helper()
	w := p.launchWith(t, settings, fmt.Sprintf("worker-%d", len(p.workers)+1), "worker")
	p.workers = append(p.workers, w)
	w.awaitLog(t, `"worker is ready"`)
	return w
}

// worker is the one that was started last.
func (p *processes) worker() *process { return p.workers[len(p.workers)-1] }

func (p *processes) startAPI(t *testing.T) {
	t.Helper()
	p.api = p.launch(t, "api", "serve")
	p.api.awaitLog(t, `"API is listening"`)
}

func (p *processes) restartAPI(t *testing.T) {
	t.Helper()
	p.api.kill(t)
	p.startAPI(t)
}

// killServer kills a server of the development stack. Its Stop then only lets go of its files.
func killServer(t *testing.T, pid int, stop func(context.Context) error) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.NoError(t, stop(t.Context()))
}

func (p *processes) killTemporal(t *testing.T) { killServer(t, p.temporal.PID(), p.temporal.Stop) }

func (p *processes) startTemporal(t *testing.T) {
	t.Helper()
	var err error
	p.temporal, err = devstack.StartTemporal(t.Context(), p.temporalAt)
	require.NoError(t, err)
}

func (p *processes) killPostgres(t *testing.T) { killServer(t, p.postgres.PID(), p.postgres.Stop) }

func (p *processes) startPostgres(t *testing.T) {
	t.Helper()
	var err error
	p.postgres, err = devstack.StartPostgres(t.Context(), p.postgresAt)
	require.NoError(t, err)
	p.awaitReady(t)
}

// requireUntampered runs the audit that an operator would.
func (p *processes) requireUntampered(t *testing.T) {
	t.Helper()
	require.Regexp(t, `(?m)^[1-9]\d* entries in [1-9]\d* chains \(\d+ of them erased\), 0 findings$`, p.accord(t, "audit", "verify"))
}

// requireIdle: no operation is left open, of nobody.
func (p *processes) requireIdle(t *testing.T) {
	t.Helper()
	open := p.asOperator(t, http.MethodGet, "/v1/operations", nil)
	require.Equal(t, 200, open.status, open.body)
	require.Empty(t, open.at("operations"))
}
