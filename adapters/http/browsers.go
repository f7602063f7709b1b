package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rs/cors"
)

// crossOrigin lets web apps of the named origins call from a browser, and nobody without one. Tokens are sent in a header
// and cookies are not used, so credentials in CORS's sense are not allowed.
func crossOrigin(next http.Handler, origins []string) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Accept-Language", installationHeader, "Idempotency-Key", "If-Match",
			"If-None-Match", "Prefer", "Last-Event-ID", "X-Request-Id", "Traceparent"},
		ExposedHeaders: []string{"ETag", "Location", "Retry-After", "Accord-Operation", "Idempotency-Replayed", "Preference-Applied",
			"RateLimit", "RateLimit-Policy", "X-Request-Id", "Deprecation", "Sunset", "Link", "WWW-Authenticate"},
		MaxAge:               int((2 * time.Hour).Seconds()), // as long as browsers go
		OptionsSuccessStatus: http.StatusNoContent,
	}).Handler(next)
}

// insistOnHTTPS tells browsers to come by https alone, for so long; zero for not saying so.
func insistOnHTTPS(next http.Handler, lasting time.Duration) http.Handler {
	if lasting <= 0 {
		return next
	}
	value := []string{"max-age=" + strconv.FormatInt(int64(lasting.Seconds()), 10)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Strict-Transport-Security"] = value
		next.ServeHTTP(w, r)
	})
}
