package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"accord/adapters/devstack"
	"accord/app/systemtest/process"
)

// part is one accord process, started again whenever it ends, as whatever runs containers would.
type part struct {
	name      string
	logs      string
	env       []string
	arguments []string
	ready     string // in its log

	acting sync.Mutex // one disturbance at a time

	mu       sync.Mutex
	bin      string
	held     bool // it stays down
	current  *process.Process
	up       bool
	restarts int // it had ended by itself
}

// watch keeps it running until ctx ends.
func (p *part) watch(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		held, current := p.held, p.current
		p.mu.Unlock()
		if current != nil {
			select {
			case <-current.Exited():
			case <-ctx.Done():
				return
			}
		}
		if current == nil && !held {
			p.launch(ctx)
			continue
		}
		p.mu.Lock()
		if p.current != nil && p.current == current {
			p.current, p.up = nil, false
			if !p.held {
				p.restarts++
			}
		}
		p.mu.Unlock()
		pause(ctx, 200*time.Millisecond)
	}
}

func (p *part) launch(ctx context.Context) {
	p.mu.Lock()
	bin := p.bin
	p.mu.Unlock()
	run, err := process.Launch(p.logs, p.name, p.env, bin, p.arguments...)
	if err != nil {
		say("%s: %v", p.name, err)
		pause(ctx, time.Second)
		return
	}
	p.mu.Lock()
	p.current = run
	p.mu.Unlock()
	go func() {
		if run.Await(ctx, p.ready) == nil {
			p.mu.Lock()
			p.up = p.current == run
			p.mu.Unlock()
		}
	}()
}

func (p *part) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

// kill is kill -9. It stays down until it is released.
func (p *part) kill() { p.end((*process.Process).Kill) }

// replace stops it cleanly, as a deployment does, and has it start as another build.
func (p *part) replace(bin string) {
	p.end((*process.Process).Stop)
	p.mu.Lock()
	p.bin = bin
	p.mu.Unlock()
	p.release()
}

func (p *part) end(how func(*process.Process) error) {
	p.mu.Lock()
	p.held = true
	current := p.current
	p.mu.Unlock()
	if current != nil {
		_ = how(current) // it may have ended already, or be too busy for a clean end
		<-current.Exited()
	}
}

func (p *part) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
}

func (p *part) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		_ = p.current.Signal(s) // it may have ended
	}
}

// stop ends it for good; its watch has ended.
func (p *part) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	select {
	case <-p.current.Exited():
		return nil
	default:
		return p.current.Stop()
	}
}

// server is what Postgres and Temporal have in common.
type server struct {
	acting sync.Mutex
	mu     sync.Mutex
	held   bool
}

func (s *server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
}

// postgresServer is started again when it ends, as the others are.
type postgresServer struct {
	server
	options devstack.PostgresOptions
	running *devstack.Postgres
}

func (p *postgresServer) start(ctx context.Context) error {
	running, err := devstack.StartPostgres(ctx, p.options)
	if err == nil {
		p.running, p.options.Port = running, running.Port()
	}
	return err
}

func (p *postgresServer) url() string     { return p.running.URL() }
func (p *postgresServer) address() string { return "127.0.0.1:" + strconv.Itoa(p.options.Port) }

// family is the server with its sessions, which are processes of their own.
func (p *postgresServer) family() []int {
	pid := p.running.PID()
	return append(childrenOf(pid), pid)
}

func (p *postgresServer) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return
	}
	for _, pid := range p.family() {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

func (p *postgresServer) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
	_ = syscall.Kill(p.running.PID(), syscall.SIGKILL) // it may have ended
}

func (p *postgresServer) watch(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		p.mu.Lock()
		if !p.held && !alive(p.running.PID()) {
			_ = p.running.Stop(ctx) // lets go of its files
			if err := p.start(ctx); err != nil {
				say("Postgres: %v", err)
			}
		}
		p.mu.Unlock()
	}
}

func (p *postgresServer) stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil
	}
	return p.running.Stop(ctx)
}

// temporalServer is started again when it ends, as the others are.
type temporalServer struct {
	server
	options devstack.TemporalOptions
	running *devstack.Temporal
}

func (t *temporalServer) start(ctx context.Context) error {
	running, err := devstack.StartTemporal(ctx, t.options)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(running.Address(), ":")
	t.running = running
	t.options.Port, err = strconv.Atoi(port)
	return err
}

func (t *temporalServer) address() string { return t.running.Address() }

func (t *temporalServer) signal(s syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running != nil {
		_ = syscall.Kill(t.running.PID(), s) // it may have ended
	}
}

func (t *temporalServer) kill() {
	t.mu.Lock()
	t.held = true
	t.mu.Unlock()
	t.signal(syscall.SIGKILL)
}

func (t *temporalServer) watch(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		t.mu.Lock()
		if !t.held && !alive(t.running.PID()) {
			_ = t.running.Stop(ctx) // lets go of its files
			if err := t.start(ctx); err != nil {
				say("Temporal: %v", err)
			}
		}
		t.mu.Unlock()
	}
}

// serves asks for something that is in its database, for a minute and a half. Its development server has one connection to that,
// and was seen to lose it for good when it had been stopped often enough in the middle of something.
func (t *temporalServer) serves(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		if err = t.answers(ctx); err == nil {
			return nil
		}
	}
	return err
}

func (t *temporalServer) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := temporal.DialContext(ctx, temporal.Options{HostPort: t.address(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: temporal.DefaultNamespace})
	return err
}

func (t *temporalServer) stop(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		return nil
	}
	return t.running.Stop(ctx)
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// childrenOf asks the kernel; where it does not tell, there are none.
func childrenOf(pid int) (out []int) {
	folders, _ := os.ReadDir("/proc")
	for _, f := range folders {
		child, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + f.Name() + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	return out
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
