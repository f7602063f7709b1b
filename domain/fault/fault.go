// Package fault is the one vocabulary of errors: what a caller can do about a failure (Kind), which failure it is
// (Code, stable, for machines) and a sentence for people. An error of any other type is internal and its text
// never leaves the process.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what the caller can do.
type Kind struct{ s string }

var (
	Invalid      = Kind{"invalid"}      // the input breaks a rule: correct it
	NotFound     = Kind{"not_found"}    // no such thing, or not yours
	Conflict     = Kind{"conflict"}     // valid, but not in this state
	Precondition = Kind{"precondition"} // somebody else changed it first: read again
	Mismatch     = Kind{"mismatch"}     // the idempotency key was used for something else
	Denied       = Kind{"denied"}       // signed in, but not allowed
	Unavailable  = Kind{"unavailable"}  // nothing was done: try again later
	Throttled    = Kind{"throttled"}    // asked too often: wait
	Gone         = Kind{"gone"}         // was there once, and is not known any more: start over
	Internal     = Kind{"internal"}     // our fault
)

func (k Kind) String() string { return k.s }

// Field names one input that breaks a rule. Path is dotted, as in "channels.promotions.enabled".
type Field struct {
	Path    string
	Code    string
	Message string
}

// Error is a failure of a known kind. Build it with New or OnField.
type Error struct {
	Kind    Kind
	Code    string
	Message string
	Fields  []Field
}

func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return e.Code + ": " + e.Message
	}
	paths := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		paths[i] = f.Path + " " + f.Message
	}
	return e.Code + ": " + strings.Join(paths, "; ")
}

// Is makes errors.Is compare codes, so that a test or a caller can ask for a failure without its wording.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// New makes an error of a kind; the message is formatted as by fmt.Sprintf and must hold no personal data.
func New(kind Kind, code, format string, args ...any) error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// OnField makes an Invalid error about one field.
func OnField(path, code, format string, args ...any) error {
	return OnFields(Field{Path: path, Code: code, Message: fmt.Sprintf(format, args...)})
}

// OnFields makes an Invalid error about one or more fields.
func OnFields(fields ...Field) error {
	return &Error{Kind: Invalid, Code: "invalid-request", Message: "the request breaks a rule", Fields: fields}
}

// KindOf is the kind of err, Internal when it has none.
func KindOf(err error) Kind {
	if e, ok := As(err); ok {
		return e.Kind
	}
	return Internal
}

// As finds the fault in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
