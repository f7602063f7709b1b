package onetrust

import (
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

// FuzzWebhooks: whatever is sent is refused as a whole, ignored for a reason, or says something about somebody.
func FuzzWebhooks(f *testing.F) {
	f.Add([]byte(`{"receiptId":"1","identifier":"ada","interactionDate":"2026-03-01T08:00:00.000Z","purposes":[{"Id":"aa","TransactionType":"WITHDRAWN"}]}`))
	f.Add([]byte(`[{"id":"2","Identifier":"ada","purposes":[{"id":"aa","status":"ACTIVE"},{"Id":"bb","Status":"PENDING"}]}]`))
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
			require.True(t, told.Push != nil || told.Email != "" || len(told.Channels)+len(told.Purposes)+len(told.Tokens)+len(told.Gone) > 0, "%s", body)
		}
	})
}
