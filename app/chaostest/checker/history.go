package checker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Call is one request and what is known of its answer: one line of a history.
type Call struct {
	ID       string            `json:"id"` // the X-Request-Id it was sent with
	Client   int               `json:"client"`
	To       string            `json:"to"`                 // the process that was asked: api-1, api-2, sandbox
	Customer string            `json:"customer,omitempty"` // whose token it carried; empty for an anonymous caller or a system
	Scope    string            `json:"scope,omitempty"`    // of the token, empty for a customer's
	About    string            `json:"about,omitempty"`    // the customer whom it is about, where that is not whose token it carried
	Session  string            `json:"session,omitempty"`  // calls that belong together, as the pages of one reading do
	Invoked  time.Time         `json:"invoked"`
	Answered time.Time         `json:"answered,omitzero"` // zero when no answer came
	Method   string            `json:"method"`
	Path     string            `json:"path"` // with its query
	Header   map[string]string `json:"header,omitempty"`
	Body     json.RawMessage   `json:"body,omitempty"`
	Form     string            `json:"form,omitempty"`   // a body that is not JSON
	Status   int               `json:"status,omitempty"` // 0 when no answer came
	Error    string            `json:"error,omitempty"`  // why none came
	Given    map[string]string `json:"given,omitempty"`  // the answer's headers
	Answer   json.RawMessage   `json:"answer,omitempty"`
}

// Heard is one event of a stream: also a line of a history.
type Heard struct {
	Stream   string    `json:"stream"` // which one, across its reconnections
	Customer string    `json:"customer"`
	At       time.Time `json:"heard"`
	Kind     string    `json:"event"`
	Data     string    `json:"data"`
}

// What a stream itself says of its connections, among the kinds of events.
const (
	StreamBegins = "chaos.begins"
	StreamEnds   = "chaos.ends"
)

// Disturbance is what was done to the system: also a line of a history. It is told in the account of a violation, and judges
// nothing.
type Disturbance struct {
	What string    `json:"disturbance"`
	From time.Time `json:"from"`
	To   time.Time `json:"until"`
}

// History is everything that was recorded, in the order in which it was.
type History struct {
	Calls        []*Call
	Heard        []*Heard
	Disturbances []*Disturbance
}

// Read takes a history of JSON lines. A last line that was cut short is left out: whoever recorded it was stopped.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	var broken error
	for n := 1; lines.Scan(); n++ {
		if broken != nil {
			return nil, broken
		}
		if err := h.add(lines.Bytes()); err != nil {
			broken = fmt.Errorf("line %d of the history: %w", n, err)
		}
	}
	return h, lines.Err()
}

func (h *History) add(line []byte) error {
	var kind struct {
		ID          string `json:"id"`
		Stream      string `json:"stream"`
		Disturbance string `json:"disturbance"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch {
	case kind.ID != "":
		c := &Call{}
		h.Calls = append(h.Calls, c)
		return json.Unmarshal(line, c)
	case kind.Stream != "":
		e := &Heard{}
		h.Heard = append(h.Heard, e)
		return json.Unmarshal(line, e)
	case kind.Disturbance != "":
		d := &Disturbance{}
		h.Disturbances = append(h.Disturbances, d)
		return json.Unmarshal(line, d)
	}
	return errors.New("neither a call, nor an event, nor a disturbance")
}

// Final is what everybody says when all is healed and quiet.
type Final struct {
	At          time.Time                  `json:"at"`
	Settled     string                     `json:"settled"` // how long it took until nothing was open, or what was left
	Quiet       bool                       `json:"quiet"`   // nothing was left open
	Open        []json.RawMessage          `json:"open"`    // operations that are not settled, as the API lists them
	Audit       Audit                      `json:"audit"`
	Customers   []Standing                 `json:"customers"`
	Healed      time.Time                  `json:"healed"`        // from when on nothing was disturbed any more, and nothing open
	Groups      map[string]string          `json:"groups"`        // what the CRM calls each channel
	DoubleOptIn bool                       `json:"double_opt_in"` // a subscription to e-mail has to be confirmed
	Erasures    map[string]json.RawMessage `json:"erasures"`      // of those whose erasure was accepted: its proof, and what is exported of them
	Writes      []Write                    `json:"writes"`        // to the vendors where some customers decide, of these; there may have been more
}

// Write is one call to a vendor that changes something there, as the sandbox has logged it.
type Write struct {
	At       time.Time `json:"at"`
	Target   string    `json:"target"`
	Customer string    `json:"customer"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
}

// Audit is what `accord audit verify` has said.
type Audit struct {
	Exit   int    `json:"exit"`
	Output string `json:"output"`
}

// Standing is what is said of one customer.
type Standing struct {
	Customer    string            `json:"customer"`
	Preferences json.RawMessage   `json:"preferences"` // GET /v1/preferences
	Ledger      []json.RawMessage `json:"ledger"`      // GET /v1/customers/{id}/audit, oldest first
	Vendors     json.RawMessage   `json:"vendors"`     // GET /_sandbox/customers/{id}
	Inbox       []json.RawMessage `json:"inbox"`       // every page of GET /v1/inbox
	Archived    []json.RawMessage `json:"archived"`    // every page of GET /v1/inbox?state=archived
}

func (c *Call) answered() bool { return c.Status != 0 }

// before tells that this call had ended before the other one began.
func (c *Call) before(o *Call) bool { return c.answered() && c.Answered.Before(o.Invoked) }

// header of the answer.
func (c *Call) given(name string) string { return c.Given[name] }

func (c *Call) String() string {
	how := c.Error
	if c.answered() {
		how = fmt.Sprintf("%d after %s", c.Status, c.Answered.Sub(c.Invoked).Round(time.Millisecond))
	}
	who := c.Customer
	if who == "" {
		who = "-"
	}
	extra := ""
	for _, name := range []string{"Idempotency-Key", "If-Match", "Prefer"} {
		if v := c.Header[name]; v != "" {
			extra += " " + name + ": " + v
		}
	}
	if op := c.given("Accord-Operation"); op != "" {
		how += ", " + op
	}
	return fmt.Sprintf("%s %s [%s] %s: %s %s %s%s → %s", c.Invoked.UTC().Format("15:04:05.000"), c.ID, c.To, who, c.Method, c.Path,
		shortened(c.Body), extra, how)
}

func shortened(raw []byte) string {
	const most = 300
	if len(raw) > most {
		return string(raw[:most]) + "…"
	}
	return string(raw)
}
