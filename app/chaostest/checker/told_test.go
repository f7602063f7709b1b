package checker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tell is a webhook about ada that is answered with one outcome.
func (s *story) tell(source, event, body, outcome string) *Call {
	c := s.call("", "POST", "/v1/webhooks/"+source, body, 200, `{"events":[{"id":"`+event+`",`+outcome+`}]}`, "webhook-id", event)
	c.About = "ada"
	return c
}

// news is the shop's word about ada's news.
func (s *story) news(event string, on bool, at time.Time, outcome string) *Call {
	return s.tell("generic", event, fmt.Sprintf(`{"type":"preferences.decision","data":{"customer":"ada","decided_at":%q,"channels":{"news":{"enabled":%t}}}}`,
		at.Format(time.RFC3339Nano), on), outcome)
}

// makes is the operation that follows from what was told.
func (s *story) makes(c *Call, op string, number, version int, source string, on bool, at time.Time) {
	kind := map[bool]string{true: "grant", false: "withdrawal"}[on]
	for _, event := range []string{"requested", "applied"} {
		s.entry("ada", event, op, number, kind, nil, version, "")
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) {
			e["origin"] = map[string]any{"source": source, "request_id": c.ID}
			e["after"], e["decided_at"] = map[string]any{"push.channels.news": on}, at.Format(time.RFC3339Nano)
		})
	}
}

// newsOff is ada, who has had the shop switch news off a minute after her last change, which we were told of a minute later.
func newsOff(t *testing.T) (s *story, decided time.Time) {
	t.Helper()
	s = phoneAndNews(t)
	decided = s.later(time.Minute)
	s.later(time.Minute)
	c := s.news("e1", false, decided, `"outcome":"accepted","operation":"op-told"`)
	s.makes(c, "op-told", 5, 5, "external", false, decided)
	st := s.standing("ada")
	st.Preferences = json.RawMessage(strings.ReplaceAll(string(st.Preferences), `"version":4`, `"version":5`))
	st.Preferences = replaced(t, st.Preferences, `"news":{"enabled":true}`, `"news":{"enabled":false}`)
	st.Preferences = replaced(t, st.Preferences, `"deliverable":true,"blocked_by":[]`, `"deliverable":false,"blocked_by":["channel_disabled"]`)
	st.Vendors = replaced(t, st.Vendors, `"news":"subscribed"`, `"news":"unsubscribed"`)
	return s, decided
}

func TestWhatWasToldIsJudged(t *testing.T) {
	t.Parallel()
	const yes = `"outcome":"accepted","operation":"op-told"`
	for name, tc := range map[string]struct {
		rule   string // "" when nothing is to be blamed
		happen func(*testing.T, *story, time.Time)
	}{
		"nothing else":     {"", func(*testing.T, *story, time.Time) {}},
		"again, and found": {"", func(_ *testing.T, s *story, at time.Time) { s.news("e1", false, at, `"outcome":"duplicate"`) }},
		"an older decision": {"", func(_ *testing.T, s *story, at time.Time) {
			s.news("e0", true, at.Add(-time.Second), `"outcome":"superseded"`)
		}},
		"what holds already": {"", func(_ *testing.T, s *story, at time.Time) { s.news("e0", false, at, `"outcome":"unchanged"`) }},
		"no answer":          {"", func(_ *testing.T, s *story, at time.Time) { s.news("e2", true, at, yes).Status = 503 }},
		"a clock that is ahead": {"", func(_ *testing.T, s *story, _ time.Time) {
			s.calls[4].Body = json.RawMessage(strings.Replace(string(s.calls[4].Body), "10:0", "10:5", 1))
			for i := range 2 {
				s.edit("ada", 8+i, func(e map[string]any) { e["decided_at"] = s.calls[4].Answered.Format(time.RFC3339Nano) })
			}
		}},
		"what was found by looking": {"", func(_ *testing.T, s *story, at time.Time) {
			for i := range 2 {
				s.edit("ada", 8+i, func(e map[string]any) {
					e["origin"], e["cause"], e["decided_at"] = map[string]any{"source": "crm"}, "found_by_reconciliation", at.Add(2*time.Minute).Format(time.RFC3339Nano)
				})
			}
			s.calls = s.calls[:4]
		}},
		"found by a repeat while it could not be started": {"", func(_ *testing.T, s *story, at time.Time) {
			at = at.Add(time.Minute)
			c := s.news("e2", true, at, `"outcome":"accepted","operation":"op-x"`)
			s.makes(c, "op-x", 6, 5, "external", true, at)
			s.edit("ada", 11, func(e map[string]any) { e["event"], e["reason"] = "compensated", map[string]any{"code": "unavailable"} })
			s.news("e2", true, at, `"outcome":"duplicate"`)
		}},
		"could not be started, and forgotten": {RuleHeard, func(_ *testing.T, s *story, at time.Time) {
			at = at.Add(time.Minute)
			c := s.news("e2", true, at, "")
			c.Status, c.Answer = 503, nil
			s.makes(c, "op-x", 6, 5, "external", true, at)
			s.edit("ada", 11, func(e map[string]any) { e["event"], e["reason"] = "compensated", map[string]any{"code": "unavailable"} })
			s.news("e2", true, at, `"outcome":"duplicate"`)
		}},
		"a withdrawal left out for a grant that was taken back": {RuleHeard, func(_ *testing.T, s *story, at time.Time) {
			s.calls, s.standing("ada").Ledger = s.calls[:4], s.standing("ada").Ledger[:8] // it was on
			s.nums["ada"], s.seqs["ada"], s.hash["ada"] = 4, 8, fmt.Sprintf("%064d", 8)
			s.later(time.Minute)
			c := s.call("ada", "PATCH", "/v1/preferences/push", `{"channels":{"news":{"enabled":true}}}`, 502, "")
			c.Given["Accord-Operation"] = "op-x"
			s.entry("ada", "requested", "op-x", 5, "grant", c, 4, "")
			s.news("e1", false, at, `"outcome":"superseded"`)
			s.entry("ada", "compensated", "op-x", 5, "grant", c, 4, "refused")
		}},
		"dropped": {RuleHeard, func(_ *testing.T, s *story, at time.Time) {
			s.news("e2", true, at.Add(time.Second), `"outcome":"superseded"`)
		}},
		"taken for a repeat": {RuleHeard, func(_ *testing.T, s *story, at time.Time) {
			s.news("e2", true, at.Add(time.Second), `"outcome":"duplicate"`)
		}},
		"ignored": {RuleHeard, func(_ *testing.T, s *story, at time.Time) { s.news("e0", false, at, `"outcome":"ignored"`) }},
		"answered with another operation": {RuleHeard, func(_ *testing.T, s *story, at time.Time) {
			s.news("e0", false, at, `"outcome":"accepted","operation":"op-ada-4"`)
		}},
		"made twice": {RuleOnce, func(_ *testing.T, s *story, at time.Time) {
			s.makes(s.news("e1", false, at, yes), "op-again", 6, 6, "external", false, at)
		}},
		"told of by nobody": {RuleAsked, func(_ *testing.T, s *story, _ time.Time) { s.calls = s.calls[:4] }},
		"of somebody else":  {RuleAsked, func(_ *testing.T, s *story, _ time.Time) { s.calls[4].About = "grace" }},
		"from somewhere else": {RuleAsked, func(_ *testing.T, s *story, _ time.Time) {
			s.edit("ada", 8, func(e map[string]any) { e["origin"].(map[string]any)["source"] = "push" })
		}},
		"decided at another time": {RuleAsked, func(_ *testing.T, s *story, at time.Time) {
			s.edit("ada", 8, func(e map[string]any) { e["decided_at"] = at.Add(time.Second).Format(time.RFC3339Nano) })
		}},
		"something else": {RuleAsked, func(_ *testing.T, s *story, _ time.Time) {
			s.edit("ada", 9, func(e map[string]any) { e["after"] = map[string]any{"push.channels.news": true} })
		}},
		"something more": {RuleAsked, func(_ *testing.T, s *story, _ time.Time) {
			s.edit("ada", 8, func(e map[string]any) { e["after"].(map[string]any)["push.channels.loyalty"] = true })
		}},
		"a withdrawal taken back": {RuleWithdrawal, func(_ *testing.T, s *story, _ time.Time) {
			s.edit("ada", 9, func(e map[string]any) { e["event"], e["reason"] = "compensated", map[string]any{"code": "refused"} })
		}},
		"an older decision that wins": {RuleLater, func(_ *testing.T, s *story, at time.Time) {
			at = at.Add(-time.Second)
			s.makes(s.news("e0", true, at, `"outcome":"accepted","operation":"op-old"`), "op-old", 6, 6, "external", true, at)
		}},
		"a grant of the same time": {RuleLater, func(_ *testing.T, s *story, at time.Time) {
			s.makes(s.news("e0", true, at, `"outcome":"accepted","operation":"op-old"`), "op-old", 6, 6, "external", true, at)
		}},
		"a grant of the same second": {RuleLater, func(_ *testing.T, s *story, at time.Time) {
			s.edit("ada", 8, func(e map[string]any) { e["decided_at"] = at.Truncate(time.Second).Format(time.RFC3339Nano) })
			s.makes(s.news("e0", true, at.Truncate(time.Second).Add(900*time.Millisecond+7*time.Microsecond), `"outcome":"accepted","operation":"op-old"`), "op-old", 6, 6, "external", true,
				at.Truncate(time.Second).Add(900*time.Millisecond+7*time.Microsecond))
		}},
		"still sent": {RuleHold, func(t *testing.T, s *story, _ time.Time) {
			s.call("ada", "GET", "/v1/preferences/push", "", 200, adasPush)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, decided := newsOff(t)
			tc.happen(t, s, decided)
			r := s.judged()
			if tc.rule == "" {
				require.Empty(t, r.Violations, r.Told(nil))
				return
			}
			require.Contains(t, r.broken(), tc.rule, r.Told(nil))
		})
	}
}

// What does not say when counts as a withdrawal, and as a grant only where nobody has chosen.
func TestADecisionWithoutATime(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		s, _ := newsOff(t)
		s.final.Groups = map[string]string{"news": "g-news"}
		if !on { // she had switched it on again
			s.change("ada", "PATCH", "/v1/preferences/push", `{"channels":{"news":{"enabled":true}}}`, 6)
			s.edit("ada", 10, func(e map[string]any) { e["number"] = 6 })
			s.edit("ada", 11, func(e map[string]any) { e["number"] = 6 })
		}
		c := s.tell("braze", "e9", `{"id":"e9","event_type":"users.behaviors.subscriptiongroup.StateChange","external_user_id":"ada","subscription_group_id":"g-news","subscription_status":"`+
			map[bool]string{true: "Subscribed", false: "Unsubscribed"}[on]+`"}`, `"outcome":"accepted","operation":"op-crm"`)
		n := len(s.standing("ada").Ledger)
		s.makes(c, "op-crm", 7, 7, "crm", on, time.Time{})
		for i := range 2 {
			s.edit("ada", n+i, func(e map[string]any) { delete(e, "decided_at") })
		}
		broken := s.judged().broken()
		require.NotContains(t, broken, RuleAsked)
		require.NotContains(t, broken, RuleHeard)
		require.Equal(t, on, slices.Contains(broken, RuleLater))
	}
}

// An echo is of what we wrote at about that time, and no decision may be taken for one otherwise.
func TestADecisionTakenForAnEcho(t *testing.T) {
	t.Parallel()
	for after, broken := range map[time.Duration][]string{5 * time.Second: {}, 30 * time.Second: {RuleHeard}} {
		s := phoneAndNews(t)
		s.final.Groups = map[string]string{"news": "g-news"}
		s.tell("braze", "e9", fmt.Sprintf(`{"id":"e9","event_type":"users.behaviors.subscriptiongroup.StateChange","external_user_id":"ada","subscription_group_id":"g-news","subscription_status":"Unsubscribed","time":%d}`,
			s.now.Add(after).Unix()), `"outcome":"echo"`)
		s.calls[4].Invoked, s.calls[4].Answered = s.later(after), s.later(time.Second)
		require.Equal(t, broken, s.judged().broken())
	}
}

// A repeat of an echo is found to be one; what was worked on otherwise, and has left nothing, was lost.
func TestARepeatOfAnEcho(t *testing.T) {
	t.Parallel()
	for first, broken := range map[string][]string{"echo": {}, "": {}, "superseded": {RuleHeard}} {
		s := phoneAndNews(t)
		s.final.Groups = map[string]string{"news": "g-news"}
		for _, outcome := range []string{first, "duplicate"} {
			c := s.tell("braze", "e9", fmt.Sprintf(`{"id":"e9","event_type":"users.behaviors.subscriptiongroup.StateChange","external_user_id":"ada","subscription_group_id":"g-news","subscription_status":"Subscribed","time":%d}`,
				s.now.Add(5*time.Second).Unix()), `"outcome":"`+outcome+`"`)
			if outcome == "" {
				c.Status, c.Answer = 0, nil
			}
			c.Invoked, c.Answered = s.later(5*time.Second), s.later(time.Second)
		}
		require.Equal(t, broken, s.judged().broken(), first)
	}
}

// A withdrawal that is heard while a later grant is under way counts in what that grant does not speak of.
func TestADecisionOfWhichAPartWasOvertaken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		later time.Duration // from the withdrawal to the grant
		rule  string
	}{"a later grant": {time.Second, ""}, "an earlier one": {-time.Second, RuleAsked}} {
		s, decided := newsOff(t)
		at := decided.Add(2 * time.Minute)
		c := s.news("e5", true, at.Add(tc.later), `"outcome":"accepted","operation":"op-grant"`)
		d := s.tell("generic", "e6", fmt.Sprintf(`{"type":"preferences.decision","data":{"customer":"ada","decided_at":%q,"push":{"enabled":false},"channels":{"news":{"enabled":false}}}}`,
			at.Format(time.RFC3339Nano)), `"outcome":"accepted","operation":"op-both"`)
		c.Invoked, c.Answered, d.Invoked, d.Answered = s.later(2*time.Minute), s.later(time.Second), s.later(time.Second), s.later(time.Second)
		s.makes(c, "op-grant", 6, 6, "external", true, at.Add(tc.later))
		s.makes(d, "op-both", 7, 7, "external", false, at)
		n := len(s.standing("ada").Ledger)
		for i, news := range []bool{false, true} {
			s.edit("ada", n-2+i, func(e map[string]any) {
				e["before"] = map[string]any{"push.channels.news": true, "push.enabled": true}
				e["after"] = map[string]any{"push.channels.news": news, "push.enabled": false}
			})
		}
		st := s.standing("ada")
		st.Preferences = json.RawMessage(strings.ReplaceAll(string(st.Preferences), `"version":5`, `"version":7`))
		st.Preferences = replaced(t, st.Preferences, `"news":{"enabled":false}`, `"news":{"enabled":true}`)
		r := s.judged()
		if tc.rule == "" {
			require.NotContains(t, r.broken(), RuleAsked, r.Told(nil))
			require.Contains(t, r.Told(nil), "expected: push false, e-mail unsubscribed, loyalty false; news true", name)
		} else {
			require.Contains(t, r.broken(), tc.rule, r.Told(nil))
		}
	}
}

// Ada clicks in an e-mail of the CRM, which tells us: by the second, and it holds that itself.
func TestEchoesAreSeen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after time.Duration // from the CRM's decision to the write
		rule  string
	}{
		"no write of ours":    {0, ""},
		"an echo":             {3 * time.Minute, RuleEcho},
		"of a change of hers": {-30 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, decided := newsOff(t)
			s.calls[4].Path = "/v1/webhooks/braze"
			s.calls[4].Body = json.RawMessage(fmt.Sprintf(`{"id":"e1","event_type":"users.behaviors.subscriptiongroup.StateChange","time":%d,"external_user_id":"ada","subscription_group_id":"g-news","subscription_status":"Unsubscribed"}`, decided.Unix()))
			s.final.Groups = map[string]string{"news": "g-news"}
			for i := range 2 {
				s.edit("ada", 8+i, func(e map[string]any) {
					e["origin"].(map[string]any)["source"], e["decided_at"] = "crm", time.Unix(decided.Unix(), 0).Format(time.RFC3339)
				})
			}
			if tc.after != 0 {
				s.final.Writes = []Write{{At: decided.Add(tc.after), Target: "crm", Customer: "ada", Method: "POST", Path: "/braze/users/track"}}
			}
			r := s.judged()
			if tc.rule == "" {
				require.Empty(t, r.Violations, r.Told(nil))
				return
			}
			require.Equal(t, []string{tc.rule}, r.broken(), r.Told(nil))
		})
	}
}
