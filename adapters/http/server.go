package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"accord/domain/preference"
	"accord/ports"
)

// Config of the handler. Everything is required but Decisions, Ready, Dev, Tracer, Build and Brand.
type Config struct {
	Preferences ports.Preferences
	Operators   ports.Operators
	Inbox       ports.Inbox
	Messages    ports.Messages
	LinkTargets ports.LinkTargets
	EmailLinks  ports.EmailLinks
	Engagement  ports.Metrics
	Streams     ports.Streams
	Endpoints   ports.Endpoints // of those who are told of changes
	Decisions   ports.Decisions // from outside; nil where nobody may tell any
	Verifier    ports.TokenVerifier
	Catalogue   *preference.Catalogue
	Ready       map[string]ports.Readiness // by the name shown in /readyz
	Metrics     *prometheus.Registry       // gets our measures; /metrics shows all of it
	Dev         *DevTokens                 // nil everywhere but in the development stack
	Signals     ports.PrivacySignals       // nil where Global Privacy Control is not honoured
	Limits      RateLimits                 // how often who may call; nothing is limited without
	CORSOrigins []string                   // of web apps that may call from a browser
	HSTS        time.Duration              // how long browsers shall insist on https; zero for not saying so
	Tracer      trace.Tracer               // makes a span of each request; nil for none
	Addresses   AddressPolicy              // what the ledger keeps of a client's
	Proxies     []string                   // networks whose X-Forwarded-For is believed
	Logger      *slog.Logger
	Build       string // shown in /healthz and /docs
	Brand       string // who sends the e-mails, as the pages behind their links say

	Reconciliation ports.Reconciliation
	Rights         ports.Rights
	Auditing       ports.Auditing
}

type server struct {
	preferences ports.Preferences
	operators   ports.Operators
	inbox       ports.Inbox
	messages    ports.Messages
	linkTargets ports.LinkTargets
	links       ports.EmailLinks
	pages       *linkPages
	engagement  ports.Metrics
	streams     ports.Streams
	decisions   ports.Decisions
	endpoints   ports.Endpoints
	large       chan struct{} // a place for each large body that is worked on
	questions   *questions
	limits      *limits
	signals     ports.PrivacySignals
	verifier    ports.TokenVerifier
	catalogue   *preference.Catalogue
	ready       map[string]ports.Readiness
	metrics     prometheus.Gatherer
	log         *slog.Logger
	build       string
	contract    *contract
	addresses   AddressPolicy

	reconciliation ports.Reconciliation
	rights         ports.Rights
	auditing       ports.Auditing
}

var _ ServerInterface = (*server)(nil)

// New builds the handler of the whole HTTP API.
func New(cfg Config) (http.Handler, error) {
	engine, err := newEngine(cfg)
	if err != nil {
		return nil, fmt.Errorf("HTTP API: %w", err)
	}
	return insistOnHTTPS(crossOrigin(headAsGet(engine.Handler()), cfg.CORSOrigins), cfg.HSTS), nil
}

// headAsGet answers HEAD wherever there is a GET: net/http leaves the body out by itself.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true)) // a copy, too
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

type headKey struct{}

// headOnly reports that nobody will see the body, which matters where it has no end.
func headOnly(r *http.Request) bool { return r.Context().Value(headKey{}) != nil }

func (c Config) check() error {
	missing := map[string]bool{"preferences": c.Preferences == nil, "operators": c.Operators == nil, "inbox": c.Inbox == nil, "messages": c.Messages == nil,
		"link targets": c.LinkTargets == nil, "e-mail links": c.EmailLinks == nil, "engagement": c.Engagement == nil, "reconciliation": c.Reconciliation == nil, "rights": c.Rights == nil, "auditing": c.Auditing == nil, "streams": c.Streams == nil, "endpoints": c.Endpoints == nil, "verifier": c.Verifier == nil, "catalogue": c.Catalogue == nil, "metrics": c.Metrics == nil, "logger": c.Logger == nil}
	maps.DeleteFunc(missing, func(_ string, is bool) bool { return !is })
	if len(missing) == 0 {
		return nil
	}
	return errors.New("not given: " + strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
}

func newEngine(cfg Config) (*gin.Engine, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c, err := ownContract()
	if err != nil {
		return nil, err
	}
	durations, err := newDurations(cfg.Metrics, c)
	if err != nil {
		return nil, err
	}
	page, err := renderDocs(c, cfg.Build)
	if err != nil {
		return nil, err
	}
	pages, err := newLinkPages(cfg.Brand)
	if err != nil {
		return nil, err
	}
	s := &server{preferences: cfg.Preferences, operators: cfg.Operators, inbox: cfg.Inbox, messages: cfg.Messages, linkTargets: cfg.LinkTargets,
		links: cfg.EmailLinks, pages: pages, engagement: cfg.Engagement, reconciliation: cfg.Reconciliation, rights: cfg.Rights, auditing: cfg.Auditing, streams: cfg.Streams,
		decisions: cfg.Decisions, endpoints: cfg.Endpoints,
		large: make(chan struct{}, maxLarge), questions: newQuestions(), verifier: cfg.Verifier, catalogue: cfg.Catalogue,
		ready: cfg.Ready, metrics: cfg.Metrics, log: cfg.Logger, build: cfg.Build, contract: c, addresses: cfg.Addresses}
	s.signals = cfg.Signals
	if s.limits, err = newLimits(cfg.Limits, time.Now); err != nil {
		return nil, err
	}
	engine, err := newGin(cfg.Proxies...)
	if err != nil {
		return nil, err
	}
	engine.Use(unescapePath, identify(c))
	if cfg.Tracer != nil {
		engine.Use(traced(cfg.Tracer))
	}
	engine.Use(observe(cfg.Logger, durations), recoverPanics(cfg.Logger), secure, announceRetirement,
		s.authenticate, s.limit, s.notePrivacy, s.answerKnown, s.checkParameters, s.notePresence)
	engine.NoRoute(notFound)
	engine.NoMethod(methodNotAllowed)
	RegisterHandlersWithOptions(engine, s, GinServerOptions{ErrorHandler: s.badBinding})
	engine.GET("/docs", page.serve)
	engine.GET("/problems/:code", page.serveProblem)
	if cfg.Dev != nil {
		s.registerDev(engine, cfg.Dev)
	}
	return engine, nil
}

func newGin(proxies ...string) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode) // debug mode prints to stdout, past our logs
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false // a redirected change loses its method in half of all clients
	// Match what was sent: in the decoded path a customer id with a slash in it would be two segments.
	// Gin would decode the parts as if they were a query, and make a plus a space; unescapePath does it right.
	engine.UseEscapedPath, engine.UnescapePathValues = true, false
	engine.RemoteIPHeaders = []string{"X-Forwarded-For"}
	// The default trusts every proxy to say who the client is.
	return engine, engine.SetTrustedProxies(proxies)
}

// Time-outs of the server. An answer may take as long as the longest Prefer: wait, and some. Reading has the same bound
// as writing, since its deadline runs on while the handler works and cancels the request's context when it passes.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = writeTimeout
	writeTimeout      = maxWait + 15*time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// NewServer puts bounds around the handler: Go's own server waits for ever. The caller listens and shuts it down.
func NewServer(handler http.Handler, addr string) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
	}
}
