package systemtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is one running accord command. It ends with the test, and with the test process however that ends.
type process struct {
	name     string
	log      string
	from     int64 // where in the log this process begins
	cmd      *exec.Cmd
	exited   chan struct{}
	expected bool // that it ends
}

// launch starts a command whose log is shown when the test fails.
func (p *processes) launch(t *testing.T, name string, arguments ...string) *process {
	t.Helper()
	return p.launchWith(t, nil, name, arguments...)
}

func (p *processes) launchWith(t *testing.T, settings []string, name string, arguments ...string) *process {
	t.Helper()
	path, err := command()
	require.NoError(t, err)
	log, err := os.OpenFile(filepath.Join(p.logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	at, err := log.Stat()
	require.NoError(t, err)
	run := &process{name: name, log: log.Name(), from: at.Size(), cmd: exec.Command(path, arguments...), exited: make(chan struct{})}
	run.cmd.Env, run.cmd.Stdout, run.cmd.Stderr = append(slices.Clone(p.env), settings...), log, log
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(run.cmd.SysProcAttr)

	started := make(chan error, 1)
	go func() {
		// The kernel's death signal is tied to the thread that forked, which must not end before the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := run.cmd.Start()
		started <- err
		if err == nil {
			_ = run.cmd.Wait() // how it ended is in ProcessState
			close(run.exited)
		}
	}()
	require.NoError(t, <-started)
	p.owner.Cleanup(func() { run.end(p.owner) })
	return run
}

// end stops the process as an operator would, and shows its log when the test has failed.
func (r *process) end(t *testing.T) {
	select {
	case <-r.exited:
		if !r.expected {
			t.Errorf("%s ended by itself: %s", r.name, r.cmd.ProcessState)
		}
	default:
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-r.exited:
			if !r.cmd.ProcessState.Success() {
				t.Errorf("%s did not stop cleanly: %s", r.name, r.cmd.ProcessState)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s did not stop on SIGTERM", r.name)
			_ = r.cmd.Process.Kill()
			<-r.exited
		}
	}
	if t.Failed() {
		const most = 3000
		text := r.wrote()
		t.Logf("the end of what %s wrote:\n%s", r.name, text[max(0, len(text)-most):])
	}
}

// kill is kill -9, and returns when the process is gone.
func (r *process) kill(t *testing.T) {
	t.Helper()
	r.expected = true
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGKILL))
	<-r.exited
}

func (r *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, r.cmd.Process.Signal(s))
}

// wrote is what this process has logged.
func (r *process) wrote() []byte {
	text, err := os.ReadFile(r.log)
	if err != nil || int64(len(text)) < r.from {
		return nil
	}
	return text[r.from:]
}

func (r *process) awaitLog(t *testing.T, text string) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		select {
		case <-r.exited:
			require.Fail(t, r.name+" has ended", "%s", r.wrote())
		default:
		}
		if bytes.Contains(r.wrote(), []byte(text)) {
			return ""
		}
		return r.name + " has not written " + text
	})
}
