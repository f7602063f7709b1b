package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// subscribing is ada, who asks for the newsletter, is sent a link, and presses the button, where that is needed.
func subscribing(t *testing.T) (s *story, pressed *Call) {
	t.Helper()
	s = phoneAndNews(t)
	s.final.DoubleOptIn = true
	s.asks(5)
	s.call("mailer", "POST", "/v1/customers/ada/confirmation-links", "", 200, `{"url":"https://shop.example/c/one"}`)
	last := s.calls[len(s.calls)-1]
	last.Scope, last.About = "preferences:write", "ada"
	pressed = s.call("", "POST", "/c/one", "", 200, "")
	pressed.About = "ada"
	return s, pressed
}

// asks for the subscription.
func (s *story) asks(version int) {
	s.change("ada", "PATCH", "/v1/preferences/email", `{"marketing":{"status":"subscribed"}}`, version)
	for back := range 2 {
		s.edit("ada", len(s.standing("ada").Ledger)-1-back, func(e map[string]any) {
			e["before"] = map[string]any{"email.marketing": "unsubscribed"}
			e["after"] = map[string]any{"email.marketing": "pending_confirmation"}
		})
	}
	s.shows(version, "pending_confirmation")
}

// shows is what the API shows of e-mail from now on.
func (s *story) shows(version int, status string) {
	st := s.standing("ada")
	var all map[string]any
	require.NoError(s.t, json.Unmarshal(st.Preferences, &all))
	all["version"] = version
	all["push"].(map[string]any)["version"] = version
	all["email"] = map[string]any{"marketing": map[string]any{"status": status}, "version": version}
	raw, err := json.Marshal(all)
	require.NoError(s.t, err)
	st.Preferences = raw
}

// subscribed is what the button made of it.
func (s *story) subscribed(by *Call, number int, before string) {
	for _, event := range []string{"requested", "applied"} {
		s.entry("ada", event, "op-button", number, "grant", nil, number, "")
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) {
			e["at"] = by.Invoked
			e["origin"] = map[string]any{"source": "email_link", "request_id": by.ID}
			e["before"] = map[string]any{"email.marketing": before}
			e["after"] = map[string]any{"email.marketing": "subscribed", "purposes.email-marketing": "granted"}
		})
	}
	s.shows(number, "subscribed")
	st := s.standing("ada")
	st.Vendors = replaced(s.t, st.Vendors, `"email_marketing":"unsubscribed"`, `"email_marketing":"subscribed"`)
	st.Vendors = json.RawMessage(strings.NewReplacer(`"email-marketing":"unknown"`, `"email-marketing":"granted"`, `"email-marketing":"withdrawn"`, `"email-marketing":"granted"`).Replace(string(st.Vendors)))
}

func TestASubscriptionThatHasToBeConfirmed(t *testing.T) {
	t.Parallel()
	t.Run("and was", func(t *testing.T) {
		t.Parallel()
		s, pressed := subscribing(t)
		s.subscribed(pressed, 6, "pending_confirmation")
		r := s.judged()
		require.Empty(t, r.Violations, r.Told(&History{}))
		require.Equal(t, 2, r.Checked[RuleConfirmed])
	})
	t.Run("and was told to be, and is not", func(t *testing.T) {
		t.Parallel()
		s, _ := subscribing(t)
		require.Equal(t, []string{RuleConfirmed}, s.judged().broken())
	})
	t.Run("and waits, while the CRM sends", func(t *testing.T) {
		t.Parallel()
		s, pressed := subscribing(t)
		pressed.Status = 503
		require.Empty(t, s.judged().broken())
		st := s.standing("ada")
		st.Vendors = replaced(t, st.Vendors, `"email_marketing":"unsubscribed"`, `"email_marketing":"subscribed"`)
		require.Equal(t, []string{RuleAgree}, s.judged().broken())
	})
	t.Run("and was not asked to be", func(t *testing.T) {
		t.Parallel()
		s, pressed := subscribing(t)
		pressed.Status = 503
		for back := range 2 {
			s.edit("ada", len(s.standing("ada").Ledger)-1-back, func(e map[string]any) {
				e["after"] = map[string]any{"email.marketing": "subscribed", "purposes.email-marketing": "granted"}
			})
		}
		require.Contains(t, s.judged().broken(), RuleConfirmed)
		require.Contains(t, s.judged().broken(), RuleAsked)
	})
	t.Run("and was by a link from before a withdrawal", func(t *testing.T) {
		t.Parallel()
		s, pressed := subscribing(t)
		pressed.Status = 410
		s.change("ada", "PATCH", "/v1/preferences/email", `{"marketing":{"status":"unsubscribed"}}`, 6)
		s.shows(6, "unsubscribed")
		st := s.standing("ada")
		st.Vendors = replaced(t, st.Vendors, `"email-marketing":"unknown"`, `"email-marketing":"withdrawn"`)
		again := s.call("", "POST", "/c/one", "", 410, "")
		again.About = "ada"
		require.Empty(t, s.judged().broken(), "it was refused")
		again.Status = 200
		s.subscribed(again, 7, "unsubscribed")
		require.Equal(t, []string{RuleConfirmed}, s.judged().broken())
	})
	t.Run("and was by a link of somebody else", func(t *testing.T) {
		t.Parallel()
		s, pressed := subscribing(t)
		s.subscribed(pressed, 6, "pending_confirmation")
		s.calls[len(s.calls)-2].About = "eve"
		s.standing("eve")
		require.Equal(t, []string{RuleConfirmed}, s.judged().broken())
	})
}

func TestASubscriptionThatIsWrittenBackToWhoeverToldIt(t *testing.T) {
	t.Parallel()
	s := phoneAndNews(t)
	s.final.DoubleOptIn = true
	s.later(time.Hour) // nothing else can be repeated by then
	braze := func(id, status, outcome string) *Call {
		return s.tell("braze", id, fmt.Sprintf(`{"id":%q,"event_type":"users.behaviors.subscription.GlobalStateChange","external_user_id":"ada","time":%d,"subscription_status":%q}`,
			id, s.now.Add(time.Second).Unix(), status), outcome)
	}
	c := braze("b1", "Opted-in", `"outcome":"accepted","operation":"op-crm"`)
	for _, event := range []string{"requested", "applied"} {
		s.entry("ada", event, "op-crm", 5, "grant", nil, 5, "")
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) {
			e["origin"] = map[string]any{"source": "crm", "request_id": c.ID}
			e["before"] = map[string]any{"email.marketing": "unsubscribed"}
			e["after"] = map[string]any{"email.marketing": "pending_confirmation", "email.confirm_until": "2026-05-07T10:00:00Z"}
			e["decided_at"] = c.Invoked.Truncate(time.Second).Format(time.RFC3339Nano)
		})
	}
	s.shows(5, "pending_confirmation")
	s.final.Writes = []Write{{At: s.now.Add(2 * echoWithin), Target: "crm", Customer: "ada", Method: "POST", Path: "/users/track"}}
	s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) { e["at"] = s.now.Add(2 * echoWithin) })
	braze("b2", "Unsubscribed", `"outcome":"echo"`)
	r := s.judged()
	require.Empty(t, r.Violations, r.Told(&History{}))
	require.Equal(t, 2, r.Checked[RuleHeard])
	require.Equal(t, 1, r.Checked[RuleEcho])
}

func TestAStrangerWhomTheComparisonHasPutRight(t *testing.T) {
	t.Parallel()
	s := tell(t)
	for _, event := range []string{"requested", "applied"} {
		s.entry("eve", event, "op-eve", 1, "withdrawal", nil, 0, "")
		s.edit("eve", len(s.standing("eve").Ledger)-1, func(e map[string]any) {
			e["origin"], e["cause"] = map[string]any{"source": "reconciliation"}, "superseded_decision"
			e["after"] = map[string]any{"reaffirmed.device/d": "unknown"}
		})
	}
	require.Empty(t, s.judged().broken(), "the CRM need not know of them")
}
