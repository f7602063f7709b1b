package httpapi

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// unmatched stands for every path that the API does not have: a made-up path must not become a time series.
const unmatched = "unmatched"

func newDurations(reg prometheus.Registerer) (*prometheus.HistogramVec, error) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "accord_http_request_duration_seconds",
		Help:    "Time from the first byte of a request's headers to the end of its answer.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "method", "status"})
	return h, reg.Register(h)
}

// observe measures and logs every request: route, status, time and id; never a customer, a query or a token.
func observe(log *slog.Logger, durations *prometheus.HistogramVec) gin.HandlerFunc {
	return func(g *gin.Context) {
		began := time.Now()
		defer func() {
			took, name, status := time.Since(began), g.FullPath(), g.Writer.Status()
			if name == "" {
				name = unmatched
			}
			durations.WithLabelValues(name, knownMethod(g.Request.Method), strconv.Itoa(status)).Observe(took.Seconds())
			level := slog.LevelInfo
			if r := exchangeOf(g).route; r != nil && r.access == forAnyone {
				level = slog.LevelDebug // probes and scrapes come every few seconds
			}
			log.LogAttrs(g.Request.Context(), level, "request", slog.String("method", knownMethod(g.Request.Method)), slog.String("route", name),
				slog.Int("status", status), slog.Duration("took", took), slog.Int("bytes", max(g.Writer.Size(), 0)), slog.String("request_id", exchangeOf(g).requestID))
		}()
		g.Next()
	}
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
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if strings.HasPrefix(g.FullPath(), "/v1/") {
		h.Set("Vary", "Authorization")
	}
}

func notFound(g *gin.Context) {
	Problem{Status: http.StatusNotFound, Code: "not-found", Detail: "There is nothing under this address."}.answer(g)
}

// methodNotAllowed finds Allow set already by the router.
func methodNotAllowed(g *gin.Context) {
	Problem{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This address takes " + g.Writer.Header().Get("Allow") + "."}.answer(g)
}
