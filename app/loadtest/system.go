package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"accord/adapters/auth"
	"accord/adapters/checkpoint"
	"accord/adapters/devstack"
	"accord/adapters/links"
	"accord/app/systemtest/process"
)

// part is one accord process. An API or worker answers /metrics at metrics and /debug/pprof at profiles.
type part struct {
	*process.Process
	kind              string // API, worker or sandbox
	metrics, profiles string // base addresses; empty for a sandbox
}

// system is Accord as it runs scaled out, each part a process of its own. Nothing starts a part again: one that ends under
// load is a failure.
type system struct {
	state    string // dropped at the end
	bin      string
	issuer   *auth.DevIssuer
	jwks     *httptest.Server
	postgres *devstack.Postgres
	temporal *devstack.Temporal
	sandbox  string   // its address
	apis     []string // base addresses
	parts    []*part  // in the order of their start
	env      []string
}

// shape says how many there are of what may be many, and what is set besides.
type shape struct {
	binary        string // the command to run; built from this checkout when empty
	apis, workers int
	settings      []string
}

func startSystem(ctx context.Context, sh shape, logs string) (_ *system, err error) {
	s := &system{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if err := os.MkdirAll(logs, 0o755); err != nil { //nolint:gosec // logs of a test
		return nil, err
	}
	if s.state, err = os.MkdirTemp("", "accord-load-"); err != nil {
		return nil, err
	}
	// As root, Postgres runs as another user, who has to pass through.
	if err := os.Chmod(s.state, 0o755); err != nil { //nolint:gosec // see above
		return nil, err
	}
	if s.bin, err = filepath.Abs(sh.binary); sh.binary == "" {
		s.bin = filepath.Join(s.state, "accord")
		err = process.Build(ctx, s.bin, "-ldflags", "-X main.buildID=load")
	}
	if err != nil {
		return nil, err
	}
	if err := s.servers(ctx); err != nil {
		return nil, err
	}
	if err := s.configure(ctx, sh); err != nil {
		return nil, err
	}
	if err := s.launch(ctx, sh, logs); err != nil {
		return nil, err
	}
	return s, s.awaitReady(ctx, 2*time.Minute)
}

func (s *system) servers(ctx context.Context) (err error) {
	s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{DataDir: filepath.Join(s.state, "postgres"), Durable: true})
	if err != nil {
		return err
	}
	s.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{BinDir: filepath.Join(".accord", "bin"),
		DBFile: filepath.Join(s.state, "temporal", "temporal.db"), Progress: func(m string) { say("%s", m) }})
	if err != nil {
		return err
	}
	s.issuer, err = auth.NewDevIssuer(filepath.Join(s.state, "issuer"))
	if err != nil {
		return err
	}
	s.jwks = httptest.NewServer(s.issuer)
	return nil
}

// configure settles the environment of every part, and brings the database up to date.
func (s *system) configure(ctx context.Context, sh shape) error {
	for range sh.apis {
		s.apis = append(s.apis, "http://"+process.FreeAddr())
	}
	s.sandbox = process.FreeAddr()
	signing, err := checkpoint.NewKey("accord.load")
	if err != nil {
		return err
	}
	s.env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "ACCORD_") || strings.HasPrefix(e, "OTEL_") })
	s.env = append(s.env,
		"ACCORD_LEDGER_KEYS=load:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ACCORD_CHECKPOINT_KEY="+signing,
		"ACCORD_DATABASE_URL="+s.postgres.URL(), "ACCORD_TEMPORAL_ADDRESS="+s.temporal.Address(),
		"ACCORD_SANDBOX_ADDR="+s.sandbox, "ACCORD_SANDBOX_STATE="+filepath.Join(s.state, "sandbox.journal"),
		"ACCORD_JWT_JWKS_URL="+s.jwks.URL, "ACCORD_JWT_ISSUER="+auth.DevIssuerName, "ACCORD_JWT_AUDIENCE="+auth.DevAudience,
		"ACCORD_PUBLIC_URL="+s.apis[0], "ACCORD_LINK_KEYS="+links.NewKey("load"),
		// A few clients stand for many callers.
		"ACCORD_RATE_LIMIT_CUSTOMER=off", "ACCORD_RATE_LIMIT_CHANGES=off", "ACCORD_RATE_LIMIT_EVENTS=off",
		"ACCORD_RATE_LIMIT_ADDRESS=off", "ACCORD_RATE_LIMIT_LINK=off")
	s.env = append(s.env, sh.settings...)
	_, err = process.Run(ctx, s.bin, s.env, "migrate")
	return err
}

func (s *system) launch(ctx context.Context, sh shape, logs string) error {
	vendors, err := process.Vendors(ctx, s.bin, s.env, s.sandbox)
	if err != nil {
		return err
	}
	start := func(kind, name, ready string, settings ...string) error {
		p := &part{kind: kind}
		env := append(slices.Clone(s.env), settings...)
		if kind != "sandbox" {
			p.profiles = "http://" + process.FreeAddr()
			env = append(append(env, vendors...), "ACCORD_PROFILE_ADDR="+strings.TrimPrefix(p.profiles, "http://"))
		}
		command := map[string]string{"sandbox": "sandbox", "worker": "worker", "API": "serve"}[kind]
		if p.Process, err = process.Launch(logs, name, env, s.bin, command); err != nil {
			return err
		}
		s.parts = append(s.parts, p)
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return p.Await(waiting, ready)
	}
	if err := start("sandbox", "sandbox", "sandbox is listening"); err != nil {
		return err
	}
	for n := range sh.workers {
		address := process.FreeAddr()
		if err := start("worker", "worker-"+strconv.Itoa(n+1), `"worker is ready"`, "ACCORD_WORKER_ADDR="+address); err != nil {
			return err
		}
		s.parts[len(s.parts)-1].metrics = "http://" + address
	}
	for n, base := range s.apis {
		if err := start("API", "api-"+strconv.Itoa(n+1), `"API is listening"`, "ACCORD_HTTP_ADDR="+strings.TrimPrefix(base, "http://")); err != nil {
			return err
		}
		s.parts[len(s.parts)-1].metrics = base
	}
	return nil
}

func (s *system) awaitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	for {
		err := s.ended()
		for _, p := range s.parts {
			if err == nil && p.metrics != "" {
				err = process.Answers(ctx, client, p.metrics+"/readyz")
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in %s: %w", limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ended is an error when a part does not run any more.
func (s *system) ended() error {
	for _, p := range s.parts {
		select {
		case <-p.Exited():
			return fmt.Errorf("%s has ended: %s", p.Name, p.Tail())
		default:
		}
	}
	return nil
}

// ofKind are the parts of a kind.
func (s *system) ofKind(kind string) (out []*part) {
	for _, p := range s.parts {
		if p.kind == kind {
			out = append(out, p)
		}
	}
	return out
}

// close stops everything and drops the state. The logs stay.
func (s *system) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	var errs []error
	for _, p := range slices.Backward(s.parts) {
		errs = append(errs, p.Stop())
	}
	if s.jwks != nil {
		s.jwks.Close()
	}
	if s.temporal != nil {
		errs = append(errs, s.temporal.Stop(ctx))
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(ctx), devstack.RemovePostgres(filepath.Join(s.state, "postgres")))
	}
	if s.state != "" {
		errs = append(errs, os.RemoveAll(s.state))
	}
	return errors.Join(errs...)
}
