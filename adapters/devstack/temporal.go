package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
)

// tuned is what the development server is started with, beyond its defaults: see
// docs/decisions/0001-embedded-temporal-and-postgres.md for what each brings.
var tuned = map[string]string{
	"history.transferProcessorMaxPollRPS": "1000",
	"system.enableActivityEagerExecution": "true",
}

// TemporalOptions says how to bring up a Temporal development server.
type TemporalOptions struct {
	// BinDir is where a Temporal CLI that had to be downloaded or built is kept, normally .accord/bin.
	BinDir string
	// DBFile keeps workflows across restarts. Empty keeps them in memory.
	DBFile string
	// Port of the service at 127.0.0.1. 0 takes a free one.
	Port int
	// UIPort of the web UI at 127.0.0.1. 0 starts none.
	UIPort int
	// Namespace is there once the server is. Empty is "default", which always exists.
	Namespace string
	// DynamicConfig is set in addition to (or instead of) what the development stack sets: key to JSON value.
	DynamicConfig map[string]string
	// Restart starts the server again (same ports, same file) when it ends without Stop.
	Restart bool
	// Progress is told what takes time.
	Progress Progress
}

// Temporal is a running development server.
type Temporal struct {
	options  TemporalOptions
	binary   string
	port     int
	lock     *os.File
	log      *os.File
	service  *service
	stopOnce sync.Once
	stopErr  error
}

// StartTemporal finds (or, once, builds: some minutes) a Temporal CLI, starts its development server and returns once the
// namespace can be used.
func StartTemporal(ctx context.Context, options TemporalOptions) (_ *Temporal, err error) {
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	t := &Temporal{options: options}
	defer func() {
		if err != nil {
			t.release()
		}
	}()
	if err := t.openFiles(ctx); err != nil {
		return nil, err
	}
	if t.binary, err = FindTemporal(ctx, options.BinDir, options.Progress); err != nil {
		return nil, err
	}
	t.service = &service{name: "Temporal", launch: t.launch, restart: options.Restart, progress: options.Progress}
	if err := t.service.begin(ctx); err != nil {
		return nil, err
	}
	options.Progress.say("Temporal is ready at " + t.Address())
	return t, nil
}

// Address of the service, host:port.
func (t *Temporal) Address() string { return net.JoinHostPort(loopback, strconv.Itoa(t.port)) }

// UIAddress of the web UI, http://host:port, or "" when it is off.
func (t *Temporal) UIAddress() string {
	if t.options.UIPort == 0 {
		return ""
	}
	return "http://" + net.JoinHostPort(loopback, strconv.Itoa(t.options.UIPort))
}

// PID is the process id of the server that runs now.
func (t *Temporal) PID() int { return t.service.child().pid() }

// Stop ends the server, cleanly if it can before ctx ends. Later calls do nothing and return the same.
func (t *Temporal) Stop(ctx context.Context) error {
	t.stopOnce.Do(func() {
		t.stopErr = t.service.stop(ctx, syscall.SIGINT)
		t.release()
	})
	return t.stopErr
}

func (t *Temporal) release() {
	for _, file := range []*os.File{t.log, t.lock} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// openFiles opens the log, and takes the lock that keeps two servers off one database file.
func (t *Temporal) openFiles(ctx context.Context) (err error) {
	if t.options.DBFile == "" {
		if t.log, err = openNamelessLog(); err != nil {
			return fmt.Errorf("temporal: its log: %w", err)
		}
		return nil
	}
	if t.options.DBFile, err = filepath.Abs(t.options.DBFile); err != nil {
		return fmt.Errorf("temporal: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(t.options.DBFile), 0o755); err != nil {
		return fmt.Errorf("temporal: its folder: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	t.lock, err = lockFile(wait, t.options.DBFile+".lock", func() {
		t.options.Progress.say("waiting for another process to let go of " + t.options.DBFile)
	})
	if errors.Is(err, errLocked) {
		return fmt.Errorf("temporal: %s is in use by another running Accord; stop that one, or set ACCORD_TEMPORAL_ADDRESS to use another server", t.options.DBFile)
	}
	if err != nil {
		return fmt.Errorf("temporal: lock its database file: %w", err)
	}
	name := strings.TrimSuffix(t.options.DBFile, filepath.Ext(t.options.DBFile)) + ".log"
	if t.log, err = openLog(name); err != nil {
		return fmt.Errorf("temporal: its log: %w", err)
	}
	return nil
}

func (t *Temporal) launch(ctx context.Context) (*child, error) {
	const tries = 5
	for try := 1; ; try++ {
		c, err := t.launchOnce(ctx)
		if err == nil {
			return c, nil
		}
		// Somebody took one of the ports the server chooses itself, or the one we chose.
		if c == nil || try == tries || !strings.Contains(c.tail(), "address already in use") {
			return nil, err
		}
		if t.options.Port == 0 && t.service.child() == nil {
			t.port = 0
		}
	}
}

func (t *Temporal) launchOnce(ctx context.Context) (*child, error) {
	if err := t.choosePort(); err != nil {
		return nil, err
	}
	cmd := exec.Command(t.binary, t.arguments()...)
	cmd.Dir = os.TempDir()
	// The file is in write-ahead mode, so a kill loses nothing that was acknowledged; memory is lost either way.
	c, err := startChild("Temporal", cmd, t.log, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.until(limit, t.answers); err != nil {
		_ = c.signal(syscall.SIGKILL)
		<-c.exited
		return c, err
	}
	return c, nil
}

func (t *Temporal) choosePort() (err error) {
	if t.options.UIPort != 0 {
		if err := CheckPort(TemporalUIPortSetting, t.options.UIPort); err != nil {
			return err
		}
	}
	if t.options.Port != 0 {
		t.port = t.options.Port
		return CheckPort(TemporalPortSetting, t.port)
	}
	if t.port == 0 { // it stays the same when the server is started again
		t.port, err = freePort()
	}
	return err
}

func (t *Temporal) arguments() []string {
	arguments := []string{
		"server", "start-dev", "--log-level", "error",
		"--ip", loopback, "--port", strconv.Itoa(t.port), "--namespace", t.options.Namespace,
	}
	if t.options.UIPort == 0 {
		arguments = append(arguments, "--headless")
	} else {
		arguments = append(arguments, "--ui-ip", loopback, "--ui-port", strconv.Itoa(t.options.UIPort))
	}
	if t.options.DBFile != "" {
		arguments = append(arguments, "--db-filename", t.options.DBFile,
			"--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal")
	}
	config := maps.Clone(tuned)
	maps.Copy(config, t.options.DynamicConfig)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		arguments = append(arguments, "--dynamic-config-value", key+"="+config[key])
	}
	return arguments
}

// answers tells whether the server knows its namespace.
func (t *Temporal) answers(ctx context.Context) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: t.Address(), Namespace: t.options.Namespace, Logger: quiet})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: t.options.Namespace})
	var missing *serviceerror.NamespaceNotFound
	if errors.As(err, &missing) {
		return fmt.Errorf("its namespace %s is not there yet", t.options.Namespace)
	}
	return err
}

// quiet: a failed try to connect is expected here.
var quiet = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
