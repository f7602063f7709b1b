package iterable

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestWhatIterableTells(t *testing.T) {
	t.Parallel()
	w := NewWebhooks(map[string]string{"7": EmailType, "8": "promotions"})
	events, err := w.Read([]byte(`[
		{"email":"a@b.example","userId":"ada","eventName":"emailUnSubscribe","dataFields":{"createdAt":"2016-10-05 18:24:01 +00:00"}},
		{"userId":"ada","eventName":"emailSubscribe","dataFields":{"channelIds":[7],"messageTypeIds":[8,9]}},
		{"eventName":"emailUnSubscribe","dataFields":{"userId":"ada","messageTypeIds":[9]}},
		{"email":"a@b.example","eventName":"emailUnSubscribe"},
		{"userId":"ada","eventName":"emailOpen"},
		{"userId":7}]`))
	require.NoError(t, err)
	require.Equal(t, preference.Told{Customer: "ada", At: time.Date(2016, 10, 5, 18, 24, 1, 0, time.UTC), Email: preference.Unsubscribed}, events[0].Told)
	require.Equal(t, preference.Told{Customer: "ada", Email: preference.Subscribed, Channels: map[preference.ChannelKey]bool{"promotions": true}}, events[1].Told)
	for i, why := range map[int]string{2: "unknown_channel", 3: "no_customer", 4: "unknown_type", 5: "malformed"} {
		require.Equal(t, why, events[i].Ignored, i)
	}
}
