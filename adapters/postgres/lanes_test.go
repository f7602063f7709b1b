package postgres

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLanes(t *testing.T) {
	t.Parallel()
	var l lanes
	leave, err := l.enter(t.Context(), "ada")
	require.NoError(t, err)
	leaveOther, err := l.enter(t.Context(), "grace")
	require.NoError(t, err, "another customer's lane is free")
	leaveOther()

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.enter(ended, "ada")
	require.ErrorIs(t, err, context.Canceled)

	second := make(chan func())
	go func() {
		leave, err := l.enter(context.Background(), "ada")
		if err != nil {
			t.Error(err)
		}
		second <- leave
	}()
	leave()
	(<-second)()
	require.Empty(t, l.lane, "lanes that nobody uses are forgotten")
}
