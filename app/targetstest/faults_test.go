package targetstest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

// expected is what a fault must come out as. Whether a write may have been done depends on the fault, not on whether the
// sandbox did it: we can't see that.
type expected struct {
	fault      fault
	code       string // empty: the call succeeds
	class      ports.TargetErrorClass
	maybeDone  bool // of a write; a read never is
	retryAfter time.Duration
	done       bool // the write had its effect
}

var faults = map[string]expected{
	"slow answer":             {fault: fault{"kind": "delay", "delay_ms": 20}, done: true},
	"time-out before":         {fault: fault{"kind": "timeout_before"}, code: "timeout", class: ports.Transient, maybeDone: true},
	"time-out after":          {fault: fault{"kind": "timeout_after"}, code: "timeout", class: ports.Transient, maybeDone: true, done: true},
	"lost reply":              {fault: fault{"kind": "drop_after"}, code: "connection", class: ports.Transient, maybeDone: true, done: true},
	"malformed answer":        {fault: fault{"kind": "malformed"}, code: "malformed", class: ports.Transient, maybeDone: true, done: true},
	"500":                     {fault: status(500), code: "server_error", class: ports.Transient, maybeDone: true},
	"502":                     {fault: status(502), code: "server_error", class: ports.Transient, maybeDone: true},
	"503 with a waiting time": {fault: status(503, "Retry-After", "7"), code: "server_error", class: ports.Transient, maybeDone: true, retryAfter: 7 * time.Second},
	"429 with a waiting time": {fault: status(429, "Retry-After", "7"), code: "rate_limited", class: ports.Transient, retryAfter: 7 * time.Second},
	"429 with a long wait":    {fault: status(429, "Retry-After", "86400"), code: "rate_limited", class: ports.Transient, retryAfter: 5 * time.Minute},
	"408":                     {fault: status(408), code: "timeout", class: ports.Transient, maybeDone: true},
	"401":                     {fault: status(401), code: "credentials", class: ports.Transient},
	"400":                     {fault: status(400), code: "refused", class: ports.Refused},
	"409":                     {fault: status(409), code: "refused", class: ports.Refused},
	"422":                     {fault: status(422), code: "refused", class: ports.Refused},
	"redirect":                {fault: status(302, "Location", "/elsewhere"), code: "malformed", class: ports.Transient, maybeDone: true},
}

func status(code int, header ...string) fault {
	f := fault{"kind": "status", "status": code}
	if len(header) == 2 {
		f["headers"] = map[string]string{header[0]: header[1]}
	}
	return f
}

var set = map[preference.Target]preference.Holding{
	preference.CRM: {{Kind: preference.EmailItem}: preference.On, {Kind: preference.ChannelItem, Key: "news"}: preference.Off},
	preference.Push: {
		{Kind: preference.DeviceItem, Key: "token-1"}: preference.On, {Kind: preference.ChannelItem, Key: "news"}: preference.Off,
	},
	preference.CMP: {{Kind: preference.PurposeItem, Key: "push-marketing"}: preference.On},
}

func write(target preference.Target) ports.TargetWrite {
	return ports.TargetWrite{
		Customer: "ada", Operation: "op-1", Set: set[target],
		Devices: map[string]ports.TargetDevice{"token-1": {Platform: preference.Android}},
	}
}

// callTimeout is short only where the fault makes a call run into it.
func (e expected) callTimeout() time.Duration {
	if e.code == "timeout" && e.fault["kind"] != "status" {
		return time.Second
	}
	return 10 * time.Second
}

// TestFaults: every kind of fault, at every vendor, reading and writing.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, want := range faults {
		for _, target := range preference.Targets {
			t.Run(string(target)+" write "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 0, want.callTimeout())
				r.inject(t, target, "write", want)
				err := r.systems[target].Write(t.Context(), write(target))
				judge(t, target, want, want.maybeDone, err)
				r.clearFaults(t)
				r.holds(t, target, want.done)
				require.NoError(t, r.systems[target].Write(t.Context(), write(target)), "a repeat, once the vendor is well")
				r.holds(t, target, true)
			})
			t.Run(string(target)+" read "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 0, want.callTimeout())
				r.inject(t, target, "read", want)
				_, err := r.systems[target].Read(t.Context(), "ada")
				judge(t, target, want, false, err)
			})
		}
	}
}

// inject adds the fault until it is cleared: net/http may repeat a GET whose reused connection was cut.
func (r *rig) inject(t *testing.T, target preference.Target, calls string, want expected) {
	f := maps.Clone(want.fault)
	f["calls"], f["customer"], f["times"] = calls, "ada", 0
	r.fault(t, target, f)
}

func judge(t *testing.T, target preference.Target, want expected, maybeDone bool, err error) {
	t.Helper()
	if want.code == "" {
		require.NoError(t, err)
		return
	}
	got, is := ports.AsTargetError(err)
	require.True(t, is, "got %v", err)
	require.Equal(t, target, got.Target)
	require.Equal(t, want.class, got.Class)
	require.Equal(t, want.code, got.Code)
	require.Equal(t, maybeDone, got.MaybeDone)
	require.Equal(t, want.retryAfter, got.RetryAfter)
}

func (r *rig) holds(t *testing.T, target preference.Target, written bool) {
	t.Helper()
	got, err := r.systems[target].Read(t.Context(), "ada")
	require.NoError(t, err)
	if !written {
		require.Empty(t, got)
		return
	}
	require.Empty(t, got.Missing(set[target]))
}

// TestWrongCredentials: whatever a vendor answers to a bad key, no change is refused for it.
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 5*time.Second)
	for target, status := range map[preference.Target]int{preference.CRM: 401, preference.Push: 403, preference.CMP: 401} {
		r.fault(t, target, fault{"kind": "status", "status": status, "calls": "any", "times": 0})
		_, err := r.systems[target].Read(t.Context(), "ada")
		judge(t, target, expected{code: "credentials", class: ports.Transient}, false, err)
		judge(t, target, expected{code: "credentials", class: ports.Transient}, false, r.systems[target].Write(t.Context(), write(target)))
	}
}

// TestCallerGivesUp: the caller's own end is told apart from the vendor being slow.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	for _, target := range preference.Targets {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0, time.Minute)
			r.fault(t, target, fault{"kind": "timeout_before", "calls": "any", "times": 0})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := r.systems[target].Read(ctx, "ada")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, is := ports.AsTargetError(err)
			require.False(t, is)
		})
	}
}

// TestNumberOfCalls keeps the adapters as economical as the vendors' rate limits want them.
func TestNumberOfCalls(t *testing.T) {
	t.Parallel()
	for target, want := range map[preference.Target]struct{ write, read int }{
		preference.CRM:  {write: 1, read: 2},
		preference.Push: {write: 2, read: 1}, // a look, and one call that makes the person with everything
		preference.CMP:  {write: 1, read: 1},
	} {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0, 5*time.Second)
			require.NoError(t, r.systems[target].Write(t.Context(), write(target)))
			require.Len(t, r.calls(t, target, "ada"), want.write)
			_, err := r.systems[target].Read(t.Context(), "ada")
			require.NoError(t, err)
			require.Len(t, r.calls(t, target, "ada"), want.write+want.read)
		})
	}
}
