// Package process runs the accord command as processes of its own, which tests can kill, pause and start again. They end
// with the process that started them, however that ends.
package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is one running command.
type Process struct {
	Name string

	log      string
	from     int64 // where in the log this process begins
	cmd      *exec.Cmd
	exited   chan struct{}
	expected atomic.Bool // that it ends
}

// Launch starts a command with an environment. Its log is appended to, logs/name.log.
func Launch(logs, name string, env []string, path string, arguments ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: its log: %w", name, err)
	}
	defer log.Close()
	at, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: its log: %w", name, err)
	}
	p := &Process{Name: name, log: log.Name(), from: at.Size(), exited: make(chan struct{})}
	p.cmd = exec.Command(path, arguments...) //nolint:gosec,noctx // the command under test; it ends by signals alone
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)

	started := make(chan error, 1)
	go func() {
		// The kernel's death signal is tied to the thread that forked, which must not end before the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in ProcessState
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Exited is closed once the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends the process as an operator would. It is an error when it has ended by itself, when it takes longer than 30
// seconds, and when it does not end cleanly.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		if !p.expected.Load() {
			return fmt.Errorf("%s ended by itself: %s", p.Name, p.cmd.ProcessState)
		}
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s did not stop cleanly: %s", p.Name, p.cmd.ProcessState)
		}
		return nil
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not stop on SIGTERM", p.Name)
	}
}

// Kill is kill -9, and returns when the process is gone.
func (p *Process) Kill() error {
	p.expected.Store(true)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Signal sends one.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Wrote is what this process has logged.
func (p *Process) Wrote() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil || int64(len(text)) < p.from {
		return nil
	}
	return text[p.from:]
}

// Await returns once the process has logged the text.
func (p *Process) Await(ctx context.Context, text string) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		if bytes.Contains(p.Wrote(), []byte(text)) {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s has ended (%s) without writing %s: %s", p.Name, p.cmd.ProcessState, text, tail(p.Wrote()))
		case <-ctx.Done():
			return fmt.Errorf("%s has not written %s: %w", p.Name, text, ctx.Err())
		case <-tick.C:
		}
	}
}

func tail(text []byte) []byte {
	const most = 3000
	return text[max(0, len(text)-most):]
}

// Tail is the end of what it has logged, for a person.
func (p *Process) Tail() string { return string(tail(p.Wrote())) }

// Build makes the accord command of this checkout, as it is shipped. Another process may be starting the one that is there.
func Build(ctx context.Context, path string, flags ...string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // programs are for everybody
		return err
	}
	draft := path + "." + strconv.Itoa(os.Getpid())
	arguments := append(append([]string{"build", "-buildvcs=false", "-o", draft}, flags...), "accord/app")
	out, err := exec.CommandContext(ctx, "go", arguments...).CombinedOutput() //nolint:gosec // our own arguments
	if err != nil {
		return fmt.Errorf("build the accord command: %w\n%s", err, out)
	}
	return os.Rename(draft, path)
}
