package systemtest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/client"

	"accord/workflows/devices"
)

// A new token of a known device replaces the old one everywhere in one operation, or nowhere.
func TestATokenIsRotatedWhole(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	ada := customer()
	s.registerPhone(t, ada)
	old, fresh := "token-"+ada, "fresh-"+ada
	before := s.vendors(t, ada)
	no := s.addFault(t, ada, "crm", "write", "status", "status", 400)
	a := s.as(t, ada, http.MethodPut, "/v1/devices/phone", phone(fresh), "Prefer", "wait=30")
	if a.status != 200 { // the CRM need not be told anything: then nothing could fail
		require.Equal(t, 502, a.status, a.body)
		require.Equal(t, before.body, s.vendors(t, ada).body)
	}
	s.liftFault(t, no)
	a = s.as(t, ada, http.MethodPut, "/v1/devices/phone", phone(fresh), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, map[string]any{fresh: true}, s.pushDevices(t, ada))
	require.NotContains(t, s.pushDevices(t, ada), old)
	require.Len(t, s.devices(t, ada), 1)

	// Again, as apps do at every launch: the same answer, and no operation.
	again := s.as(t, ada, http.MethodPut, "/v1/devices/phone", phone(fresh), "Prefer", "wait=30")
	require.Equal(t, 200, again.status, again.body)
	require.Empty(t, again.header.Get("Accord-Operation"))
	require.Equal(t, a.at("version"), again.at("version"))

	// Signed out: the token is gone, and the ledger says why.
	out := s.as(t, ada, http.MethodDelete, "/v1/devices/phone", nil, "Prefer", "wait=30")
	require.Equal(t, 200, out.status, out.body)
	require.Empty(t, s.pushDevices(t, ada))
	require.Equal(t, "signed_out", s.lastCause(t, ada))

	// The next person on that installation has it for herself.
	grace := customer()
	a = s.as(t, grace, http.MethodPut, "/v1/devices/phone", phone(fresh), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, map[string]any{fresh: true}, s.pushDevices(t, grace))
	require.Empty(t, s.pushDevices(t, ada))
}

// lastCause is why the latest thing in the ledger was done.
func (c client) lastCause(t *testing.T, customer string) any {
	t.Helper()
	entries := c.ledger(t, customer)
	require.NotEmpty(t, entries)
	return dig(entries[len(entries)-1], "cause")
}

// What the push provider finds out, and what falls silent, goes through the saga: everywhere, and in the ledger.
func TestDevicesThatReachNobodyGo(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	dead, silent := customer(), customer()
	for _, who := range []string{dead, silent} {
		s.registerPhone(t, who)
	}
	gone := func(who, source, cause string) {
		eventually(t, 60*time.Second, func() string {
			if left := s.devices(t, who); len(left) > 0 {
				return fmt.Sprintf("still has %v", left)
			}
			return ""
		})
		require.Empty(t, s.pushDevices(t, who))
		require.Equal(t, cause, s.lastCause(t, who))
		entries := s.ledger(t, who)
		require.Equal(t, source, dig(entries[len(entries)-1], "origin", "source"))
	}

	s.control(t, http.MethodPut, "/customers/"+dead, map[string]any{"push": map[string]any{
		"devices": []any{map[string]any{"token": "token-" + dead, "type": "iOSPush", "unregistered": true}}}})
	a := s.as(t, dead, http.MethodPatch, "/v1/preferences/push", map[string]any{"enabled": false}, "Prefer", "wait=30")
	require.Equal(t, 200, a.status, "a token that is dead holds nothing up: %s", a.body)
	gone(dead, "push", "token_unregistered")

	s.age(t, silent, 271*24*time.Hour)
	temporal, err := sdk.Dial(sdk.Options{HostPort: s.cfg.TemporalAddress, Namespace: s.cfg.TemporalNamespace})
	require.NoError(t, err)
	defer temporal.Close()
	for range 2 {
		run, err := temporal.ExecuteWorkflow(t.Context(), sdk.StartWorkflowOptions{TaskQueue: devices.TaskQueue}, devices.PruneWorkflow, devices.PruneInput{})
		require.NoError(t, err)
		require.NoError(t, run.Get(t.Context(), nil))
	}
	gone(silent, "maintenance", "token_stale")
}

// age makes a customer's phone one that nothing was heard of for as long.
func (s *system) age(t *testing.T, customer string, by time.Duration) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), s.cfg.DatabaseURL.Reveal())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(t.Context())) }()
	then := time.Now().Add(-by).UTC()
	for _, statement := range []string{
		`UPDATE device_tokens SET updated_at = $2::timestamptz WHERE customer_id = $1`,
		`UPDATE customers SET state = jsonb_set(jsonb_set(state, '{devices,0,token_at}', to_jsonb($2::timestamptz)), '{devices,0,updated_at}', to_jsonb($2::timestamptz)) WHERE id = $1`,
	} {
		tag, err := db.Exec(t.Context(), statement, customer, then)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected())
	}
}
