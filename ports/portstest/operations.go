package portstest

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Operations is the contract of ports.Operations. open gives an empty store.
func Operations(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"an unknown operation is not found":              operationNotFound,
		"progress at each target":                        progress,
		"by status, oldest first, page by page":          byStatus,
		"a foreign cursor is refused":                    foreignCursor,
		"open operations are counted":                    openCount,
		"stalled turns, those looked at longest ago":     stalled,
		"a turn that moves is not stalled, and new":      stalledMoves,
		"grants that wait behind another past their end": overdue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func operationNotFound(t *testing.T, s Store) {
	_, err := s.Operation(t.Context(), "nobody-has-heard-of-it")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func states(op ports.OperationState) map[preference.Target]ports.TargetState {
	out := map[preference.Target]ports.TargetState{}
	for target, p := range op.Progress {
		out[target] = p.State
	}
	return out
}

type at = map[preference.Target]ports.TargetState

func progress(t *testing.T, s Store) {
	applied, compensated := Register(ada, "phone", "token-1"), Subscribe(ada)
	Accept(t, s, ada, applied, compensated)
	require.Equal(t, at{"crm": ports.TargetPending, "push": ports.TargetPending}, states(operation(t, s, applied.ID)))
	Begin(t, s, applied.ID)
	_, _, err := s.StartStep(t.Context(), applied.ID, ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying})
	require.NoError(t, err)
	require.NoError(t, s.MarkStep(t.Context(), applied.ID, preference.CRM, ports.TargetApplying, "rate-limited", false))
	op := operation(t, s, applied.ID)
	require.Equal(t, at{"crm": ports.TargetApplying, "push": ports.TargetPending}, states(op))
	require.Equal(t, 1, op.Progress[preference.CRM].Attempts)
	require.Equal(t, "rate-limited", op.Progress[preference.CRM].Code)
	require.WithinDuration(t, time.Now(), op.Progress[preference.CRM].At, time.Minute)
	Commit(t, s, applied.ID)
	require.Equal(t, at{"crm": ports.TargetApplied, "push": ports.TargetApplied}, states(operation(t, s, applied.ID)))

	Begin(t, s, compensated.ID)
	_, _, err = s.StartStep(t.Context(), compensated.ID, ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying})
	require.NoError(t, err)
	require.NoError(t, s.MarkStep(t.Context(), compensated.ID, preference.CRM, ports.TargetRestored, "", true))
	Compensate(t, s, compensated.ID)
	require.Equal(t, at{"crm": ports.TargetRestored, "cmp": ports.TargetSkipped}, states(operation(t, s, compensated.ID)))
}

func byStatus(t *testing.T, s Store) {
	var ids []string
	for i := range 7 {
		customer := preference.CustomerID(strings.Repeat("a", i+1))
		r := Unsubscribe(customer)
		Accept(t, s, customer, r) // all at the same moment, so the id decides
		ids = append(ids, r.ID)
	}
	Begin(t, s, ids[2])
	Begin(t, s, ids[4])
	Commit(t, s, ids[4])

	list := func(limit int, statuses ...preference.Status) (out []string) {
		t.Helper()
		for cursor, pages := "", 0; ; pages++ {
			ops, next, err := s.ByStatus(t.Context(), statuses, cursor, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(ops), limit)
			require.Less(t, pages, 10)
			for _, op := range ops {
				out = append(out, op.ID)
			}
			if next == "" {
				return out
			}
			require.Len(t, ops, limit)
			cursor = next
		}
	}
	for _, limit := range []int{1, 2, 5, 100} {
		require.Equal(t, []string{ids[0], ids[1], ids[3], ids[5], ids[6]}, list(limit, preference.Accepted))
	}
	require.Equal(t, []string{ids[2], ids[4]}, list(2, preference.Running, preference.Applied))
	require.Equal(t, ids, list(3, preference.Statuses...))
	require.Empty(t, list(3, preference.NeedsAttention))
	require.Empty(t, list(3))
}

func foreignCursor(t *testing.T, s Store) {
	made := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	for _, cursor := range []string{"nonsense", "!", "MTIz", "IA", made("1 \x00"), made("1 \xff"), made("1 a b"), made("9223372036854775807 a"),
		made("-9223372036854775808 a"), made("+1 a"), made("01 a"), made("1 ab")[:5] + "h", made("1 ab") + "\n"} {
		_, _, err := s.ByStatus(t.Context(), preference.Statuses, cursor, 10)
		require.Equal(t, fault.Invalid, fault.KindOf(err), cursor)
	}
}

func openCount(t *testing.T, s Store) {
	empty, err := s.OpenCounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, empty)
	first, second, settled := Unsubscribe(ada), Unsubscribe(ada), Subscribe(grace)
	Accept(t, s, ada, first, second)
	Apply(t, s, grace, settled)
	Begin(t, s, first.ID)
	got, err := s.OpenCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[ports.OpenKind]ports.OpenCount{
		{Status: preference.Running, Kind: preference.Withdrawal}:  {Count: 1, Oldest: Noon},
		{Status: preference.Accepted, Kind: preference.Withdrawal}: {Count: 1, Oldest: Noon}}, got)
}

func stalledTurns(t *testing.T, s Store, before time.Time, limit int) []ports.StalledTurn {
	t.Helper()
	turns, err := s.Stalled(t.Context(), before, limit)
	require.NoError(t, err)
	return turns
}

func stalled(t *testing.T, s Store) {
	later := time.Now().Add(time.Hour)
	first, second, done := Unsubscribe(ada), Subscribe(grace), Subscribe("lin")
	Accept(t, s, ada, first, Subscribe(ada)) // the one that waits has no turn to lose
	Accept(t, s, grace, second)
	Apply(t, s, "lin", done)

	require.Empty(t, stalledTurns(t, s, time.Now().Add(-time.Hour), 10), "none is held for that long")
	turns := stalledTurns(t, s, later, 1)
	require.Equal(t, []ports.StalledTurn{{Run: ports.Run{Customer: ada, Number: 1, Operation: first.ID, Kind: preference.Withdrawal,
		Source: preference.FromApp, Targets: []preference.Target{preference.CRM, preference.CMP}, Summary: first.Change.Summary()}}}, turns)
	require.Equal(t, second.ID, stalledTurns(t, s, later, 1)[0].Run.Operation, "who was looked at goes to the back")
	require.Equal(t, first.ID, stalledTurns(t, s, later, 1)[0].Run.Operation)
	both := stalledTurns(t, s, later, 10)
	require.Len(t, both, 2)
	require.Equal(t, second.ID, both[0].Run.Operation)

	Begin(t, s, first.ID)
	Park(t, s, first.ID)
	require.NoError(t, s.UpdateOperation(t.Context(), first.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.Decide(op, preference.RetryIt, preference.System, Noon)
	}))
	for _, turn := range stalledTurns(t, s, later, 10) {
		require.Equal(t, turn.Run.Customer == ada, turn.Decided)
	}
}

func stalledMoves(t *testing.T, s Store) {
	later := time.Now().Add(time.Hour)
	first, second := Unsubscribe(ada), Unsubscribe(ada)
	Accept(t, s, ada, first, second)
	Accept(t, s, grace, Subscribe(grace))
	require.Len(t, stalledTurns(t, s, later, 10), 2)
	Begin(t, s, first.ID)
	Commit(t, s, first.ID)
	turns := stalledTurns(t, s, later, 1)
	require.Equal(t, second.ID, turns[0].Run.Operation, "a new turn has not been looked at")
	require.EqualValues(t, 1, turns[0].Run.Number, "its run is the one that had the turn before")
}

func overdue(t *testing.T, s Store) {
	Accept(t, s, ada, Unsubscribe(ada), Subscribe(ada), Subscribe(ada))
	Accept(t, s, grace, Subscribe(grace))                       // has the turn itself
	Accept(t, s, "lin", Unsubscribe("lin"), Unsubscribe("lin")) // withdrawals have no end
	find := func(now time.Time, limit int) []preference.CustomerID {
		customers, err := s.Overdue(t.Context(), now, limit)
		require.NoError(t, err)
		return customers
	}
	require.Empty(t, find(Noon.Add(2*time.Minute), 10))
	require.Equal(t, []preference.CustomerID{ada}, find(Noon.Add(2*time.Minute+time.Microsecond), 10))
	require.NoError(t, s.Update(t.Context(), ada, "", func(a *preference.Account) error { return a.Expire(Noon.Add(time.Hour)) }))
	require.Empty(t, find(Noon.Add(time.Hour), 10))
}
