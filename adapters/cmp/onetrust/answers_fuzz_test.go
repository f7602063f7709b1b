package onetrust_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/cmp/onetrust"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// FuzzAnswers: whatever OneTrust answers, once it has let us in, what is read can be stored and a failure is one.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"content":[],"empty":true}`, purposes(`{"Id":"` + pushID + `","Version":1,"Status":"ACTIVE"}`),
		purposes(`{"Id":"` + pushID + `","Version":9223372036854775807,"Status":"ACTIVE"},{"Id":"` + pushID + `","Version":-1,"Status":"WITHDRAWN"}`), `{"receipt":"x"}`,
		`{"access_token":"a\nb","token_type":"bearer","expires_in":-9223372036854775808}`} {
		f.Add(200, seed, true)
		f.Add(200, seed, false)
		f.Add(401, seed, true)
		f.Add(404, seed, true)
	}
	f.Fuzz(func(t *testing.T, status int, body string, in bool) {
		w := ports.TargetWrite{Customer: "ada", Operation: "op-1", Set: preference.Holding{push: preference.On, email: preference.Off}}
		portstest.AnyAnswer(t, preference.CMP, w, status, body, func(h http.Handler) ports.TargetSystem {
			api := portstest.VendorAPI(preference.CMP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if in && r.URL.Path == "/api/access/v1/oauth/token" {
					_, _ = w.Write([]byte(`{"access_token":"t","token_type":"bearer","expires_in":3600}`))
					return
				}
				h.ServeHTTP(w, r)
			}))
			o, err := onetrust.New(api, api, config())
			require.NoError(t, err)
			return o
		})
	})
}
