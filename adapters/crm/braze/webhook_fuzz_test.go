package braze

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

// FuzzWebhooks: whatever is sent is refused as a whole, ignored for a reason, or says something about somebody.
func FuzzWebhooks(f *testing.F) {
	f.Add([]byte(`{"events":[{"id":"1","event_type":"users.behaviors.subscriptiongroup.StateChange","time":1772352000,"user":{"external_user_id":"ada"},"properties":{"subscription_group_id":"g1","subscription_status":"Unsubscribed"}}]}`))
	f.Add([]byte(`{"id":"2","event_type":"users.behaviors.subscription.GlobalStateChange","time":"1772352000","external_user_id":"ada","subscription_status":"Opted-in","channel":"email"}`))
	f.Add([]byte(`{"id":"2","event_type":"users.behaviors.subscription.GlobalStateChange","time":253402300800,"external_user_id":"ada","subscription_status":"Unsubscribed"}`))
	f.Add([]byte(`{"event_type":"users.behaviors.subscription.GlobalStateChange","time":9223372036854775807,"external_user_id":"ada","subscription_status":"Unsubscribed"}`))
	f.Add([]byte("{}"))
	f.Add([]byte("[null,{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := NewWebhooks(Config{Groups: map[preference.ChannelKey]string{"promotions": "g1"}}).Read(body)
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
