package httpapi

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"accord/domain/fault"
)

const (
	defaultWait = 5 * time.Second
	maxWait     = 30 * time.Second
)

// changeHeaders are what a change takes besides its body.
type changeHeaders struct {
	key     string
	ifMatch []string // nil for no condition
	prefer  preferences
}

func readChangeHeaders(h http.Header) (changeHeaders, error) {
	var bad []fault.Field
	key, rule := idempotencyKey(h)
	if rule != "" {
		bad = append(bad, fault.Field{Path: "Idempotency-Key", Code: "bad_format", Message: rule})
	}
	tags, rule := ifMatch(h)
	if rule != "" {
		bad = append(bad, fault.Field{Path: "If-Match", Code: "bad_format", Message: rule})
	}
	if len(bad) > 0 {
		return changeHeaders{}, fault.OnFields(bad...)
	}
	return changeHeaders{key: key, ifMatch: tags, prefer: readPrefer(h.Get("Prefer"))}, nil
}

// idempotencyKey takes the structured-field string of the IETF draft, and the bare value that most clients send.
func idempotencyKey(h http.Header) (key, brokenRule string) {
	const rule = "must be 1 to 255 visible ASCII characters, quoted or bare"
	given := h.Values("Idempotency-Key")
	if len(given) == 0 {
		return "", ""
	}
	key = strings.TrimSpace(given[0])
	if strings.HasPrefix(key, `"`) {
		var ok bool
		if key, ok = unquote(key); !ok {
			return "", rule
		}
	}
	visible := !strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' })
	if len(given) > 1 || key == "" || len(key) > 255 || !visible {
		return "", rule
	}
	return key, ""
}

// unquote reads a structured-field string (RFC 9651): only \" and \\ are escaped, nothing follows the closing quote.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			i++
			if i == len(s) || (s[i] != '"' && s[i] != '\\') {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

var entityTag = regexp.MustCompile(`^(W/)?"([\x21\x23-\x7E]*)"[ \t]*(?:,|$)`)

// ifMatch reads If-Match: nil when it is not given, else the strong tags. It is empty, and matches nothing, when all are
// weak: the comparison must be strong (RFC 9110, section 13.1.1).
func ifMatch(h http.Header) (tags []string, brokenRule string) {
	if len(h.Values("If-Match")) == 0 {
		return nil, ""
	}
	value := strings.TrimSpace(h.Get("If-Match"))
	if value == "*" {
		return []string{"*"}, ""
	}
	list, ok := entityTags(value)
	if !ok || len(list) == 0 {
		return nil, `must be * or a list of quoted tags such as "7"`
	}
	tags = []string{}
	for _, t := range list {
		// None of our tags is a star, and to those who compare tags an unquoted one means any.
		if !t.weak && t.opaque != "*" {
			tags = append(tags, t.opaque)
		}
	}
	return tags, ""
}

type tag struct {
	weak   bool
	opaque string
}

func entityTags(value string) (list []tag, ok bool) {
	for rest := strings.Trim(value, " \t"); rest != ""; {
		m := entityTag.FindStringSubmatch(rest)
		if m == nil {
			return nil, false
		}
		list = append(list, tag{weak: m[1] != "", opaque: m[2]})
		rest = strings.TrimLeft(rest[len(m[0]):], " \t")
	}
	return list, true
}

// hasSeen reports whether the client has what the tag names (RFC 9110, section 13.1.2: weak comparison). A header that
// is malformed matches nothing: the worst that comes of it is an answer sent once more.
func hasSeen(h http.Header, current string) bool {
	given := h["If-None-Match"]
	if len(given) == 0 {
		return false
	}
	value := strings.TrimSpace(strings.Join(given, ", "))
	if value == "*" || isTag(value, current) {
		return true
	}
	list, _ := entityTags(value)
	for _, t := range list {
		if t.opaque == current {
			return true
		}
	}
	return false
}

// isTag recognises the one tag that a client sends back as it came, without reading lists.
func isTag(value, opaque string) bool {
	value = strings.TrimPrefix(value, "W/")
	return len(value) == len(opaque)+2 && value[0] == '"' && value[1:len(value)-1] == opaque && value[len(value)-1] == '"'
}

// preferences are what of Prefer (RFC 7240) we understand. What is malformed counts as not given, as the RFC demands.
type preferences struct {
	wait         time.Duration
	waitGiven    bool
	respondAsync bool
}

func readPrefer(value string) preferences {
	p := preferences{wait: defaultWait}
	for _, part := range strings.Split(value, ",") {
		part, _, _ = strings.Cut(part, ";")
		name, arg, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.respondAsync = true
		case "wait":
			// The first one counts (section 2).
			if n, ok := seconds(strings.Trim(strings.TrimSpace(arg), `"`)); ok && !p.waitGiven {
				p.wait, p.waitGiven = n, true
			}
		}
	}
	if p.respondAsync && !p.waitGiven {
		p.wait = 0
	}
	return p
}

var digits = regexp.MustCompile(`^[0-9]{1,9}$`)

func seconds(s string) (time.Duration, bool) {
	if !digits.MatchString(s) {
		return 0, false
	}
	n, _ := strconv.Atoi(s) // cannot fail on nine digits
	return min(time.Duration(n)*time.Second, maxWait), true
}

// applied is Preference-Applied for an answer, empty for none.
func (p preferences) applied(status int) string {
	var out []string
	if p.respondAsync && status == http.StatusAccepted {
		out = append(out, "respond-async")
	}
	if p.waitGiven {
		out = append(out, "wait="+strconv.Itoa(int(p.wait/time.Second)))
	}
	return strings.Join(out, ", ")
}
