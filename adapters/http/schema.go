package httpapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"accord/domain/fault"
)

// checkSchema checks a value against the contract. Every broken rule is reported at once, each with the path of its
// field, in our own words: the library's may quote what was sent.
func checkSchema(schema *openapi3.Schema, value any) error {
	fields := brokenRules(schema, value, "")
	if len(fields) == 0 {
		return nil
	}
	return fault.OnFields(fields...)
}

func brokenRules(schema *openapi3.Schema, value any, at string) []fault.Field {
	var out []fault.Field
	for _, e := range schemaErrors(schema.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsRequest())) {
		path := at
		for _, name := range e.JSONPointer() {
			path = joinPath(path, name)
		}
		for _, f := range fieldsOf(e, path) {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// schemaErrors takes the library's errors apart. It looks at their types as they are: errors.As would go on into the
// causes of a failed oneOf, which are about forms the value was never meant to have.
func schemaErrors(err error) []*openapi3.SchemaError {
	switch e := err.(type) { //nolint:errorlint // see above
	case nil:
		return nil
	case openapi3.MultiError:
		var out []*openapi3.SchemaError
		for _, each := range e {
			out = append(out, schemaErrors(each)...)
		}
		return out
	case *openapi3.SchemaError:
		return []*openapi3.SchemaError{e}
	}
	return []*openapi3.SchemaError{{Value: err, SchemaField: "schema"}}
}

func fieldsOf(e *openapi3.SchemaError, path string) []fault.Field {
	rule := func(code, format string, args ...any) []fault.Field {
		return []fault.Field{{Path: shorten(path), Code: code, Message: fmt.Sprintf(format, args...)}}
	}
	switch {
	case e.SchemaField == "properties":
		return unknownFields(e, path)
	case e.SchemaField == "required":
		return rule("required", "must be given")
	case e.Value == nil:
		return rule("null_not_allowed", "must not be null; leave it out to leave it as it is")
	case e.SchemaField == "oneOf":
		return variantFields(e, path)
	}
	switch e.SchemaField {
	case "type":
		return rule("wrong_type", "must be %s", article(e.Schema.Type))
	case "enum":
		return rule("not_allowed", "must be one of %s", listedWith(e.Schema.Enum, ", "))
	case "minLength":
		return rule("too_short", "must have at least %d characters", e.Schema.MinLength)
	case "maxLength":
		return rule("too_long", "must have at most %d characters", *e.Schema.MaxLength)
	case "minimum":
		return rule("out_of_range", "must be at least %v", *e.Schema.Min)
	case "maximum":
		return rule("out_of_range", "must be at most %v", *e.Schema.Max)
	case "minItems":
		return rule("too_few", "must have at least %d entries", e.Schema.MinItems)
	case "maxItems":
		return rule("too_many", "may have at most %d entries", *e.Schema.MaxItems)
	case "format":
		return rule("bad_format", "must be a %s", e.Schema.Format)
	case "pattern":
		return rule("bad_format", "must match %s", e.Schema.Pattern)
	}
	return rule("invalid", "breaks the rule %q", e.SchemaField)
}

// unknownFields names what the schema does not know: the library only counts them.
func unknownFields(e *openapi3.SchemaError, path string) []fault.Field {
	object, _ := e.Value.(map[string]any)
	var out []fault.Field
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if _, known := e.Schema.Properties[name]; !known {
			out = append(out, fault.Field{Path: joinPath(path, name), Code: "unknown_field", Message: "is not a field of this request"})
		}
	}
	return out
}

// variantFields explains a value that fits none of several forms by the form it comes closest to: that of its type.
func variantFields(e *openapi3.SchemaError, path string) []fault.Field {
	var forms []string
	for _, variant := range e.Schema.OneOf {
		if permits(variant.Value, e.Value) {
			return brokenRules(variant.Value, e.Value, path)
		}
		forms = append(forms, article(variant.Value.Type))
	}
	return []fault.Field{{Path: shorten(path), Code: "wrong_type", Message: "must be " + strings.Join(forms, " or ")}}
}

func permits(schema *openapi3.Schema, value any) bool {
	switch value.(type) {
	case map[string]any:
		return schema.Type.Is(openapi3.TypeObject)
	case bool:
		return schema.Type.Is(openapi3.TypeBoolean)
	}
	return false
}

// expandShortForms turns the short form of a switch (true) into its long one ({"enabled":true}), wherever the contract
// takes both, so that both mean the same request.
func expandShortForms(schema *openapi3.Schema, value any) any {
	if on, short := value.(bool); short && len(schema.OneOf) > 0 {
		return map[string]any{"enabled": on}
	}
	object, is := value.(map[string]any)
	if !is {
		return value
	}
	out := make(map[string]any, len(object))
	for name, v := range object {
		member := schema.AdditionalProperties.Schema
		if p, known := schema.Properties[name]; known {
			member = p
		}
		out[name] = v
		if member != nil {
			out[name] = expandShortForms(member.Value, v)
		}
	}
	return out
}

func article(t *openapi3.Types) string {
	name := "something else"
	if t != nil && len(*t) == 1 {
		name = (*t)[0]
	}
	if name == openapi3.TypeObject || name == openapi3.TypeInteger || name == openapi3.TypeArray {
		return "an " + name
	}
	return "a " + name
}

func listedWith(values []any, separator string) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, separator)
}

func joinPath(path, name string) string {
	if path == "" {
		return shorten(name)
	}
	return shorten(path + "." + name)
}

// shorten keeps a path that a client made up from growing an answer without bound.
func shorten(path string) string {
	const most = 200
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}
