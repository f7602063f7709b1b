package sandbox

import (
	"slices"
	"sync"
	"time"
)

// loggedRequest is one vendor call. Status stays 0 until the call was answered, and for ever when it never was (dropped,
// or the client gave up); FinishedAt tells the two apart.
type loggedRequest struct {
	At         time.Time  `json:"at"`
	Target     string     `json:"target"`
	Customer   string     `json:"customer,omitempty"`
	Customers  []string   `json:"customers,omitempty"` // all of them, when there are several
	Method     string     `json:"method"`
	Path       string     `json:"path"`
	Call       string     `json:"call"`
	Status     int        `json:"status,omitempty"`
	Fault      string     `json:"fault,omitempty"` // id of the fault that hit the call
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

// concerns reports whether the call was about the customer.
func (r *loggedRequest) concerns(customer string) bool {
	return r.Customer == customer || slices.Contains(r.Customers, customer)
}

// requestLog keeps the newest calls in the order they arrived.
type requestLog struct {
	mu      sync.Mutex
	size    int
	next    int // where the ring's oldest entry is, once it is full
	entries []*loggedRequest
}

func newRequestLog(size int) *requestLog { return &requestLog{size: size} }

// begin logs a call on its arrival, so that a test can wait for a call to be under way.
func (l *requestLog) begin(entry loggedRequest, customers []string) *loggedRequest {
	if len(customers) > 0 {
		entry.Customer = customers[0]
	}
	if len(customers) > 1 {
		entry.Customers = customers
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) < l.size {
		l.entries = append(l.entries, &entry)
	} else {
		l.entries[l.next] = &entry
		l.next = (l.next + 1) % l.size
	}
	return &entry
}

func (l *requestLog) hit(entry *loggedRequest, faultID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.Fault = faultID
}

func (l *requestLog) finish(entry *loggedRequest, status int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.Status, entry.FinishedAt = status, &at
}

// list returns copies of the entries, oldest first; "" matches every customer or target.
func (l *requestLog) list(customer, target string) []loggedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]loggedRequest, 0, len(l.entries))
	for i := range l.entries {
		entry := l.entries[(l.next+i)%len(l.entries)]
		if (target == "" || entry.Target == target) && (customer == "" || entry.concerns(customer)) {
			out = append(out, *entry)
		}
	}
	return out
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.next = nil, 0
}
