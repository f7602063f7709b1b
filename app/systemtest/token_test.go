package systemtest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A push token exists once at the push provider: it moves with the person who is signed in on the device.

func phone(token string) map[string]any {
	return map[string]any{"platform": "ios", "token": token, "permission": "granted"}
}

// pushDevices is what the push provider holds: token to enabled.
func (c client) pushDevices(t *testing.T, customer string) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, d := range c.vendors(t, customer).at("push", "devices").([]any) {
		out[dig(d, "token").(string)] = dig(d, "enabled")
	}
	return out
}

func (c client) devices(t *testing.T, customer string) []any {
	t.Helper()
	return c.as(t, customer, http.MethodGet, "/v1/preferences/push", nil).at("devices").([]any)
}

func TestATokenMovesWithThePersonSignedIn(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	ada, grace := customer(), customer()
	s.registerPhone(t, ada)
	token := "token-" + ada
	a := s.persist(t, grace, http.MethodPut, "/v1/devices/phone", phone(token), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	eventually(t, 60*time.Second, func() string {
		if left := s.devices(t, ada); len(left) > 0 {
			return fmt.Sprintf("ada still has %v", left)
		}
		return ""
	})
	require.Empty(t, s.pushDevices(t, ada))
	require.Equal(t, map[string]any{token: true}, s.pushDevices(t, grace))
	require.Len(t, s.devices(t, grace), 1)

	var moved []string
	for _, e := range s.ledger(t, ada) {
		if dig(e, "origin", "source") == "token_move" {
			moved = append(moved, dig(e, "event").(string))
		}
	}
	require.Equal(t, []string{"requested", "applied"}, moved)
	require.Empty(t, s.asOperator(t, http.MethodGet, "/v1/operations", nil).at("operations"))
}

// A registration that is taken back gives the token back, as it was.
func TestATokenReturnsWhenItsMoveIsTakenBack(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	for _, enabled := range []bool{true, false} {
		t.Run(fmt.Sprintf("enabled %t", enabled), func(t *testing.T) {
			t.Parallel()
			s.tokenReturns(t, enabled)
		})
	}
}

func (s *system) tokenReturns(t *testing.T, enabled bool) {
	ada, grace := customer(), customer()
	s.registerPhone(t, ada)
	token := "token-" + ada
	if !enabled {
		a := s.as(t, ada, http.MethodPatch, "/v1/devices/phone", map[string]any{"enabled": false}, "Prefer", "wait=30")
		require.Equal(t, 200, a.status, a.body)
	}
	require.Equal(t, map[string]any{token: enabled}, s.pushDevices(t, ada))
	before := s.vendors(t, ada)

	// The CRM says no only when the push provider has moved the token.
	down := s.addFault(t, grace, "crm", "write", "status", "status", 503)
	answers := s.later(grace, http.MethodPut, "/v1/devices/phone", phone(token), "Prefer", "wait=30")
	eventually(t, 60*time.Second, func() string {
		if held := s.pushDevices(t, grace); held[token] != true {
			return fmt.Sprintf("the token has not moved: %v", held)
		}
		return ""
	})
	require.Empty(t, s.pushDevices(t, ada))
	no := s.addFault(t, grace, "crm", "write", "status", "status", 400)
	s.liftFault(t, down)
	eventually(t, 60*time.Second, func() string {
		open := s.asOperator(t, http.MethodGet, "/v1/operations?status=compensating", nil)
		for _, op := range open.at("operations").([]any) {
			if dig(op, "customer") == grace {
				return ""
			}
		}
		return fmt.Sprintf("grace's registration is not being taken back: %v", open.body)
	})
	s.liftFault(t, no) // the undo is let through

	a := <-answers
	require.NoError(t, a.err)
	require.Equal(t, 502, a.status, a.body)
	require.Equal(t, "change-compensated", a.text("code"))
	require.Equal(t, "crm", a.text("failed_target"))
	require.Equal(t, map[string]any{token: enabled}, s.pushDevices(t, ada))
	require.Equal(t, before.body, s.vendors(t, ada).body)
	require.Empty(t, s.pushDevices(t, grace))
	require.Empty(t, s.devices(t, grace))
	require.Len(t, s.devices(t, ada), 1)
	require.Equal(t, enabled, dig(s.devices(t, ada)[0], "enabled"))
}
