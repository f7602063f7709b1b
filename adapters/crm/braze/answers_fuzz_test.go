package braze_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/crm/braze"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// FuzzAnswers: whatever Braze answers, what is read can be stored and a failure is one.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{nobody, noGroups, `{"message":"success"}`, `null`, `{"users":null,"errors":["x"]}`,
		`{"users":[{"external_id":"ada","email_subscribe":"opted_in","time_zone":"UTC","custom_attributes":{"quiet_hours":"22:00-07:00 UTC"},"subscription_groups":[{"id":"group-1","status":"Subscribed"}]}]}`,
		`{"users":[{"external_id":"ada","time_zone":"on","custom_attributes":{"quiet_hours":"a\u0000b"}}]}`} {
		f.Add(200, seed)
		f.Add(201, seed)
		f.Add(400, seed)
	}
	set := preference.Holding{email: preference.On, push: preference.Off, reachable: preference.On, promotions: preference.On, news: preference.Unknown,
		{Kind: preference.QuietItem}: "22:00-07:00 UTC", {Kind: preference.ZoneItem}: preference.Unknown}
	f.Fuzz(func(t *testing.T, status int, body string) {
		portstest.AnyAnswer(t, preference.CRM, ports.TargetWrite{Customer: "ada", Operation: "op-1", Set: set}, status, body, func(h http.Handler) ports.TargetSystem {
			b, err := braze.New(portstest.VendorAPI(preference.CRM, h), braze.Config{Groups: groups})
			require.NoError(t, err)
			return b
		})
	})
}
