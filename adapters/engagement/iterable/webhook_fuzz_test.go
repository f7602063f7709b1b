package iterable

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

// FuzzWebhooks: whatever is sent is refused as a whole, ignored for a reason, or says something about somebody.
func FuzzWebhooks(f *testing.F) {
	f.Add([]byte(`{"email":"a@b.example","userId":"ada","eventName":"emailUnSubscribe","dataFields":{"createdAt":"2016-10-05 18:24:01 +00:00","channelIds":[7],"messageTypeIds":[8]}}`))
	f.Add([]byte(`{"eventName":"emailSubscribe","dataFields":{"userId":"ada"}}`))
	f.Add([]byte(`{"userId":"ada","eventName":"emailUnSubscribe","dataFields":{"createdAt":"9999-12-31 23:59:59 -23:59"}}`))
	f.Add([]byte("{}"))
	f.Add([]byte("[null,{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := NewWebhooks(map[string]string{"7": EmailType, "8": "promotions"}).Read(body)
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
