package campaigns

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// reader takes members out of a JSON object by their exact names (encoding/json would take Title for title) and keeps the
// first problem. A member that is missing or null is the zero value.
type reader struct {
	members map[string]json.RawMessage
	at      string // path of the object, with a dot at its end
	problem string
	parent  *reader
}

func newReader(raw json.RawMessage) *reader {
	r := &reader{}
	r.members, r.problem = objectOf(raw)
	return r
}

func objectOf(raw json.RawMessage) (members map[string]json.RawMessage, problem string) {
	if json.Unmarshal(raw, &members) != nil {
		return nil, "must be an object"
	}
	return members, ""
}

// broken notes a problem at the top, so that one look tells whether the whole message can be used.
func (r *reader) broken(member, rule string) {
	if r.parent != nil {
		r.parent.broken(strings.TrimSuffix(strings.TrimPrefix(r.at, r.parent.at)+member, "."), rule)
		return
	}
	if r.problem == "" {
		r.problem = member + ": " + rule
	}
}

// given is the member's value unless it is missing or null.
func (r *reader) given(member string) (json.RawMessage, bool) {
	raw, ok := r.members[member]
	return raw, ok && !bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// take decodes a member that is given.
func take[T any](r *reader, member, rule string) (out T) {
	if raw, ok := r.given(member); ok && json.Unmarshal(raw, &out) != nil {
		r.broken(named(member), rule)
		var zero T
		return zero
	}
	return out
}

func (r *reader) text(member string) string {
	s := take[string](r, member, "must be a string")
	if !storable(s) {
		r.broken(named(member), "must not have the character U+0000")
		return ""
	}
	return s
}

func (r *reader) flag(member string) bool { return take[bool](r, member, "must be true or false") }

func (r *reader) list(member string) []json.RawMessage {
	return take[[]json.RawMessage](r, member, "must be a list")
}

func (r *reader) when(member string) time.Time {
	s := r.text(member)
	if s == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.broken(member, "must be a time such as 2026-12-01T00:00:00Z")
		return time.Time{}
	}
	return at.UTC()
}

// object reads a member that is an object itself; one that is not given has no members.
func (r *reader) object(member string) *reader {
	raw, ok := r.given(member)
	if !ok {
		raw = json.RawMessage("{}")
	}
	return r.child(named(member), raw)
}

func (r *reader) child(path string, raw json.RawMessage) *reader {
	c := &reader{at: r.at + path + ".", parent: r}
	members, problem := objectOf(raw)
	if problem != "" {
		r.broken(path, problem)
	}
	c.members = members
	return c
}

// names lists the object's members in a fixed order; names that cannot be stored are a problem.
func (r *reader) names() []string {
	names := slices.Sorted(maps.Keys(r.members))
	if slices.ContainsFunc(names, func(name string) bool { return !storable(name) }) {
		r.broken("", "must not have a member whose name has the character U+0000")
		return nil
	}
	return names
}

// named keeps what the outside calls its members out of our texts unless it is harmless.
func named(member string) string {
	if len(member) > 64 || !utf8.ValidString(member) || strings.ContainsFunc(member, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "?"
	}
	return member
}

// storable says that the database can keep it.
func storable(s string) bool { return !strings.ContainsRune(s, 0) }
