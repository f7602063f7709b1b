package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"accord/adapters/auth"
	"accord/adapters/devstack"
	"accord/adapters/links"
	"accord/adapters/postgres"
	"accord/app/config"
)

// Dev brings up everything on this machine: Postgres, Temporal with its UI, the sandbox, the API and a worker, with
// demo customers. Whatever has its address set is used instead of started. It returns when ctx has ended and all is
// stopped.
func Dev(ctx context.Context, cfg config.Config, out io.Writer) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	d := &dev{cfg: cfg, out: out, began: time.Now()}
	logs, err := d.openLog()
	if err != nil {
		return err
	}
	defer logs.Close()
	d.log = cfg.Logger(logs)
	err = d.run(ctx)
	if ctx.Err() != nil {
		d.say("stopped; state is kept in %s", cfg.StateDir)
	}
	return err
}

type dev struct {
	cfg   config.Config
	out   io.Writer
	log   *slog.Logger
	began time.Time

	mu       sync.Mutex // output comes from several starts at once
	postgres *devstack.Postgres
	temporal *devstack.Temporal
}

func (d *dev) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

func (d *dev) openLog() (*os.File, error) {
	if err := os.MkdirAll(d.cfg.StateDir, 0o755); err != nil { //nolint:gosec // Postgres, as a user of its own, passes through
		return nil, fmt.Errorf("ACCORD_STATE_DIR: %w", err)
	}
	return os.OpenFile(filepath.Join(d.cfg.StateDir, "accord.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// run starts things in the order in which they need each other and stops them the other way round.
func (d *dev) run(ctx context.Context) (err error) {
	apiLn, sandboxLn, err := d.takePorts(ctx)
	if err != nil {
		return err
	}
	// Postgres and Temporal stop last, whatever happened.
	defer func() { err = errors.Join(err, d.stopServers()) }()
	if err := d.startServers(ctx); err != nil {
		return errors.Join(err, apiLn.Close(), sandboxLn.Close())
	}
	d.cfg = WithSandboxVendors(d.cfg)
	d.cfg.Webhooks = d.cfg.Webhooks.WithDevelopmentSecrets()
	d.cfg.Webhooks.AllowLocal = true
	if err := devSecrets(&d.cfg); err != nil {
		return errors.Join(err, apiLn.Close(), sandboxLn.Close())
	}
	if d.cfg.SandboxState == "" {
		d.cfg.SandboxState = filepath.Join(d.cfg.StateDir, "sandbox.journal")
	}
	if d.cfg.Email.LinkKeys == "" {
		keys, err := links.DevKeys(filepath.Join(d.cfg.StateDir, "links"))
		if err != nil {
			return errors.Join(err, apiLn.Close(), sandboxLn.Close())
		}
		d.cfg.Email.LinkKeys, d.cfg.Email.PublicURL = config.Secret(strings.Join(keys, ",")), "http://"+apiLn.Addr().String()
	}
	c, err := openCore(ctx, named(d.cfg, "accord-dev"), d.log)
	if err != nil {
		return errors.Join(err, apiLn.Close(), sandboxLn.Close())
	}
	defer func() { err = errors.Join(err, c.close()) }()
	issuer, err := auth.NewDevIssuer(filepath.Join(d.cfg.StateDir, "dev-issuer"))
	if err != nil {
		return errors.Join(err, apiLn.Close(), sandboxLn.Close())
	}
	return d.serveAll(ctx, c, issuer, apiLn, sandboxLn)
}

// serveAll runs API, worker and sandbox. They stop one after the other: no new request, then no unfinished step, then
// no vendor.
func (d *dev) serveAll(ctx context.Context, c *core, issuer *auth.DevIssuer, apiLn, sandboxLn net.Listener) error {
	verifier, err := issuer.Verifier()
	if err != nil {
		return err
	}
	stages := newStages(ctx, 3)
	g, gctx := errgroup.WithContext(context.WithoutCancel(ctx))
	context.AfterFunc(gctx, stages.stopAll) // one part failing stops the others
	workerReady := make(chan struct{})
	g.Go(func() error {
		defer stages.done(0)
		return c.serveAPI(stages.ctx(0), apiLn, auth.NewCache(verifier, issuer), issuer)
	})
	g.Go(func() error {
		defer stages.done(1)
		return c.runWorker(stages.ctx(1), func() { close(workerReady) })
	})
	g.Go(func() error { return serveSandbox(stages.ctx(2), sandboxLn, d.cfg, d.log) })
	g.Go(func() error {
		select {
		case <-workerReady:
		case <-stages.ctx(0).Done():
			return nil
		}
		if err := d.demo(stages.ctx(0), c); err != nil && stages.ctx(0).Err() == nil {
			return fmt.Errorf("demo data: %w", err)
		}
		if err := d.writeEnv(apiLn); err != nil {
			return fmt.Errorf("ACCORD_STATE_DIR: %w", err)
		}
		d.welcome(issuer, apiLn, sandboxLn)
		return nil
	})
	return g.Wait()
}

// takePorts reports every taken port at once, before anything is started.
func (d *dev) takePorts(ctx context.Context) (api, sandbox net.Listener, err error) {
	api, err1 := listen(ctx, "ACCORD_HTTP_ADDR", d.cfg.HTTPAddr)
	sandbox, err2 := listen(ctx, "ACCORD_SANDBOX_ADDR", d.cfg.SandboxAddr)
	var err3, err4 error
	if d.cfg.TemporalAddress == "" {
		err3 = devstack.CheckPort(devstack.TemporalPortSetting, d.cfg.TemporalPort)
		err4 = devstack.CheckPort(devstack.TemporalUIPortSetting, d.cfg.TemporalUIPort)
	}
	if err = errors.Join(err1, err2, err3, err4); err != nil {
		for _, ln := range []net.Listener{api, sandbox} {
			if ln != nil {
				_ = ln.Close()
			}
		}
	}
	return api, sandbox, err
}

// startServers brings up Postgres and Temporal side by side and migrates.
func (d *dev) startServers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.startPostgres(ctx) })
	g.Go(func() error { return d.startTemporal(ctx) })
	return g.Wait()
}

func (d *dev) startPostgres(ctx context.Context) error {
	if d.cfg.DatabaseURL == "" {
		p, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{DataDir: filepath.Join(d.cfg.StateDir, "postgres"), Port: d.cfg.PostgresPort,
			Durable: true, Restart: true, Progress: func(m string) { d.say("  %s", m) }})
		if err != nil {
			return err
		}
		d.postgres, d.cfg.DatabaseURL = p, config.Secret(p.URL())
	}
	if err := postgres.Migrate(ctx, d.cfg.DatabaseURL.Reveal(), func(format string, args ...any) { d.log.Info("migrate", "message", fmt.Sprintf(format, args...)) }); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	d.say("Postgres is ready")
	return nil
}

func (d *dev) startTemporal(ctx context.Context) error {
	if d.cfg.TemporalAddress == "" {
		t, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{BinDir: filepath.Join(d.cfg.StateDir, "bin"),
			DBFile: filepath.Join(d.cfg.StateDir, "temporal", "temporal.db"), Port: d.cfg.TemporalPort, UIPort: d.cfg.TemporalUIPort,
			Namespace: d.cfg.TemporalNamespace, Restart: true, Progress: func(m string) { d.say("  %s", m) }})
		if err != nil {
			return err
		}
		d.temporal, d.cfg.TemporalAddress = t, t.Address()
		if d.cfg.TemporalUI == "" {
			d.cfg.TemporalUI = "http://127.0.0.1:" + strconv.Itoa(d.cfg.TemporalUIPort)
		}
	}
	d.say("Temporal is ready")
	return nil
}

func (d *dev) stopServers() error {
	ctx, cancel := context.WithTimeout(context.Background(), d.cfg.StopTimeout)
	defer cancel()
	var errs []error
	if d.temporal != nil {
		errs = append(errs, d.temporal.Stop(ctx))
	}
	if d.postgres != nil {
		errs = append(errs, d.postgres.Stop(ctx))
	}
	return errors.Join(errs...)
}
