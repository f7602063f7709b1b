package checker

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stream that stays open tells of what is published meanwhile; what it says when it begins anew is not in time.
func TestAStreamThatStaysOpenTells(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		says, begins, ends time.Duration // after the message was published
		broken             []string
	}{
		"at once":      {time.Second, -time.Minute, time.Minute, []string{}},
		"too late":     {20 * time.Second, -time.Minute, time.Minute, []string{RuleStream}},
		"not open":     {20 * time.Second, -time.Minute, 5 * time.Second, []string{}},
		"opened since": {20 * time.Second, time.Second, time.Minute, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t)
			s.final.Healed = s.later(time.Minute)
			c := s.call("campaigns", "POST", "/v1/messages", `{"audience":{"type":"global"},"title":"the end"}`, 201, `{"id":"m-1"}`)
			c.Scope = "messages:write"
			for what, after := range map[string]time.Duration{StreamBegins: tc.begins, "inbox.changed": tc.says, StreamEnds: tc.ends} {
				s.heard = append(s.heard, &Heard{Stream: "s", Customer: "ada", At: c.Answered.Add(after), Kind: what, Data: "{}"})
			}
			slices.SortFunc(s.heard, func(a, b *Heard) int { return a.At.Compare(b.At) })
			r := s.judged()
			require.Equal(t, tc.broken, r.broken(), r.Told(nil))
		})
	}
}
