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
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

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
// document of at most 64 KiB that keeps the contract's schema, with no member given twice. It returns the canonical form
// of the body: compact, members sorted. On failure it has answered already and ok is false.
func (s *server) decode(g *gin.Context, dst any) (canonical []byte, ok bool) {
	r := exchangeOf(g).route
	canonical, err := readBody(g.Writer, g.Request, r.bodies, dst)
	switch {
	case errors.Is(err, errTooLarge):
		Problem{Status: http.StatusRequestEntityTooLarge, Code: "content-too-large", Detail: "The body may have at most 65536 bytes."}.answer(g)
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
	return canonical, err == nil
}

func readBody(w http.ResponseWriter, r *http.Request, bodies map[string]*openapi3.Schema, dst any) ([]byte, error) {
	schema, err := schemaFor(r.Header, bodies)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		// The connection broke, or the transfer coding is wrong: either way there is no body to speak of.
		return nil, malformed("could not be read to its end")
	}
	tree, err := parseJSON(raw)
	if err != nil {
		return nil, err
	}
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
		return nil, malformed("is not UTF-8")
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(raw, new(json.RawMessage)); errors.As(err, &syntax) {
		return nil, malformed(fmt.Sprintf("is broken at byte %d", syntax.Offset))
	} else if err != nil {
		return nil, malformed("is broken")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return parseValue(dec, "", 0)
}

func malformed(how string) error {
	return &fault.Error{Kind: fault.Invalid, Code: "malformed-json", Message: "the body " + how,
		Fields: []fault.Field{{Path: "", Code: "malformed_json", Message: "the body " + how}}}
}

// parseValue reads one value of a document whose syntax was checked. It is there because the standard decoder lets the
// last of two equal members win in silence, and a client that says both "on" and "off" must be asked which.
func parseValue(dec *json.Decoder, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fault.OnField(shorten(path), "too_deep", "is nested too deeply")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, malformed("is broken")
	}
	switch token {
	case json.Delim('{'):
		return parseObject(dec, path, depth)
	case json.Delim('['):
		list := []any{}
		for i := 0; dec.More(); i++ {
			v, err := parseValue(dec, joinPath(path, fmt.Sprint(i)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return token, nil
}

func parseObject(dec *json.Decoder, path string, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, malformed("is broken")
		}
		key := name.(string) // the decoder yields nothing else where a member's name stands
		at := joinPath(path, key)
		if _, twice := object[key]; twice {
			return nil, fault.OnField(at, "duplicate_field", "is given twice")
		}
		if object[key], err = parseValue(dec, at, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}
