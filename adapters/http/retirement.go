package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

// notice is how long a deprecated operation stays, at the least.
const notice = 120 * 24 * time.Hour

// retirement is what a deprecated operation says about itself.
type retirement struct {
	deprecated time.Time
	sunset     time.Time
	successor  string // path, empty for none
}

// retirementOf reads x-deprecated-at and x-sunset (dates) and x-successor (a path) of a deprecated operation; nil when
// it is not deprecated. It refuses one that does not say when it goes, or goes too soon.
func retirementOf(op *openapi3.Operation) (*retirement, error) {
	if !op.Deprecated {
		return nil, nil
	}
	var r retirement
	var err1, err2 error
	r.deprecated, err1 = dateOf(op, "x-deprecated-at")
	r.sunset, err2 = dateOf(op, "x-sunset")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if r.sunset.Sub(r.deprecated) < notice {
		return nil, fmt.Errorf("a deprecated operation stays at least 120 days: x-sunset must be %s or later", r.deprecated.Add(notice).Format(time.DateOnly))
	}
	r.successor, _ = op.Extensions["x-successor"].(string)
	return &r, nil
}

func dateOf(op *openapi3.Operation, name string) (time.Time, error) {
	text, _ := op.Extensions[name].(string)
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("a deprecated operation needs %s as a quoted date", name)
	}
	return at, nil
}

// announceRetirement puts Deprecation (RFC 9745), Sunset (RFC 8594) and Link on every answer of a deprecated operation,
// errors included.
func announceRetirement(g *gin.Context) {
	r := exchangeOf(g).route
	if r == nil || r.retirement == nil {
		return
	}
	g.Header("Deprecation", fmt.Sprintf("@%d", r.retirement.deprecated.Unix()))
	g.Header("Sunset", r.retirement.sunset.Format(http.TimeFormat))
	g.Writer.Header().Add("Link", fmt.Sprintf(`</docs#%s>; rel="deprecation"; type="text/html"`, r.id))
	if r.retirement.successor != "" {
		g.Writer.Header().Add("Link", fmt.Sprintf(`<%s>; rel="successor-version"`, r.retirement.successor))
	}
}
