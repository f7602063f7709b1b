package onesignal_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/push/onesignal"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// FuzzAnswers: whatever OneSignal answers, what is read can be stored and a failure is one.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"errors":[{"code":"user-1"}]}`, `{"errors":["x"]}`, `{"identity":{"external_id":"ada"}}`,
		`{"properties":{"tags":{"quiet_hours":"22:00-07:00 UTC","channel_news":"on"},"timezone_id":"UTC"},"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":true,"notification_types":1}]}`,
		`{"properties":{"tags":{"quiet_hours":"off","channel_a\u0000b":"on"},"timezone_id":"a\u0000b"},"subscriptions":[{"id":"../x","type":"iOSPush","token":"a\u0000b","enabled":true},{"type":"Push","token":"tok-3"}]}`} {
		f.Add(200, seed)
		f.Add(202, seed)
		f.Add(404, seed)
		f.Add(409, seed)
	}
	set := preference.Holding{promotions: preference.On, loyalty: preference.Unknown, phone: preference.On, browser: preference.Off, tablet: preference.Unknown,
		{Kind: preference.QuietItem}: preference.Unknown, {Kind: preference.ZoneItem}: "UTC"}
	f.Fuzz(func(t *testing.T, status int, body string) {
		portstest.AnyAnswer(t, preference.Push, order(set), status, body, func(h http.Handler) ports.TargetSystem {
			o, err := onesignal.New(portstest.VendorAPI(preference.Push, h), onesignal.Config{AppID: "app-1"})
			require.NoError(t, err)
			return o
		})
	})
}
