// Package consent is the append-only ledger: what was asked, what came of it, by whom, from where, when and under
// which wording. Each customer's entries form a chain of hashes, so that a changed, removed, inserted or reordered
// entry shows.
package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// Event is what an entry records.
type Event string

const (
	Requested             Event = "requested"
	Applied               Event = "applied"
	Compensated           Event = "compensated"
	NeedsAttention        Event = "needs_attention"
	RetryRequested        Event = "retry_requested"
	CompensationRequested Event = "compensation_requested"
)

// Actor is who asked: the customer, an operator, the system itself, or a mail provider on behalf of the customer.
type Actor struct {
	Type string `json:"type"` // customer, operator, system, mail_provider
	ID   string `json:"id"`
}

// Origin is from where it was asked.
type Origin struct {
	Source       string `json:"source"`
	Installation string `json:"installation,omitempty"`
	RequestID    string `json:"request_id,omitempty"`
}

// Wording is the text that was shown.
type Wording struct {
	ID     string `json:"id"`
	Locale string `json:"locale"`
}

// Reason says why a change was not applied: a stable code, and the target that refused where there is one.
type Reason struct {
	Code   string `json:"code"`
	Target string `json:"target,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Entry is one line of the ledger. Before and After map what the change speaks about to its values.
type Entry struct {
	Event     Event          `json:"event"`
	At        time.Time      `json:"at"`
	Operation string         `json:"operation"`
	Number    int64          `json:"number"`
	Kind      string         `json:"kind"`
	Actor     Actor          `json:"actor"`
	Origin    Origin         `json:"origin"`
	Cause     string         `json:"cause,omitempty"`      // why, where nobody asked in so many words
	DecidedAt *time.Time     `json:"decided_at,omitempty"` // when the person decided, where that was elsewhere
	Wording   *Wording       `json:"wording,omitempty"`
	Before    map[string]any `json:"before"`
	After     map[string]any `json:"after"`
	Version   int64          `json:"version"`
	Reason    *Reason        `json:"reason,omitempty"`
	NotUndone []string       `json:"not_undone,omitempty"` // "target:item" left alone because it was changed elsewhere meanwhile
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Link is an entry in its chain, as it is stored. Body is the entry as JSON, byte for byte what was hashed.
type Link struct {
	Customer  string
	Seq       int64 // 1, 2, 3 … without a gap
	Operation string
	Event     Event
	At        time.Time // UTC, microseconds
	Body      []byte
	Prev      Hash
	Hash      Hash
}

// Head is the end of a customer's chain. The zero value is the empty chain.
type Head struct {
	Seq  int64
	Hash Hash
}

// Append puts an entry at the end of the chain.
func (h Head) Append(customer string, e Entry) (Link, Head, error) {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	body, err := json.Marshal(e)
	if err != nil {
		return Link{}, h, fmt.Errorf("encode ledger entry: %w", err)
	}
	l := Link{Customer: customer, Seq: h.Seq + 1, Operation: e.Operation, Event: e.Event, At: e.At, Body: body, Prev: h.Hash}
	l.Hash = l.sum()
	return l, Head{Seq: l.Seq, Hash: l.Hash}, nil
}

// Entry decodes the body.
func (l Link) Entry() (Entry, error) {
	var e Entry
	if err := json.Unmarshal(l.Body, &e); err != nil {
		return e, fmt.Errorf("decode ledger entry %d: %w", l.Seq, err)
	}
	return e, nil
}

// sum hashes every stored column but the hash itself, each with its length in front so that no two rows share an image.
func (l Link) sum() Hash {
	var b bytes.Buffer
	part := func(p []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		b.Write(n[:])
		b.Write(p)
	}
	var seq, at [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(l.Seq)) //nolint:gosec // only a spelling: every int64 has one of its own
	binary.BigEndian.PutUint64(at[:], uint64(l.At.UTC().UnixMicro()))
	for _, p := range [][]byte{[]byte("accord/ledger/v1"), []byte(l.Customer), seq[:], []byte(l.Operation),
		[]byte(l.Event), at[:], l.Body, l.Prev[:]} {
		part(p)
	}
	return sha256.Sum256(b.Bytes())
}

// Finding is one thing that is wrong with a chain. Seq is 0 where no entry can be named, Customer empty where it is about
// the ledger as a whole.
type Finding struct {
	Customer string
	Seq      int64
	Problem  string
}

// String names the customer and the entry, as far as the finding is about one.
func (f Finding) String() string {
	switch {
	case f.Customer == "":
		return f.Problem
	case f.Seq == 0:
		return fmt.Sprintf("%s: %s", f.Customer, f.Problem)
	}
	return fmt.Sprintf("%s #%d: %s", f.Customer, f.Seq, f.Problem)
}

// Verifier checks one customer's chain link by link, in order of Seq.
type Verifier struct {
	customer string
	at       Head
	findings []Finding
}

// NewVerifier starts at the empty chain of a customer.
func NewVerifier(customer string) *Verifier { return &Verifier{customer: customer} }

// Check takes the next link. It goes on after a finding, from what the link itself says, so that one tampered entry is
// reported once and not for every entry after it.
func (v *Verifier) Check(l Link) {
	switch {
	case l.Customer != v.customer:
		v.find(l.Seq, "belongs to another customer")
	case l.Seq <= v.at.Seq:
		v.find(l.Seq, "appears twice or out of order")
	case l.Seq > v.at.Seq+1:
		v.find(v.at.Seq+1, fmt.Sprintf("removed: the next entry found is #%d", l.Seq))
	case l.Prev != v.at.Hash:
		v.find(l.Seq, "does not follow the entry before it: that one was replaced, or this one moved or inserted")
	}
	if l.sum() != l.Hash {
		v.find(l.Seq, "was changed: its content does not match its hash")
	} else if e, err := l.Entry(); err != nil || e.Operation != l.Operation || e.Event != l.Event || !e.At.Equal(l.At) {
		v.find(l.Seq, "was changed: its columns disagree with its content")
	}
	v.at = Head{Seq: l.Seq, Hash: l.Hash}
}

// Finish compares the end of the chain with the head kept apart from it, and returns everything found.
func (v *Verifier) Finish(head Head) []Finding {
	switch {
	case v.at.Seq < head.Seq:
		v.find(v.at.Seq+1, fmt.Sprintf("removed: the chain should end at #%d", head.Seq))
	case v.at.Seq > head.Seq:
		v.find(head.Seq+1, fmt.Sprintf("inserted: the chain should end at #%d", head.Seq))
	case v.at.Hash != head.Hash:
		v.find(v.at.Seq, "is not the entry the chain ended with")
	}
	return v.findings
}

func (v *Verifier) find(seq int64, problem string) {
	v.findings = append(v.findings, Finding{Customer: v.customer, Seq: seq, Problem: problem})
}
