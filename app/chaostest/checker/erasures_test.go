package checker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const erasedProof = `{"proof":{"id":"op-gone","status":"erased","ledger":{"chain":"ch_1","entries":4,"head":"ff"}},"export":{"operations":[],"ledger":[],"activity":[]}}`

// gone is somebody who has registered a phone, and was erased.
func gone(t *testing.T) *story {
	t.Helper()
	s := tell(t)
	s.call("gone-1", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 200, "").Given["Accord-Operation"] = "op-forgotten"
	c := s.call("privacy-desk", "DELETE", "/v1/customers/gone-1", "", 202, "")
	c.Scope, c.About, c.Given["Accord-Operation"] = "customers:erase", "gone-1", "op-gone"
	s.standing("gone-1")
	s.final.Erasures = map[string]json.RawMessage{"gone-1": json.RawMessage(erasedProof)}
	return s
}

func TestWhoeverWasErasedIsNowhere(t *testing.T) {
	t.Parallel()
	r := gone(t).judged()
	require.Empty(t, r.Violations, r.Told(nil))
	require.Positive(t, r.Checked[RuleErased])
	for name, spoil := range map[string]func(*story){
		"no proof":         func(s *story) { s.final.Erasures = nil },
		"under way":        func(s *story) { s.proof(`"erased"`, `"running"`) },
		"no end":           func(s *story) { s.proof(`"entries":4`, `"entries":1`) },
		"named":            func(s *story) { s.proof(`"ch_1"`, `"gone-1"`) },
		"exported":         func(s *story) { s.proof(`"operations":[]`, `"operations":[{}]`) },
		"in the ledger":    func(s *story) { s.entry("gone-1", "requested", "op-1", 1, "grant", nil, 0, "") },
		"a device":         func(s *story) { s.vendors(`"devices":[]`, `"devices":[{"token":"t","enabled":true}]`) },
		"known to the CRM": func(s *story) { s.vendors(`"email_marketing":"unknown"`, `"email_marketing":"unsubscribed"`) },
		"known to the CMP": func(s *story) { s.vendors(`"push-marketing":"unknown"`, `"push-marketing":"withdrawn"`) },
		"preferences still": func(s *story) {
			st := s.standing("gone-1")
			st.Preferences = replaced(s.t, st.Preferences, `"version":0`, `"version":3`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := gone(t)
			spoil(s)
			r := s.judged()
			require.Contains(t, r.broken(), RuleErased, r.Told(nil))
		})
	}
	s := gone(t) // an operator has taken it back
	s.proof(`"erased"`, `"compensated"`)
	require.NotContains(t, s.judged().broken(), RuleErased)
}

func (s *story) proof(old, with string) {
	raw := string(s.final.Erasures["gone-1"])
	require.Contains(s.t, raw, old)
	s.final.Erasures["gone-1"] = json.RawMessage(strings.Replace(raw, old, with, 1))
}

func (s *story) vendors(old, with string) {
	st := s.standing("gone-1")
	st.Vendors = replaced(s.t, st.Vendors, old, with)
}
