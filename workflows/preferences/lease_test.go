package preferences

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
)

func TestALeaseIsLostByStandingStill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps []time.Duration // between one look and the next
		lost  bool
	}{
		{"a process that goes on", []time.Duration{lookEvery, lookEvery, lookEvery, lookEvery, lookEvery}, false},
		{"a break nobody noticed", []time.Duration{Standstill}, false},
		{"a break too long", []time.Duration{Standstill + time.Millisecond}, true},
		{"a break too long, a while ago", []time.Duration{Standstill + time.Millisecond, lookEvery, lookEvery}, true},
		{"a clock set back", []time.Duration{-time.Hour, lookEvery}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // without the monotonic clock, as after a suspend
			l := &lease{Context: ctx, cancel: cancel, now: func() time.Time { return now }, seen: now}
			for _, step := range c.steps {
				now = now.Add(step)
				_ = l.Err()
			}
			failed := errors.New("some failure")
			if !c.lost {
				require.NoError(t, l.Err())
				require.Equal(t, failed, l.explain(failed))
				return
			}
			require.ErrorIs(t, l.Err(), context.Canceled)
			require.Error(t, ctx.Err(), "what waits must stop waiting")
			require.NoError(t, l.explain(nil), "what was done was done")
			var again *temporal.ApplicationError
			require.ErrorAs(t, toTemporal(l.explain(context.Canceled)), &again)
			require.False(t, again.NonRetryable())
		})
	}
}

// The server must not have given the attempt to somebody else while the lease still holds.
func TestALeaseEndsBeforeTheServerGivesUp(t *testing.T) {
	t.Parallel()
	require.Positive(t, Standstill)
	require.LessOrEqual(t, HeartbeatEvery+Standstill, heartbeatLimit-time.Second, "a heartbeat takes its time to arrive")
	require.Less(t, lookEvery, Standstill/2)
}
