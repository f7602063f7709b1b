package onetrust

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

// FuzzWebhooks: whatever is sent is refused as a whole, ignored for a reason, or says something about somebody.
func FuzzWebhooks(f *testing.F) {
	f.Add([]byte(`{"receiptId":"1","identifier":"ada","interactionDate":"2026-03-01T08:00:00.000Z","purposes":[{"Id":"aa","TransactionType":"WITHDRAWN"}]}`))
	f.Add([]byte(`[{"id":"2","Identifier":"ada","purposes":[{"id":"aa","status":"ACTIVE"},{"Id":"bb","Status":"PENDING"}]}]`))
	f.Add([]byte(`{"receiptId":"1","identifier":"ada","interactionDate":"0000-01-01T00:00:00+23:59","purposes":[{"Id":"aa","TransactionType":"WITHDRAWN"}]}`))
	f.Add([]byte(`{"receiptId":"1","identifier":"ada","interactionDate":"9999-12-31T23:59:59-23:59","purposes":[{"Id":"aa","TransactionType":"WITHDRAWN"}]}`))
	f.Add([]byte("{}"))
	f.Add([]byte("[null,{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := NewWebhooks(map[preference.PurposeID]string{"push-marketing": "AA"}).Read(body)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		for _, e := range events {
			if e.Ignored != "" {
				continue
			}
			_, err := preference.ParseCustomerID(string(e.Told.Customer))
			require.NoError(t, err)
			told := e.Told
			_, err = json.Marshal(told) // as it is stored
			require.NoError(t, err)
			require.True(t, told.At.IsZero() || told.At.Year() >= 1970)
			require.True(t, told.Push != nil || told.Email != "" || len(told.Channels)+len(told.Purposes)+len(told.Tokens)+len(told.Gone) > 0, "%s", body)
		}
	})
}
