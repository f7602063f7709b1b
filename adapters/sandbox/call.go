package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// call is a vendor call whose body has been read.
type call struct {
	*http.Request
	body   []byte
	object map[string]json.RawMessage // the body as an object; nil when it is none
}

func newCall(r *http.Request, body []byte) *call {
	c := &call{Request: r, body: body}
	// Into a map, not a struct: the vendors' field names are case-sensitive, encoding/json's matching is not.
	if json.Unmarshal(body, &c.object) != nil {
		c.object = nil
	}
	return c
}

// text is a string field of the body, "" when it is missing or something else.
func (c *call) text(field string) string { return textOf(c.object[field]) }

// texts is a field of the body that is a list of strings; anything else in the list is left out.
func (c *call) texts(field string) []string { return textsOf(c.object[field]) }

// objects is a field of the body that is a list of objects; nil entries stand for what is no object.
func (c *call) objects(field string) []map[string]json.RawMessage { return objectsOf(c.object[field]) }

// bearer is the token of the Authorization header under a scheme.
func (c *call) bearer(scheme string) string {
	given, token, ok := strings.Cut(c.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(given, scheme) {
		return ""
	}
	return strings.TrimSpace(token)
}

func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// textOrNull is the JSON of a text, and null of an empty one.
func textOrNull(text string) json.RawMessage {
	raw, err := json.Marshal(text)
	if text == "" || err != nil {
		return json.RawMessage("null")
	}
	return raw
}

func textsOf(raw json.RawMessage) []string {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		if text := textOf(item); text != "" {
			out = append(out, text)
		}
	}
	return out
}

func objectOf(raw json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	return object
}

func objectsOf(raw json.RawMessage) []map[string]json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	out := make([]map[string]json.RawMessage, len(items))
	for i, item := range items {
		out[i] = objectOf(item)
	}
	return out
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// present tells a field that was given, and not as null.
func present(raw json.RawMessage) bool { return len(raw) > 0 && !isNull(raw) }

// reply is an answer not yet written, so that a fault can withhold it after the effect.
type reply struct {
	status int
	header map[string]string
	body   any // nil: none; plain: text; else JSON
}

// plain is a body sent as text/plain.
type plain string

// brokenJSON is a body that says it is JSON and breaks off.
type brokenJSON struct{}

// object keeps literal answers readable.
type object = map[string]any

func ok(body any) reply { return reply{status: http.StatusOK, body: body} }

func (out reply) with(name, value string) reply {
	header := make(map[string]string, len(out.header)+1)
	maps.Copy(header, out.header)
	header[http.CanonicalHeaderKey(name)] = value
	out.header = header
	return out
}

func encodeJSON(into *bytes.Buffer, body any) {
	enc := json.NewEncoder(into)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic("sandbox: an answer cannot be encoded: " + err.Error()) // only our own values get here
	}
}

// write sends the reply.
func (out reply) write(w http.ResponseWriter) {
	var payload bytes.Buffer
	kind := ""
	switch body := out.body.(type) {
	case nil:
	case plain:
		kind = "text/plain; charset=utf-8"
		payload.WriteString(string(body))
	case problemBody:
		kind = "application/problem+json"
		encodeJSON(&payload, body)
	case brokenJSON:
		kind = "application/json"
		payload.WriteString(`{"message":"succ`)
	default:
		kind = "application/json"
		encodeJSON(&payload, body)
	}
	if kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	for name, value := range out.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Length", strconv.Itoa(payload.Len()))
	w.WriteHeader(out.status)
	_, _ = w.Write(payload.Bytes()) // a client that went away is its own loss
}
