package onesignal

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

// FuzzWebhooks: whatever is sent is refused as a whole, ignored for a reason, or says something about somebody.
func FuzzWebhooks(f *testing.F) {
	f.Add([]byte(`{"events":[{"id":"1","type":"subscription.changed","external_id":"ada","timestamp":1772352000,"subscription":{"token":"t","enabled":true,"notification_types":-2}}]}`))
	f.Add([]byte(`{"id":"2","type":"subscription.invalid","external_id":"ada","subscription":{"token":"t"}}`))
	f.Add([]byte(`{"id":"2","type":"subscription.invalid","external_id":"ada","timestamp":9223372036854775807,"subscription":{"token":"t"}}`))
	f.Add([]byte("{}"))
	f.Add([]byte("[null,{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Webhooks{}.Read(body)
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
