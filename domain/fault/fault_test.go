package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	conflict := fault.New(fault.Conflict, "channel-required", "channel %s is required", "news")
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"a fault":        {conflict, fault.Conflict},
		"a wrapped one":  {fmt.Errorf("accept: %w", conflict), fault.Conflict},
		"one of several": {errors.Join(errors.New("x"), conflict), fault.Conflict},
		"a field":        {fault.OnField("token", "invalid_token", "must be text"), fault.Invalid},
		"anything else":  {errors.New("connection refused"), fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, fault.KindOf(tc.err))
		})
	}
}

func TestFaultsAreComparedByCode(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("decide: %w", fault.New(fault.Conflict, "not-parked", "this one is running"))
	require.ErrorIs(t, err, fault.New(fault.Conflict, "not-parked", "another wording"))
	require.NotErrorIs(t, err, fault.New(fault.Conflict, "turn-lost", "this one is running"))
	require.NotErrorIs(t, err, errors.New("not-parked"))
	require.NotErrorIs(t, errors.New("not-parked"), fault.New(fault.Conflict, "not-parked", ""))
}

func TestAs(t *testing.T) {
	t.Parallel()
	f, is := fault.As(fmt.Errorf("x: %w", fault.OnFields(
		fault.Field{Path: "platform", Code: "not_allowed", Message: "must be ios, android or web"},
		fault.Field{Path: "token", Code: "invalid_token", Message: "must be given"})))
	require.True(t, is)
	require.Equal(t, "invalid-request", f.Code)
	require.Len(t, f.Fields, 2)
	require.Equal(t, "invalid-request: platform must be ios, android or web; token must be given", f.Error())

	_, is = fault.As(errors.New("x"))
	require.False(t, is)
	_, is = fault.As(nil)
	require.False(t, is)
}

func TestTextOfAFault(t *testing.T) {
	t.Parallel()
	require.EqualError(t, fault.New(fault.Denied, "forbidden", "needs scope %q", "audit:read"), `forbidden: needs scope "audit:read"`)
	require.EqualError(t, fault.OnField("limit", "out_of_range", "must be %d to %d", 1, 100), "invalid-request: limit must be 1 to 100")
}

func TestEveryKindHasItsOwnName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.Mismatch, fault.Denied, fault.Unavailable, fault.Internal} {
		require.NotEmpty(t, k.String())
		require.False(t, seen[k.String()])
		seen[k.String()] = true
	}
}
