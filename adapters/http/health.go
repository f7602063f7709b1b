package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"accord/ports"
)

// readyWithin bounds a check, so that a hanging database is a clear no to whoever asks and not a time-out.
const readyWithin = 2 * time.Second

// GetHealth answers that the process is alive. It asks nobody: a restart does not mend a database.
func (s *server) GetHealth(g *gin.Context) {
	answerJSON(g, http.StatusOK, Health{Status: "ok", Build: s.build})
}

// GetReadiness asks everything that is needed to serve. What is wrong in detail is told to our logs alone.
func (s *server) GetReadiness(g *gin.Context) {
	ctx, cancel := context.WithTimeout(g.Request.Context(), readyWithin)
	defer cancel()
	failed := s.failedChecks(ctx)
	out, status := Readiness{Status: "ready", Checks: map[string]string{}}, http.StatusOK
	for name := range s.ready {
		out.Checks[name] = "ok"
	}
	for name, err := range failed {
		out.Checks[name], out.Status, status = "unavailable", "unavailable", http.StatusServiceUnavailable
		s.log.WarnContext(ctx, "not ready", "check", name, "error", err)
	}
	answerJSON(g, status, out)
}

func (s *server) failedChecks(ctx context.Context) map[string]error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	failed := map[string]error{}
	for name, check := range s.ready {
		wg.Go(func() {
			if err := readyOrLate(ctx, check); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[name] = err
			}
		})
	}
	wg.Wait()
	return failed
}

// readyOrLate does not wait for a check that ignores its context.
func readyOrLate(ctx context.Context, check ports.Readiness) error {
	done := make(chan error, 1)
	go func() { done <- check.Ready(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// GetMetrics answers with the process's measures. What the database has to be asked for is left out while it does not
// answer: the rest is wanted then more than ever.
func (s *server) GetMetrics(g *gin.Context) {
	promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeLog{g.Request.Context(), s.log}}).ServeHTTP(g.Writer, g.Request)
}

// scrapeLog takes what promhttp has to say about measures that could not be taken.
type scrapeLog struct {
	ctx context.Context
	log *slog.Logger
}

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	l.log.WarnContext(l.ctx, "some measures could not be taken", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}
