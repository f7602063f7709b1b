package preferences

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

func TestTheLastTargetIsToldOnce(t *testing.T) {
	t.Parallel()
	var k arrivals
	op := preference.Operation{ID: "op", Targets: []preference.Target{preference.CRM, preference.Push, preference.CMP}}
	require.False(t, k.arrive(op, preference.CRM))
	require.False(t, k.arrive(op, preference.CRM), "twice the same is no other one")
	require.False(t, k.arrive(op, preference.CMP))
	require.True(t, k.arrive(op, preference.Push))
	require.False(t, k.arrive(op, preference.Push), "what was told is forgotten")
}

func TestATargetThatIsReachedAgainDoesNotCountUntilItIs(t *testing.T) {
	t.Parallel()
	var k arrivals
	op := preference.Operation{ID: "op", Targets: []preference.Target{preference.CRM, preference.Push}}
	k.leave(TargetInput{Operation: "op", Target: preference.CRM})
	require.False(t, k.arrive(op, preference.CRM))
	k.leave(TargetInput{Operation: "op", Target: preference.CRM})
	require.False(t, k.arrive(op, preference.Push))
	require.True(t, k.arrive(op, preference.CRM))
}

func TestOperationsThatNeverEndHereAreForgotten(t *testing.T) {
	t.Parallel()
	var k arrivals
	for i := range 2 * maxArrivals {
		k.arrive(preference.Operation{ID: fmt.Sprint(i), Targets: preference.Targets}, preference.CRM)
	}
	require.Len(t, k.known, maxArrivals)
	require.LessOrEqual(t, len(k.oldest), maxArrivals)
}
