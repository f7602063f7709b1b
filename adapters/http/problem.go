package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
)

// statusOf is the one place where a kind of failure becomes a status.
var statusOf = map[fault.Kind]int{
	fault.Invalid:      http.StatusBadRequest,
	fault.NotFound:     http.StatusNotFound,
	fault.Conflict:     http.StatusConflict,
	fault.Precondition: http.StatusPreconditionFailed,
	fault.Mismatch:     http.StatusUnprocessableEntity,
	fault.Denied:       http.StatusForbidden,
	fault.Unavailable:  http.StatusServiceUnavailable,
	fault.Throttled:    http.StatusTooManyRequests,
	fault.Gone:         http.StatusGone,
	fault.Internal:     http.StatusInternalServerError,
}

// retryAfter is how many seconds a client waits before it asks again after 503.
const retryAfter = "2"

// throttledFor is the same after 429: one more refresh is allowed every so many seconds.
const throttledFor = "5"

// statusClientGone is never seen by anybody but our own logs and measures.
const statusClientGone = 499

// known describes the problem codes, for /docs and for the title of an answer.
var known = []struct{ Code, Title, Meaning string }{
	{"invalid-request", "The request breaks a rule", "errors names each field and rule. Correct it; sending it again as it is changes nothing."},
	{"malformed-json", "The body is not one JSON document", "Broken or doubled JSON, or not UTF-8."},
	{"unexpected-body", "This call takes no body", "What was sent would have been ignored."},
	{"unauthenticated", "A token is needed", "Send Authorization: Bearer with an access token."},
	{"invalid-token", "The token is not to be trusted", "Get a new one."},
	{"too-many-endpoints", "There are too many endpoints", "Delete one first."},
	{"invalid-signature", "The message is not signed as it should be", "Sign it with one of the source's secrets, at the time of each attempt."},
	{"insufficient-scope", "The token does not permit this", "WWW-Authenticate names the scope."},
	{"not-a-customer", "No customer is behind this token", "Preferences belong to people; the token was issued to a client for itself."},
	{"not-found", "There is no such thing", "Or it is not yours: both look the same."},
	{"method-not-allowed", "This method is not allowed here", "Allow lists those that are."},
	{"push-permission-required", "A device must permit notifications first", "Turning push or a channel on needs a device whose OS permission is granted."},
	{"channel-required", "This channel is always on", "Required channels cannot be switched off."},
	{"too-many-devices", "There are too many devices", "Release one first."},
	{"not-parked", "The operation does not wait for a decision", "Only one in needs_attention does."},
	{"token-moved", "The push token is with somebody else by now", "Its release cannot be taken back. Retry it."},
	{"links-not-configured", "Links in e-mails are not configured", "Set ACCORD_PUBLIC_URL and ACCORD_LINK_KEYS."},
	{"confirmation-required", "The subscription must be confirmed first", "A confirmation ahead of this change was taken back. Ask again."},
	{"nothing-to-confirm", "No subscription waits to be confirmed", "It was not asked for, it is confirmed, or its time is over."},
	{"deeplink-inactive", "A link leads nowhere", "errors names each link whose target does not exist or is not active. Put the target in first."},
	{"message-exists", "There is another message of this name", "source and external_id were used for other content. Change the message with PATCH, or use a new external_id."},
	{"message-retracted", "The message was retracted", "That is for good. Publish a new one."},
	{"version-too-old", "What has changed since is no longer known", "Start over with GET /v1/inbox."},
	{"refresh-limit", "Refreshed too often", "Wait for Retry-After seconds; the feed is kept fresh without it."},
	{"rate-limited", "Called too often", "Wait for Retry-After seconds. RateLimit-Policy and RateLimit say what is allowed and what is left."},
	{"version-changed", "Somebody else changed it first", "Read again, then decide again."},
	{"content-too-large", "The body is too large", "At most 64 KiB, and 48 MiB for a message to be published."},
	{"unsupported-media-type", "The body is of a type this call does not take", "Accept or Accept-Patch lists those it takes."},
	{"idempotency-key-reused", "The key was used for another request", "Use a new key for a new request."},
	{"change-compensated", "The change was taken back everywhere", "failed_target refused it, or did not answer in time; reason says why. Every system holds what it held before."},
	{"unavailable", "Not possible right now", "Nothing was done. Try again after Retry-After seconds."},
	{"outcome-unknown", "It is not known whether this was done", "The store was lost in the middle of it. Send it again, with the same Idempotency-Key: what was accepted is not done twice."},
	{"internal", "Something went wrong on our side", "X-Request-Id finds it in our logs."},
}

func titleOf(code string, status int) string {
	for _, k := range known {
		if k.Code == code {
			return k.Title
		}
	}
	return http.StatusText(status)
}

// answer writes a problem, with its type and title filled in, and ends the request.
func (p Problem) answer(g *gin.Context) {
	p.Type, p.Title = "/problems/"+p.Code, titleOf(p.Code, p.Status)
	exchangeOf(g).problem = p.Code
	g.Header("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusServiceUnavailable:
		g.Header("Retry-After", retryAfter)
	case http.StatusTooManyRequests:
		if g.Writer.Header().Get("Retry-After") == "" {
			g.Header("Retry-After", throttledFor)
		}
	}
	writeJSON(g, p.Status, "application/problem+json", p)
	g.Abort()
}

// fail answers with what went wrong. What is not a fault, or an internal one, is told to our logs alone.
func (s *server) fail(g *gin.Context, err error) {
	f, is := fault.As(err)
	if !is || f.Kind == fault.Internal {
		if errors.Is(err, context.Canceled) && g.Request.Context().Err() != nil {
			g.AbortWithStatus(statusClientGone)
			return
		}
		s.log.ErrorContext(g.Request.Context(), "request failed", "request_id", exchangeOf(g).requestID, "route", g.FullPath(), "error", err)
		internalProblem().answer(g)
		return
	}
	p := Problem{Status: statusOf[f.Kind], Code: f.Code, Detail: f.Message}
	if len(f.Fields) > 0 {
		fields := make([]FieldError, len(f.Fields))
		said := make([]string, len(f.Fields))
		for i, x := range f.Fields {
			x.Path = shorten(x.Path) // a member's name may be of the client's making
			fields[i] = FieldError{Field: x.Path, Code: x.Code, Message: x.Message}
			said[i] = strings.TrimSpace(x.Path + " " + x.Message)
		}
		p.Errors, p.Detail = &fields, strings.Join(said, "; ")
	}
	p.answer(g)
}

func internalProblem() Problem {
	return Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "Nothing you sent is to blame. The request id finds it in our logs."}
}
