package targetstest

import (
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	"accord/domain/preference"
	"accord/ports/portstest"
)

// TestPromises runs the port's conformance suite against every vendor, one that applies at once and one that takes its
// time.
func TestPromises(t *testing.T) {
	t.Parallel()
	for _, target := range preference.Targets {
		for name, delay := range map[string]time.Duration{"at once": 0, "later": 25 * time.Millisecond} {
			t.Run(string(target)+" applies "+name, func(t *testing.T) {
				t.Parallel()
				portstest.TargetSystem(t, func(t *testing.T) portstest.Subject {
					r := newRig(t, delay, 5*time.Second)
					return portstest.Subject{
						System:   r.systems[target],
						Channels: slices.Sorted(maps.Keys(groups(r.cfg))),
						Purposes: slices.Sorted(maps.Keys(purposes(r.cfg))),
						Fail: func(t *testing.T, status int) {
							r.fault(t, target, fault{"kind": "status", "status": status, "calls": "any", "times": 0})
						},
						Unregister: func(t *testing.T, customer preference.CustomerID, token string) {
							devices := []any{map[string]any{"token": token, "type": "iOSPush", "unregistered": true}}
							r.control(t, "PUT", "customers/"+url.PathEscape(string(customer)), map[string]any{"push": map[string]any{"devices": devices}}, nil)
						},
					}
				})
			})
		}
	}
}
