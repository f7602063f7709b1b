package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

// patience bounds every wait: long enough for a busy machine, and the servers' own first start.
const patience = 2 * time.Minute

// parentRole, set in the environment, makes this test binary act as a process that has children and is going to be killed.
const parentRole = "DEVSTACK_TEST_PARENT"

func TestMain(m *testing.M) {
	if role := os.Getenv(parentRole); role != "" {
		if err := actAsParent(role, os.Getenv(parentRole+"_DIR")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func timeLimit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// passableDir is a folder that the server's user can reach: t.TempDir makes private ones.
func passableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "accord-devstack-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func startPostgres(t *testing.T, options PostgresOptions) *Postgres {
	t.Helper()
	p, err := StartPostgres(timeLimit(t), options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
	})
	return p
}

func query[T any](t *testing.T, url, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(timeLimit(t), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&value))
	return value
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(timeLimit(t), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func repoBin(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../.accord/bin")
	require.NoError(t, err)
	return bin
}

// runParent starts this test binary in a role and gives its process and the ids of the children it reports.
func runParent(t *testing.T, role, dir string) (*exec.Cmd, []int) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), parentRole+"="+role, parentRole+"_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	line = strings.TrimSpace(line)
	require.NotContains(t, line, "error")
	var pids []int
	for _, field := range strings.Fields(line) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	return cmd, pids
}

// actAsParent starts children, tells their process ids and waits to be killed.
func actAsParent(role, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch role {
	case "stack":
		p, err := StartPostgres(ctx, PostgresOptions{DataDir: filepath.Join(dir, "postgres"), Durable: true})
		if err != nil {
			return err
		}
		s, err := StartTemporal(ctx, TemporalOptions{BinDir: filepath.Join(dir, "bin"), DBFile: filepath.Join(dir, "temporal.db")})
		if err != nil {
			return err
		}
		fmt.Println(p.PID(), s.PID())
	case "watchdog":
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := startWatchdog(&child{cmd: cmd, exited: make(chan struct{})}, syscall.SIGKILL); err != nil {
			return err
		}
		fmt.Println(cmd.Process.Pid)
	default:
		return errors.New("unknown role " + role)
	}
	select {}
}

// requireGone waits until no process has the id. One that has ended but that nobody has waited for counts as gone.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		return err != nil || strings.HasPrefix(string(state), "Z")
	}, patience, 20*time.Millisecond, "process %d still runs", pid)
}
