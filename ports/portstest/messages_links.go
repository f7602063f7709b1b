package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
)

// A place that says more about a link than another takes its links over, and gives them back when it goes or becomes
// another place. Who asks for the changes later cannot find out what it was.
func relatedTargets(t *testing.T, s MessageStore) {
	Target(t, s, "any", "app://shop/{page}", true)
	Target(t, s, "other", "app://elsewhere", true)
	changed := func(do func()) []inbox.TargetKey {
		since := globals(t, s).Version
		do()
		c, err := s.GlobalChanges(t.Context(), since)
		require.NoError(t, err)
		return c.Targets
	}
	both := []inbox.TargetKey{"any", "sale"}
	require.Equal(t, both, changed(func() { Target(t, s, "sale", "app://shop/sale", false) }))
	require.Equal(t, both, changed(func() { Target(t, s, "sale", "app://sale", false) }), "what it was before counts")
	require.Equal(t, []inbox.TargetKey{"sale"}, changed(func() { Target(t, s, "sale", "app://sale", true) }))
	require.Equal(t, both, changed(func() { Target(t, s, "sale", "app://shop/sale", true) }))
	require.Equal(t, both, changed(func() { require.NoError(t, s.DeleteTarget(t.Context(), "sale")) }))

	first := Target(t, s, "moved", "app://one", true)
	require.WithinDuration(t, first.UpdatedAt, first.PatternAt, time.Second)
	off := Target(t, s, "moved", "app://one", false)
	require.Equal(t, first.PatternAt, off.PatternAt, "still the same place")
	moved := Target(t, s, "moved", "app://two", false)
	require.True(t, moved.PatternAt.After(first.PatternAt))
	kept, ok := globals(t, s).Links.Target("moved")
	require.True(t, ok)
	require.Equal(t, moved.PatternAt, kept.PatternAt)
}

func changesBeforeFloor(t *testing.T, s MessageStore) {
	_, err := s.GlobalChanges(t.Context(), globals(t, s).Floor-1)
	require.Equal(t, fault.Gone, fault.KindOf(err))
	_, err = s.GlobalChanges(t.Context(), globals(t, s).Floor)
	require.NoError(t, err)
}
