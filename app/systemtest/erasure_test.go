package systemtest

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/compose"
)

// TestErasingAPerson: everything is withheld at once, every vendor forgets the person, also one that was down, and what is
// left proves it.
func TestErasingAPerson(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	who := customer()
	s.registerPhone(t, who)
	a := s.persist(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	privacy := func(method, path string) answer {
		t.Helper()
		a, err := s.try("privacy-desk", "customers:erase", method, s.api+path, nil, "Prefer", "wait=1")
		require.NoError(t, err)
		return a
	}
	export := privacy(http.MethodGet, "/v1/customers/"+who+"/export")
	require.Equal(t, 200, export.status, export.body)
	require.Len(t, export.at("operations"), 2)
	require.Len(t, export.at("ledger"), 4)

	s.control(t, http.MethodPost, "/faults", map[string]any{"target": "crm", "customer": who, "calls": "any", "kind": "status", "status": 503, "times": 0})
	began := privacy(http.MethodDelete, "/v1/customers/"+who)
	require.Equal(t, 202, began.status, began.body)
	id := began.text("id")
	s.requireBlocked(t, who, "promotions", "hold")
	refused := s.as(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true))
	require.Equal(t, 409, refused.status, refused.body)
	require.Equal(t, "being-erased", refused.text("code"))
	require.Equal(t, id, privacy(http.MethodDelete, "/v1/customers/"+who).text("id"), "one at a time")
	s.control(t, http.MethodDelete, "/faults", nil)

	var proof answer
	eventually(t, 90*time.Second, func() string {
		if proof = privacy(http.MethodGet, "/v1/erasures/"+id); proof.text("status") != "erased" {
			return proof.text("status")
		}
		return ""
	})
	require.NotContains(t, proof.text("ledger", "chain"), who)
	require.EqualValues(t, 6, proof.at("ledger", "entries"), "requested, and erased at the end")
	held := s.vendors(t, who)
	require.Equal(t, "unknown", held.text("crm", "email_marketing"), held.body)
	require.Empty(t, held.at("push", "devices"))
	require.Equal(t, "unknown", held.text("cmp", "purposes", "push-marketing"))
	require.Equal(t, 404, s.as(t, who, http.MethodGet, "/v1/operations/"+id, nil).status)
	view := s.as(t, who, http.MethodGet, "/v1/preferences/push", nil)
	require.Empty(t, view.at("devices"))
	require.EqualValues(t, 0, view.at("version"), "a person nobody has heard of")
	require.Empty(t, privacy(http.MethodGet, "/v1/customers/"+who+"/export").at("ledger"))
	require.NoError(t, compose.AuditVerify(t.Context(), s.cfg, quiet(t), compose.AuditOptions{}, os.Stderr))
}
