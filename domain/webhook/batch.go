package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"accord/domain/fault"
)

// MaxEvents bounds one message.
const MaxEvents = 500

// Event is one of a message, as it was sent. At is its path in the body, empty for the body itself.
type Event struct {
	At  string
	Raw json.RawMessage
}

// Events takes a body apart: one event, a list of them, or an object with the list as "events". Errors: Invalid, naming
// the field.
func Events(body []byte) ([]Event, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, &fault.Error{Kind: fault.Invalid, Code: "malformed-json", Message: "the body is not one JSON document",
			Fields: []fault.Field{{Code: "malformed_json", Message: "the body is not one JSON document"}}}
	}
	list, prefix := bytes.TrimSpace(body), ""
	if list[0] == '{' {
		var envelope struct {
			Events json.RawMessage `json:"events"`
		}
		if err := json.Unmarshal(list, &envelope); err != nil {
			return nil, fault.OnField("events", "wrong_type", "must be an array")
		}
		if envelope.Events == nil {
			return []Event{{Raw: list}}, nil
		}
		list, prefix = envelope.Events, "events."
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(list, &raws); err != nil || raws == nil {
		return nil, fault.OnField(trimDot(prefix), "wrong_type", "must be an event, or an array of events")
	}
	if len(raws) > MaxEvents {
		return nil, fault.OnField(trimDot(prefix), "too_many", "may have at most %d entries", MaxEvents)
	}
	out := make([]Event, len(raws))
	for i, raw := range raws {
		out[i] = Event{At: prefix + strconv.Itoa(i), Raw: raw}
	}
	return out, nil
}

func trimDot(s string) string {
	if s == "" {
		return ""
	}
	return s[:len(s)-1]
}

// Field is the path of one of the event's members.
func (e Event) Field(name string) string {
	if e.At == "" {
		return name
	}
	return e.At + "." + name
}

// Into reads the event into dst, whose unknown members are left out. Errors: Invalid, naming the field.
func (e Event) Into(dst any) error {
	err := json.Unmarshal(e.Raw, dst)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return fault.OnField(e.Field(wrong.Field), "wrong_type", "must not be a %s", kindOf(wrong.Value))
	}
	return fault.OnField(e.At, "wrong_type", "must be an event")
}

// kindOf leaves the value out of the library's words for it, as in "number 12".
func kindOf(value string) string {
	var kind string
	_, _ = fmt.Sscan(value, &kind)
	return kind
}

// Moment is a time that somebody tells, in UTC. It is the zero time for one that no clock shows: before 1970, or after 9999,
// which can't be written down.
func Moment(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
