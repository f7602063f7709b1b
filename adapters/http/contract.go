package httpapi

import (
	_ "embed"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

//go:embed openapi.yaml
var document []byte

// access says who may call an operation.
type access string

const (
	forAnyone            access = "anyone"              // no token needed
	forCustomer          access = "customer"            // the token's subject is the customer
	forService           access = "service"             // the token has one of the scopes
	forCustomerOrService access = "customer-or-service" // either; the handler tells them apart
	forAnyoneOrCustomer  access = "anyone-or-customer"  // no token needed; one that is sent is a customer's
)

// route is one operation of the contract, with what is needed to serve it.
type route struct {
	id         string
	method     string
	path       string // as in the document: /v1/devices/{device_id}
	params     openapi3.Parameters
	bodies     map[string]*openapi3.Schema // by media type; empty when it takes none
	maxBody    int64                       // bytes
	streams    bool                        // the answer goes on for as long as both sides like
	changes    bool                        // it asks for a change of preferences
	access     access
	scopes     []string // any of them
	retirement *retirement
	operation  *openapi3.Operation
}

// contract is the OpenAPI document, looked up by what Gin knows of a request.
type contract struct {
	doc    *openapi3.T
	routes map[string]*route            // by "METHOD /gin/:template"
	byPath map[string]map[string]*route // the same by /gin/:template and method, which every request looks up
}

// ownContract is the document, read once: it is the same in every handler and nobody changes it.
var ownContract = sync.OnceValues(func() (*contract, error) { return readContract(document) })

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func ginTemplate(path string) string { return pathParameter.ReplaceAllString(path, ":$1") }

// readContract refuses a document that is not valid, or that leaves open who may call an operation: a contract that can
// be misread must not start.
func readContract(doc []byte) (*contract, error) {
	loader := openapi3.NewLoader()
	parsed, err := loader.LoadFromData(doc)
	if err != nil {
		return nil, fmt.Errorf("read the API contract: %w", err)
	}
	if err := parsed.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("the API contract is not valid: %w", err)
	}
	c := &contract{doc: parsed, routes: map[string]*route{}, byPath: map[string]map[string]*route{}}
	for path, item := range parsed.Paths.Map() {
		for method, op := range item.Operations() {
			r, err := newRoute(parsed, path, method, item, op)
			if err != nil {
				return nil, fmt.Errorf("the API contract, %s %s: %w", method, path, err)
			}
			c.routes[method+" "+ginTemplate(path)] = r
			if c.byPath[ginTemplate(path)] == nil {
				c.byPath[ginTemplate(path)] = map[string]*route{}
			}
			c.byPath[ginTemplate(path)][method] = r
		}
	}
	return c, nil
}

func newRoute(doc *openapi3.T, path, method string, item *openapi3.PathItem, op *openapi3.Operation) (*route, error) {
	r := &route{id: op.OperationID, method: method, path: path, operation: op, bodies: map[string]*openapi3.Schema{}}
	r.params = append(append(r.params, item.Parameters...), op.Parameters...)
	r.changes = r.params.GetByInAndName(openapi3.ParameterInHeader, "Prefer") != nil
	if op.RequestBody != nil {
		for mediaType, content := range op.RequestBody.Value.Content {
			r.bodies[mediaType] = content.Schema.Value
		}
	}
	if ok := op.Responses.Status(http.StatusOK); ok != nil {
		r.streams = ok.Value.Content.Get("text/event-stream") != nil
	}
	var err error
	if r.maxBody, err = maxBodyOf(op); err != nil {
		return nil, err
	}
	if r.access, r.scopes, err = accessOf(doc, op); err != nil {
		return nil, err
	}
	r.retirement, err = retirementOf(op)
	return r, err
}

// maxBodyOf reads x-max-body: bytes, for an operation that takes more than others.
func maxBodyOf(op *openapi3.Operation) (int64, error) {
	given, ok := op.Extensions["x-max-body"]
	if !ok {
		return maxBody, nil
	}
	n, isNumber := given.(float64)
	if !isNumber || n < maxBody {
		return 0, fmt.Errorf("x-max-body must be a number of bytes, %d or more", maxBody)
	}
	return int64(n), nil
}

func accessOf(doc *openapi3.T, op *openapi3.Operation) (access, []string, error) {
	security := doc.Security
	if op.Security != nil {
		security = *op.Security
	}
	listed, _ := op.Extensions["x-scopes"].([]any)
	var scopes []string
	for _, s := range listed {
		scopes = append(scopes, fmt.Sprint(s))
	}
	kind := forCustomer
	if named, ok := op.Extensions["x-access"]; ok {
		kind = access(fmt.Sprint(named))
	}
	optional := slices.ContainsFunc(security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
	switch {
	case len(security) == 0:
		return forAnyone, nil, nil
	case optional != (kind == forAnyoneOrCustomer):
		return "", nil, fmt.Errorf("x-access %q does not go with whether a token is needed", kind)
	case optional && len(scopes) == 0:
		return kind, nil, nil
	case kind == forCustomer && len(scopes) == 0, kind == forService && len(scopes) > 0, kind == forCustomerOrService && len(scopes) > 0:
		return kind, scopes, nil
	}
	return "", nil, fmt.Errorf("x-access %q does not go with x-scopes %v", kind, scopes)
}

// find is nil for what the contract does not speak of.
func (c *contract) find(g *gin.Context) *route {
	return c.byPath[g.FullPath()][g.Request.Method]
}

// takesBody reports whether the operation has a request body.
func (r *route) takesBody() bool { return len(r.bodies) > 0 }

// GetContract answers with the document itself.
func (s *server) GetContract(g *gin.Context) {
	g.Header("Cache-Control", "public, max-age=300")
	g.Data(http.StatusOK, "application/yaml", document)
}
