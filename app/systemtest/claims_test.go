package systemtest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestATokenThatTwoClaimAtOnceHasOneOwner: whoever registered it last has it, in our store and at the push provider,
// however the two changes overlap.
func TestATokenThatTwoClaimAtOnceHasOneOwner(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	for pair := range 4 {
		t.Run(fmt.Sprint(pair), func(t *testing.T) {
			t.Parallel()
			people := []string{customer(), customer()}
			token := "shared-" + people[0]
			for round := range 3 {
				s.claimTogether(t, people, token)
				s.requireOneOwner(t, people, token, fmt.Sprintf("round %d, at once", round))
			}
			for i := range 6 { // one after the other, none waiting for the one before
				a := s.persist(t, people[i%2], http.MethodPut, "/v1/devices/phone", phoneWith(token), "Prefer", "respond-async")
				require.Contains(t, []int{http.StatusAccepted, http.StatusOK}, a.status, a.body) // 200: they have it, and nobody else wants it
			}
			s.requireOneOwner(t, people, token, "alternating")
			require.True(t, s.has(t, people[1], token), "the last to register it")
		})
	}
}

func phoneWith(token string) map[string]any {
	return map[string]any{"platform": "ios", "token": token, "permission": "granted"}
}

func (s *system) claimTogether(t *testing.T, people []string, token string) {
	var wg sync.WaitGroup
	failures := make([]error, len(people))
	for i, who := range people {
		wg.Go(func() {
			for range 5 { // busy machines: a grant that could not be started is to be sent again
				a, err := s.try(who, "", http.MethodPut, s.api+"/v1/devices/phone", phoneWith(token), "Prefer", "wait=30")
				if err == nil && a.status >= 300 {
					err = fmt.Errorf("%d %v", a.status, a.body)
				}
				if failures[i] = err; a.status != http.StatusServiceUnavailable {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
}

// has tells whether the customer's preferences list a device with the token.
func (s *system) has(t *testing.T, who, token string) bool {
	devices, _ := s.as(t, who, http.MethodGet, "/v1/preferences/push", nil).at("devices").([]any)
	return len(devices) == 1 && dig(devices[0], "device_id") == "phone"
}

// requireOneOwner waits until nothing is under way any more, then compares.
func (s *system) requireOneOwner(t *testing.T, people []string, token, when string) {
	t.Helper()
	eventually(t, 40*time.Second, func() string {
		ours, theirs := []bool{}, []bool{}
		open := 0
		for _, who := range people {
			audit := s.as(t, who, http.MethodGet, "/v1/preferences/audit?limit=200", nil)
			for _, e := range audit.at("entries").([]any) {
				switch dig(e, "event") {
				case "requested":
					open++
				case "applied", "compensated":
					open--
				}
			}
			ours = append(ours, s.has(t, who, token))
			held, _ := s.vendors(t, who).at("push", "devices").([]any)
			theirs = append(theirs, len(held) == 1)
		}
		if open != 0 || ours[0] == ours[1] || ours[0] != theirs[0] || ours[1] != theirs[1] {
			return fmt.Sprintf("%s: %d under way, we say %v, the provider says %v", when, open, ours, theirs)
		}
		return ""
	})
}

// TestAnUndoTellsATargetNothingThatItNeverHeard: a target that took nothing is not told anything by the compensation.
func TestAnUndoTellsATargetNothingThatItNeverHeard(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, kind := range []map[string]any{{"kind": "status", "status": 503}, {"kind": "timeout_before"}} {
		t.Run(fmt.Sprint(kind["kind"]), func(t *testing.T) {
			t.Parallel()
			who := customer()
			before := s.vendors(t, who)
			body := map[string]any{"target": "crm", "customer": who, "calls": "write", "times": 0}
			for k, v := range kind {
				body[k] = v
			}
			fault := s.control(t, http.MethodPost, "/faults", body).text("id")
			op := s.respondAsync(t, who, http.MethodPatch, "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": "subscribed"}})
			s.awaitStatus(t, who, op, 30*time.Second, "compensating")
			s.control(t, http.MethodDelete, "/faults/"+fault, nil)
			s.awaitStatus(t, who, op, 30*time.Second, "compensated")
			require.Equal(t, before.body, s.vendors(t, who).body)
		})
	}
}
