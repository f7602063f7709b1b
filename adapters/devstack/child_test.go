package devstack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAKilledParentLeavesNoServers(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	// The CLI is the one of this checkout; the servers' state is the parent's own.
	binary, err := FindTemporal(t.Context(), repoBin(t), nil)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(binary, filepath.Join(dir, "bin", "temporal")))

	parent, pids := runParent(t, "stack", dir)
	require.Len(t, pids, 2)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, 0))
	}
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	for _, pid := range pids {
		requireGone(t, pid)
	}
	// And what they kept is sound.
	startPostgres(t, PostgresOptions{DataDir: filepath.Join(dir, "postgres"), Durable: true})
	startTemporal(t, TemporalOptions{BinDir: filepath.Join(dir, "bin"), DBFile: filepath.Join(dir, "temporal.db")})
}

func TestTheWatchdogEndsTheChildOfAKilledParent(t *testing.T) {
	t.Parallel()
	parent, pids := runParent(t, "watchdog", t.TempDir())
	require.Len(t, pids, 1)
	require.NoError(t, syscall.Kill(pids[0], 0))
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	requireGone(t, pids[0])
}

func TestAChildThatDoesNotObeyIsKilled(t *testing.T) {
	t.Parallel()
	log, err := openNamelessLog()
	require.NoError(t, err)
	defer log.Close()
	c, err := startChild("stubborn", exec.Command("/bin/sh", "-c", `trap '' INT; echo deaf; while :; do sleep 600; done`), log, syscall.SIGKILL)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.tail() == "deaf" }, patience, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, c.stop(ctx, syscall.SIGINT), "was killed")
	requireGone(t, c.pid())
}

func TestAChildThatEndsBeforeItIsReadyIsReportedWithWhatItWrote(t *testing.T) {
	t.Parallel()
	log, err := openNamelessLog()
	require.NoError(t, err)
	defer log.Close()
	c, err := startChild("short-lived", exec.Command("/bin/sh", "-c", `echo no such luck; exit 3`), log, syscall.SIGKILL)
	require.NoError(t, err)
	err = c.until(timeLimit(t), func(context.Context) error { return os.ErrNotExist })
	require.ErrorContains(t, err, "no such luck")
	require.ErrorContains(t, err, "exit status 3")
}
