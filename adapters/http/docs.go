package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

var (
	//go:embed docs.html.tmpl
	docsTemplate string
	//go:embed docs.css
	docsStyle string
)

// docsPage is the contract for people: one page made from the document at start, that needs nothing from anywhere else.
type docsPage struct {
	html   []byte
	policy string
}

type docsData struct {
	Title, Version, Build, About string
	Style                        template.CSS
	Groups                       []docsGroup
	Schemas                      []docsSchema
	Problems                     any
}

type docsGroup struct {
	Name, About string
	Operations  []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, About, Access string
	Deprecated                               bool
	Parameters                               []docsParameter
	Bodies                                   []docsBody
	Answers                                  []docsAnswer
}

type docsParameter struct{ Name, In, About string }

type docsBody struct{ MediaType, Schema, Example string }

type docsAnswer struct{ Status, About, Schema string }

type docsSchema struct {
	Name, About string
	Fields      []docsField
}

type docsField struct {
	Name, Type, About string
	Required          bool
}

func renderDocs(c *contract, build string) (*docsPage, error) {
	data := docsData{Title: c.doc.Info.Title, Version: c.doc.Info.Version, Build: build, About: c.doc.Info.Description,
		Style: template.CSS(docsStyle), Problems: known} //nolint:gosec // our own file
	for _, tag := range c.doc.Tags {
		data.Groups = append(data.Groups, docsGroup{Name: tag.Name, About: tag.Description, Operations: docsOperations(c, tag.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(c.doc.Components.Schemas)) {
		data.Schemas = append(data.Schemas, docsSchemaOf(name, c.doc.Components.Schemas[name].Value))
	}
	t, err := template.New("docs").Funcs(template.FuncMap{"prose": prose, "lower": strings.ToLower}).Parse(docsTemplate)
	if err != nil {
		return nil, fmt.Errorf("render the documentation: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render the documentation: %w", err)
	}
	sum := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	return &docsPage{html: b.Bytes(), policy: policy}, nil
}

func (p *docsPage) serve(g *gin.Context) {
	g.Header("Content-Security-Policy", p.policy)
	g.Header("Cache-Control", "public, max-age=300")
	g.Data(http.StatusOK, "text/html; charset=utf-8", p.html)
}

// serveProblem makes the type of a problem lead to its description.
func (p *docsPage) serveProblem(g *gin.Context) {
	for _, k := range known {
		if k.Code == g.Param("code") {
			g.Redirect(http.StatusFound, "/docs#problem-"+k.Code)
			return
		}
	}
	notFound(g)
}

func docsOperations(c *contract, tag string) []docsOperation {
	var out []docsOperation
	for _, r := range c.routes {
		if !slices.Contains(r.operation.Tags, tag) {
			continue
		}
		op := docsOperation{ID: r.id, Method: r.method, Path: r.path, Summary: r.operation.Summary, About: r.operation.Description,
			Access: docsAccess(r), Deprecated: r.operation.Deprecated, Bodies: docsBodies(r)}
		for _, p := range r.params {
			op.Parameters = append(op.Parameters, docsParameter{Name: p.Value.Name, In: p.Value.In, About: p.Value.Description})
		}
		for _, status := range slices.Sorted(maps.Keys(r.operation.Responses.Map())) {
			op.Answers = append(op.Answers, docsAnswerOf(status, r.operation.Responses.Value(status).Value))
		}
		out = append(out, op)
	}
	order := []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodDelete}
	slices.SortFunc(out, func(a, b docsOperation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), slices.Index(order, a.Method)-slices.Index(order, b.Method))
	})
	return out
}

func docsAccess(r *route) string {
	scopes := strings.Join(r.scopes, " or ")
	switch r.access {
	case forAnyone:
		return "Anyone."
	case forService:
		return "Services with scope " + scopes + "."
	case forAnyoneOrCustomer:
		return "Anyone, and the customer when signed in."
	case forCustomerOrService:
		return "The customer, and services with scope " + scopes + "."
	default:
		return "The customer."
	}
}

func docsBodies(r *route) []docsBody {
	var out []docsBody
	for _, mediaType := range slices.Sorted(maps.Keys(r.bodies)) {
		content := r.operation.RequestBody.Value.Content[mediaType]
		example, err := json.MarshalIndent(content.Example, "", "  ")
		if err != nil || content.Example == nil {
			example = nil
		}
		out = append(out, docsBody{MediaType: mediaType, Schema: schemaName(content.Schema), Example: string(example)})
	}
	return out
}

func docsAnswerOf(status string, r *openapi3.Response) docsAnswer {
	a := docsAnswer{Status: status}
	if r.Description != nil {
		a.About = *r.Description
	}
	for _, content := range r.Content {
		a.Schema = schemaName(content.Schema)
	}
	return a
}

func docsSchemaOf(name string, schema *openapi3.Schema) docsSchema {
	out := docsSchema{Name: name, About: schema.Description}
	for _, field := range slices.Sorted(maps.Keys(schema.Properties)) {
		ref := schema.Properties[field]
		out.Fields = append(out.Fields, docsField{Name: field, Type: typeName(ref), About: ref.Value.Description,
			Required: slices.Contains(schema.Required, field)})
	}
	return out
}

// typeName describes a schema in a few words; what has a name of its own is called by it.
func typeName(ref *openapi3.SchemaRef) string {
	if name := schemaName(ref); name != "" {
		return name
	}
	s := ref.Value
	name := "any"
	switch {
	case len(s.AllOf) == 1:
		name = typeName(s.AllOf[0])
	case s.Items != nil:
		name = "list of " + typeName(s.Items)
	case s.AdditionalProperties.Schema != nil:
		name = "map of " + typeName(s.AdditionalProperties.Schema)
	case len(s.OneOf) == 2:
		name = typeName(s.OneOf[0]) + " or " + typeName(s.OneOf[1])
	case s.Type != nil && len(*s.Type) == 1:
		name = (*s.Type)[0]
	}
	if values, listed := s.Extensions["x-extensible-enum"].([]any); listed {
		name = listedWith(values, " · ")
	} else if len(s.Enum) > 0 {
		name = listedWith(s.Enum, " · ")
	}
	if s.Nullable {
		name += " or null"
	}
	return name
}

func schemaName(ref *openapi3.SchemaRef) string {
	if ref == nil {
		return ""
	}
	name, named := strings.CutPrefix(ref.Ref, "#/components/schemas/")
	if !named {
		return ""
	}
	return name
}

var (
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	strongSpan = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// prose renders the little Markdown that the document uses: paragraphs, code and strong words.
func prose(text string) template.HTML {
	escaped := html.EscapeString(strings.TrimSpace(text))
	escaped = codeSpan.ReplaceAllString(escaped, "<code>$1</code>")
	escaped = strongSpan.ReplaceAllString(escaped, "<strong>$1</strong>")
	if escaped == "" {
		return ""
	}
	return template.HTML("<p>" + strings.ReplaceAll(escaped, "\n\n", "</p><p>") + "</p>") //nolint:gosec // escaped above
}
