package preferences

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

func TestFailuresBecomeRetryableInOnePlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err      error
		code     string
		terminal bool
		delay    time.Duration
	}{
		"a vendor's time-out": {err: &ports.TargetError{Target: preference.CRM, Class: ports.Transient, Code: "timeout", Err: context.DeadlineExceeded}, code: "timeout"},
		"a vendor's wish":     {err: &ports.TargetError{Class: ports.Transient, Code: "rate_limited", RetryAfter: 3 * time.Second}, code: "rate_limited", delay: 3 * time.Second},
		"a refusal":           {err: &ports.TargetError{Class: ports.Refused, Code: "refused", Status: 400}, code: "refused", terminal: true},
		"the database":        {err: fault.New(fault.Unavailable, "unavailable", "try again"), code: "unavailable"},
		"a conflict":          {err: fault.New(fault.Conflict, "not-running", "too late"), code: "not-running", terminal: true},
		"anything else":       {err: errors.New("pq: secret@example.com"), code: "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var app *temporal.ApplicationError
			require.ErrorAs(t, toTemporal(c.err), &app)
			require.Equal(t, c.code, app.Type())
			require.Equal(t, c.terminal, app.NonRetryable())
			require.Equal(t, c.delay, app.NextRetryDelay())
			require.NotContains(t, app.Error(), "@", "causes stay out of histories")
		})
	}
	require.NoError(t, toTemporal(nil))
	require.ErrorIs(t, toTemporal(context.Canceled), context.Canceled)
}
