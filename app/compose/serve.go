package compose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"accord/adapters/auth"
	httpapi "accord/adapters/http"
	"accord/adapters/links"
	"accord/app/config"
	"accord/app/email"
	"accord/app/gpc"
	"accord/app/ledger"
	"accord/app/preferences"
	"accord/app/stream"
	"accord/ports"
)

// Build names this build; set by the linker.
var Build = "dev"

// Serve answers the API until ctx ends, then drains. Temporal need not be there: withdrawals are accepted without it.
func Serve(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := cfg.Validate(config.NeedDatabase, config.NeedTemporal, config.NeedLedgerKeys, config.NeedTokens); err != nil {
		return err
	}
	c, err := openCore(ctx, named(cfg, "accord-api"), log)
	if err != nil {
		return err
	}
	keys, err := auth.NewRemoteKeys(cfg.JWKSURL, log)
	if err != nil {
		return errors.Join(fmt.Errorf("ACCORD_JWT_JWKS_URL: %w", err), c.close())
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, Keys: keys})
	if err != nil {
		return errors.Join(err, c.close())
	}
	ln, err := listen(ctx, "ACCORD_HTTP_ADDR", cfg.HTTPAddr)
	if err != nil {
		return errors.Join(err, c.close())
	}
	log.Info("API is listening", "address", ln.Addr().String(), "build", Build)
	refreshing, stop := context.WithCancel(ctx)
	defer stop()
	go keys.Run(refreshing)
	stopProfiles, err := c.serveProfiles(ctx)
	if err != nil {
		return errors.Join(err, ln.Close(), c.close())
	}
	defer stopProfiles()
	return errors.Join(c.serveAPI(ctx, ln, auth.NewCache(verifier, keys), nil), c.close())
}

// serveAPI runs the HTTP adapter over the use cases. dev is nil everywhere but in the development stack.
func (c *core) serveAPI(ctx context.Context, ln net.Listener, verifier ports.TokenVerifier, dev *auth.DevIssuer) error {
	service := c.service()
	defer service.Close()
	stopWaiting := context.AfterFunc(ctx, service.StopWaiting) // a drain must not take as long as the longest wait
	defer stopWaiting()
	streams := stream.New(stream.Config{Events: c.db, Standings: c.db, Inbox: c.inbox, Measures: c.metrics, Logger: c.log,
		MaxStreams: c.cfg.Inbox.Streams, PerViewer: c.cfg.Inbox.StreamsPerViewer})
	defer streams.Close()
	endStreams := context.AfterFunc(ctx, streams.StopAccepting) // streams never end by themselves
	defer endStreams()
	signals, stopSignals, err := c.privacySignals(service)
	if err != nil {
		return err
	}
	defer stopSignals()
	handler, err := c.handler(service, streams, signals, verifier, dev)
	if err != nil {
		return err
	}
	return serve(ctx, ln, httpapi.NewServer(handler, c.cfg.HTTPAddr), c.cfg.StopTimeout)
}

// handler is the HTTP API over the use cases.
func (c *core) handler(service *preferences.Service, streams ports.Streams, signals ports.PrivacySignals, verifier ports.TokenVerifier, dev *auth.DevIssuer) (http.Handler, error) {
	mail, err := c.emailLinks(service)
	if err != nil {
		return nil, err
	}
	told, err := c.decisions(service)
	if err != nil {
		return nil, err
	}
	hc := httpapi.Config{Decisions: told, Endpoints: c.subscribers(), EmailLinks: mail, Brand: c.cfg.Email.Brand, Preferences: replaying{service, c.metrics.changes.replays}, Operators: service,
		Inbox: measuredInbox{c.inbox, c.metrics.inboxes}, Messages: measuredMessages{c.inbox, c.metrics.inboxes}, LinkTargets: c.inbox,
		Engagement: c.measures, Reconciliation: onRequest{c}, Rights: c.rights(service), Auditing: &ledger.Auditor{Ledger: c.db, Seals: c.db, Proofs: c.db}, Streams: streams, Verifier: verifier, Catalogue: c.catalogue,
		Ready: map[string]ports.Readiness{"database": c.db}, Metrics: c.metrics.registry, Tracer: c.tracing.Tracer("http"), Logger: c.log, Build: Build,
		Addresses: httpapi.AddressPolicy(c.cfg.AuditAddress), Proxies: c.cfg.TrustedProxies,
		Signals: signals, Limits: rateLimits(c.cfg.Security), CORSOrigins: c.cfg.Security.CORSOrigins, HSTS: c.cfg.Security.HSTS}
	if dev != nil {
		hc.Dev = &httpapi.DevTokens{Mint: dev.Mint, Keys: dev}
	}
	return httpapi.New(hc)
}

// privacySignals is nil where nothing is to follow from them.
func (c *core) privacySignals(changes ports.Preferences) (ports.PrivacySignals, func(), error) {
	email, channels, err := c.cfg.GPC()
	if err != nil || (!email && len(channels) == 0) {
		return nil, func() {}, err
	}
	s := gpc.New(gpc.Config{Store: c.db, Accounts: c.db, Changes: changes, Email: email, Channels: channels,
		Count: func(outcome string) { c.metrics.signals.WithLabelValues(outcome).Inc() }, Now: time.Now, Logger: c.log})
	return s, s.Close, nil
}

func rateLimits(s config.Security) httpapi.RateLimits {
	limit := func(r config.RateLimit) httpapi.RateLimit { return httpapi.RateLimit{Rate: r.Rate, Burst: r.Burst} }
	return httpapi.RateLimits{Customer: limit(s.RateCustomer), Changes: limit(s.RateChanges), Events: limit(s.RateEvents),
		Address: limit(s.RateAddress), Links: limit(s.RateLink), Callers: s.RateCallers}
}

// emailLinks are the use cases of the links in e-mails.
func (c *core) emailLinks(service *preferences.Service) (*email.Service, error) {
	ec := email.Config{Accounts: c.db, Preferences: service, Catalogue: c.catalogue, PublicURL: c.cfg.Email.PublicURL,
		UnsubscribeTTL: c.cfg.Email.UnsubscribeTTL, Now: time.Now}
	keys, err := c.cfg.Email.Keys()
	if err != nil {
		return nil, fmt.Errorf("ACCORD_LINK_KEYS: %w", err)
	}
	if len(keys) == 0 && c.cfg.Email.DoubleOptIn {
		return nil, errors.New("ACCORD_EMAIL_DOUBLE_OPT_IN needs ACCORD_PUBLIC_URL and ACCORD_LINK_KEYS: nobody could confirm")
	}
	if len(keys) == 0 {
		c.log.Warn("there are no links in e-mails: ACCORD_PUBLIC_URL and ACCORD_LINK_KEYS are not set")
		return email.New(ec), nil
	}
	if ec.Tokens, err = links.New(keys); err != nil {
		return nil, err
	}
	return email.New(ec), nil
}

// serve runs a server until ctx ends, then lets requests under way finish.
func serve(ctx context.Context, ln net.Listener, srv *http.Server, limit time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return srv.Shutdown(stop)
	})
	return g.Wait()
}

// listen explains a taken port by the setting that moves it.
func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %s (is the port taken by another process?): %w", setting, addr, err)
	}
	return ln, nil
}
