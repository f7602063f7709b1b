package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// databaseNow is the clock that everything about reconciliation goes by.
func databaseNow(t *testing.T, conn *pgx.Conn) (now time.Time) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now))
	return now
}

func customersOf(due []ports.DueCheck) (out []preference.CustomerID) {
	for _, d := range due {
		out = append(out, d.Customer)
	}
	return out
}

func TestWhoseChangeHasSettledIsDueAWhileLaterAndOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	now := databaseNow(t, conn)
	exec(t, conn, `UPDATE reconciliation_progress SET settled_until = $1`, now.Add(-20*time.Minute))
	for customer, ago := range map[preference.CustomerID]time.Duration{"long": 30 * time.Minute, "older": 12 * time.Minute, "old": 2 * time.Minute, "new": 10 * time.Second} {
		settle(t, conn, 1, now.Add(-ago), preference.Defaults(customer, portstest.Catalogue()))
	}
	collect := func() []preference.CustomerID {
		require.NoError(t, db.CollectDue(t.Context(), time.Minute, 10*time.Minute))
		due, err := db.DueChecks(t.Context(), 10)
		require.NoError(t, err)
		return customersOf(due)
	}
	require.Equal(t, []preference.CustomerID{"older", "old"}, collect(), "longest due first, each once; the new one is due in a while")
	due, err := db.DueChecks(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, due, 1)
	all, err := db.DueChecks(t.Context(), 10)
	require.NoError(t, err)
	require.NoError(t, db.EndChecks(t.Context(), all[:1], all[1:], time.Hour))
	require.Empty(t, collect(), "done, or put off")
	exec(t, conn, `UPDATE reconciliation_due SET due_at = due_at - interval '1 hour' WHERE customer_id = 'old'`)
	require.Equal(t, []preference.CustomerID{"old"}, collect())
}

func TestACheckEndsOnlyWhatItHasSeen(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	settle(t, conn, 0, databaseNow(t, conn), preference.Defaults("ada", portstest.Catalogue()))
	require.NoError(t, db.AskFor(t.Context(), []preference.CustomerID{"ada", "nobody"}))
	due, err := db.DueChecks(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []preference.CustomerID{"ada"}, customersOf(due))
	require.NoError(t, db.AskFor(t.Context(), []preference.CustomerID{"ada"}), "asked for again while the check goes on")
	require.NoError(t, db.EndChecks(t.Context(), due, nil, 0))
	due, err = db.DueChecks(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
}

func TestARoundGoesOverEverybodyOnceInItsWindow(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	for _, c := range []preference.CustomerID{"a", "b", "c"} {
		settle(t, conn, 0, databaseNow(t, conn), preference.Defaults(c, portstest.Catalogue()))
	}
	next := func(window time.Duration) ([]preference.CustomerID, bool) {
		customers, ended, err := db.NextInRound(t.Context(), window, 2)
		require.NoError(t, err)
		return customers, ended
	}
	age, err := db.RoundAge(t.Context())
	require.NoError(t, err)
	require.Zero(t, age, "none has begun")
	first, ended := next(time.Hour)
	require.Equal(t, []preference.CustomerID{"a", "b"}, first)
	require.False(t, ended)
	again, _ := next(time.Hour)
	require.Equal(t, first, again, "not recorded yet: after a crash they are looked at again")
	require.NoError(t, db.AdvanceRound(t.Context(), "b", false))
	second, ended := next(time.Hour)
	require.Equal(t, []preference.CustomerID{"c"}, second)
	require.True(t, ended)
	require.NoError(t, db.AdvanceRound(t.Context(), "c", true))
	none, ended := next(time.Hour)
	require.Empty(t, none)
	require.False(t, ended, "the next round has its time")
	age, err = db.RoundAge(t.Context())
	require.NoError(t, err)
	require.Positive(t, age)
	again, _ = next(time.Nanosecond)
	require.Equal(t, first, again)
}
