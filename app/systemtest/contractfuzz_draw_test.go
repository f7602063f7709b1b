package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// hostile are values that have broken somebody's software.
var hostile = []string{"", " ", ".", "..", "../../etc/passwd", "%2e%2e%2f", "\x00", "a\x00b", "null", "undefined", "NaN", "-1", "0", "1e309",
	"9223372036854775808", "-9223372036854775809", "true", "[]", "{}", "'; DROP TABLE customers; --", "\" OR 1=1", "${jndi:ldap://x}", "{{7*7}}",
	"<script>alert(1)</script>", "\u202e", "\ufeff", "ﬀ", "İ", "👩‍👩‍👧", "\xff\xfe", "é", "e\u0301", strings.Repeat("a", 300), strings.Repeat("é", 5000), "a\r\nX-Injected: 1",
	"W/\"1\"", "*", "\"", "\\", "op_", "msg_", "msg_0000000000000", "1.1.1", "99999999999.99999999999", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00Z",
	"9999-12-31T23:59:59.999999999Z", "app://", "javascript:alert(1)", "//evil.example", "sub:resource"}

func oneOf[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// chance is true n times in a hundred.
func chance(rng *rand.Rand, n int) bool { return rng.IntN(100) < n }

var inPath = regexp.MustCompile(`\{([^}]+)\}`)

// draw makes a request. It is nil where something drawn cannot be sent at all.
func (f *contractFuzz) draw(rng *rand.Rand, call fuzzCall, caller fuzzCaller) (*http.Request, []byte) {
	wild := chance(rng, 40) // else everything is as the document wants it
	path := inPath.ReplaceAllStringFunc(call.path, func(name string) string {
		return url.PathEscape(f.pathValue(rng, call, caller, strings.Trim(name, "{}"), wild))
	})
	query := url.Values{}
	header := http.Header{}
	for _, ref := range call.params {
		p := ref.Value
		if p.In == "path" || !p.Required && chance(rng, 60) {
			continue
		}
		text := f.text(rng, p.Name, p.Schema, wild && chance(rng, 40))
		switch p.In {
		case "query":
			query.Add(p.Name, text)
		case "header":
			header[http.CanonicalHeaderKey(p.Name)] = []string{text}
		}
	}
	if wild && chance(rng, 10) {
		query.Add(oneOf(rng, hostile), oneOf(rng, hostile))
	}
	method := call.method
	if wild && chance(rng, 5) {
		method = oneOf(rng, []string{"GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "HEAD"})
	}
	body := f.body(rng, call, header, wild)
	if source, is := strings.CutPrefix(path, "/v1/webhooks/"); is {
		body = f.tell(rng, source, header, wild)
	}
	req, err := http.NewRequest(method, f.system.api+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, nil
	}
	req.Header = header
	if !sendable(header) {
		return nil, nil
	}
	if caller.token != "" {
		req.Header.Set("Authorization", "Bearer "+caller.token)
	}
	if wild && chance(rng, 3) {
		req.Header.Set("Authorization", "Bearer "+oneOf(rng, []string{"", "x", "a.b.c", strings.Repeat("A", 4000), "eyJhbGciOiJub25lIn0.e30."}))
	}
	if req.Header.Get("Prefer") == "" && chance(rng, 70) {
		req.Header.Set("Prefer", "respond-async") // or each change takes as long as the vendors do
	}
	return req, body
}

// sendable leaves out what Go's client refuses to send.
func sendable(h http.Header) bool {
	for _, values := range h {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return false
			}
		}
	}
	return true
}

func (f *contractFuzz) pathValue(rng *rand.Rand, call fuzzCall, caller fuzzCaller, name string, wild bool) string {
	if wild && chance(rng, 40) {
		return oneOf(rng, hostile)
	}
	kind := map[string]string{"device_id": "device", "key": "target"}[name]
	switch {
	case kind != "":
	case strings.Contains(call.path, "/customers/"):
		if call.method == http.MethodDelete && caller.scope != "" {
			return fmt.Sprintf("passer-by-%d", rng.IntN(50)) // the others are still needed
		}
		kind = "customer"
	case strings.Contains(call.path, "/messages/"):
		kind = "message"
	case strings.HasPrefix(call.path, "/u/"), strings.HasPrefix(call.path, "/c/"):
		kind = call.path[:2]
	case strings.Contains(call.path, "/webhooks/"):
		return oneOf(rng, sources)
	case strings.Contains(call.path, "/webhook-endpoints/"):
		kind = "endpoint"
	case strings.Contains(call.path, "/erasures/"):
		kind = "erasure"
	case strings.HasSuffix(call.path, "/retry"), strings.HasSuffix(call.path, "/compensate"):
		kind = "parked"
	default:
		kind = "operation"
	}
	return f.known(rng, kind, "nothing")
}

// remember keeps ids for later requests, whoever was told them.
func (f *contractFuzz) remember(call fuzzCall, raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, pattern := range ids {
		for _, found := range pattern.FindAllStringSubmatch(string(raw), 5) {
			f.keep(kind, found[1])
		}
	}
	var one struct{ ID, Status string }
	if json.Unmarshal(raw, &one) != nil {
		return
	}
	switch {
	case one.ID == "":
	case strings.Contains(call.path, "/erasures/"), call.path == "/v1/customers/{id}":
		f.keep("erasure", one.ID)
	case one.Status == "needs_attention":
		f.keep("parked", one.ID)
	}
}

// keep is called with the mutex held.
func (f *contractFuzz) keep(kind, id string) {
	known := f.seen[kind]
	switch {
	case slices.Contains(known, id):
	case len(known) < 500:
		f.seen[kind] = append(known, id)
	default:
		known[rand.IntN(len(known))] = id // what is gone must not be all that is known
	}
}

var ids = map[string]*regexp.Regexp{
	"operation": regexp.MustCompile(`(op_[0-9a-f-]{36})`),
	"message":   regexp.MustCompile(`(msg_[0-9a-z]{13})`),
	"endpoint":  regexp.MustCompile(`"(we_[0-9a-f-]{36})"`),
	"version":   regexp.MustCompile(`"version":"([0-9]+\.[0-9]+)"`),
	"cursor":    regexp.MustCompile(`"next_cursor":"([^"]+)"`),
	"/u":        regexp.MustCompile(`/u/([A-Za-z0-9_.-]+)`),
	"/c":        regexp.MustCompile(`/c/([A-Za-z0-9_.-]+)`),
}

// known is something of a kind that was seen, or what else there is to say.
func (f *contractFuzz) known(rng *rand.Rand, kind string, otherwise ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return oneOf(rng, slices.Concat(f.seen[kind], otherwise))
}

// text is the value of a parameter.
func (f *contractFuzz) text(rng *rand.Rand, name string, ref *openapi3.SchemaRef, bad bool) string {
	if bad {
		return oneOf(rng, hostile)
	}
	switch name {
	case "If-Match":
		return oneOf(rng, []string{"*", `"1"`, `"2"`, `"2", "3"`, `W/"1"`})
	case "Prefer":
		return oneOf(rng, []string{"respond-async", "wait=1", "wait=0", "respond-async, wait=2"})
	case "Idempotency-Key":
		return oneOf(rng, []string{`"key-1"`, "key-2", fmt.Sprintf("%q", fmt.Sprint("key-", rng.Uint64())), "key-3"})
	case "since", "as_of":
		return f.known(rng, "version", "0.1", "1.1", "3.4", "0.0")
	case "cursor":
		return f.known(rng, "cursor", "MSAA", "YXVkaXQ6MQ", "AQ")
	}
	switch v := f.value(rng, ref, 0).(type) {
	case string:
		return v
	default:
		encoded, _ := json.Marshal(v)
		return strings.Trim(string(encoded), "[]\"")
	}
}

// body draws what the document wants, and then perhaps something else.
func (f *contractFuzz) body(rng *rand.Rand, call fuzzCall, header http.Header, wild bool) []byte {
	if call.method == http.MethodPost && call.op.Security != nil && strings.HasSuffix(call.path, "/{token}") { // a page's form, or a mail provider
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return []byte(oneOf(rng, []string{"pressed=confirm", "pressed=all", "pressed=topic", "List-Unsubscribe=One-Click", "", "pressed=%zz"}))
	}
	if call.op.RequestBody == nil {
		if wild && chance(rng, 10) {
			header.Set("Content-Type", "application/json")
			return []byte(oneOf(rng, hostile))
		}
		return nil
	}
	content := call.op.RequestBody.Value.Content
	mediaType := oneOf(rng, slices.Sorted(maps.Keys(content)))
	value := f.value(rng, content[mediaType].Schema, 0)
	if example := content[mediaType].Example; example != nil && chance(rng, 40) {
		value = copied(example)
	}
	if wild && chance(rng, 60) {
		value = mutate(rng, value)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	header.Set("Content-Type", mediaType)
	if wild && chance(rng, 30) {
		raw = scramble(rng, raw, header)
	}
	return raw
}

// copied is the document's own value, for changing.
func copied(example any) (out any) {
	raw, err := json.Marshal(example)
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// scramble breaks the bytes, or what is said of them.
func scramble(rng *rand.Rand, raw []byte, header http.Header) []byte {
	switch rng.IntN(6) {
	case 0:
		return raw[:rng.IntN(len(raw)+1)]
	case 1:
		at := rng.IntN(len(raw) + 1)
		return slices.Concat(raw[:at], []byte(oneOf(rng, hostile)), raw[at:])
	case 2:
		header.Set("Content-Type", oneOf(rng, []string{"text/plain", "application/xml", "application/json; charset=latin1", "multipart/form-data", "", "*/*"}))
	case 3:
		header.Set("Content-Encoding", "gzip")
	case 4:
		return []byte(strings.Repeat("[", rng.IntN(20_000)))
	case 5:
		return slices.Concat(raw, raw)
	}
	return raw
}

// value draws what a schema admits.
func (f *contractFuzz) value(rng *rand.Rand, ref *openapi3.SchemaRef, depth int) any {
	s := ref.Value
	switch {
	case s == nil || depth > 8:
		return nil
	case len(s.OneOf) > 0:
		return f.value(rng, oneOf(rng, s.OneOf), depth+1)
	case len(s.AllOf) > 0:
		return f.value(rng, oneOf(rng, s.AllOf), depth+1)
	case s.Nullable && chance(rng, 15):
		return nil
	case len(s.Enum) > 0:
		return oneOf(rng, s.Enum)
	case s.Type == nil || s.Type.Is("object"):
		return f.object(rng, s, depth)
	case s.Type.Is("array"):
		out := []any{}
		for range int(s.MinItems) + rng.IntN(3) {
			out = append(out, f.value(rng, s.Items, depth+1))
		}
		return out
	case s.Type.Is("boolean"):
		return chance(rng, 50)
	case s.Type.Is("integer"), s.Type.Is("number"):
		low, high := 0, 100
		if s.Min != nil {
			low = int(*s.Min)
		}
		if s.Max != nil {
			high = int(*s.Max)
		}
		return oneOf(rng, []int{low, high, low + rng.IntN(max(1, high-low))})
	}
	return f.word(rng, s)
}

func (f *contractFuzz) object(rng *rand.Rand, s *openapi3.Schema, depth int) any {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, name) || chance(rng, 50) {
			out[name] = f.value(rng, s.Properties[name], depth+1)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		for _, key := range []string{"promotions", "news", "order_updates", "loyalty"} {
			if chance(rng, 30) {
				out[key] = f.value(rng, more, depth+1)
			}
		}
	}
	return out
}

func (f *contractFuzz) word(rng *rand.Rand, s *openapi3.Schema) string {
	switch s.Format {
	case "date-time":
		if chance(rng, 10) {
			return oneOf(rng, extremes)
		}
		return time.Now().Add(time.Duration(rng.IntN(200)-100) * time.Hour).UTC().Format(time.RFC3339)
	case "date":
		if chance(rng, 10) {
			return oneOf(rng, []string{"0000-01-01", "0001-01-01", "1970-01-01", "9999-12-31"})
		}
		return time.Now().AddDate(0, 0, rng.IntN(20)-10).Format(time.DateOnly)
	case "uuid":
		return fmt.Sprintf("00000000-0000-4000-8000-%012d", rng.IntN(3))
	}
	words := []string{"ada", "news", "promotions", "app://orders/42", "en", "de-CH", "shop", "https://example.org/a.png", "Europe/Zurich", "22:00", "07:00",
		fmt.Sprintf("w%d", rng.IntN(1000))}
	word := oneOf(rng, words)
	for uint64(len(word)) < s.MinLength {
		word += "x"
	}
	if s.MaxLength != nil && chance(rng, 10) {
		return strings.Repeat("m", int(min(*s.MaxLength, 5000)))
	}
	return word
}

// mutate puts something else somewhere into a value.
func mutate(rng *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		switch {
		case len(names) == 0 || chance(rng, 20):
			v[oneOf(rng, append(hostile, "__proto__", "enabled", "customer"))] = strange(rng)
		case chance(rng, 20):
			delete(v, oneOf(rng, names))
		default:
			name := oneOf(rng, names)
			v[name] = mutate(rng, v[name])
		}
		return v
	case []any:
		switch {
		case len(v) == 0 || chance(rng, 20):
			return append(v, strange(rng))
		case chance(rng, 10):
			for len(v) < 1200 {
				v = append(v, v[0])
			}
			return v
		}
		i := rng.IntN(len(v))
		v[i] = mutate(rng, v[i])
		return v
	}
	return strange(rng)
}

func strange(rng *rand.Rand) any {
	return oneOf(rng, []any{nil, true, 0, -1, 1e300, 1.5, int64(1) << 62, []any{}, map[string]any{}, []any{[]any{[]any{}}}, map[string]any{"a": nil},
		oneOf(rng, hostile), strings.Repeat("x", 70_000)})
}
