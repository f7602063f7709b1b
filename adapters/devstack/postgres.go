package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Names inside a development cluster. The application's role is an ordinary one: as a superuser it would not notice a
// missing grant, and rules the database enforces would not hold for it.
const (
	adminRole = "postgres"
	appRole   = "accord"
	appDB     = "accord"
)

// PostgresOptions says how to bring up a PostgreSQL server.
type PostgresOptions struct {
	// DataDir is the folder that holds everything of this cluster: data, password, log and lock. It is made when missing.
	// As root, the server runs as an unprivileged user; where that user can't reach DataDir, the cluster's data is kept in
	// a system folder whose path is written to DataDir/relocated-to.
	DataDir string
	// Port to listen on at 127.0.0.1. 0 takes a free one, if possible the one used last time.
	Port int
	// Binaries is a folder with initdb and postgres. Empty looks for the machine's own, and downloads a server if it has none.
	Binaries string
	// Durable keeps what was committed, whatever happens. False is several times faster and may lose the last moments at
	// any stop, or everything when the machine goes down: for throw-away clusters.
	Durable bool
	// Settings are further ones of the server, as name=value; they win over the others.
	Settings []string
	// Restart starts the server again (same port, same data) when it ends without Stop.
	Restart bool
	// Progress is told what takes time.
	Progress Progress
}

// Postgres is a running PostgreSQL server.
type Postgres struct {
	options  PostgresOptions
	binaries string
	user     *serverUser
	data     string // the cluster itself, as initdb made it
	password string
	port     int
	lock     *os.File
	log      *os.File
	service  *service
	stopOnce sync.Once
	stopErr  error
}

// StartPostgres brings up the cluster in options.DataDir, making it first when there is none, and returns once it takes
// connections and its database exists. A server left behind by a killed process is stopped first; a folder in use by a
// living one is an error.
func StartPostgres(ctx context.Context, options PostgresOptions) (_ *Postgres, err error) {
	dir, err := filepath.Abs(options.DataDir)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	options.DataDir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("postgres: its folder: %w", err)
	}
	p := &Postgres{options: options}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if err := p.takeFolder(ctx); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	p.service = &service{name: "Postgres", launch: p.launch, restart: options.Restart, progress: options.Progress}
	if err := p.service.begin(ctx); err != nil {
		return nil, err
	}
	if err := p.ensureDatabase(ctx); err != nil {
		return nil, errors.Join(err, p.Stop(ctx))
	}
	return p, nil
}

// URL connects to the application's database as the application's role.
func (p *Postgres) URL() string { return p.url(appRole, appDB) }

// AdminURL connects to the same database as the cluster's superuser.
func (p *Postgres) AdminURL() string { return p.url(adminRole, appDB) }

// Port the server listens on, at 127.0.0.1.
func (p *Postgres) Port() int { return p.port }

// PID is the process id of the server that runs now.
func (p *Postgres) PID() int { return p.service.child().pid() }

// Stop shuts the server down, cleanly if it can before ctx ends. Later calls do nothing and return the same.
func (p *Postgres) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		// Fast shutdown: rolls back what is open and writes a checkpoint. A throw-away cluster needs neither.
		how := syscall.SIGINT
		if !p.options.Durable {
			how = syscall.SIGQUIT
		}
		p.stopErr = p.service.stop(ctx, how)
		p.release()
	})
	return p.stopErr
}

func (p *Postgres) release() {
	for _, file := range []*os.File{p.log, p.lock} {
		if file != nil {
			_ = file.Close()
		}
	}
}

func (p *Postgres) url(role, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, p.password),
		Host: loopback + ":" + strconv.Itoa(p.port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// takeFolder makes sure that this process alone works on the folder.
func (p *Postgres) takeFolder(ctx context.Context) (err error) {
	wait, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	p.lock, err = lockFile(wait, filepath.Join(p.options.DataDir, "lock"), func() {
		p.options.Progress.say("waiting for another process to let go of " + p.options.DataDir)
	})
	if errors.Is(err, errLocked) {
		return fmt.Errorf("postgres: %s is in use by another running Accord; stop that one, or set ACCORD_DATABASE_URL to use another server", p.options.DataDir)
	}
	if err != nil {
		return fmt.Errorf("postgres: lock its folder: %w", err)
	}
	p.log, err = openLog(filepath.Join(p.options.DataDir, "postgres.log"))
	if err != nil {
		return fmt.Errorf("postgres: its log: %w", err)
	}
	return nil
}

// prepare finds the user, the place and the binaries, and makes the cluster if there is none.
func (p *Postgres) prepare(ctx context.Context) (err error) {
	if p.user, err = findServerUser(); err != nil {
		return err
	}
	if p.data, err = p.place(ctx); err != nil {
		return err
	}
	major := clusterVersion(p.data)
	if p.binaries, err = findPostgres(ctx, p.options.Binaries, major, p.user, p.options.Progress); err != nil {
		return err
	}
	if major == "" {
		if err := p.initialise(ctx); err != nil {
			return err
		}
	}
	password, err := os.ReadFile(p.passwordFile())
	if err != nil {
		return fmt.Errorf("postgres: the password of the cluster in %s: %w", p.options.DataDir, err)
	}
	p.password = strings.TrimSpace(string(password))
	return p.stopLeftOver(ctx)
}

// launch starts the server and waits until it answers.
func (p *Postgres) launch(ctx context.Context) (*child, error) {
	const tries = 20
	for try := 1; ; try++ {
		c, err := p.launchOnce(ctx)
		if err == nil {
			return c, nil
		}
		again := false
		if c != nil {
			wrote := c.tail()
			// The sessions of a server that was killed notice within moments and let go of its memory.
			again = strings.Contains(wrote, "pre-existing shared memory block")
			if strings.Contains(wrote, "could not bind") {
				// Somebody was quicker. Only a port we chose ourselves, and nobody knows yet, may be changed.
				again = p.options.Port == 0 && p.service.child() == nil
				p.port = 0
			}
		}
		if !again || try == tries {
			return nil, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (p *Postgres) launchOnce(ctx context.Context) (*child, error) {
	if err := p.choosePort(); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(p.binaries, "postgres"), p.arguments()...)
	p.user.apply(cmd, p.data)
	death := syscall.SIGINT
	if !p.options.Durable {
		death = syscall.SIGQUIT
	}
	c, err := startChild("Postgres", cmd, p.log, death)
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.until(limit, p.answers); err != nil {
		_ = c.signal(syscall.SIGQUIT)
		<-c.exited
		return c, err
	}
	_ = os.WriteFile(p.portFile(), []byte(strconv.Itoa(p.port)), 0o600) // a convenience only
	return c, nil
}

func (p *Postgres) arguments() []string {
	settings := []string{
		"listen_addresses=" + loopback,
		"port=" + strconv.Itoa(p.port),
		"unix_socket_directories=",
		"max_connections=200",
		"shared_buffers=128MB",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_min_messages=warning",
		"log_min_error_statement=panic", // statements may carry personal data
		"log_parameter_max_length=0",
		"jit=off", // costs more than it saves on short statements
	}
	if !p.options.Durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum_naptime=10min")
	}
	arguments := []string{"-D", p.data}
	for _, setting := range append(settings, p.options.Settings...) {
		arguments = append(arguments, "-c", setting)
	}
	return arguments
}

// choosePort sets p.port, unless it is settled already.
func (p *Postgres) choosePort() (err error) {
	switch {
	case p.port != 0:
		return nil
	case p.options.Port != 0:
		p.port = p.options.Port
		return CheckPort(PostgresPortSetting, p.port)
	}
	if last, err := os.ReadFile(p.portFile()); err == nil {
		port, err := strconv.Atoi(strings.TrimSpace(string(last)))
		if err == nil && CheckPort(PostgresPortSetting, port) == nil {
			p.port = port
			return nil
		}
	}
	p.port, err = freePort()
	return err
}

// answers tells whether the server takes connections.
func (p *Postgres) answers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.url(adminRole, "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (p *Postgres) portFile() string     { return filepath.Join(p.options.DataDir, "port") }
func (p *Postgres) passwordFile() string { return filepath.Join(p.options.DataDir, "password") }
