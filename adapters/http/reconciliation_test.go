package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

type fakeAsking struct {
	asked []preference.CustomerID
	err   error
}

func (f *fakeAsking) Ask(_ context.Context, customers []preference.CustomerID) error {
	f.asked = append(f.asked, customers...)
	return f.err
}

func TestAskingForAReconciliation(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.call("POST", "/v1/reconciliations", "ops", `{"customers":["ada","grace@example.org"]}`).is(202)
	require.JSONEq(t, `{"customers":2}`, string(got.body))
	require.Equal(t, []preference.CustomerID{"ada", "grace@example.org"}, a.asking.asked)
	a.call("POST", "/v1/reconciliations", "ada", `{"customers":["ada"]}`).is(403)
	for body, field := range map[string]string{`{"customers":[]}`: "customers", `{"customers":["ada","b c"]}`: "customers[1]", `{}`: "customers",
		`{"customers":["` + strings.Repeat(`a","`, 100) + `"]}`: "customers"} {
		require.Contains(t, fields(a.call("POST", "/v1/reconciliations", "ops", body).is(400).problem()), field, body)
	}
	a.asking.err = fault.New(fault.Unavailable, "unavailable", "not just now")
	a.call("POST", "/v1/reconciliations", "ops", `{"customers":["ada"]}`).is(503)
}
