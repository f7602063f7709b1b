package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// fieldError names what is wrong with one field of a control call.
type fieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// problemBody is an error of a control call, as RFC 9457 has it.
type problemBody struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Code   string       `json:"code"`
	Errors []fieldError `json:"errors,omitempty"`
}

func problem(status int, code, detail string, fields ...fieldError) reply {
	return reply{status: status, body: problemBody{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Errors: fields,
	}}
}

func badRequest(fields []fieldError) reply {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Field
	}
	return problem(http.StatusBadRequest, "bad-request", "not valid: "+strings.Join(names, ", "), fields...)
}

func unwritable() reply {
	return problem(http.StatusServiceUnavailable, "unavailable", "the state cannot be written")
}

// decodeStrict reads a JSON object and refuses unknown fields, wrong types and anything after it.
func decodeStrict(r *http.Request, into any) []fieldError {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, rest := dec.Token(); !errors.Is(rest, io.EOF) {
			return []fieldError{{"", "invalid", "the body must be one JSON object"}}
		}
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return []fieldError{{wrongType.Field, "invalid", "must not be a JSON " + wrongType.Value}}
	}
	// encoding/json has no type for this error.
	if field, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return []fieldError{{strings.Trim(field, `"`), "unknown", "is not a field of this call"}}
	}
	return []fieldError{{"", "invalid", "the body must be one JSON object"}}
}
