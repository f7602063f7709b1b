package onesignal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestWhatOneSignalTells(t *testing.T) {
	t.Parallel()
	events, err := Webhooks{}.Read([]byte(`{"events":[
		{"id":"1","type":"subscription.changed","external_id":"ada","timestamp":1772352000,"subscription":{"token":"t","enabled":true,"notification_types":-2}},
		{"id":"2","type":"subscription.changed","external_id":"ada","subscription":{"token":"t","enabled":true}},
		{"id":"3","type":"subscription.unsubscribed","external_id":"ada","subscription":{"token":"t"}},
		{"id":"4","type":"subscription.disabled","external_id":"ada","subscription":{"token":"t"}},
		{"id":"5","type":"subscription.invalid","external_id":"ada","subscription":{"token":"t"}},
		{"id":"6","type":"subscription.changed","external_id":"ada","subscription":{"token":"t"}},
		{"id":"7","type":"message.sent","external_id":"ada"},
		{"id":"8","type":"subscription.invalid","subscription":{"token":"t"}},
		{"id":"9","type":"subscription.invalid","external_id":"ada"},
		{"id":"10","type":"subscription.renamed","external_id":"ada","subscription":{"token":"t"}},
		{"id":11}]}`))
	require.NoError(t, err)
	on, off := map[string]bool{"t": true}, map[string]bool{"t": false}
	require.Equal(t, preference.Told{Customer: "ada", At: time.Unix(1772352000, 0).UTC(), Tokens: off}, events[0].Told, "enabled, and opted out all the same")
	require.Equal(t, preference.Told{Customer: "ada", Tokens: on}, events[1].Told)
	require.Equal(t, preference.Told{Customer: "ada", Tokens: off}, events[2].Told)
	require.Equal(t, preference.Told{Customer: "ada", Tokens: off, Cause: "provider_disabled"}, events[3].Told)
	require.Equal(t, preference.Told{Customer: "ada", Gone: []string{"t"}, Cause: "token_unregistered"}, events[4].Told)
	for i, why := range map[int]string{5: "no_choice", 6: "unknown_type", 7: "no_customer", 8: "no_device", 9: "unknown_type", 10: "malformed"} {
		require.Equal(t, why, events[i].Ignored, i)
	}
}
