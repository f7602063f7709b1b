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

// Steps is the contract of ports.Steps. open gives an empty store.
func Steps(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"none before the first":                          noStep,
		"the first one stored wins":                      firstStepWins,
		"of several at once one wins":                    oneStepWins,
		"only a running operation is written for":        onlyRunning,
		"unknown operations are not found":               stepsNotFound,
		"failures are counted":                           failuresCounted,
		"a failure before the first step":                failureBeforeStep,
		"who woke up late changes nothing":               lateMark,
		"holders of a token, latest first":               holders,
		"a compensation sees every step that was stored": compensationSeesStep,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func running(t *testing.T, s Store) string {
	t.Helper()
	r := Subscribe(ada)
	Accept(t, s, ada, r)
	Begin(t, s, r.ID)
	return r.ID
}

func aStep(prior preference.State) ports.TargetStep {
	email := preference.Item{Kind: preference.EmailItem}
	device := preference.Item{Kind: preference.DeviceItem, Key: "token/with a slash"}
	return ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying,
		Assignment: preference.Assignment{Write: preference.Holding{email: preference.On, device: preference.Off},
			Saw: preference.Holding{email: preference.Unknown, device: preference.On}, Restore: preference.Holding{email: prior, device: preference.On}},
		Moved: []ports.MovedToken{{Token: "token/with a slash", Owner: grace, State: preference.On}}}
}

func noStep(t *testing.T, s Store) {
	id := running(t, s)
	op, step, err := s.Step(t.Context(), id, preference.CRM)
	require.NoError(t, err)
	require.Nil(t, step)
	require.Equal(t, operation(t, s, id).Operation, op)
}

func firstStepWins(t *testing.T, s Store) {
	id := running(t, s)
	first := aStep(preference.Off)
	stored, isFirst, err := s.StartStep(t.Context(), id, first)
	require.NoError(t, err)
	require.True(t, isFirst)
	require.Equal(t, first, stored)
	again, isFirst, err := s.StartStep(t.Context(), id, aStep(preference.Neutral))
	require.NoError(t, err)
	require.False(t, isFirst)
	require.Equal(t, first, again)
	_, step, err := s.Step(t.Context(), id, preference.CRM)
	require.NoError(t, err)
	require.Equal(t, &first, step)
	_, other, err := s.Step(t.Context(), id, preference.CMP)
	require.NoError(t, err)
	require.Nil(t, other)
}

func oneStepWins(t *testing.T, s Store) {
	id := running(t, s)
	var all sync.WaitGroup
	got := make([]ports.TargetStep, 8)
	for i := range got {
		all.Go(func() {
			var err error
			prior := []preference.State{preference.Off, preference.Neutral, preference.On}[i%3]
			if got[i], _, err = s.StartStep(t.Context(), id, aStep(prior)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, step := range got {
		require.Equal(t, got[0], step)
	}
}

func onlyRunning(t *testing.T, s Store) {
	r := Subscribe(ada)
	refused := func() {
		t.Helper()
		_, _, err := s.StartStep(t.Context(), r.ID, aStep(preference.Off))
		f, known := fault.As(err)
		require.True(t, known)
		require.Equal(t, "not-running", f.Code)
		require.Equal(t, fault.Conflict, f.Kind)
	}
	Accept(t, s, ada, r)
	refused()
	Begin(t, s, r.ID)
	_, _, err := s.StartStep(t.Context(), r.ID, aStep(preference.Off))
	require.NoError(t, err)
	require.NoError(t, s.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.StartCompensation(op, consent.Reason{Code: "budget-exhausted"}, Noon)
	}))
	refused() // though it is stored
	Compensate(t, s, r.ID)
	refused()
}

func stepsNotFound(t *testing.T, s Store) {
	_, _, err := s.Step(t.Context(), "unheard-of", preference.CRM)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, _, err = s.StartStep(t.Context(), "unheard-of", aStep(preference.Off))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	err = s.MarkStep(t.Context(), "unheard-of", preference.CRM, ports.TargetApplied, "", false)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func failuresCounted(t *testing.T, s Store) {
	id := running(t, s)
	_, _, err := s.StartStep(t.Context(), id, aStep(preference.Off))
	require.NoError(t, err)
	for i, mark := range []struct {
		state     ports.TargetState
		code      string
		maybe     bool
		attempts  int
		lastCode  string
		maybeThen bool
	}{
		{ports.TargetApplying, "rate-limited", false, 1, "rate-limited", false},
		{ports.TargetApplying, "timeout", true, 2, "timeout", true},
		{ports.TargetApplying, "rate-limited", false, 3, "rate-limited", true}, // once said stays said
		{ports.TargetApplied, "", true, 3, "rate-limited", true},
	} {
		require.NoError(t, s.MarkStep(t.Context(), id, preference.CRM, mark.state, mark.code, mark.maybe))
		_, step, err := s.Step(t.Context(), id, preference.CRM)
		require.NoError(t, err)
		want := aStep(preference.Off)
		want.State, want.Attempts, want.MaybeDone = mark.state, mark.attempts, mark.maybeThen
		require.Equal(t, &want, step, "mark %d", i)
		require.Equal(t, mark.lastCode, operation(t, s, id).Progress[preference.CRM].Code, "mark %d", i)
	}
}

func failureBeforeStep(t *testing.T, s Store) {
	id := running(t, s)
	require.NoError(t, s.MarkStep(t.Context(), id, preference.CRM, ports.TargetPending, "timeout", false))
	_, step, err := s.Step(t.Context(), id, preference.CRM)
	require.NoError(t, err)
	require.Nil(t, step, "nothing is stored that could be undone")
	require.Equal(t, 1, operation(t, s, id).Progress[preference.CRM].Attempts)
	want := aStep(preference.Off)
	stored, isFirst, err := s.StartStep(t.Context(), id, want)
	require.NoError(t, err)
	require.True(t, isFirst)
	want.Attempts = 1
	require.Equal(t, want, stored)
}

func lateMark(t *testing.T, s Store) {
	id := running(t, s)
	_, _, err := s.StartStep(t.Context(), id, aStep(preference.Off))
	require.NoError(t, err)
	require.NoError(t, s.MarkStep(t.Context(), id, preference.CRM, ports.TargetRestored, "", true))
	Compensate(t, s, id)
	require.NoError(t, s.MarkStep(t.Context(), id, preference.CRM, ports.TargetApplying, "timeout", true))
	p := operation(t, s, id).Progress[preference.CRM]
	require.Equal(t, ports.TargetRestored, p.State)
	require.Zero(t, p.Attempts)
}

func holders(t *testing.T, s Store) {
	find := func(token string, except preference.CustomerID) (out []preference.CustomerID) {
		t.Helper()
		list, err := s.Holders(t.Context(), token, except)
		require.NoError(t, err)
		for _, h := range list {
			require.Equal(t, token, h.Device.Token)
			out = append(out, h.Customer)
		}
		return out
	}
	require.Empty(t, find("token-1", "nobody"))
	pending := Register(ada, "phone", "token-1")
	Accept(t, s, ada, pending)
	require.Empty(t, find("token-1", "nobody"), "not before it is applied")
	waiting, err := s.Claimants(t.Context(), "token-1", "nobody")
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, ports.Holder{Customer: ada, Device: preference.Device{ID: "phone", Token: "token-1", TokenAt: waiting[0].Device.TokenAt}}, waiting[0])
	require.True(t, Noon.Equal(waiting[0].Device.TokenAt))
	waiting, err = s.Claimants(t.Context(), "token-1", ada)
	require.NoError(t, err)
	require.Empty(t, waiting)
	Begin(t, s, pending.ID)
	Commit(t, s, pending.ID)
	require.Equal(t, []preference.CustomerID{ada}, find("token-1", "nobody"))
	require.Empty(t, find("token-1", ada))
	waiting, err = s.Claimants(t.Context(), "token-1", "nobody")
	require.NoError(t, err)
	require.Empty(t, waiting, "it has it")

	later := Register(grace, "phone", "token-1")
	require.NoError(t, s.Update(t.Context(), grace, "", func(a *preference.Account) error {
		_, _, err := a.Accept(later, Noon.Add(time.Minute))
		return err
	}))
	Begin(t, s, later.ID)
	Commit(t, s, later.ID)
	require.Equal(t, []preference.CustomerID{grace, ada}, find("token-1", "nobody"), "the latest first")

	list, err := s.Holders(t.Context(), "token-1", grace)
	require.NoError(t, err)
	require.Equal(t, preference.DeviceID("phone"), list[0].Device.ID)
	require.Equal(t, "1.2.3", list[0].Device.AppVersion)

	Apply(t, s, ada, Register(ada, "phone", "token-2")) // a new token for the same device
	require.Equal(t, []preference.CustomerID{grace}, find("token-1", "nobody"))
	require.Equal(t, []preference.CustomerID{ada}, find("token-2", "nobody"))
	Apply(t, s, ada, Register(ada, "reinstalled", "token-2")) // the token under a new device
	list, err = s.Holders(t.Context(), "token-2", "nobody")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, preference.DeviceID("reinstalled"), list[0].Device.ID)
	Apply(t, s, ada, Release(ada, "reinstalled"))
	require.Empty(t, find("token-2", "nobody"))
}

// A step and a compensation that meet: either the step is refused, or the compensation finds it.
func compensationSeesStep(t *testing.T, s Store) {
	for range 10 {
		r := Subscribe(ada)
		Accept(t, s, ada, r)
		Begin(t, s, r.ID)
		var both sync.WaitGroup
		var stepErr error
		both.Go(func() { _, _, stepErr = s.StartStep(t.Context(), r.ID, aStep(preference.Off)) })
		var seen *ports.TargetStep
		both.Go(func() {
			err := s.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
				return a.StartCompensation(op, consent.Reason{Code: "budget-exhausted"}, Noon)
			})
			if err == nil {
				_, seen, err = s.Step(t.Context(), r.ID, preference.CRM)
			}
			if err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if stepErr != nil {
			require.Equal(t, fault.Conflict, fault.KindOf(stepErr))
		}
		require.Equal(t, stepErr == nil, seen != nil)
		Compensate(t, s, r.ID)
	}
}
