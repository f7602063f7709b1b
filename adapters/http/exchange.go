package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"accord/domain/consent"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// exchange is what is known about one request: filled in by the middleware, read by the handlers.
type exchange struct {
	requestID    string
	installation string
	route        *route // nil for what the contract does not speak of
	principal    ports.Principal
	customer     preference.CustomerID // empty when the caller is no customer
	operation    string                // the change that the request made or asked about, empty for none
	problem      string                // code of the problem that was answered, empty for none
	fromMemory   bool                  // the answer cost next to nothing
}

// exchangeKey is of a type of its own, which is compared faster than text and cannot be anybody else's.
type exchangeKeyType struct{}

var exchangeKey any = exchangeKeyType{}

func exchangeOf(g *gin.Context) *exchange {
	if x, ok := g.Get(exchangeKey); ok {
		return x.(*exchange)
	}
	return &exchange{}
}

// viewer is whose inbox the call is about. While somebody is signed in the installation does not count.
func (x *exchange) viewer() inbox.Viewer {
	if x.customer != "" {
		return inbox.CustomerViewer(x.customer)
	}
	return inbox.InstallationViewer(inbox.InstallationID(x.installation))
}

// streamed reports that the answer was a stream.
func (x *exchange) streamed(g *gin.Context) bool {
	return x.route != nil && x.route.streams && g.Writer.Status() == http.StatusOK
}

// operates reports whether the caller may look at everybody's operations.
func (x *exchange) operates() bool {
	return x.principal.HasAny("operations:read", "operations:write")
}

// operator is the caller in the ledger, when they act on somebody else's operation.
func (x *exchange) operator() consent.Actor {
	return consent.Actor{Type: "operator", ID: x.principal.Subject}
}

// unescapePath decodes the parameters in the path, which come as they were sent.
func unescapePath(g *gin.Context) {
	for i, p := range g.Params {
		if value, err := url.PathUnescape(p.Value); err == nil { // the server has refused broken escapes already
			g.Params[i].Value = value
		}
	}
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// identify gives every request its id: the client's, when it is fit for logs, else a new one.
func identify(c *contract) gin.HandlerFunc {
	return func(g *gin.Context) {
		x := &exchange{route: c.find(g)}
		if given := g.Request.Header["X-Request-Id"]; len(given) > 0 && requestIDPattern.MatchString(given[0]) {
			x.requestID = given[0]
		} else {
			x.requestID = newRequestID()
		}
		g.Set(exchangeKey, x)
		g.Writer.Header()["X-Request-Id"] = []string{x.requestID}
	}
}

// Request ids are a random number for the process, and one that counts. Nothing depends on their being hard to guess.
var (
	processID  = rand.Text()[:12]
	requestsNo atomic.Uint64
)

func newRequestID() string {
	b := append(make([]byte, 0, 32), processID...)
	return string(strconv.AppendUint(append(b, '-'), requestsNo.Add(1), 36))
}

// writeJSON answers with a value. It is encoded before the first byte goes out, so that a failure is still a clean 500.
func writeJSON(g *gin.Context, status int, mediaType string, value any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		_ = g.Error(err)
		g.Data(http.StatusInternalServerError, "application/problem+json",
			[]byte(`{"type":"/problems/internal","title":"Something went wrong on our side","status":500,"detail":"","code":"internal"}`))
		return
	}
	g.Data(status, mediaType, b.Bytes())
}

func answerJSON(g *gin.Context, status int, value any) {
	writeJSON(g, status, "application/json", value)
}
