package systemtest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

// TestDriftIsPutRightOrTakenOver: what somebody changes at a vendor past Accord does not last. What withdraws is the
// customer's, and holds everywhere; anything else is put right.
func TestDriftIsPutRightOrTakenOver(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *config.Config) { cfg.Reconciliation.SecondLook = 50 * time.Millisecond })
	on := func(channels ...string) string {
		id := customer()
		s.registerPhone(t, id)
		for _, channel := range channels {
			a := s.persist(t, id, http.MethodPatch, "/v1/preferences/push", map[string]any{"channels": map[string]any{channel: map[string]any{"enabled": true}}}, "Prefer", "wait=30")
			require.Equal(t, 200, a.status, a.body)
		}
		return id
	}
	stranger := customer() // to the push provider
	require.Equal(t, 200, s.persist(t, stranger, http.MethodPatch, "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": "subscribed"}}, "Prefer", "wait=30").status)
	drift := func(customer string, body map[string]any) { s.control(t, http.MethodPut, "/customers/"+customer, body) }
	opened, unsubscribed, withdrawn, strayed := on(), on("news"), on("promotions"), on()
	drift(opened, map[string]any{"crm": map[string]any{"email_marketing": "subscribed", "channels": map[string]any{"news": "subscribed"}}})
	drift(unsubscribed, map[string]any{"crm": map[string]any{"channels": map[string]any{"news": "unsubscribed", "order_updates": "unsubscribed"}}})
	drift(withdrawn, map[string]any{"cmp": map[string]any{"purposes": map[string]any{"push-marketing": "withdrawn"}}})
	drift(strayed, map[string]any{"push": map[string]any{"devices": []any{map[string]any{"token": "stray-" + strayed, "enabled": true}}}})
	a := s.asOperator(t, http.MethodPost, "/v1/reconciliations", map[string]any{"customers": []string{stranger, opened, unsubscribed, withdrawn, strayed}})
	require.Equal(t, 202, a.status, a.body)

	soon := func(what string, is func() (got, want any)) {
		eventually(t, 90*time.Second, func() string {
			if got, want := is(); fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Sprintf("%s: %v, not %v", what, got, want)
			}
			return ""
		})
	}
	soon("the CRM does not send", func() (any, any) {
		held := s.vendors(t, opened)
		return []any{held.at("crm", "email_marketing"), held.at("crm", "channels", "news")}, []any{"unsubscribed", "unsubscribed"}
	})
	soon("unsubscribed at the CRM is everywhere", func() (any, any) {
		return s.as(t, unsubscribed, http.MethodGet, "/v1/preferences/push", nil).at("channels", "news", "enabled"), false
	})
	soon("what is required is put right", func() (any, any) {
		return s.vendors(t, unsubscribed).at("crm", "channels", "order_updates"), "subscribed"
	})
	soon("withdrawn at the CMP is everywhere", func() (any, any) { return s.vendors(t, withdrawn).at("crm", "channels", "promotions"), "unsubscribed" })
	soon("a token that is not the customer's is gone, and theirs is back", func() (any, any) {
		var tokens []any
		devices, _ := s.vendors(t, strayed).at("push", "devices").([]any)
		for _, d := range devices {
			tokens = append(tokens, dig(d, "token"))
		}
		return tokens, []any{"token-" + strayed}
	})
	entries := s.ledger(t, withdrawn)
	last := entries[len(entries)-1]
	require.Equal(t, "applied", dig(last, "event"))
	require.Equal(t, "found_by_reconciliation", dig(last, "cause"))
	require.Equal(t, "cmp", dig(last, "origin", "source"))
	require.Len(t, s.ledger(t, stranger), 2, "nobody is told of somebody they have nothing to do for")
}
