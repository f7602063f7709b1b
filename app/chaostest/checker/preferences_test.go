package checker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASystemThatKeepsItsPromisesIsNotBlamed(t *testing.T) {
	t.Parallel()
	r := phoneAndNews(t).judged()
	require.Empty(t, r.Violations, r.Told(nil))
	for _, rule := range []string{RuleQuiet, RuleAudit, RuleChain, RuleComplete, RuleAsked, RuleAnswer, RuleWithdrawal, RuleOrder, RuleKey, RuleMatch, RuleAgree, RuleToken} {
		require.Positive(t, r.Checked[rule], rule)
	}
}

// Each is one thing that goes wrong in a story where everything was right, with the rule that has to say so.
func TestEveryBrokenPromiseIsFound(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rule  string
		spoil func(*testing.T, *story)
	}{
		"an operation left open": {RuleQuiet, func(_ *testing.T, s *story) {
			s.final.Quiet, s.final.Open = false, []json.RawMessage{json.RawMessage(`{"id":"op-1"}`)}
		}},
		"an audit that fails": {RuleAudit, func(_ *testing.T, s *story) { s.final.Audit = Audit{Exit: 1, Output: "1 finding"} }},
		"an entry removed": {RuleChain, func(_ *testing.T, s *story) {
			st := s.standing("ada")
			st.Ledger = append(st.Ledger[:3:3], st.Ledger[4:]...)
		}},
		"a chain that does not hang together": {RuleChain, func(_ *testing.T, s *story) {
			s.edit("ada", 3, func(e map[string]any) { e["prev_hash"] = "ff" })
		}},
		"no end": {RuleComplete, func(_ *testing.T, s *story) {
			st := s.standing("ada")
			st.Ledger = st.Ledger[:len(st.Ledger)-1]
		}},
		"two ends": {RuleComplete, func(_ *testing.T, s *story) {
			s.entry("ada", "compensated", "op-ada-4", 4, "withdrawal", nil, 4, "refused")
		}},
		"an end without a beginning": {RuleComplete, func(_ *testing.T, s *story) {
			s.entry("ada", "applied", "op-ada-9", 9, "grant", nil, 5, "")
		}},
		"an operation nobody asked for": {RuleAsked, func(_ *testing.T, s *story) {
			s.edit("ada", 2, func(e map[string]any) { e["origin"] = map[string]any{"source": "app", "request_id": "q-99"} })
		}},
		"somebody else's request": {RuleAsked, func(_ *testing.T, s *story) {
			s.standing("grace")
			other := s.call("grace", "PATCH", "/v1/preferences/push", `{"enabled":true}`, 503, "")
			s.edit("ada", 2, func(e map[string]any) { e["origin"] = map[string]any{"source": "app", "request_id": other.ID} })
		}},
		"applied otherwise than asked": {RuleAsked, func(_ *testing.T, s *story) {
			s.edit("ada", 7, func(e map[string]any) { e["after"] = map[string]any{"push.channels.promotions": true} })
		}},
		"a withdrawal taken for a grant": {RuleAsked, func(_ *testing.T, s *story) { s.edit("ada", 6, func(e map[string]any) { e["kind"] = "grant" }) }},
		"told applied, and compensated": {RuleAnswer, func(_ *testing.T, s *story) {
			s.edit("ada", 5, func(e map[string]any) { e["event"], e["reason"] = "compensated", map[string]any{"code": "refused"} })
		}},
		"told accepted, and lost": {RuleAnswer, func(_ *testing.T, s *story) {
			c := s.call("ada", "PATCH", "/v1/preferences/email", `{"marketing":{"status":"unsubscribed"}}`, 202, "")
			c.Given["Accord-Operation"] = "op-lost"
		}},
		"a withdrawal undone": {RuleWithdrawal, func(_ *testing.T, s *story) {
			s.edit("ada", 7, func(e map[string]any) {
				e["event"], e["reason"] = "compensated", map[string]any{"code": "budget-exhausted"}
			})
		}},
		"refused, and done": {RuleRefused, func(_ *testing.T, s *story) { s.calls[1].Status, s.calls[1].Given = 503, map[string]string{} }},
		"a change that overtakes another": {RuleOrder, func(_ *testing.T, s *story) {
			for i, number := range map[int]int{2: 3, 3: 3, 4: 2, 5: 2} {
				s.edit("ada", i, func(e map[string]any) { e["number"] = number })
			}
		}},
		"applied out of order": {RuleOrder, func(_ *testing.T, s *story) {
			l := s.standing("ada").Ledger
			l[5], l[7] = l[7], l[5]
			for i := range l {
				s.edit("ada", i, func(e map[string]any) {
					e["seq"] = i + 1
				})
			}
		}},
		"a version skipped": {RuleOrder, func(_ *testing.T, s *story) { s.edit("ada", 7, func(e map[string]any) { e["version"] = 6 }) }},
		"two operations for one key": {RuleKey, func(_ *testing.T, s *story) {
			s.change("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 5, "Idempotency-Key", "k1")
		}},
		"another operation told for a key": {RuleKey, func(_ *testing.T, s *story) {
			c := s.call("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 200, "", "Idempotency-Key", "k1")
			c.Given["Accord-Operation"] = "op-ada-2"
		}},
		"another answer for a key": {RuleKey, func(_ *testing.T, s *story) {
			s.calls[0].Answer = json.RawMessage(`{"version":1}`)
			c := s.call("ada", "PUT", "/v1/devices/phone", `{"token":"t","platform":"ios","permission":"granted"}`, 200, `{"version":2}`, "Idempotency-Key", "k1")
			c.Given["Accord-Operation"] = "op-ada-1"
		}},
		"a key reused": {RuleKey, func(_ *testing.T, s *story) {
			s.call("ada", "PATCH", "/v1/preferences/push", `{"enabled":true}`, 409, `{}`, "Idempotency-Key", "k1")
		}},
		"two winners": {RuleMatch, func(_ *testing.T, s *story) { s.calls[2].Header["If-Match"] = `"1"` }},
		"the API disagrees": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Preferences = replaced(t, st.Preferences, `"news":{"enabled":true}`, `"news":{"enabled":false}`)
		}},
		"the CRM disagrees": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Vendors = replaced(t, st.Vendors, `"promotions":"unsubscribed"`, `"promotions":"subscribed"`)
		}},
		"the CMP disagrees": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Vendors = replaced(t, st.Vendors, `"push-marketing":"withdrawn"`, `"push-marketing":"granted"`)
		}},
		"a purpose nobody spoke of": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Vendors = replaced(t, st.Vendors, `"email-marketing":"unknown"`, `"email-marketing":"withdrawn"`)
		}},
		"a device left at the provider": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Vendors = replaced(t, st.Vendors, `[{"token":"t","enabled":true}]`, `[{"token":"t","enabled":true},{"token":"old","enabled":false}]`)
		}},
		"a hold that stays": {RuleAgree, func(t *testing.T, s *story) {
			st := s.standing("ada")
			st.Preferences = replaced(t, st.Preferences, `"blocked_by":[]`, `"blocked_by":["hold"]`)
		}},
		"a token nobody registered": {RuleToken, func(t *testing.T, s *story) {
			st := s.standing("grace")
			st.Vendors = replaced(t, st.Vendors, `"devices":[]`, `"devices":[{"token":"x","enabled":true}]`)
		}},
		"a token with two": {RuleToken, func(t *testing.T, s *story) {
			st := s.standing("grace")
			st.Vendors = replaced(t, st.Vendors, `"devices":[]`, `"devices":[{"token":"t","enabled":true}]`)
		}},
		"a token with whoever had it before": {RuleToken, func(_ *testing.T, s *story) {
			s.change("grace", "PUT", "/v1/devices/tablet", `{"platform":"ios","token":"t","permission":"granted"}`, 1)
		}},
		"an old read": {RuleRead, func(t *testing.T, s *story) {
			s.call("ada", "GET", "/v1/preferences", "", 200, string(s.standing("ada").Preferences))
			s.call("ada", "GET", "/v1/preferences", "", 200, nothingChosen)
		}},
		"a read of what never was": {RuleRead, func(t *testing.T, s *story) {
			s.call("ada", "GET", "/v1/preferences", "", 200, string(replaced(t, s.standing("ada").Preferences, `"news":{"enabled":true}`, `"news":{"enabled":false}`)))
		}},
		"a withdrawal without a hold": {RuleHold, func(t *testing.T, s *story) {
			// Accepted at the time of the third change, applied much later: in between, somebody reads.
			asked := s.calls[3]
			asked.Status = 202
			text := replaced(t, json.RawMessage(adasPush), `"version":4`, `"version":3`)
			text = replaced(t, text, `"promotions":{"enabled":false}`, `"promotions":{"enabled":true}`)
			text = replaced(t, text, `"deliverable":false,"blocked_by":["channel_disabled"]`, `"deliverable":true,"blocked_by":[]`)
			read := s.call("ada", "GET", "/v1/preferences/push", "", 200, string(text))
			require.True(t, asked.before(read))
		}},
		"a registration answered with nothing": {RuleAnswer, func(_ *testing.T, s *story) {
			s.call("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"new","permission":"granted"}`, 200, adasPush)
		}},
		"a registration answered with what is past": {RuleRead, func(_ *testing.T, s *story) {
			s.call("ada", "GET", "/v1/preferences", "", 200, string(s.standing("ada").Preferences))
			old := strings.Replace(strings.Replace(adasPush, `"version":4`, `"version":2`, 1), `"version":4`, `"version":2`, 1)
			s.call("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 200, old)
		}},
		"a link that unsubscribed nobody": {RuleWithdrawal, func(_ *testing.T, s *story) {
			s.link("ada", "x")
			s.follow("ada", "x")
		}},
		"a link that nobody made": {RuleWithdrawal, func(_ *testing.T, s *story) { s.follow("ada", "y") }},
		"a withdrawal before the link was made": {RuleWithdrawal, func(_ *testing.T, s *story) {
			s.unsubscribe()
			s.later(time.Minute)
			s.link("ada", "x")
			s.follow("ada", "x")
		}},
		"a stranger's operation": {RuleForeign, func(_ *testing.T, s *story) {
			s.standing("grace")
			s.call("grace", "GET", "/v1/operations/op-ada-1", "", 200, `{"id":"op-ada-1"}`)
		}},
		"an answer of 500": {RuleInternal, func(_ *testing.T, s *story) { s.call("ada", "GET", "/v1/preferences", "", 500, `{}`) }},
		"one id twice":     {RuleRecordedOnce, func(_ *testing.T, s *story) { s.calls[1].ID = s.calls[0].ID }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := phoneAndNews(t)
			tc.spoil(t, s)
			r := s.judged()
			require.Contains(t, r.broken(), tc.rule, r.Told(nil))
		})
	}
}

// What may happen and is no fault of the system must not be blamed on it.
func TestWhatIsAllowedIsNotBlamed(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(*testing.T, *story){
		"an answer that got lost": func(_ *testing.T, s *story) {
			s.calls[1].Status, s.calls[1].Answered, s.calls[1].Given, s.calls[1].Error = 0, time.Time{}, nil, "connection reset"
		},
		"a grant that was taken back": func(_ *testing.T, s *story) {
			c := s.call("ada", "PATCH", "/v1/preferences/push", `{"channels":{"loyalty":{"enabled":true}}}`, 502, `{}`)
			c.Given["Accord-Operation"] = "op-x"
			s.entry("ada", "requested", "op-x", 5, "grant", c, 4, "")
			s.entry("ada", "compensated", "op-x", 5, "grant", c, 4, "refused")
		},
		"a withdrawal that an operator took back": func(_ *testing.T, s *story) {
			c := s.call("ada", "PATCH", "/v1/preferences/push", `{"enabled":false}`, 202, `{}`)
			c.Given["Accord-Operation"] = "op-x"
			for _, event := range []string{"requested", "needs_attention", "compensation_requested", "compensated"} {
				s.entry("ada", event, "op-x", 5, "withdrawal", c, 4, "operator-decision")
			}
		},
		"a key that is free again": func(_ *testing.T, s *story) {
			body := `{"channels":{"news":{"enabled":true}}}`
			c := s.call("ada", "PATCH", "/v1/preferences/push", body, 503, `{}`, "Idempotency-Key", "k5")
			s.entry("ada", "requested", "op-x", 5, "grant", c, 4, "")
			s.entry("ada", "compensated", "op-x", 5, "grant", c, 4, "unavailable")
			again := s.call("ada", "PATCH", "/v1/preferences/push", body, 200, "", "Idempotency-Key", "k5")
			again.Given["Accord-Operation"] = "op-y"
			s.entry("ada", "requested", "op-y", 6, "grant", again, 4, "")
			s.entry("ada", "applied", "op-y", 6, "grant", again, 5, "")
			st := s.standing("ada")
			st.Preferences = replaced(s.t, replaced(s.t, st.Preferences, `"version":4`, `"version":5`), `"version":4`, `"version":5`)
		},
		"a commit whose answer was lost": func(_ *testing.T, s *story) {
			s.calls[1].Status, s.calls[1].Given, s.calls[1].Answer = 503, map[string]string{}, json.RawMessage(`{"code":"outcome-unknown"}`)
		},
		"a registration that says nothing new": func(_ *testing.T, s *story) {
			s.call("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 200, adasPush)
		},
		"a link followed twice": func(_ *testing.T, s *story) {
			s.link("ada", "x")
			s.unsubscribe()
			s.follow("ada", "x")
			s.follow("ada", "x")
		},
		"a link that could not be followed": func(_ *testing.T, s *story) {
			s.link("ada", "x")
			s.follow("ada", "x").Status = 503
		},
		"reads that overlap a change": func(_ *testing.T, s *story) {
			a := s.call("ada", "GET", "/v1/preferences", "", 200, string(s.standing("ada").Preferences))
			b := s.call("ada", "GET", "/v1/preferences", "", 200, nothingChosen)
			b.Invoked = a.Invoked
		},
		"another request refused by itself before the key was used": func(_ *testing.T, s *story) {
			c := s.call("ada", "PATCH", "/v1/preferences/push", `{"enabled":true}`, 412, `{}`, "Idempotency-Key", "k1")
			c.Invoked, c.Answered = s.calls[0].Invoked.Add(-time.Second), s.calls[0].Invoked.Add(-time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := phoneAndNews(t)
			happens(t, s)
			r := s.judged()
			require.Empty(t, r.Violations, r.Told(nil))
		})
	}
}
