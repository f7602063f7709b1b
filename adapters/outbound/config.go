package outbound

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"

	"accord/domain/preference"
)

// Config of the calls to one vendor. Target and BaseURL are required, the zero value of anything else means its default.
type Config struct {
	Target  preference.Target
	BaseURL string // http or https, with or without a path prefix

	// Authorize puts our credentials on a call; nil for a vendor that needs none, or whose adapter sets them itself. It
	// is a function so that a key can be exchanged while we run, and so that printing a Config shows no secret.
	Authorize func(http.Header)
	// CredentialStatuses are the answers by which the vendor says that our credentials are wrong, and not the call;
	// default 401. See classify.go.
	CredentialStatuses []int

	Timeout time.Duration // of one call, from dialling to the last byte of the answer; default 5 s

	Rate    float64       // calls per second; 0 means no limit
	Burst   int           // default: one second's worth, at least one
	MaxWait time.Duration // longest wait for the rate limit; default 1 s

	Breaker Breaker

	MaxRetryAfter time.Duration // longest wait a vendor may ask of us; default 5 min
	MaxBody       int64         // longest answer in bytes; default 1 MiB

	Tracer    trace.Tracer // makes a span of each call; nil for none
	TellTrace bool         // the vendor is sent our traceparent; default not: it is nobody's business

	Transport http.RoundTripper // default: a pool of its own per vendor
	Clock     func() time.Time  // default time.Now
	Logger    *slog.Logger      // one debug line per call; default: none
	// Observe is told about each call when it has ended: "ok", "cancelled" or the code of its TargetError. It is called
	// concurrently and must not block.
	Observe func(target preference.Target, outcome string, took time.Duration)
}

// Breaker says when calls stop for a while because the vendor is down. It trips when, of at least MinCalls calls that
// ended within Window, FailureRatio failed; it then refuses calls for OpenFor and tries one. The ratio and the minimum
// keep one customer whose calls always fail from stopping everybody's.
type Breaker struct {
	Window       time.Duration // default 10 s
	MinCalls     int           // default 20
	FailureRatio float64       // default 0.6
	OpenFor      time.Duration // default 2 s
}

func (c Config) withDefaults() Config {
	if c.CredentialStatuses == nil {
		c.CredentialStatuses = []int{http.StatusUnauthorized}
	}
	setDefault(&c.Timeout, 5*time.Second)
	setDefault(&c.Burst, max(1, int(c.Rate)))
	setDefault(&c.MaxWait, time.Second)
	setDefault(&c.Breaker.Window, 10*time.Second)
	setDefault(&c.Breaker.MinCalls, 20)
	setDefault(&c.Breaker.FailureRatio, 0.6)
	setDefault(&c.Breaker.OpenFor, 2*time.Second)
	setDefault(&c.MaxRetryAfter, 5*time.Minute)
	setDefault(&c.MaxBody, 1<<20)
	if c.Transport == nil {
		c.Transport = newTransport()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = func(preference.Target, string, time.Duration) {}
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	if c.Target == "" {
		problems = append(problems, errors.New("Target is required"))
	}
	base, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		problems = append(problems, errors.New("BaseURL cannot be parsed")) // the cause would repeat it, userinfo included
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		problems = append(problems, errors.New("BaseURL must be an http or https address"))
	case base.RawQuery != "", base.Fragment != "", base.User != nil:
		problems = append(problems, errors.New("BaseURL must not hold a query, a fragment or credentials"))
	}
	for name, negative := range map[string]bool{
		"Timeout": c.Timeout < 0, "Rate": c.Rate < 0, "Burst": c.Burst < 0, "MaxWait": c.MaxWait < 0,
		"MaxRetryAfter": c.MaxRetryAfter < 0, "MaxBody": c.MaxBody < 0, "Breaker.Window": c.Breaker.Window < 0,
		"Breaker.MinCalls": c.Breaker.MinCalls < 0, "Breaker.OpenFor": c.Breaker.OpenFor < 0,
	} {
		if negative {
			problems = append(problems, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.Breaker.FailureRatio < 0 || c.Breaker.FailureRatio > 1 {
		problems = append(problems, errors.New("Breaker.FailureRatio must be between 0 and 1"))
	}
	return errors.Join(problems...)
}

// newTransport keeps enough idle connections that a burst of changes does not open one per call: net/http's own default
// keeps two per host. They are dropped after half a minute, before the usual load balancer drops its end; a write that
// meets a connection just closed cannot be repeated safely by the transport and fails.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    3 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
