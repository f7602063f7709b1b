package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

func TestReceivedEventsAreKnownAndForgotten(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	first := []ports.ReceivedEvent{{Source: "braze", ID: "e1", Customer: "ada", Outcome: ports.DecisionAccepted, Operation: "op_1"},
		{Source: "braze", ID: "e2", Outcome: ports.DecisionIgnored, Reason: "no_customer"}}
	require.NoError(t, db.Record(t.Context(), first))
	require.NoError(t, db.Record(t.Context(), []ports.ReceivedEvent{{Source: "braze", ID: "e1", Outcome: ports.DecisionEcho}}), "the first stays")
	seen, err := db.Received(t.Context(), "braze", []string{"e1", "e2", "e3"})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"e1": true, "e2": true}, seen)
	seen, err = db.Received(t.Context(), "onetrust", []string{"e1"})
	require.NoError(t, err)
	require.Empty(t, seen)
	var outcome, customer string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT outcome, customer_id FROM webhook_events WHERE outcome = 'accepted'`).Scan(&outcome, &customer))
	require.Equal(t, "accepted ada", outcome+" "+customer)

	exec(t, conn, `UPDATE webhook_events SET received_at = received_at - interval '31 days' WHERE outcome = 'ignored'`)
	_, err = db.CleanUp(t.Context(), time.Now().Add(-time.Hour), 100)
	require.NoError(t, err)
	seen, err = db.Received(t.Context(), "braze", []string{"e1", "e2"})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"e1": true}, seen)
}

// TestWhatWasWrittenIsKnown also of an operation that was taken back, for as long as what was told may be of its time.
func TestWhatWasWrittenIsKnown(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	now := time.Now().UTC().Truncate(time.Microsecond)
	change, err := preference.SetEmail(preference.Subscribed, nil)
	require.NoError(t, err)
	item := preference.Item{Kind: preference.EmailItem}
	require.NoError(t, db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
		op, _, err := a.Accept(preference.Request{ID: "op_1", Change: change, Source: preference.FromCMP, Actor: consent.Actor{Type: "system", ID: "x"}, Budget: time.Minute}, now)
		if err == nil {
			a.BeginAhead(op)
		}
		return err
	}))
	written := func(from, to time.Time) []preference.Written {
		t.Helper()
		out, err := db.WrittenTo(t.Context(), "ada", preference.CRM, from, to)
		require.NoError(t, err)
		return out
	}
	require.Empty(t, written(now.Add(-time.Hour), now.Add(time.Hour)), "nothing yet")
	step := ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying, Assignment: preference.Assignment{
		Write: preference.Holding{item: preference.On}, Saw: preference.Holding{item: preference.Off}, Restore: preference.Holding{item: preference.Off}}}
	_, _, err = db.StartStep(t.Context(), "op_1", step)
	require.NoError(t, err)
	got := written(now.Add(-time.Hour), now.Add(time.Hour))
	require.Len(t, got, 1)
	require.Equal(t, preference.Holding{item: preference.On}, got[0].Write)
	require.Nil(t, got[0].Restore)
	require.True(t, got[0].From.Equal(now))
	require.True(t, got[0].Until.IsZero(), "it may go on")
	require.Empty(t, written(now.Add(-time.Hour), now.Add(-time.Minute)), "long before it")

	require.NoError(t, db.UpdateOperation(t.Context(), "op_1", func(a *preference.Account, op *preference.Operation) error {
		return a.StartCompensation(op, consent.Reason{Code: "timeout", Target: "cmp"}, time.Now())
	}))
	got = written(now.Add(-time.Hour), now.Add(time.Hour))
	require.Equal(t, preference.Holding{item: preference.Off}, got[0].Restore, "it may be put back at any moment")
	require.True(t, got[0].Until.IsZero())
	require.NoError(t, db.MarkStep(t.Context(), "op_1", preference.CRM, ports.TargetRestored, "", false))
	got = written(now.Add(-time.Hour), now.Add(time.Hour))
	require.Equal(t, preference.Holding{item: preference.Off}, got[0].Restore)
	require.False(t, got[0].Until.IsZero())
}

// A change that went through is marked by its end alone: its steps stay as they were before the last attempt.
func TestWhatWasWrittenIsOverWithItsOperation(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	now := time.Now().UTC().Truncate(time.Microsecond)
	change, err := preference.SetEmail(preference.Unsubscribed, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
		op, _, err := a.Accept(preference.Request{ID: "op_1", Change: change, Source: preference.FromApp, Actor: consent.Actor{Type: "customer", ID: "ada"}}, now)
		if err == nil {
			a.BeginAhead(op)
		}
		return err
	}))
	step := ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying, Assignment: preference.Assignment{
		Write: preference.Holding{{Kind: preference.EmailItem}: preference.Off}}}
	_, _, err = db.StartStep(t.Context(), "op_1", step)
	require.NoError(t, err)
	ended := now.Add(time.Minute)
	require.NoError(t, db.UpdateOperation(t.Context(), "op_1", func(a *preference.Account, op *preference.Operation) error { return a.Commit(op, ended) }))
	written, err := db.WrittenTo(t.Context(), "ada", preference.CRM, now, now.Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, written, 1)
	require.True(t, written[0].Until.Equal(ended), written[0].Until)
}
