package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// provider tells of ada's phone, and is answered like that. Its times are in whole seconds.
func (s *story) provider(kind, token string, at time.Time, answer string) *Call {
	c := s.call("", "POST", "/v1/webhooks/onesignal", fmt.Sprintf(`{"id":"e-%d","type":"subscription.%s","external_id":"ada","timestamp":%d,"subscription":{"token":%q,"enabled":false}}`,
		s.ids, kind, at.Unix(), token), 200, `{"events":[`+answer+`]}`)
	c.About = "ada"
	return c
}

// switchedOff is what the ledger says of a device that was switched off, or is gone, where the provider told of it.
func (s *story) switchedOff(c *Call, op string, number int, device any) {
	for _, event := range []string{"requested", "applied"} {
		s.entry("ada", event, op, number, "withdrawal", nil, number, "")
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) {
			e["origin"] = map[string]any{"source": "push", "request_id": c.ID}
			e["after"] = map[string]any{"devices.phone": device}
			e["decided_at"] = c.Invoked.Truncate(time.Second).Format(time.RFC3339)
		})
	}
	st := s.standing("ada")
	st.Preferences = json.RawMessage(strings.ReplaceAll(string(st.Preferences), `"version":4`, `"version":5`))
}

func phoneOff() map[string]any {
	return map[string]any{"platform": "ios", "permission": "granted", "enabled": false, "channels": map[string]any{}, "token_fingerprint": Fingerprint("t")}
}

func offAtThePhone(t *testing.T) (*story, *Call) {
	t.Helper()
	s := phoneAndNews(t)
	c := s.provider("unsubscribed", "t", s.now.Add(time.Second), `{"outcome":"accepted","operation":"op-p"}`)
	s.switchedOff(c, "op-p", 5, phoneOff())
	st := s.standing("ada")
	st.Preferences = replaced(t, st.Preferences, `"permission":"granted","enabled":true`, `"permission":"granted","enabled":false`)
	st.Preferences = replaced(t, st.Preferences, `"deliverable":true,"blocked_by":[]`, `"deliverable":false,"blocked_by":["device_disabled"]`)
	st.Vendors = replaced(t, st.Vendors, `{"token":"t","enabled":true}`, `{"token":"t","enabled":false}`)
	return s, c
}

func TestADeviceThatWasSwitchedOffAtItself(t *testing.T) {
	t.Parallel()
	s, _ := offAtThePhone(t)
	r := s.judged()
	require.Empty(t, r.Violations, r.Told(&History{}))
	require.Equal(t, 1, r.Checked[RuleHeard])

	s, _ = offAtThePhone(t)
	st := s.standing("ada")
	st.Vendors = replaced(t, st.Vendors, `{"token":"t","enabled":false}`, `{"token":"t","enabled":true}`)
	require.Equal(t, []string{RuleAgree}, s.judged().broken(), "the provider sends still")

	s, _ = offAtThePhone(t)
	s.final.Writes = []Write{{At: s.now.Add(2 * echoWithin), Target: "push", Customer: "ada", Method: "PATCH", Path: "/apps/a/subscriptions/s"}}
	require.Equal(t, []string{RuleEcho}, s.judged().broken(), "the provider is told what it told")

	s, c := offAtThePhone(t)
	s.call("ada", "GET", "/v1/preferences", "", 200, `{"version":4,"push":`+adasPush+`,"email":{"marketing":{"status":"unsubscribed"},"version":4}}`)
	r = s.judged()
	require.Equal(t, []string{RuleHold}, r.broken(), "news are deliverable after it was heard")
	require.Equal(t, c.ID, r.Violations[0].Calls[0].ID)
}

func TestADeviceThatWasHeardOfAndNotSwitched(t *testing.T) {
	t.Parallel()
	for answer, broken := range map[string][]string{
		`{"outcome":"unchanged"}`:                          {RuleHeard},
		`{"outcome":"ignored","reason":"unknown_device"}`:  {RuleHeard},
		`{"outcome":"ignored","reason":"malformed"}`:       {RuleHeard},
		`{"outcome":"accepted","operation":"op-never"}`:    {RuleHeard},
		`{"outcome":"superseded","reason":"it was later"}`: {RuleHeard},
	} {
		s := phoneAndNews(t)
		s.provider("unsubscribed", "t", s.now.Add(time.Second), answer)
		require.Equal(t, broken, s.judged().broken(), answer)
	}
	s := phoneAndNews(t)
	s.provider("unsubscribed", "never registered", s.now, `{"outcome":"ignored","reason":"unknown_device"}`)
	require.Empty(t, s.judged().broken(), "a token of nobody's")

	// The device gets another token, which is taken back after all.
	s = phoneAndNews(t)
	s.entry("ada", "requested", "op-r", 5, "grant", nil, 4, "")
	s.edit("ada", 8, func(e map[string]any) {
		e["after"] = map[string]any{"devices.phone": map[string]any{"enabled": true, "token_fingerprint": Fingerprint("u")}}
	})
	at := s.now.Add(time.Second)
	for _, answer := range []string{`{"outcome":"ignored","reason":"unknown_device"}`, `{"outcome":"duplicate"}`} {
		s.provider("unsubscribed", "t", at, answer).Body = json.RawMessage(fmt.Sprintf(`{"id":"e","type":"subscription.unsubscribed","external_id":"ada","timestamp":%d,"subscription":{"token":"t"}}`, at.Unix()))
	}
	s.entry("ada", "compensated", "op-r", 5, "grant", nil, 4, "timeout")
	for i := 8; i < 10; i++ {
		s.edit("ada", i, func(e map[string]any) { e["origin"] = map[string]any{"source": "push"} })
	}
	require.Empty(t, s.judged().broken())
	s.calls[len(s.calls)-2].Answer = json.RawMessage(`{"events":[{"outcome":"unchanged"}]}`)
	require.Equal(t, []string{RuleHeard}, s.judged().broken(), "it was known then")
}

func TestADeviceThatIsGone(t *testing.T) {
	t.Parallel()
	gone := func() *story {
		s := phoneAndNews(t)
		c := s.provider("invalid", "t", s.now.Add(2*time.Second), `{"outcome":"accepted","operation":"op-g"}`)
		s.switchedOff(c, "op-g", 5, nil)
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) { e["decided_at"] = s.now.Format(time.RFC3339Nano) })
		s.edit("ada", len(s.standing("ada").Ledger)-2, func(e map[string]any) { e["decided_at"] = s.now.Format(time.RFC3339Nano) })
		return s
	}
	s := gone()
	require.Equal(t, []string{RuleAgree}, s.judged().broken(), "the API shows it")
	st := s.standing("ada")
	begins := strings.Index(string(st.Preferences), `"devices":[`)
	ends := strings.Index(string(st.Preferences), `"email"`)
	st.Preferences = json.RawMessage(string(st.Preferences[:begins]) + `"devices":[],"effective":[]},` + string(st.Preferences[ends:]))
	require.Equal(t, []string{RuleAgree}, s.judged().broken(), "the provider has it")
	st.Vendors = replaced(t, st.Vendors, `[{"token":"t","enabled":true}]`, `[]`)
	s.final.Writes = []Write{{At: s.now.Add(2 * echoWithin), Target: "push", Customer: "ada", Method: "DELETE", Path: "/apps/a/subscriptions/s"}}
	s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) { e["at"] = s.now.Add(2 * echoWithin) })
	r := s.judged()
	require.Empty(t, r.Violations, r.Told(&History{}))
}
