package braze

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestWhatBrazeTells(t *testing.T) {
	t.Parallel()
	w := NewWebhooks(Config{Groups: map[preference.ChannelKey]string{"promotions": "g1"}})
	events, err := w.Read([]byte(`{"events":[
		{"id":"1","event_type":"users.behaviors.subscriptiongroup.StateChange","time":1772352000,"user":{"external_user_id":"ada"},"properties":{"subscription_group_id":"g1","subscription_status":"Subscribed"}},
		{"id":"2","event_type":"users.behaviors.subscriptiongroup.StateChange","time":1772352000,"external_user_id":"ada","subscription_group_id":"g1","subscription_status":"Unsubscribed"},
		{"id":"3","event_type":"users.behaviors.subscription.GlobalStateChange","time":1772352000,"user":{"external_user_id":"ada"},"properties":{"subscription_status":"Opted-in","channel":"email"}},
		{"id":"4","event_type":"users.behaviors.subscription.GlobalStateChange","time":1772352000,"user":{"external_user_id":"ada"},"properties":{"state":"unsubscribed","channel":"push"}},
		{"id":"5","event_type":"users.behaviors.subscription.GlobalStateChange","user":{"external_user_id":"ada"},"properties":{"subscription_status":"Subscribed"}},
		{"id":"6","event_type":"users.messages.contentcard.Send","user":{"external_user_id":"ada"}},
		{"id":"7","event_type":"users.behaviors.subscriptiongroup.StateChange","user":{},"properties":{"subscription_group_id":"g1","subscription_status":"Subscribed"}},
		{"id":"8","event_type":"users.behaviors.subscriptiongroup.StateChange","user":{"external_user_id":"ada"},"properties":{"subscription_group_id":"g9","subscription_status":"Subscribed"}},
		{"id":"9","event_type":"users.behaviors.subscription.GlobalStateChange","user":{"external_user_id":"ada"},"properties":{"subscription_status":"Unsubscribed","channel":"sms"}},
		{"id":10}]}`))
	require.NoError(t, err)
	off := false
	at := time.Unix(1772352000, 0).UTC()
	require.Equal(t, preference.Told{Customer: "ada", At: at, Channels: map[preference.ChannelKey]bool{"promotions": true}}, events[0].Told)
	require.Equal(t, preference.Told{Customer: "ada", At: at, Channels: map[preference.ChannelKey]bool{"promotions": false}}, events[1].Told)
	require.Equal(t, preference.Told{Customer: "ada", At: at, Email: preference.Subscribed}, events[2].Told)
	require.Equal(t, preference.Told{Customer: "ada", At: at, Push: &off}, events[3].Told)
	for i, why := range map[int]string{4: "no_choice", 5: "unknown_type", 6: "no_customer", 7: "unknown_channel", 8: "unknown_channel", 9: "malformed"} {
		require.Equal(t, why, events[i].Ignored, i)
	}
}
