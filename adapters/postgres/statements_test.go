package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// counter sees every statement on the wire.
type counter struct {
	mu         sync.Mutex
	statements []string
}

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = append(c.statements, strings.Join(strings.Fields(q.SQL), " "))
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Round trips are what a change costs. Whoever adds one has to say so here.
func TestStatementsPerCall(t *testing.T) {
	t.Parallel()
	seen := &counter{}
	db, err := postgres.Open(t.Context(), postgres.Config{URL: migrated(t), Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Tracer: seen})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	count := func(want int, what string, fn func()) {
		t.Helper()
		seen.statements = nil
		fn()
		require.Len(t, seen.statements, want, "%s:\n%s", what, strings.Join(seen.statements, "\n"))
	}
	first, second, replay := portstest.Unsubscribe("ada"), portstest.Unsubscribe("ada"), portstest.Unsubscribe("ada")
	second.Key, replay.Key = "key", "key"

	count(5, "accept for a new customer: look, begin, make, store, commit", func() { portstest.Accept(t, db, "ada", first) })
	count(6, "accept behind another, with a key: look, begin, lock, read, store, commit", func() { portstest.Accept(t, db, "ada", second) })
	count(5, "a replay: look, begin, lock, read, rollback", func() { portstest.Accept(t, db, "ada", replay) })
	count(2, "begin: read, store", func() { portstest.Begin(t, db, first.ID) })
	count(2, "commit, handing the turn on: read, store", func() { portstest.Commit(t, db, first.ID) })
	portstest.Begin(t, db, second.ID)
	count(1, "start a step", func() {
		_, _, err := db.StartStep(t.Context(), second.ID, ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying})
		require.NoError(t, err)
	})
	count(1, "mark a step", func() {
		require.NoError(t, db.MarkStep(t.Context(), second.ID, preference.CRM, ports.TargetApplied, "", true))
	})
	count(1, "read a step", func() {
		_, _, err := db.Step(t.Context(), second.ID, preference.CRM)
		require.NoError(t, err)
	})
	count(1, "read an operation", func() {
		_, err := db.Operation(t.Context(), second.ID)
		require.NoError(t, err)
	})
	portstest.Commit(t, db, second.ID)
	ahead := portstest.Unsubscribe("ada")
	count(2, "accept and begin ahead: read, store", func() { portstest.AcceptAhead(t, db, "ada", ahead) })
	count(1, "read what has begun, for every target", func() {
		for range 3 {
			_, err := db.Begun(t.Context(), ahead.ID)
			require.NoError(t, err)
		}
	})
	count(1, "commit what was read: store", func() { portstest.Commit(t, db, ahead.ID) })
	here := portstest.Unsubscribe("ada")
	here.Key = "another key"
	count(3, "accept with a key, and begin ahead: read, look for the key, store", func() { portstest.AcceptAhead(t, db, "ada", here) })
	count(0, "what was accepted in a process where steps begin is known there", func() {
		_, err := db.Begun(t.Context(), here.ID)
		require.NoError(t, err)
	})
	count(1, "commit what was accepted here: store", func() { portstest.Commit(t, db, here.ID) })
	count(2, "accept with the turn free: read, store", func() { portstest.Accept(t, db, "ada", portstest.Unsubscribe("ada")) })
	count(1, "load", func() {
		_, err := db.Load(t.Context(), "ada")
		require.NoError(t, err)
	})
	for range 5 {
		r := portstest.Unsubscribe("grace")
		portstest.Accept(t, db, "grace", r)
	}
	count(1, "list operations, however many", func() {
		ops, _, err := db.ByStatus(t.Context(), preference.Statuses, "", 100)
		require.NoError(t, err)
		require.Greater(t, len(ops), 5)
	})
	count(1, "stalled turns, however many", func() {
		_, err := db.Stalled(t.Context(), portstest.Noon.AddDate(10, 0, 0), 100)
		require.NoError(t, err)
	})
}
