package portstest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Ahead is the contract of operations that are begun with their acceptance. open gives an empty store.
func Ahead(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"it shows as accepted until its run begins":           shownAsAccepted,
		"it shows that it runs, when told":                    shownAsRunning,
		"a step shows that it has begun":                      stepIsBeginning,
		"it is listed and counted as what it shows":           listedAsShown,
		"it is read for its steps":                            begunIsRead,
		"what was read is no answer once something has come":  begunIsOutdated,
		"a turn that was begun ahead can stall":               aheadStalls,
		"never started before the first step, or not at all":  neverStartedOrStep,
		"nothing can be recorded once it was never started":   nothingAfterNeverStarted,
		"a failure that was recorded shows that it has begun": failureIsBeginning,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func neverStarted(t *testing.T, s Store, id string) error {
	return s.UpdateStill(t.Context(), id, func(a *preference.Account, op *preference.Operation, reached bool) error {
		return a.NeverStarted(op, reached, Noon.Add(time.Second))
	})
}

func shownAsAccepted(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	op := operation(t, s, r.ID)
	require.Equal(t, preference.Accepted, op.Status)
	require.True(t, op.StartedAt.IsZero())
	require.Equal(t, at{"crm": ports.TargetPending, "cmp": ports.TargetPending}, states(op))
	require.Equal(t, preference.Running, load(t, s, ada).Open()[0].Status, "though it is begun")

	begun, err := s.Begun(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, preference.Running, begun.Status)
	require.Equal(t, preference.Accepted, operation(t, s, r.ID).Status, "reading is doing nothing")
}

func shownAsRunning(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	begun, err := s.Begun(t.Context(), r.ID)
	require.NoError(t, err)
	require.NoError(t, s.ShowBegun(t.Context(), r.ID))
	op := operation(t, s, r.ID)
	require.Equal(t, preference.Running, op.Status)
	require.WithinDuration(t, time.Now(), op.StartedAt, time.Minute)
	begun.StartedAt = op.StartedAt
	require.Equal(t, begun, op.Operation, "and that is all")
	require.NoError(t, s.ShowBegun(t.Context(), r.ID))
	require.Equal(t, op.StartedAt, operation(t, s, r.ID).StartedAt)
	f, _ := fault.As(neverStarted(t, s, r.ID))
	require.NotNil(t, f)
	require.Equal(t, "already-started", f.Code)
	Commit(t, s, r.ID) // from what was read before
	require.Equal(t, op.StartedAt, operation(t, s, r.ID).StartedAt)
	require.NoError(t, s.ShowBegun(t.Context(), r.ID))
	require.Equal(t, preference.Applied, operation(t, s, r.ID).Status)
	require.NoError(t, s.ShowBegun(t.Context(), "unheard-of"))
}

// What a run that goes on from a crash does, and one whose beginning was not stored.
func stepIsBeginning(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	_, _, err := s.StartStep(t.Context(), r.ID, aStep(preference.Off))
	require.NoError(t, err)
	op := operation(t, s, r.ID)
	require.Equal(t, preference.Running, op.Status)
	require.Equal(t, Noon, op.StartedAt)
	require.Equal(t, at{"crm": ports.TargetApplying, "cmp": ports.TargetPending}, states(op))
	Commit(t, s, r.ID)
	op = operation(t, s, r.ID)
	require.Equal(t, preference.Applied, op.Status)
	require.Equal(t, Noon, op.StartedAt)
	require.Equal(t, op.SettledAt, op.Progress[preference.CRM].At)
}

func listedAsShown(t *testing.T, s Store) {
	waiting, reached, begun := Subscribe(ada), Unsubscribe(grace), Unsubscribe("lin")
	AcceptAhead(t, s, ada, waiting)
	AcceptAhead(t, s, grace, reached)
	_, _, err := s.StartStep(t.Context(), reached.ID, aStep(preference.Off))
	require.NoError(t, err)
	AcceptAhead(t, s, "lin", begun)
	Begin(t, s, begun.ID)
	list := func(statuses ...preference.Status) (ids []string) {
		t.Helper()
		ops, _, err := s.ByStatus(t.Context(), statuses, "", 10)
		require.NoError(t, err)
		for _, op := range ops {
			ids = append(ids, op.ID)
			require.Contains(t, statuses, op.Status)
		}
		return ids
	}
	require.Equal(t, []string{waiting.ID}, list(preference.Accepted))
	require.Equal(t, []string{waiting.ID}, list(preference.Accepted, preference.Applied))
	require.Equal(t, []string{reached.ID, begun.ID}, list(preference.Running))
	require.Equal(t, []string{waiting.ID, reached.ID, begun.ID}, list(preference.Accepted, preference.Running))
	require.Empty(t, list(preference.Applied))
	counted, err := s.OpenCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[ports.OpenKind]ports.OpenCount{
		{Status: preference.Accepted, Kind: preference.Grant}:     {Count: 1, Oldest: Noon},
		{Status: preference.Running, Kind: preference.Withdrawal}: {Count: 2, Oldest: Noon}}, counted)
}

func begunIsRead(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			op, err := s.Begun(t.Context(), r.ID)
			if err != nil {
				t.Error(err)
			}
			want, _, err := s.Step(t.Context(), r.ID, preference.CRM)
			if err != nil {
				t.Error(err)
			}
			if op.Status != preference.Running || op.After.Email.Status != want.After.Email.Status {
				t.Errorf("read %+v instead of %+v", op, want)
			}
		})
	}
	all.Wait()
	_, err := s.Begun(t.Context(), "unheard-of")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// What somebody else has done since must not be taken for not done: neither by who would be refused, nor by who would have
// nothing to do, nor by who stores something.
func begunIsOutdated(t *testing.T, s Store) {
	for name, fn := range map[string]func(*preference.Account, *preference.Operation) error{
		"stores": func(a *preference.Account, op *preference.Operation) error {
			require.NoError(t, a.Park(op, consent.Reason{Code: "refused", Target: "crm"}, Noon))
			return nil
		},
		"does nothing": func(a *preference.Account, op *preference.Operation) error { return nil },
		"is refused": func(a *preference.Account, op *preference.Operation) error {
			return a.Decide(op, preference.RetryIt, preference.System, Noon)
		},
	} {
		customer := preference.CustomerID(NewID())
		first := Unsubscribe(customer)
		AcceptAhead(t, s, customer, first)
		_, err := s.Begun(t.Context(), first.ID)
		require.NoError(t, err)
		// Another process, which knows nothing of what was read here.
		Accept(t, s, customer, Subscribe(customer))
		if name == "is refused" {
			require.NoError(t, s.Update(t.Context(), customer, "", func(a *preference.Account) error {
				return a.Park(a.Open()[0], consent.Reason{Code: "refused", Target: "crm"}, Noon)
			}))
		}
		var saw []int
		require.NoError(t, s.UpdateOperation(t.Context(), first.ID, func(a *preference.Account, op *preference.Operation) error {
			saw = append(saw, len(a.Open()))
			return fn(a, op)
		}), name)
		require.Equal(t, 2, saw[len(saw)-1], "%s: what counts has seen what came", name)
		require.Len(t, load(t, s, customer).Open(), 2)
	}
}

// A crash between the acceptance and the start leaves a turn without a run.
func aheadStalls(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	turns := stalledTurns(t, s, time.Now().Add(time.Hour), 10)
	require.Len(t, turns, 1)
	require.Equal(t, r.ID, turns[0].Run.Operation)
	require.False(t, turns[0].Run.Ahead, "the sweeper cannot know that nothing was done")
	Begin(t, s, r.ID)
	require.Equal(t, preference.Running, operation(t, s, r.ID).Status)
	require.Equal(t, Noon.Add(time.Second), operation(t, s, r.ID).StartedAt)
}

// The answer to a start is lost: the grant is closed while the run that is open after all starts its first step. One of the
// two is refused, whichever comes second.
func neverStartedOrStep(t *testing.T, s Store) {
	closed, stepped := 0, 0
	for i := range 20 {
		r := Subscribe(ada)
		AcceptAhead(t, s, ada, r)
		var both sync.WaitGroup
		var stepErr, closeErr error
		if i%4 == 0 { // whoever waits for the other one is not always the same
			_, _, stepErr = s.StartStep(t.Context(), r.ID, aStep(preference.Off))
		} else {
			both.Go(func() { _, _, stepErr = s.StartStep(t.Context(), r.ID, aStep(preference.Off)) })
		}
		both.Go(func() { closeErr = neverStarted(t, s, r.ID) })
		both.Wait()
		require.NotEqual(t, stepErr == nil, closeErr == nil, "step: %v, closing: %v", stepErr, closeErr)
		if closeErr == nil {
			closed++
			require.Equal(t, fault.Conflict, fault.KindOf(stepErr))
			require.Equal(t, preference.Compensated, operation(t, s, r.ID).Status)
			continue
		}
		stepped++
		f, _ := fault.As(closeErr)
		require.Equal(t, "already-started", f.Code)
		Commit(t, s, r.ID)
	}
	require.Positive(t, stepped)
	t.Logf("%d closed, %d begun", closed, stepped)
}

func nothingAfterNeverStarted(t *testing.T, s Store) {
	r := Subscribe(ada)
	r.Key = "key"
	AcceptAhead(t, s, ada, r)
	require.NoError(t, neverStarted(t, s, r.ID))
	require.NoError(t, neverStarted(t, s, r.ID), "the answer may have been lost")
	_, _, err := s.StartStep(t.Context(), r.ID, aStep(preference.Off))
	f, _ := fault.As(err)
	require.Equal(t, "not-running", f.Code)
	require.NoError(t, s.MarkStep(t.Context(), r.ID, preference.CRM, ports.TargetPending, "timeout", false))
	require.Equal(t, at{"crm": ports.TargetSkipped, "cmp": ports.TargetSkipped}, states(operation(t, s, r.ID)))
	require.Equal(t, []consent.Event{consent.Requested, consent.Compensated}, events(chain(t, s, ada)))
	turn, _ := load(t, s, ada).Turn()
	require.Zero(t, turn)
	id, replayed, err := accept(t.Context(), s, ada, keyed(Subscribe(ada), "key", ""))
	require.NoError(t, err)
	require.False(t, replayed, "its key is free again")
	require.NotEqual(t, r.ID, id)
	require.NoError(t, s.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.Begin(op, 1, Noon) // the run that was open after all
	}))
}

func failureIsBeginning(t *testing.T, s Store) {
	r := Subscribe(ada)
	AcceptAhead(t, s, ada, r)
	require.NoError(t, s.MarkStep(t.Context(), r.ID, preference.CRM, ports.TargetPending, "timeout", false))
	require.Equal(t, preference.Running, operation(t, s, r.ID).Status)
	f, _ := fault.As(neverStarted(t, s, r.ID))
	require.NotNil(t, f)
	require.Equal(t, "already-started", f.Code, "its run is at it")
}
