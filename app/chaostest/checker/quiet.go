package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// quietHours are asked for, and shown, like this.
type quietHours struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Zone  string `json:"time_zone"`
}

// String is how the ledger and the vendors write them; of none it is empty.
func (q *quietHours) String() string {
	if q == nil {
		return ""
	}
	return fmt.Sprintf("%s-%s %s", q.Start, q.End, q.Zone)
}

// heldQuiet is what a vendor holds of them.
type heldQuiet struct {
	Quiet string `json:"quiet_hours"`
	Zone  string `json:"time_zone"`
}

// asksQuiet reads what a change says of them: null takes them away.
func asksQuiet(raw json.RawMessage) *string {
	var q *quietHours
	if len(raw) == 0 || json.Unmarshal(raw, &q) != nil {
		return nil
	}
	text := q.String()
	return &text
}

// quietAt tells whether it is quiet at a moment, by the clock on the wall.
func quietAt(hours string, at time.Time) bool {
	times, name, _ := strings.Cut(hours, " ")
	from, until, _ := strings.Cut(times, "-")
	zone, err := time.LoadLocation(name)
	if err != nil || times == "" {
		return false
	}
	wall := at.In(zone).Format("15:04")
	if from < until {
		return from <= wall && wall < until
	}
	return from <= wall || wall < until
}

// quietly: in quiet hours nothing is deliverable but what is required. Who asks at the moment at which they begin or end may be
// told either.
func (k *check) quietly(p *person, c *Call, s *shown, hours string, by *Call) {
	if hours == "" || s.push == nil || !quietAt(hours, c.Invoked.Add(-sameClock)) || !quietAt(hours, c.Answered.Add(sameClock)) {
		return
	}
	k.held(RuleHours)
	for _, e := range s.effective {
		if e.Deliverable && !catalogue[e.Channel].required {
			k.violated(RuleHours, p.id, fmt.Sprintf("nothing on %s to %s from %s", e.Channel, e.Device, hours), "it is deliverable", by, c)
		}
	}
}
