package compose

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

// entriesOf is the customer's ledger as an auditor has it, oldest first.
func (in *installed) entriesOf(customer string) []map[string]any {
	in.t.Helper()
	var page struct {
		Entries []map[string]any `json:"entries"`
	}
	got := in.ask("GET", "/v1/customers/"+customer+"/audit", "", "Bearer "+in.token("desk", "audit:read"))
	require.Equal(in.t, http.StatusOK, got.status, got.body)
	require.NoError(in.t, json.Unmarshal([]byte(got.body), &page))
	slices.Reverse(page.Entries)
	return page.Entries
}

const formType = "Content-Type: application/x-www-form-urlencoded"

// TestALinkUnsubscribesThoughNothingButTheDatabaseWorks: there is no Temporal under the configured address, no vendor and no
// worker. The click is answered, holds at once, is in the ledger, and a second one makes no second operation. To see it fail,
// let Unsubscribe wait for the outcome as a grant does, or leave out Unless.
func TestALinkUnsubscribesThoughNothingButTheDatabaseWorks(t *testing.T) {
	t.Parallel()
	in := install(t, map[string]string{"ACCORD_EMAIL_DOUBLE_OPT_IN": "false"})
	customer := "subscriber-" + uuid.NewString()
	c, err := preference.SetEmail(preference.Subscribed, nil)
	in.change(preference.CustomerID(customer), c, err)
	in.settle(preference.CustomerID(customer))
	deliverable := func() string {
		return in.ask("GET", "/v1/customers/"+customer+"/deliverability?channel=email", "", "Bearer "+in.token("mailer", "preferences:read")).body
	}
	require.Contains(t, deliverable(), `"deliverable":true`)

	in.service.Runs = in.c.temporal
	link := in.linkFor("unsubscribe", customer)
	for range 5 {
		require.Equal(t, http.StatusOK, in.ask("GET", "/u/"+link, "", "").status)
		require.Equal(t, http.StatusOK, in.ask("HEAD", "/u/"+link, "", "").status)
	}
	require.Contains(t, deliverable(), `"deliverable":true`, "fetching changes nothing")
	for range 3 {
		got := in.ask("POST", "/u/"+link, "List-Unsubscribe=One-Click", "", formType)
		require.Equal(t, http.StatusOK, got.status)
		require.Contains(t, got.body, "You are unsubscribed")
		require.Contains(t, deliverable(), `"blocked_by":["hold"]`)
	}
	require.Contains(t, in.ask("GET", "/u/"+link, "", "").body, "unsubscribed already")
	entries := in.entriesOf(customer)
	require.Len(t, entries, 3, "requested and applied, then requested once")
	require.Equal(t, map[string]any{"type": "mail_provider", "id": "one-click"}, entries[2]["actor"])
	require.Equal(t, "email_link", entries[2]["origin"].(map[string]any)["source"])
	in.settle(preference.CustomerID(customer))
	require.NotContains(t, deliverable(), `"hold"`)
	require.Contains(t, deliverable(), `"email_unsubscribed"`)
}

// TestASubscriptionIsConfirmedByItsLink over the whole of the API.
func TestASubscriptionIsConfirmedByItsLink(t *testing.T) {
	t.Parallel()
	in := install(t, nil)
	customer := "subscriber-" + uuid.NewString()
	auth := "Bearer " + in.token(customer, "")
	email := func() string { return in.ask("GET", "/v1/preferences/email", "", auth).body }
	got := in.ask("PATCH", "/v1/preferences/email", `{"marketing":{"status":"subscribed"},"wording":{"id":"newsletter","locale":"de"}}`, auth, wantAsync)
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	in.settle(preference.CustomerID(customer))
	require.Contains(t, email(), `"status":"pending_confirmation"`)
	link := in.linkFor("confirmation", customer)
	require.Contains(t, in.ask("GET", "/c/"+link, "", "").body, "<button")
	require.Equal(t, http.StatusNotFound, in.ask("POST", "/u/"+link, "List-Unsubscribe=One-Click", "", formType).status)
	require.Contains(t, email(), `"status":"pending_confirmation"`)

	got = in.ask("POST", "/c/"+link, "pressed=confirm", "", formType) // nobody works on it here, so it answers when it has waited
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Contains(t, got.body, "we have your confirmation")
	in.settle(preference.CustomerID(customer))
	require.Contains(t, email(), `"status":"subscribed"`)
	require.Contains(t, in.ask("POST", "/c/"+link, "pressed=confirm", "", formType).body, "You are subscribed")
	entries := in.entriesOf(customer)
	require.Len(t, entries, 4)
	confirmed := entries[3]
	require.Equal(t, map[string]any{"id": "newsletter", "locale": "de"}, confirmed["wording"], "of the request")
	require.Equal(t, "email_link", confirmed["origin"].(map[string]any)["source"])

	require.Equal(t, http.StatusOK, in.ask("POST", "/u/"+in.linkFor("unsubscribe", customer), "", "").status)
	in.settle(preference.CustomerID(customer))
	got = in.ask("POST", "/c/"+link, "pressed=confirm", "", formType)
	require.Equal(t, http.StatusGone, got.status, "a withdrawal in between wins")
	require.Contains(t, email(), `"status":"unsubscribed"`)
	require.NotContains(t, strings.Join([]string{got.body, link}, ""), customer)
}

// What a database that cannot be reached is to us, adapters/postgres proves: unavailable, and then it is 503.
func TestWhenTheStoreFailsThePageSaysTryAgain(t *testing.T) {
	t.Parallel()
	in := install(t, nil)
	link := in.linkFor("unsubscribe", "subscriber-"+uuid.NewString())
	require.NoError(t, in.c.db.Close())
	require.Equal(t, http.StatusOK, in.ask("GET", "/u/"+link, "", "").status, "the button is there")
	got := in.ask("POST", "/u/"+link, "List-Unsubscribe=One-Click", "", formType)
	require.Equal(t, http.StatusInternalServerError, got.status, got.body)
	require.Contains(t, got.body, "Please try again")
}
