package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"accord/adapters/auth"
	"accord/adapters/checkpoint"
	"accord/adapters/devstack"
	"accord/adapters/links"
	"accord/app/systemtest/process"
)

// stack is Accord as it runs scaled out, every part a process of its own that can be killed: two APIs, two workers, Postgres,
// Temporal and the sandbox, with a proxy on every way between them that leads to a server.
type stack struct {
	state, logs  string
	bin, next    string // the command, and the one that is rolled out over it; "" for none
	apis         []string
	sandbox      string // address for the control contract, which nothing disturbs but the sandbox's own death
	issuer       *issuer
	jwks         *httptest.Server
	disk         *disk
	links        *waysBetween
	postgres     *postgresServer
	temporal     *temporalServer
	parts        map[string]*part // sandbox, api-1, api-2, worker-1, worker-2
	env          []string
	groups       map[string]string // what the CRM calls each channel
	provider     provider
	stopWatching context.CancelFunc
}

// parts in the order in which they start.
var partNames = []string{"sandbox", "worker-1", "worker-2", "api-1", "api-2"}

func startStack(ctx context.Context, o options, dir string) (_ *stack, err error) {
	s := &stack{logs: filepath.Join(dir, "logs"), parts: map[string]*part{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if err := os.MkdirAll(s.logs, 0o755); err != nil { //nolint:gosec // logs of a test
		return nil, err
	}
	if s.state, err = os.MkdirTemp("", "accord-chaos-"); err != nil {
		return nil, err
	}
	// As root, Postgres runs as another user, who has to pass through.
	if err := os.Chmod(s.state, 0o755); err != nil { //nolint:gosec // see above
		return nil, err
	}
	if err := s.build(ctx, o); err != nil {
		return nil, err
	}
	if err := s.servers(ctx); err != nil {
		return nil, err
	}
	if err := s.configure(ctx, o); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWatching = stop
	for _, name := range partNames {
		p, err := s.part(ctx, name)
		if err != nil {
			return nil, err
		}
		s.parts[name] = p
		go p.watch(watching)
	}
	go s.postgres.watch(watching)
	go s.temporal.watch(watching)
	return s, s.awaitReady(ctx, 3*time.Minute)
}

// build makes the command, and the next version of it.
func (s *stack) build(ctx context.Context, o options) (err error) {
	s.bin = o.binary
	if s.bin == "" {
		s.bin = filepath.Join(s.state, "accord")
		if err := process.Build(ctx, s.bin, "-ldflags", "-X main.buildID=this"); err != nil {
			return err
		}
	}
	if s.bin, err = filepath.Abs(s.bin); err != nil || !o.deploy {
		return err
	}
	s.next = filepath.Join(s.state, "accord-next")
	return buildPatched(ctx, s.next, "next", []string{nextVersion})
}

func (s *stack) servers(ctx context.Context) (err error) {
	s.disk = newDisk(filepath.Join(s.state, "postgres"))
	s.postgres = &postgresServer{options: devstack.PostgresOptions{DataDir: s.disk.path, Durable: true,
		// Small, so that what is to be filled is filled soon.
		Settings: []string{"max_wal_size=128MB", "min_wal_size=32MB"}}}
	s.temporal = &temporalServer{options: devstack.TemporalOptions{BinDir: filepath.Join(".accord", "bin"),
		DBFile: filepath.Join(s.state, "temporal", "temporal.db"), Progress: func(m string) { say("%s", m) }}}
	if err := s.postgres.start(ctx); err != nil {
		return err
	}
	if err := s.temporal.start(ctx); err != nil {
		return err
	}
	if err := s.temporal.answers(ctx); err != nil { // else what asks this in the end finds fault with every server
		return fmt.Errorf("a new Temporal server: %w", err)
	}
	if s.issuer, err = newIssuer(filepath.Join(s.state, "issuer")); err != nil {
		return err
	}
	s.jwks = httptest.NewServer(s.issuer.keys)
	s.sandbox = process.FreeAddr()
	s.links, err = newLinks(map[string]string{"postgres": s.postgres.address(), "temporal": s.temporal.address(), "sandbox": s.sandbox})
	return err
}

// configure settles the environment of every part, and brings the database up to date.
func (s *stack) configure(ctx context.Context, o options) error {
	s.apis = []string{"http://" + process.FreeAddr(), "http://" + process.FreeAddr()}
	signing, err := checkpoint.NewKey("accord.chaos")
	if err != nil {
		return err
	}
	s.env = append(os.Environ(),
		"ACCORD_LEDGER_KEYS=chaos:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ACCORD_CHECKPOINT_KEY="+signing,
		"ACCORD_DATABASE_URL="+s.postgres.url(), "ACCORD_TEMPORAL_ADDRESS="+s.temporal.address(), "ACCORD_SANDBOX_ADDR="+s.sandbox,
		"ACCORD_SANDBOX_STATE="+filepath.Join(s.state, "sandbox.journal"),
		"ACCORD_JWT_JWKS_URL="+s.jwks.URL, "ACCORD_JWT_ISSUER="+auth.DevIssuerName, "ACCORD_JWT_AUDIENCE="+auth.DevAudience,
		// Short, so that changes end both ways and much happens in little time.
		"ACCORD_VENDOR_TIMEOUT="+o.vendorTimeout.String(), "ACCORD_GRANT_BUDGET=40s", "ACCORD_STOP_TIMEOUT=5s", "ACCORD_LOG_LEVEL=info",
		"ACCORD_INBOX_PULL_EVERY=5s", "ACCORD_INBOX_OWN_TTL=10s",
		"ACCORD_PUBLIC_URL="+s.apis[0], "ACCORD_LINK_KEYS="+links.NewKey("chaos"),
		"ACCORD_WEBHOOK_SECRETS_GENERIC="+webhookSecret(), "ACCORD_WEBHOOK_SECRETS_BRAZE="+webhookSecret(),
		"ACCORD_WEBHOOK_SECRETS_ONESIGNAL="+webhookSecret(),
		"ACCORD_EMAIL_DOUBLE_OPT_IN="+strconv.FormatBool(o.doubleOptIn == "on"))
	_, err = process.Run(ctx, s.bin, s.env, "migrate")
	return err
}

// part is the process of that name, with its own ways to the servers.
func (s *stack) part(ctx context.Context, name string) (*part, error) {
	p := &part{name: name, logs: s.logs, bin: s.bin}
	kind, number, _ := strings.Cut(name, "-")
	if kind == "sandbox" {
		p.arguments, p.ready, p.env = []string{"sandbox"}, "sandbox is listening", s.env
		return p, nil
	}
	env := append(slices.Clone(s.env),
		"ACCORD_DATABASE_URL="+through(s.postgres.url(), s.links.address(kind, "postgres")),
		"ACCORD_TEMPORAL_ADDRESS="+s.links.address(kind, "temporal"))
	vendors, err := process.Vendors(ctx, s.bin, env, s.links.address(kind, "sandbox"))
	if err != nil {
		return nil, err
	}
	p.env, s.groups, s.provider = append(env, vendors...), channelGroups(vendors), providerIn(vendors)
	if kind == "worker" {
		p.arguments, p.ready = []string{"worker"}, `"worker is ready"`
		return p, nil
	}
	n, _ := strconv.Atoi(number)
	p.arguments, p.ready = []string{"serve"}, `"API is listening"`
	p.env = append(p.env, "ACCORD_HTTP_ADDR="+strings.TrimPrefix(s.apis[n-1], "http://"))
	return p, nil
}

// channelGroups are what the CRM calls each channel, out of the settings of whoever speaks with it.
func channelGroups(settings []string) map[string]string {
	out := map[string]string{}
	for _, setting := range settings {
		pairs, is := strings.CutPrefix(setting, "ACCORD_BRAZE_GROUPS=")
		if !is {
			continue
		}
		for _, pair := range strings.Split(pairs, ",") {
			channel, id, _ := strings.Cut(pair, "=")
			out[channel] = id
		}
	}
	return out
}

// through leads a database's URL another way.
func through(raw, address string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = address
	return u.String()
}

// awaitReady waits until every part is there and answers.
func (s *stack) awaitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	for {
		last := ""
		for _, name := range partNames {
			if !s.parts[name].isUp() {
				last = name + " is not up"
			}
		}
		for _, address := range []string{s.apis[0] + "/readyz", s.apis[1] + "/readyz", "http://" + s.sandbox + "/healthz"} {
			if err := process.Answers(ctx, client, address); err != nil {
				last = err.Error()
			}
		}
		if last == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in %s: %s", limit, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// heal ends every disturbance that may be left, and waits until everything is there.
func (s *stack) heal(ctx context.Context) error {
	s.disk.free()
	s.links.heal(ctx)
	s.postgres.signal(syscall.SIGCONT)
	s.temporal.signal(syscall.SIGCONT)
	for _, p := range s.parts {
		p.signal(syscall.SIGCONT)
		p.release()
	}
	s.postgres.release()
	s.temporal.release()
	if err := s.temporal.serves(ctx); err != nil {
		say("Temporal is there and answers nothing that needs its database (%v); it is started again, as whoever watches over it would", err)
		s.temporal.signal(syscall.SIGKILL)
	}
	return s.awaitReady(ctx, 5*time.Minute)
}

// close stops everything and drops the state. The record stays.
func (s *stack) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if s.stopWatching != nil {
		s.stopWatching()
	}
	var errs []error
	for i := len(partNames) - 1; i >= 0; i-- {
		if p := s.parts[partNames[i]]; p != nil {
			errs = append(errs, p.stop())
		}
	}
	if s.links != nil {
		s.links.close()
	}
	if s.jwks != nil {
		s.jwks.Close()
	}
	if s.temporal != nil {
		errs = append(errs, s.temporal.stop(ctx))
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.stop(ctx))
	}
	if s.disk != nil {
		errs = append(errs, s.disk.unmount())
	}
	if s.state != "" {
		errs = append(errs, os.RemoveAll(s.state))
	}
	return errors.Join(errs...)
}

// crashes are processes that fell over by themselves: a panic is never right, whatever is done to what they run on.
func (s *stack) crashes() error {
	var errs []error
	for _, name := range partNames {
		text, err := os.ReadFile(filepath.Join(s.logs, name+".log"))
		if err != nil {
			return err
		}
		for _, sign := range []string{"\npanic: ", "\nfatal error: ", `"msg":"panic`} {
			if i := bytes.Index(text, []byte(sign)); i >= 0 {
				errs = append(errs, fmt.Errorf("%s fell over: %s", name, text[i:min(len(text), i+1500)]))
			}
		}
	}
	return errors.Join(errs...)
}
