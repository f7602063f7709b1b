package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"

	"github.com/gin-gonic/gin"

	"accord/domain/consent"
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
}

const exchangeKey = "accord/exchange"

func exchangeOf(g *gin.Context) *exchange {
	if x, ok := g.Get(exchangeKey); ok {
		return x.(*exchange)
	}
	return &exchange{}
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
		id := g.GetHeader("X-Request-Id")
		if !requestIDPattern.MatchString(id) {
			id = rand.Text()
		}
		g.Set(exchangeKey, &exchange{requestID: id, route: c.find(g)})
		g.Header("X-Request-Id", id)
	}
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
