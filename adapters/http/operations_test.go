package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOperationForItsCustomer(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	got := a.call("GET", "/v1/operations/op-1", "ada", "").is(200)
	require.Empty(t, got.header.Get("Retry-After"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	var op Operation
	got.json(&op)
	require.Equal(t, "applied", op.Status)
	require.Equal(t, "register ios device, permission granted", op.Summary)
	require.Equal(t, "grant", op.Kind)
	require.NotNil(t, op.Deadline)
	require.Nil(t, op.Customer)
	require.Nil(t, op.TemporalUi)
	require.NotContains(t, string(got.body), "token-of-ada")
}

func TestUnknownAndForeignOperationsLookTheSame(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	foreign := a.call("GET", "/v1/operations/op-1", "grace", "").is(404)
	unknown := a.call("GET", "/v1/operations/op-9", "grace", "").is(404)
	require.Equal(t, string(foreign.body), string(unknown.body))
	a.call("GET", "/v1/operations/op-9", "ops", "").is(404)
	a.call("POST", "/v1/operations/op-9/retry", "ops", "").is(404)
}

func TestOperationForOperators(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.stuck = true
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(202)
	for _, token := range []string{"ops", "looker"} {
		got := a.call("GET", "/v1/operations/op-1", token, "").is(200)
		require.Equal(t, "1", got.header.Get("Retry-After"))
		var op Operation
		got.json(&op)
		require.Equal(t, "ada", *op.Customer)
		require.Contains(t, *op.TemporalUi, "/workflows/op-1")
	}
}

func TestListOperations(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada").withPhone("grace")
	a.app.stuck = true
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(202)
	a.call("PATCH", "/v1/preferences/push", "grace", `{"enabled":false}`, "Prefer: respond-async").is(202)
	for query, want := range map[string][]string{
		"":                                {"op-3", "op-4"},
		"?status=applied":                 {"op-1", "op-2"},
		"?status=applied&status=accepted": {"op-1", "op-2", "op-4"},
		"?status=needs_attention":         {},
		"?limit=1":                        {"op-3"},
		"?cursor=after-4":                 {"op-4"},
	} {
		var page OperationPage
		a.call("GET", "/v1/operations"+query, "looker", "").is(200).json(&page)
		ids := []string{}
		for _, op := range page.Operations {
			ids = append(ids, op.Id)
		}
		require.Equal(t, want, ids, query)
		require.Equal(t, query == "?limit=1", page.NextCursor != nil, query)
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	for call, decision := range map[string]string{"retry": "retry", "compensate": "compensate"} {
		a := newAPI(t)
		a.app.parked = true
		a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(202)
		for range 2 { // repeating it changes nothing
			got := a.call("POST", "/v1/operations/op-1/"+call, "ops", "").is(202)
			require.Equal(t, "/v1/operations/op-1", got.header.Get("Location"))
			var op Operation
			got.json(&op)
			require.Equal(t, "needs_attention", op.Status)
			require.Equal(t, decision, *op.Decision)
			require.Equal(t, "rejected", op.Reason.Code)
			require.Equal(t, "crm", *op.Reason.Target)
		}
	}
	a := newAPI(t).withPhone("ada")
	require.Equal(t, "not-parked", a.call("POST", "/v1/operations/op-1/retry", "ops", "").is(409).problem().Code)
}
