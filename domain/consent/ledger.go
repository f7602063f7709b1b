// Package consent is the append-only ledger: what was asked, what came of it, by whom, from where, when and under
// which wording. Each customer's entries form a chain of hashes, so that a changed, removed, inserted or reordered
// entry shows.
package consent

import "time"

// Event is what an entry records.
type Event string

const (
	Requested             Event = "requested"
	Applied               Event = "applied"
	Compensated           Event = "compensated"
	NeedsAttention        Event = "needs_attention"
	RetryRequested        Event = "retry_requested"
	CompensationRequested Event = "compensation_requested"
	Erased                Event = "erased" // the person; the last entry of a chain
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
	AppVersion   string `json:"app_version,omitempty"`
	Address      string `json:"address,omitempty"` // network address of the client, as much of it as is kept
	RequestID    string `json:"request_id,omitempty"`
}

// Wording is the text that was shown.
type Wording struct {
	ID       string `json:"id"`
	Locale   string `json:"locale"`
	TextHash string `json:"text_sha256,omitempty"` // of the text as it was shown, in hex
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

	Outcomes    map[string]string `json:"outcomes,omitempty"`     // of an erasure: what came of it, by target
	RequestedAt *time.Time        `json:"requested_at,omitempty"` // of an erasure
}
