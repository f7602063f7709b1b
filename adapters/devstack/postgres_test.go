package devstack

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgresKeepsItsDataAndPortAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	first := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	execute(t, first.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	require.NoError(t, first.Stop(timeLimit(t)))
	requireGone(t, first.PID())
	require.NoFileExists(t, filepath.Join(first.data, "postmaster.pid"), "a clean shutdown")

	second := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	require.Equal(t, first.Port(), second.Port())
	require.Equal(t, 42, query[int](t, second.URL(), `SELECT n FROM kept`))
	require.Equal(t, "on", query[string](t, second.URL(), `SHOW fsync`))
	require.Equal(t, "UTF8", query[string](t, second.URL(), `SHOW server_encoding`))
}

func TestPostgresAsksForItsPassword(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresOptions{DataDir: filepath.Join(passableDir(t), "postgres")})
	_, err := pgx.Connect(timeLimit(t), strings.Replace(p.URL(), p.password, "guess", 1))
	require.ErrorContains(t, err, "password authentication failed")
	info, err := os.Stat(p.passwordFile())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestPostgresStartsAfterItWasKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	first := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	execute(t, first.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	require.NoError(t, syscall.Kill(first.PID(), syscall.SIGKILL))
	<-first.service.ended
	require.FileExists(t, filepath.Join(first.data, "postmaster.pid"), "nobody had the time to tidy up")
	require.NoError(t, first.Stop(timeLimit(t)))

	second := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	require.Equal(t, 42, query[int](t, second.URL(), `SELECT n FROM kept`))
}

func TestPostgresIsStartedAgainInPlace(t *testing.T) {
	t.Parallel()
	up := make(chan struct{}, 1)
	p := startPostgres(t, PostgresOptions{
		DataDir: filepath.Join(passableDir(t), "postgres"), Durable: true, Restart: true,
		Progress: func(message string) {
			if strings.Contains(message, "up again") {
				up <- struct{}{}
			}
		},
	})
	execute(t, p.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	url, pid := p.URL(), p.PID()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	select {
	case <-up:
	case <-timeLimit(t).Done():
		t.Fatal("it stayed down")
	}
	require.NotEqual(t, pid, p.PID())
	require.Equal(t, url, p.URL())
	require.Equal(t, 42, query[int](t, url, `SELECT n FROM kept`))
}

func TestPostgresIgnoresAPidFileWhosePidIsAnotherProgramsByNow(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	first := startPostgres(t, PostgresOptions{DataDir: dir})
	require.NoError(t, first.Stop(timeLimit(t)))

	other := exec.Command("sleep", "600")
	first.user.apply(other, "/") // of the same user: that is what Postgres itself can't tell from a server
	require.NoError(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	stale := strconv.Itoa(other.Process.Pid) + "\n" + first.data + "\n"
	require.NoError(t, first.user.writeFile(filepath.Join(first.data, "postmaster.pid"), stale))

	startPostgres(t, PostgresOptions{DataDir: dir})
	require.NoError(t, other.Process.Signal(syscall.Signal(0)), "the other program is left alone")
}

func TestPostgresStopsAServerThatAnEarlierProcessLeftBehind(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	first := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	execute(t, first.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	left := first.PID()
	require.NoError(t, first.lock.Close(), "as if this process were gone")

	second := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	requireGone(t, left)
	require.Equal(t, 42, query[int](t, second.URL(), `SELECT n FROM kept`))
}

func TestPostgresRefusesAFolderInUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	first := startPostgres(t, PostgresOptions{DataDir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := StartPostgres(ctx, PostgresOptions{DataDir: dir})
	require.ErrorContains(t, err, "in use by another running Accord")
	require.Equal(t, 1, query[int](t, first.URL(), `SELECT 1`), "the first is not disturbed")
}

func TestPostgresMakesItsClusterAnewAfterAnInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(passableDir(t), "postgres")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data", "base"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("15\n"), 0o600))
	p := startPostgres(t, PostgresOptions{DataDir: dir})
	require.Equal(t, 1, query[int](t, p.URL(), `SELECT 1`))
}

func TestPostgresGoesElsewhereWhenItsUserCantReachTheFolder(t *testing.T) {
	t.Parallel()
	private := passableDir(t)
	require.NoError(t, os.Chmod(private, 0o700))
	dir := filepath.Join(private, "postgres")
	t.Cleanup(func() { require.NoError(t, RemovePostgres(dir)) })
	first := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	execute(t, first.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	require.NoError(t, first.Stop(timeLimit(t)))

	marker := filepath.Join(dir, relocationMarker)
	if os.Geteuid() == 0 {
		require.NotContains(t, first.data, private)
		require.FileExists(t, marker)
	} else {
		require.Contains(t, first.data, private, "an ordinary user's server runs as that user")
		require.NoFileExists(t, marker)
	}
	second := startPostgres(t, PostgresOptions{DataDir: dir, Durable: true})
	require.Equal(t, 42, query[int](t, second.URL(), `SELECT n FROM kept`))
	require.NoError(t, second.Stop(timeLimit(t)))
	require.NoError(t, RemovePostgres(dir))
	require.NoDirExists(t, dir)
	require.NoDirExists(t, second.data)
}

func TestRemovePostgresRefusesAForeignFolder(t *testing.T) {
	t.Parallel()
	dir, precious := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, relocationMarker), []byte(precious), 0o600))
	require.Error(t, RemovePostgres(dir))
	require.DirExists(t, precious)
}

func TestPostgresNamesTheSettingOfATakenPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = StartPostgres(timeLimit(t), PostgresOptions{DataDir: filepath.Join(passableDir(t), "postgres"), Port: port})
	require.ErrorContains(t, err, "port "+strconv.Itoa(port)+" is taken")
	require.ErrorContains(t, err, PostgresPortSetting)
}

func TestPostgresSaysWhatIsWrongWithGivenBinaries(t *testing.T) {
	t.Parallel()
	_, err := StartPostgres(timeLimit(t), PostgresOptions{DataDir: filepath.Join(passableDir(t), "postgres"), Binaries: t.TempDir()})
	require.ErrorContains(t, err, "the binaries in")
}
