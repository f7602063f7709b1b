package systemtest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/sandbox"
)

// requirePromotions: the API, the CRM, the push provider and the CMP say the same about the channel promotions.
func (c client) requirePromotions(t *testing.T, customer string, on bool) {
	t.Helper()
	view := c.as(t, customer, http.MethodGet, "/v1/preferences/push", nil)
	require.Equal(t, on, view.at("channels", "promotions", "enabled"), view.body)
	held := c.vendors(t, customer)
	require.Equal(t, map[bool]string{true: "subscribed", false: "unsubscribed"}[on], held.text("crm", "channels", "promotions"))
	consent := held.text("cmp", "purposes", "push-marketing")
	require.Equal(t, on, consent == "granted", "the CMP holds %s", consent)
	require.Equal(t, onOff(on), c.pushTag(t, customer, "promotions"))
}

func onOff(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }

// pushTag is what the push provider holds of a channel; its own API is asked, as the control contract does not say.
func (c client) pushTag(t *testing.T, customer, channel string) string {
	t.Helper()
	cfg := sandbox.DefaultConfig()
	a, err := c.try("", "", http.MethodGet, c.sandbox+"/onesignal/apps/"+cfg.OneSignalAppID+"/users/by/external_id/"+url.PathEscape(customer), nil,
		"Authorization", "Key "+cfg.OneSignalAPIKey)
	require.NoError(t, err)
	return a.text("properties", "tags", "channel_"+channel)
}

// ledger is all of a customer's ledger as the customer reads it, oldest entry first.
func (c client) ledger(t *testing.T, customer string) []any {
	t.Helper()
	var out []any
	for cursor := ""; ; {
		page := c.as(t, customer, http.MethodGet, "/v1/preferences/audit?limit=100"+cursor, nil)
		require.Equal(t, 200, page.status, page.body)
		for _, e := range page.at("entries").([]any) { // newest first
			out = append([]any{e}, out...)
		}
		next := page.text("next_cursor")
		if next == "" {
			return out
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}

// ledgerOf are the entries about one operation, oldest first.
func (c client) ledgerOf(t *testing.T, customer, operation string) (entries []any, events []string) {
	t.Helper()
	for _, e := range c.ledger(t, customer) {
		if dig(e, "operation") == operation {
			entries, events = append(entries, e), append(events, dig(e, "event").(string))
		}
	}
	return entries, events
}

// requireBlocked: nothing may be sent on the channel, and every reader is told why.
func (c client) requireBlocked(t *testing.T, customer, channel, reason string) {
	t.Helper()
	may := c.asOperator(t, http.MethodGet, "/v1/customers/"+customer+"/deliverability?channel="+channel, nil)
	require.Equal(t, 200, may.status, may.body)
	require.Equal(t, false, may.at("deliverable"), may.body)
	require.Contains(t, may.at("blocked_by"), reason)
	view := c.as(t, customer, http.MethodGet, "/v1/preferences/push", nil)
	require.Equal(t, 200, view.status, view.body)
	for _, e := range view.at("effective").([]any) {
		if dig(e, "channel") == channel {
			require.Equal(t, false, dig(e, "deliverable"), e)
			require.Contains(t, dig(e, "blocked_by"), reason)
		}
	}
}
