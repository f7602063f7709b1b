package devstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// clusterVersion is the major version of the server that made the cluster, or "" when there is no whole cluster.
func clusterVersion(data string) string {
	// initdb writes PG_VERSION early; complete is ours, written last.
	if _, err := os.Stat(filepath.Join(data, "accord-complete")); err != nil {
		return ""
	}
	version, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(version))
}

// initialise makes the cluster, and throws away what an interrupted attempt has left.
func (p *Postgres) initialise(ctx context.Context) error {
	p.options.Progress.say("making a database cluster in " + p.data)
	password := rand.Text()
	if err := os.WriteFile(p.passwordFile(), []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("postgres: keep its password: %w", err)
	}
	// initdb reads the password as the server's user, who must not be able to read ours.
	parent := filepath.Dir(p.data)
	handover := filepath.Join(parent, "password-for-initdb")
	if err := p.user.writeFile(handover, password+"\n"); err != nil {
		return fmt.Errorf("postgres: hand over the password: %w", err)
	}
	defer os.Remove(handover)

	if err := emptyFolder(p.data); err != nil {
		return fmt.Errorf("postgres: clear what an interrupted start has left: %w", err)
	}
	arguments := []string{
		"-D", p.data, "-U", adminRole, "--pwfile", handover,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
	}
	if !p.options.Durable {
		arguments = append(arguments, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.binaries, "initdb"), arguments...)
	p.user.apply(cmd, p.data)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("postgres: initdb: %w; it wrote:\n%s", err, bytes.TrimSpace(output))
	}
	return p.user.writeFile(filepath.Join(p.data, "accord-complete"), "")
}

// ensureDatabase makes the application's role and database if they are missing.
func (p *Postgres) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.url(adminRole, "postgres"))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var role, database bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1), EXISTS (SELECT FROM pg_database WHERE datname = $2)`,
		appRole, appDB).Scan(&role, &database)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if !role {
		// The password is of letters and digits only; CREATE ROLE takes no parameters.
		if _, err := conn.Exec(ctx, `CREATE ROLE `+appRole+` LOGIN CREATEDB PASSWORD '`+p.password+`'`); err != nil {
			return fmt.Errorf("postgres: make the role %s: %w", appRole, err)
		}
	}
	if !database {
		if _, err := conn.Exec(ctx, `CREATE DATABASE `+appDB+` OWNER `+appRole); err != nil {
			return fmt.Errorf("postgres: make the database %s: %w", appDB, err)
		}
	}
	return nil
}

// stopLeftOver stops the server that a killed process may have left running on this cluster, and clears its pid file when
// the pid is by now another program's (Postgres itself would refuse to start then).
func (p *Postgres) stopLeftOver(ctx context.Context) error {
	pidFile := filepath.Join(p.data, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return os.Remove(pidFile)
	}
	if !runsOn(pid, p.data) {
		if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("postgres: clear a stale pid file: %w", err)
		}
		return nil
	}
	p.options.Progress.say(fmt.Sprintf("stopping the Postgres (process %d) that an earlier run has left behind", pid))
	for _, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(pid, how); errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("postgres: a server (process %d) runs on %s and belongs to another user", pid, p.data)
		}
		if waitGone(ctx, pid, p.data, 10*time.Second) {
			return nil
		}
	}
	return fmt.Errorf("postgres: the server (process %d) on %s does not stop", pid, p.data)
}

// runsOn tells whether pid is a Postgres server on the cluster.
func runsOn(pid int, data string) bool {
	arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		if _, noProc := os.Stat("/proc/self/cmdline"); noProc == nil {
			return false // there is a /proc, and the process is not in it
		}
		if arguments, err = exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output(); err != nil {
			return false
		}
	}
	return bytes.Contains(arguments, []byte("postgres")) && bytes.Contains(arguments, []byte(data))
}

func waitGone(ctx context.Context, pid int, data string, most time.Duration) bool {
	limit, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for runsOn(pid, data) {
		select {
		case <-tick.C:
		case <-limit.Done():
			return false
		}
	}
	return true
}

// emptyFolder removes what is in a folder, and leaves the folder with its owner and mode.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
