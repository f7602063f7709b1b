package onetrust

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestWhatOneTrustTells(t *testing.T) {
	t.Parallel()
	w := NewWebhooks(map[preference.PurposeID]string{"push-marketing": "AA", "email-marketing": "bb"})
	events, err := w.Read([]byte(`[
		{"receiptId":"1","identifier":"ada","interactionDate":"2026-03-01T08:00:00.123Z","purposes":[{"Id":"aa","TransactionType":"CONFIRMED"},{"Id":"BB","TransactionType":"WITHDRAWN"},{"Id":"cc","TransactionType":"CONFIRMED"}]},
		{"id":"2","Identifier":"ada","purposes":[{"id":"aa","status":"ACTIVE"},{"id":"aa","status":"OPT_OUT"}]},
		{"id":"3","identifier":"ada","purposes":[{"Id":"aa","TransactionType":"NOTGIVEN"}]},
		{"id":"4","identifier":"ada","purposes":[{"Id":"cc","TransactionType":"CONFIRMED"}]},
		{"id":"5","purposes":[{"Id":"aa","TransactionType":"CONFIRMED"}]},
		{"id":"6","identifier":"ada","purposes":7}]`))
	require.NoError(t, err)
	require.Equal(t, preference.Told{Customer: "ada", At: time.Date(2026, 3, 1, 8, 0, 0, 123_000_000, time.UTC),
		Purposes: map[preference.PurposeID]bool{"push-marketing": true, "email-marketing": false}}, events[0].Told)
	require.Equal(t, map[preference.PurposeID]bool{"push-marketing": false}, events[1].Told.Purposes, "who says both withdraws")
	for i, why := range map[int]string{2: "no_choice", 3: "unknown_purpose", 4: "no_customer", 5: "malformed"} {
		require.Equal(t, why, events[i].Ignored, i)
	}
	require.Equal(t, "1", events[0].ID)
	require.Equal(t, "2", events[1].ID)
}
