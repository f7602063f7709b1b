package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A registration that says nothing new needs no operation: there is none to name, and the answer is what holds.
func TestARegistrationThatChangesNothingNamesNoOperation(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.app.unchanged = true
	got := a.call("PUT", "/v1/devices/phone", "ada", `{"platform":"ios","token":"token-of-ada","permission":"granted","app_version":"4.2.0","locale":"en-GB"}`,
		"Prefer: respond-async").is(200)
	require.Empty(t, got.header.Get("Accord-Operation"))
	require.Empty(t, got.header.Get("Location"))
	require.JSONEq(t, string(a.call("GET", "/v1/preferences/push", "ada", "").is(200).body), string(got.body))
	require.Equal(t, `"1"`, got.header.Get("ETag"))
}

func TestASignOutSaysSoInTheLedger(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("DELETE", "/v1/devices/phone", "ada", "").is(200)
	last := a.app.commands[len(a.app.commands)-1]
	require.Equal(t, "signed_out", last.Cause)
	require.Empty(t, a.app.commands[0].Cause)
}
