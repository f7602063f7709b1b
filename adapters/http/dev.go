package httpapi

import (
	"net"
	"net/http"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
)

// DevTokens hand out tokens to anybody who asks. Only the development stack gives them; without, the routes do not exist.
type DevTokens struct {
	// Mint makes a token for a subject with scopes, separated by spaces.
	Mint func(subject, scope string) (token string, expires time.Time, err error)
	// Keys serves the issuer's JWKS.
	Keys http.Handler
}

// devTokenBody is the schema of POST /dev/token. It is not in the contract, which says what every installation offers.
func devTokenBody() *openapi3.Schema {
	body := openapi3.NewObjectSchema().
		WithProperty("sub", openapi3.NewStringSchema().WithMinLength(1).WithMaxLength(255)).
		WithProperty("scope", openapi3.NewStringSchema().WithMaxLength(1024)).
		WithRequired([]string{"sub"}).WithoutAdditionalProperties()
	return body
}

func (s *server) registerDev(engine *gin.Engine, dev *DevTokens) {
	// The second is what `curl -d` says of any body: people type this call by hand.
	body := map[string]*openapi3.Schema{"application/json": devTokenBody(), "application/x-www-form-urlencoded": devTokenBody()}
	own := engine.Group("/dev", onlyThisMachine)
	own.POST("/token", func(g *gin.Context) {
		exchangeOf(g).route = &route{method: http.MethodPost, bodies: body, maxBody: maxBody}
		s.mintToken(g, dev)
	})
	own.GET("/jwks.json", gin.WrapH(dev.Keys))
}

// onlyThisMachine is the second lock on the door: even if these routes were switched on where they should not be, a
// request from another machine does not find them.
func onlyThisMachine(g *gin.Context) {
	host, _, err := net.SplitHostPort(g.Request.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		notFound(g)
	}
}

func (s *server) mintToken(g *gin.Context, dev *DevTokens) {
	var body struct {
		Sub   string `json:"sub"`
		Scope string `json:"scope"`
	}
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	if _, err := preference.ParseCustomerID(body.Sub); err != nil {
		s.fail(g, fault.OnField("sub", "invalid_id", "must be 1 to 255 bytes without white space or control characters"))
		return
	}
	token, expires, err := dev.Mint(body.Sub, body.Scope)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, map[string]any{"token": token, "expires_at": expires})
}
