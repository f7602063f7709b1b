package portstest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

func keyed(r preference.Request, key, print string) preference.Request {
	r.Key, r.Fingerprint = key, print
	return r
}

func accept(ctx context.Context, s ports.Accounts, customer preference.CustomerID, r preference.Request) (id string, replayed bool, err error) {
	err = s.Update(ctx, customer, r.Key, func(a *preference.Account) error {
		op, again, err := a.Accept(r, Noon)
		if err == nil {
			id, replayed = op.ID, again
		}
		return err
	})
	return id, replayed, err
}

func keyRepeats(t *testing.T, s Store) {
	first := keyed(Subscribe(ada), "key", "print")
	Accept(t, s, ada, first, Unsubscribe(ada)) // another one behind it
	check := func(when string) {
		t.Helper()
		id, replayed, err := accept(t.Context(), s, ada, keyed(Subscribe(ada), "key", "print"))
		require.NoError(t, err, when)
		require.True(t, replayed, when)
		require.Equal(t, first.ID, id, when)
		_, _, err = accept(t.Context(), s, ada, keyed(Unsubscribe(ada), "key", "other"))
		require.Equal(t, fault.Mismatch, fault.KindOf(err), when)
	}
	check("while it waits")
	Begin(t, s, first.ID)
	check("while it runs")
	Commit(t, s, first.ID)
	check("once it is settled, others being open")
	second := load(t, s, ada).Open()[0]
	Begin(t, s, second.ID)
	Commit(t, s, second.ID)
	check("once everything is settled")
	require.Len(t, chain(t, s, ada), 4)
}

func keyAtOnce(t *testing.T, s Store) {
	var all sync.WaitGroup
	var mu sync.Mutex
	ids, replays := map[string]bool{}, 0
	for range 10 {
		all.Go(func() {
			id, replayed, err := accept(t.Context(), s, ada, keyed(Subscribe(ada), "key", "print"))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[id] = true
			if replayed {
				replays++
			}
		})
	}
	all.Wait()
	require.Len(t, ids, 1)
	require.Equal(t, 9, replays)
	require.Len(t, load(t, s, ada).Open(), 1)
}

func keyPerCustomer(t *testing.T, s Store) {
	a, _, err := accept(t.Context(), s, ada, keyed(Subscribe(ada), "key", "print"))
	require.NoError(t, err)
	g, replayed, err := accept(t.Context(), s, grace, keyed(Subscribe(grace), "key", "other"))
	require.NoError(t, err)
	require.False(t, replayed)
	require.NotEqual(t, a, g)
}

func keyGivenBack(t *testing.T, s Store) {
	first := keyed(Subscribe(ada), "key", "print")
	Accept(t, s, ada, first)
	require.NoError(t, s.UpdateStill(t.Context(), first.ID, func(a *preference.Account, op *preference.Operation, reached bool) error {
		return a.NeverStarted(op, reached, Noon)
	}))
	require.Equal(t, preference.Compensated, operation(t, s, first.ID).Status)
	id, replayed, err := accept(t.Context(), s, ada, keyed(Subscribe(ada), "key", "another"))
	require.NoError(t, err)
	require.False(t, replayed)
	require.NotEqual(t, first.ID, id)
}
