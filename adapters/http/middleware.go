package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"accord/ports"
)

// unmatched stands for every path that the API does not have: a made-up path must not become a time series.
const unmatched = "unmatched"

// durations measures requests. The time series of each route and status is looked up once.
type durations struct {
	all      *prometheus.HistogramVec
	problems *prometheus.CounterVec
	known    map[*route]*[statusCount]atomic.Pointer[prometheus.Observer]
}

const (
	firstStatus = 100
	statusCount = 500 // from the first on
)

func newDurations(reg prometheus.Registerer, c *contract) (*durations, error) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "accord_http_request_duration_seconds",
		Help:    "Time from the first byte of a request's headers to the end of its answer.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "method", "status"})
	problems := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "accord_http_problems_total", Help: "Problems that were answered, by code (/docs lists them).",
	}, []string{"code"})
	for _, k := range known {
		problems.WithLabelValues(k.Code) // there from the start, so that the first one counts as an increase
	}
	d := &durations{all: h, problems: problems, known: make(map[*route]*[statusCount]atomic.Pointer[prometheus.Observer], len(c.routes))}
	for _, r := range c.routes {
		d.known[r] = new([statusCount]atomic.Pointer[prometheus.Observer])
	}
	return d, errors.Join(reg.Register(h), reg.Register(problems))
}

func (d *durations) of(g *gin.Context, x *exchange) prometheus.Observer {
	status := g.Writer.Status()
	slots := d.known[x.route]
	at := status - firstStatus
	if slots == nil || at < 0 || at >= statusCount {
		return d.find(g, status)
	}
	if known := slots[at].Load(); known != nil {
		return *known
	}
	found := d.find(g, status)
	slots[at].Store(&found)
	return found
}

func (d *durations) find(g *gin.Context, status int) prometheus.Observer {
	return d.all.WithLabelValues(routeName(g), knownMethod(g.Request.Method), strconv.Itoa(status))
}

// observe measures and logs every request: route, status, time and id; never a customer, a query or a token.
func observe(log *slog.Logger, durations *durations) gin.HandlerFunc {
	return func(g *gin.Context) {
		began := time.Now()
		defer func() {
			took, x := time.Since(began), exchangeOf(g)
			if !x.streamed(g) { // how long a stream was open is no latency
				durations.of(g, x).Observe(took.Seconds())
			}
			if x.problem != "" {
				durations.problems.WithLabelValues(x.problem).Inc()
			}
			if level := levelOf(x); log.Enabled(g.Request.Context(), level) {
				log.LogAttrs(ports.About(g.Request.Context(), x.operation), level, "request", slog.String("method", knownMethod(g.Request.Method)), slog.String("route", routeName(g)),
					slog.Int("status", g.Writer.Status()), slog.Duration("took", took), slog.Int("bytes", max(g.Writer.Size(), 0)), slog.String("request_id", x.requestID))
			}
		}()
		g.Next()
	}
}

// levelOf is Debug for what comes often and tells little: probes and scrapes, and pages that were answered from memory.
func levelOf(x *exchange) slog.Level {
	if (x.route != nil && x.route.access == forAnyone) || x.fromMemory {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func routeName(g *gin.Context) string {
	if name := g.FullPath(); name != "" {
		return name
	}
	return unmatched
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// recoverPanics turns a bug into a 500 that says nothing, and tells our logs where it happened.
func recoverPanics(log *slog.Logger) gin.HandlerFunc {
	return func(g *gin.Context) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
				panic(p)
			}
			log.ErrorContext(g.Request.Context(), "panic while answering", "request_id", exchangeOf(g).requestID, "route", g.FullPath(),
				"panic", p, "stack", string(debug.Stack()))
			if g.Writer.Written() {
				g.Abort()
				return
			}
			internalProblem().answer(g)
		}()
		g.Next()
	}
}

// secure sets what a browser must know about every answer. Handlers say more about caching where they can.
func secure(g *gin.Context) {
	h := g.Writer.Header()
	h["X-Content-Type-Options"], h["Content-Security-Policy"], h["Cache-Control"] = nosniff, noContent, noStore
	h["Cross-Origin-Resource-Policy"] = sameOrigin // no page elsewhere may so much as load it
	if strings.HasPrefix(g.FullPath(), "/v1/") {
		h["Vary"] = varyCaller
		return
	}
	h["Referrer-Policy"] = noReferrer // for pages: a JSON document leads nowhere
}

// Values of headers that every answer has. Nobody changes them: adding to one makes a new list.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	noStore    = []string{"no-store"}
	sameOrigin = []string{"same-origin"}
	varyCaller = []string{"Authorization, Origin"}
)

func notFound(g *gin.Context) {
	Problem{Status: http.StatusNotFound, Code: "not-found", Detail: "There is nothing under this address."}.answer(g)
}

// methodNotAllowed finds Allow set already by the router.
func methodNotAllowed(g *gin.Context) {
	Problem{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This address takes " + g.Writer.Header().Get("Allow") + "."}.answer(g)
}
