package httpapi

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"accord/domain/fault"
)

// installationHeader names the app installation that a request comes from.
const installationHeader = "Accord-Installation-Id"

// listHeaders may be given in several lines, which mean the same as one with commas.
var listHeaders = []string{"If-Match", "If-None-Match", "Prefer", "Accept-Language"}

// checkParameters checks path, query and headers against the contract, before the generated code binds them: it can name
// every broken rule at once. A parameter that the contract does not know is refused, since a misspelt filter that is
// ignored answers another question than the one asked.
func (s *server) checkParameters(g *gin.Context) {
	x := exchangeOf(g)
	if x.route == nil || !strings.HasPrefix(x.route.path, "/v1/") {
		return
	}
	for _, name := range listHeaders {
		if lines := g.Request.Header.Values(name); len(lines) > 1 {
			g.Request.Header.Set(name, strings.Join(lines, ", "))
		}
	}
	query, err := url.ParseQuery(g.Request.URL.RawQuery)
	if err != nil {
		s.fail(g, fault.OnField("", "bad_query", "the query string is broken"))
		return
	}
	bad := unknownParameters(query, x.route.params)
	for _, ref := range x.route.params {
		bad = append(bad, checkParameter(ref.Value, valuesOf(g, query, ref.Value))...)
	}
	if len(bad) > 0 {
		s.fail(g, fault.OnFields(bad...))
		return
	}
	x.installation = strings.ToLower(g.GetHeader(installationHeader))
	if !x.route.takesBody() && g.Request.Method != http.MethodGet && hasBody(g.Request) {
		s.fail(g, fault.New(fault.Invalid, "unexpected-body", "this call takes no body"))
	}
}

func unknownParameters(query url.Values, params openapi3.Parameters) []fault.Field {
	var bad []fault.Field
	for name := range query {
		if params.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			bad = append(bad, fault.Field{Path: shorten(strings.ToValidUTF8(name, "�")), Code: "unknown_parameter", Message: "is not a parameter of this call"})
		}
	}
	slices.SortFunc(bad, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return bad
}

func valuesOf(g *gin.Context, query url.Values, p *openapi3.Parameter) []string {
	switch p.In {
	case openapi3.ParameterInPath:
		return []string{g.Param(p.Name)}
	case openapi3.ParameterInHeader:
		return g.Request.Header[textproto.CanonicalMIMEHeaderKey(p.Name)]
	}
	return query[p.Name]
}

func checkParameter(p *openapi3.Parameter, values []string) []fault.Field {
	schema := p.Schema.Value
	if len(values) == 0 {
		if p.Required {
			return []fault.Field{{Path: p.Name, Code: "required", Message: "must be given"}}
		}
		return nil
	}
	if schema.Type.Is(openapi3.TypeArray) {
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		bad := brokenRules(schema, list, "")
		for i := range bad {
			bad[i].Path = p.Name // the client gave it several times; a position in a list is nothing it knows of
		}
		return slices.Compact(bad)
	}
	if len(values) > 1 {
		return []fault.Field{{Path: p.Name, Code: "given_twice", Message: "may be given only once"}}
	}
	if schema.Type.Is(openapi3.TypeInteger) {
		n, err := strconv.ParseInt(values[0], 10, 32)
		if err != nil {
			return []fault.Field{{Path: p.Name, Code: "wrong_type", Message: "must be an integer"}}
		}
		return brokenRules(schema, n, p.Name)
	}
	return brokenRules(schema, values[0], p.Name)
}

func hasBody(r *http.Request) bool {
	if r.ContentLength >= 0 {
		return r.ContentLength > 0
	}
	n, _ := r.Body.Read(make([]byte, 1))
	return n > 0
}

// badBinding answers for a parameter that the generated code could not bind although it keeps the contract's schema.
func (s *server) badBinding(g *gin.Context, err error, _ int) {
	s.log.WarnContext(g.Request.Context(), "a parameter passed the contract and not its type", "request_id", exchangeOf(g).requestID, "route", g.FullPath(), "error", err)
	s.fail(g, fault.OnField("", "invalid", "a parameter is not of the type it must have"))
}
