package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// The targets a fault or a logged request names.
const (
	targetCRM        = "crm"
	targetPush       = "push"
	targetCMP        = "cmp"
	targetEngagement = "engagement"
)

// The classes of vendor calls. Token calls are of neither kind and never faulted.
const (
	callRead  = "read"
	callWrite = "write"
	callAuth  = "auth"
)

// The kinds of faults; the package comment says what each does.
const (
	faultDelay         = "delay"
	faultTimeoutBefore = "timeout_before"
	faultTimeoutAfter  = "timeout_after"
	faultDropAfter     = "drop_after"
	faultStatus        = "status"
	faultMalformed     = "malformed"
)

const everyCustomer = "*"

// fault is a fault as the control call shows it.
type fault struct {
	ID       string            `json:"id"`
	Target   string            `json:"target"`
	Customer string            `json:"customer"`
	Calls    string            `json:"calls"`
	Kind     string            `json:"kind"`
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"`
	DelayMS  int64             `json:"delay_ms"`
	Times    int               `json:"times"` // 0: until removed
	Hits     int               `json:"hits"`

	released chan struct{} // closed when the fault is removed
}

// faultRequest is the body of POST /_sandbox/faults; nil means not given.
type faultRequest struct {
	Target   string            `json:"target"`
	Customer *string           `json:"customer"`
	Calls    *string           `json:"calls"`
	Kind     string            `json:"kind"`
	Status   *int              `json:"status"`
	Headers  map[string]string `json:"headers"`
	DelayMS  *int64            `json:"delay_ms"`
	Times    *int              `json:"times"`
}

// fault fills in the defaults and reports every bad field.
func (r faultRequest) fault() (*fault, []fieldError) {
	f := &fault{
		ID: newID(), Target: r.Target, Kind: r.Kind, Headers: r.Headers, released: make(chan struct{}),
		Customer: valueOr(r.Customer, everyCustomer), Calls: valueOr(r.Calls, "any"), DelayMS: valueOr(r.DelayMS, 0),
		Times: valueOr(r.Times, 1), Status: valueOr(r.Status, 0),
	}
	if f.Headers == nil {
		f.Headers = map[string]string{}
	}
	if f.Kind == faultStatus && r.Status == nil {
		f.Status = http.StatusServiceUnavailable
	}
	var bad []fieldError
	oneOf := func(field, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad = append(bad, fieldError{field, "invalid", "must be one of " + strings.Join(allowed, ", ")})
		}
	}
	oneOf("target", f.Target, targetCRM, targetPush, targetCMP, targetEngagement)
	oneOf("calls", f.Calls, callRead, callWrite, "any")
	oneOf("kind", f.Kind, faultDelay, faultTimeoutBefore, faultTimeoutAfter, faultDropAfter, faultStatus, faultMalformed)
	if f.Customer == "" {
		bad = append(bad, fieldError{"customer", "invalid", `must be a customer or "*"`})
	}
	if f.Kind == faultStatus && (f.Status < 200 || f.Status > 599) {
		bad = append(bad, fieldError{"status", "invalid", "must be a final HTTP status, 200 to 599"})
	}
	if f.DelayMS < 0 {
		bad = append(bad, fieldError{"delay_ms", "invalid", "must not be negative"})
	}
	if f.Times < 0 {
		bad = append(bad, fieldError{"times", "invalid", "must not be negative"})
	}
	for name, value := range f.Headers {
		if !validHeader(name, value) {
			bad = append(bad, fieldError{fmt.Sprintf("headers.%s", name), "invalid", "is not an HTTP header"})
		}
	}
	return f, bad
}

// validHeader keeps out what net/http would silently not send.
func validHeader(name, value string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, c := range []byte(name) {
		letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letterOrDigit && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return name != "" && !strings.ContainsAny(value, "\r\n\x00")
}

func (f *fault) matches(target, class string, customers []string) bool {
	return f.Target == target &&
		(f.Times == 0 || f.Hits < f.Times) &&
		(f.Calls == "any" || f.Calls == class) &&
		(f.Customer == everyCustomer || slices.Contains(customers, f.Customer))
}

// faultBook holds the faults in the order they were added.
type faultBook struct {
	mu     sync.Mutex
	faults []*fault
}

func (b *faultBook) add(f *fault) fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, f)
	return *f
}

// take finds the first fault for a call and uses one of its times, in one step: two calls never share the last one.
func (b *faultBook) take(target, class string, customers []string) *fault {
	if class == callAuth {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		if f.matches(target, class, customers) {
			f.Hits++
			return f
		}
	}
	return nil
}

// list returns all faults, used-up ones included.
func (b *faultBook) list() []fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]fault, 0, len(b.faults))
	for _, f := range b.faults {
		out = append(out, *f)
	}
	return out
}

// removeAll also lets go the calls the faults hold.
func (b *faultBook) removeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		close(f.released)
	}
	b.faults = nil
}

// remove is removeAll for one fault.
func (b *faultBook) remove(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.faults, func(f *fault) bool { return f.ID == id })
	if i < 0 {
		return false
	}
	close(b.faults[i].released)
	b.faults = slices.Delete(b.faults, i, i+1)
	return true
}

func valueOr[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
