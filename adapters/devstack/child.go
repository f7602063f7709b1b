package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// killGrace is how long a child may take to obey SIGKILL before stop gives up on it.
const killGrace = 10 * time.Second

// child is one server process that must not outlive this one.
type child struct {
	name   string
	cmd    *exec.Cmd
	log    *os.File      // where its output goes; read back for error messages
	from   int64         // where in the log this child's output starts
	exited chan struct{} // closed once it has ended and been waited for
	err    error         // how it ended; valid after exited
}

// startChild starts cmd with its output in log. onParentDeath is sent to it when this process ends, however it ends.
func startChild(name string, cmd *exec.Cmd, log *os.File, onParentDeath syscall.Signal) (*child, error) {
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("%s: its log file: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	setDeathSignal(cmd.SysProcAttr, onParentDeath)

	c := &child{name: name, cmd: cmd, log: log, from: from, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux sends the death signal when the *thread* that forked ends, and the Go runtime ends threads as it pleases.
		// So this goroutine keeps its thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		c.err = cmd.Wait()
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := watchParent(c, onParentDeath); err != nil {
		_ = c.signal(syscall.SIGKILL)
		return nil, fmt.Errorf("start the watchdog of %s: %w", name, err)
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) signal(s syscall.Signal) error {
	err := c.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// stop asks the child to end with gentle and kills it when ctx ends first. It returns once the child is gone.
func (c *child) stop(ctx context.Context, gentle syscall.Signal) error {
	if err := c.signal(gentle); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
	}
	// The group, so that helpers the server has forked go with it.
	_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	select {
	case <-c.exited:
		return fmt.Errorf("%s did not stop in time and was killed: %w", c.name, ctx.Err())
	case <-time.After(killGrace):
		return fmt.Errorf("%s (process %d) does not end", c.name, c.pid())
	}
}

// tail is the end of what this child has written, for error messages.
func (c *child) tail() string {
	const most = 2000
	info, err := c.log.Stat()
	if err != nil {
		return ""
	}
	from := max(c.from, info.Size()-most)
	text, _ := io.ReadAll(io.NewSectionReader(c.log, from, info.Size()-from))
	return strings.TrimSpace(string(text))
}

// ending tells how the child ended, as an error: a server has no reason to end by itself, even without one.
func (c *child) ending() error {
	if c.err == nil {
		return errors.New("exit status 0")
	}
	return c.err
}

// until calls ready every few milliseconds until it succeeds. It fails, with the end of the log, when the child ends or
// ctx does.
func (c *child) until(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ready(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.exited:
			return fmt.Errorf("%s ended before it was ready (%w); it wrote:\n%s", c.name, c.ending(), c.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time (%w; last try: %w); it wrote:\n%s", c.name, ctx.Err(), err, c.tail())
		}
	}
}

// openLog opens a log for appending; a large one is set aside first, so that a long-lived state folder stays small.
func openLog(path string) (*os.File, error) {
	const large = 10 << 20
	if info, err := os.Stat(path); err == nil && info.Size() > large {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
}

// openNamelessLog gives a log that leaves nothing behind, however this process ends.
func openNamelessLog() (*os.File, error) {
	file, err := os.CreateTemp("", "accord-log-")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}
