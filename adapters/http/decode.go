package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"golang.org/x/text/encoding"

	"accord/domain/fault"
)

const (
	maxBody  = 64 << 10
	maxDepth = 32
)

// errTooLarge and errMediaType have no kind of fault of their own: the domain knows neither bodies nor media types.
var (
	errTooLarge  = errors.New("body too large")
	errMediaType = errors.New("media type not taken")
)

// decode reads the body of a request into dst, strictly: the media type must be one of the contract's, the body one JSON
// document of a bounded size (64 KiB where the contract says nothing else) that keeps the contract's schema, with no member given twice. It returns the canonical form
// of the body: compact, members sorted. On failure it has answered already and ok is false.
func (s *server) decode(g *gin.Context, dst any) (canonical []byte, ok bool) {
	r := exchangeOf(g).route
	canonical, err := readBody(g.Writer, g.Request, r, dst)
	s.failBody(g, r, err)
	return canonical, err == nil
}

// failBody answers for a body that is not taken; it does nothing when err is nil.
func (s *server) failBody(g *gin.Context, r *route, err error) {
	switch {
	case errors.Is(err, errTooLarge):
		Problem{Status: http.StatusRequestEntityTooLarge, Code: "content-too-large",
			Detail: fmt.Sprintf("The body may have at most %d bytes.", r.maxBody)}.answer(g)
	case errors.Is(err, errMediaType):
		taken := slices.Sorted(maps.Keys(r.bodies))
		header := "Accept"
		if r.method == http.MethodPatch {
			header = "Accept-Patch"
		}
		g.Header(header, strings.Join(taken, ", "))
		Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported-media-type",
			Detail: "Content-Type must be " + strings.Join(taken, " or ") + ", in UTF-8 and not compressed."}.answer(g)
	case err != nil:
		s.fail(g, err)
	}
}

func readBody(w http.ResponseWriter, r *http.Request, route *route, dst any) ([]byte, error) {
	schema, tree, err := readTree(w, r, route)
	if err != nil {
		return nil, err
	}
	return fit(schema, tree, dst)
}

// readTree reads the body without looking at what it says, and answers the schema that it must keep.
func readTree(w http.ResponseWriter, r *http.Request, route *route) (*openapi3.Schema, any, error) {
	schema, err := schemaFor(r.Header, route.bodies)
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, route.maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, nil, errTooLarge
	}
	if err != nil {
		return nil, nil, errBrokenOff()
	}
	tree, err := parseJSON(raw)
	return schema, tree, err
}

// fit puts a tree into dst when it keeps the schema, and returns its canonical form.
func fit(schema *openapi3.Schema, tree, dst any) ([]byte, error) {
	if err := checkSchema(schema, tree); err != nil {
		return nil, err
	}
	canonical, err := json.Marshal(expandShortForms(schema, tree))
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	if err := json.Unmarshal(canonical, dst); err != nil {
		return nil, fmt.Errorf("a body that keeps the schema does not fit its type: %w", err)
	}
	return canonical, nil
}

func schemaFor(h http.Header, bodies map[string]*openapi3.Schema) (*openapi3.Schema, error) {
	declared := h.Get("Content-Type")
	if declared == "" { // RFC 9110 lets a recipient assume; whatever it is, it must be JSON that keeps the schema
		declared = "application/json"
	}
	mediaType, params, err := mime.ParseMediaType(declared)
	charset := strings.ToLower(params["charset"])
	schema, taken := bodies[mediaType]
	if err != nil || !taken || (charset != "" && charset != "utf-8") || h.Get("Content-Encoding") != "" {
		return nil, errMediaType
	}
	return schema, nil
}

// parseJSON reads exactly one document. Numbers stay as they were written.
func parseJSON(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, errNotUTF8()
	}
	return newParser(bytes.NewReader(raw), nil).document()
}

func malformed(how string) error {
	return &fault.Error{Kind: fault.Invalid, Code: "malformed-json", Message: "the body " + how,
		Fields: []fault.Field{{Path: "", Code: "malformed_json", Message: "the body " + how}}}
}

func errNotUTF8() error { return malformed("is not UTF-8") }

// errBrokenOff is for when the connection broke, or the transfer coding is wrong: either way there is no body to speak of.
func errBrokenOff() error { return malformed("could not be read to its end") }

// parser reads one document into a tree. It is there because the standard decoder lets the last of two equal members win
// in silence, and a client that says both "on" and "off" must be asked which.
type parser struct {
	dec   *json.Decoder
	lists map[string]listReader
}

// listReader reads the list at one path in its own way, from after its opening bracket to its end, and says what stands
// for it in the tree.
type listReader func(*json.Decoder) (any, error)

func newParser(in io.Reader, lists map[string]listReader) *parser {
	dec := json.NewDecoder(in)
	dec.UseNumber()
	return &parser{dec: dec, lists: lists}
}

// document reads exactly one. Errors: fault.Invalid, errTooLarge.
func (p *parser) document() (any, error) {
	tree, err := p.value("", 0)
	if err == nil {
		if _, end := p.dec.Token(); errors.Is(end, io.EOF) {
			return tree, nil
		} else if err = end; end == nil {
			return nil, malformed(fmt.Sprintf("is broken at byte %d", p.dec.InputOffset()))
		}
	}
	return nil, p.explain(err)
}

func (p *parser) explain(err error) error {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	_, known := fault.As(err)
	switch {
	case known:
		return err
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return errNotUTF8()
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed(fmt.Sprintf("is broken at byte %d", p.dec.InputOffset()))
	}
	return errBrokenOff()
}

func (p *parser) value(path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fault.OnField(shorten(path), "too_deep", "is nested too deeply")
	}
	token, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return p.object(path, depth)
	case json.Delim('['):
		if read, special := p.lists[path]; special {
			return read(p.dec)
		}
		return p.list(path, depth)
	}
	return token, nil
}

func (p *parser) list(path string, depth int) (any, error) {
	list := []any{}
	for i := 0; p.dec.More(); i++ {
		v, err := p.value(joinPath(path, strconv.Itoa(i)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.dec.Token()
	return list, err
}

func (p *parser) object(path string, depth int) (any, error) {
	object := map[string]any{}
	for p.dec.More() {
		name, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		key := name.(string) // the decoder yields nothing else where a member's name stands
		at := joinPath(path, key)
		if _, twice := object[key]; twice {
			return nil, fault.OnField(at, "duplicate_field", "is given twice")
		}
		if object[key], err = p.value(at, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := p.dec.Token()
	return object, err
}
