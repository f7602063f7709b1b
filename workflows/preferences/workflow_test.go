package preferences_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"accord/domain/preference"
	"accord/workflows/preferences"
)

// script is a world in which activities do what a test says; it records their order.
type script struct {
	mu    sync.Mutex
	calls []string

	plans    map[string]preferences.Plan // by operation
	asked    func(op string)             // before the plan is answered
	parked   func()
	next     map[string]string // operation after operation
	reach    func(op string, t preference.Target, attempt int) error
	undo     func(op string, t preference.Target) ([]string, error)
	decision func() preference.Decision
	left     []string
	last     func(op string, t preference.Target) preferences.Progress // what reaching a target comes to
	stopped  preferences.Progress                                      // what stopping an operation comes to
}

func (s *script) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// seen answers the recorded calls with each group of parallel ones sorted.
func (s *script) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.calls)
	for from := 0; from < len(out); {
		to := from
		for to < len(out) && kindOf(out[to]) == kindOf(out[from]) {
			to++
		}
		slices.Sort(out[from:to])
		from = to
	}
	return out
}

// counted answers the recorded calls of that kind, sorted.
func (s *script) counted(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(s.calls), func(c string) bool { return !strings.HasPrefix(c, kind) })
	slices.Sort(out)
	return out
}

func kindOf(call string) string { return call[:3] }

func (s *script) env(t *testing.T) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(preferences.Change, workflow.RegisterOptions{Name: preferences.ChangeWorkflow})
	register := func(name string, fn any) {
		env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	register("preferences.Begin", func(_ context.Context, in preferences.OperationInput) (preferences.Plan, error) {
		s.note("begin " + in.Operation)
		if s.asked != nil {
			s.asked(in.Operation)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.plans[in.Operation], nil
	})
	register("preferences.Reach", func(ctx context.Context, in preferences.TargetInput) (out preferences.Progress, err error) {
		s.note("reach " + string(in.Target))
		if s.reach != nil {
			err = s.reach(in.Operation, in.Target, int(activity.GetInfo(ctx).Attempt))
		}
		if s.last != nil && err == nil {
			out = s.last(in.Operation, in.Target)
		}
		return out, err
	})
	register("preferences.Undo", func(_ context.Context, in preferences.TargetInput) (preferences.UndoResult, error) {
		s.note("undo " + string(in.Target))
		if s.undo == nil {
			return preferences.UndoResult{}, nil
		}
		left, err := s.undo(in.Operation, in.Target)
		return preferences.UndoResult{Left: left}, err
	})
	register("preferences.Commit", func(_ context.Context, in preferences.OperationInput) (preferences.Settled, error) {
		s.note("commit " + in.Operation)
		return preferences.Settled{Next: s.next[in.Operation]}, nil
	})
	register("preferences.StartCompensation", func(_ context.Context, in preferences.ReasonInput) (preferences.Progress, error) {
		s.note("start compensation " + string(in.Target) + " " + in.Code)
		return s.stopped, nil
	})
	register("preferences.FinishCompensation", func(_ context.Context, in preferences.FinishInput) (preferences.Settled, error) {
		s.note("finish compensation " + in.Operation)
		s.left = in.Left
		return preferences.Settled{Next: s.next[in.Operation]}, nil
	})
	register("preferences.Park", func(_ context.Context, in preferences.ReasonInput) error {
		s.note("park " + string(in.Target) + " " + in.Code)
		if s.parked != nil {
			s.parked()
		}
		return nil
	})
	register("preferences.TakeDecision", func(context.Context, preferences.OperationInput) (preferences.DecisionResult, error) {
		return preferences.DecisionResult{Decision: s.decision()}, nil
	})
	return env
}

func (s *script) plan(op, do string, kind preference.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plans == nil {
		s.plans = map[string]preferences.Plan{}
	}
	p := preferences.Plan{Operation: op, Next: s.plans[op].Next, Do: do, Kind: kind, Source: preference.FromApp, Targets: preference.Targets, Summary: "channel promotions"}
	if kind == preference.Grant {
		p.Deadline = time.Now().Add(2 * time.Minute)
	}
	s.plans[op] = p
}

func run(env *testsuite.TestWorkflowEnvironment, op string) {
	env.ExecuteWorkflow(preferences.ChangeWorkflow, preferences.ChangeInput{Operation: op, Run: 1})
}

func refused(code string) error { return temporal.NewNonRetryableApplicationError(code, code, nil) }

func TestAHealthyChangeReachesEveryTargetAndCommits(t *testing.T) {
	t.Parallel()
	s := &script{}
	s.plan("op1", "reach", preference.Grant)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin op1", "reach cmp", "reach crm", "reach push", "commit op1"}, s.seen())
}

func TestQueuedChangesAreSettledByTheSameRunInOrder(t *testing.T) {
	t.Parallel()
	s := &script{next: map[string]string{"op1": "op2"}}
	s.plan("op1", "reach", preference.Grant)
	s.plan("op2", "reach", preference.Withdrawal)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin op1", "reach cmp", "reach crm", "reach push", "commit op1",
		"begin op2", "reach cmp", "reach crm", "reach push", "commit op2"}, s.seen())
}

// Operators find a run by the change it is at.
func TestARunIsFoundByTheChangeItGoesOnWith(t *testing.T) {
	t.Parallel()
	s := &script{next: map[string]string{"op1": "op2"}}
	s.plan("op1", "reach", preference.Grant)
	s.plan("op2", "reach", preference.Withdrawal)
	second := s.plans["op2"]
	second.Source, second.Targets = preference.FromCRM, []preference.Target{preference.CRM, preference.CMP}
	s.plans["op2"] = second
	env := s.env(t)
	var found temporal.SearchAttributes
	env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) { found = args.Get(0).(temporal.SearchAttributes) }).Return(nil).Once()
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	for attribute, want := range map[temporal.SearchAttributeKeyKeyword]string{preferences.AttrOperation: "op2", preferences.AttrKind: "withdrawal",
		preferences.AttrSource: "crm", preferences.AttrTargets: "cmp,crm"} {
		got, set := found.GetKeyword(attribute)
		require.True(t, set, attribute.GetName())
		require.Equal(t, want, got, attribute.GetName())
	}
}

// committedWithPush is a world in which the push provider is the last one reached, and op2 waits behind op1.
func committedWithPush(op string, t preference.Target) preferences.Progress {
	if t != preference.Push {
		return preferences.Progress{}
	}
	return preferences.Progress{Applied: true, Next: map[string]string{"op1": "op2"}[op]}
}

func TestWhatTheLastTargetHasCommittedIsNotCommittedAgain(t *testing.T) {
	t.Parallel()
	s := &script{last: committedWithPush}
	s.plan("op1", "reach", preference.Grant)
	s.plan("op2", "reach", preference.Withdrawal)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin op1", "reach cmp", "reach crm", "reach push", "begin op2", "reach cmp", "reach crm", "reach push"}, s.seen())
	var out preferences.ChangeOutput
	require.NoError(t, env.GetWorkflowResult(&out))
	require.Equal(t, []preferences.Settlement{{Operation: "op1", Outcome: "applied"}, {Operation: "op2", Outcome: "applied"}}, out.Settled)
}

// A target whose answer was lost looks refused to the run, while all of them have the change and it is committed.
func TestAChangeThatIsCommittedIsNotTakenBack(t *testing.T) {
	t.Parallel()
	s := &script{stopped: preferences.Progress{Applied: true, Next: "op2"}, reach: func(_ string, at preference.Target, _ int) error {
		if at == preference.CRM {
			return refused("refused")
		}
		return nil
	}}
	s.plan("op1", "reach", preference.Grant)
	s.plan("op2", "next", preference.Withdrawal)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	calls := s.seen()
	require.Equal(t, "begin op2", calls[len(calls)-1])
	for _, call := range calls {
		require.NotContains(t, call, "undo")
		require.NotContains(t, call, "commit")
	}
}

func TestARefusedGrantIsTakenBackEverywhereAlsoWhereItSeemedRefused(t *testing.T) {
	t.Parallel()
	for _, target := range preference.Targets {
		s := &script{reach: func(_ string, at preference.Target, _ int) error {
			if at == target {
				return refused("refused")
			}
			return nil
		}, undo: func(_ string, at preference.Target) ([]string, error) { return []string{string(at) + ":email"}, nil }}
		s.plan("op1", "reach", preference.Grant)
		env := s.env(t)
		run(env, "op1")
		require.NoError(t, env.GetWorkflowError())
		calls := s.seen()
		require.Contains(t, calls, "start compensation "+string(target)+" refused")
		require.Equal(t, []string{"undo cmp", "undo crm", "undo push", "finish compensation op1"}, calls[len(calls)-4:])
		require.NotContains(t, calls, "commit op1")
		require.Equal(t, []string{"cmp:email", "crm:email", "push:email"}, s.left)
	}
}

func TestAGrantIsCompensatedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	s := &script{reach: func(_ string, at preference.Target, _ int) error {
		if at == preference.CMP {
			return temporal.NewApplicationError("cmp: server_error", "server_error")
		}
		return nil
	}}
	s.plan("op1", "reach", preference.Grant)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Contains(t, s.seen(), "start compensation cmp budget-exhausted")
}

func TestAnUndoIsRepeatedUntilItHasWorked(t *testing.T) {
	t.Parallel()
	failures := 8 // the test environment gives up after ten attempts, a server never does
	s := &script{
		reach: func(_ string, at preference.Target, _ int) error {
			if at == preference.Push {
				return refused("refused")
			}
			return nil
		},
		undo: func(_ string, at preference.Target) ([]string, error) {
			if at == preference.CRM && failures > 0 {
				failures--
				return nil, temporal.NewApplicationError("crm: server_error", "server_error")
			}
			return nil, nil
		},
	}
	s.plan("op1", "reach", preference.Grant)
	env := s.env(t)
	env.SetTestTimeout(time.Minute)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Zero(t, failures)
	require.Equal(t, "finish compensation op1", s.calls[len(s.calls)-1])
}

func TestAWithdrawalGoesForwardThroughAnOutage(t *testing.T) {
	t.Parallel()
	s := &script{reach: func(_ string, at preference.Target, attempt int) error {
		if at == preference.CRM && attempt < 9 { // the test environment gives up after ten
			return temporal.NewApplicationError("crm: server_error", "server_error")
		}
		return nil
	}}
	s.plan("op1", "reach", preference.Withdrawal)
	env := s.env(t)
	env.SetTestTimeout(time.Minute)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, "commit op1", s.calls[len(s.calls)-1])
	require.NotContains(t, s.seen(), "start compensation crm budget-exhausted")
}

func TestARefusedWithdrawalWaitsForTheOperator(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		decision preference.Decision
		last     string
	}{{preference.RetryIt, "commit op1"}, {preference.CompensateIt, "finish compensation op1"}} {
		var mu sync.Mutex
		var decided preference.Decision
		s := &script{reach: func(_ string, at preference.Target, _ int) error {
			mu.Lock()
			defer mu.Unlock()
			if at == preference.CRM && decided == "" {
				return refused("refused")
			}
			return nil
		}, decision: func() preference.Decision {
			mu.Lock()
			defer mu.Unlock()
			return decided
		}}
		s.plan("op1", "reach", preference.Withdrawal)
		env := s.env(t)
		env.RegisterDelayedCallback(func() { // a wake-up without a decision changes nothing
			require.Contains(t, s.seen(), "park crm refused")
			env.SignalWorkflow(preferences.DecisionSignal, nil)
		}, time.Hour)
		env.RegisterDelayedCallback(func() {
			require.NotContains(t, s.seen(), c.last)
			mu.Lock()
			decided = c.decision
			mu.Unlock()
			env.SignalWorkflow(preferences.DecisionSignal, nil)
		}, 2*time.Hour)
		run(env, "op1")
		require.NoError(t, env.GetWorkflowError())
		require.Equal(t, c.last, s.calls[len(s.calls)-1])
	}
}

func TestAParkedOperationIsFoundParkedByARunThatTheSweeperStarted(t *testing.T) {
	t.Parallel()
	s := &script{decision: func() preference.Decision { return preference.RetryIt }}
	s.plan("op1", "wait", preference.Withdrawal)
	env := s.env(t)
	run(env, "op1")
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin op1", "reach cmp", "reach crm", "reach push", "commit op1"}, s.seen())
}

func TestARunGoesOnFromWhatWasDone(t *testing.T) {
	t.Parallel()
	s := &script{}
	s.plan("undoing", "undo", preference.Grant)
	s.plan("lost", "nothing", preference.Grant)
	s.plan("done", "next", preference.Grant)
	env := s.env(t)
	run(env, "undoing")
	require.Equal(t, []string{"begin undoing", "undo cmp", "undo crm", "undo push", "finish compensation undoing"}, s.seen())
	for _, op := range []string{"lost", "done"} {
		s.calls = nil
		env = s.env(t)
		run(env, op)
		require.NoError(t, env.GetWorkflowError())
		require.Equal(t, []string{"begin " + op}, s.seen())
	}
}

func TestCancellingARunCompensatesAGrantAndNotAWithdrawal(t *testing.T) {
	t.Parallel()
	for kind, last := range map[preference.Kind]string{preference.Grant: "finish compensation op1", preference.Withdrawal: "commit op1"} {
		var mu sync.Mutex
		down := true
		s := &script{reach: func(_ string, at preference.Target, _ int) error {
			mu.Lock()
			defer mu.Unlock()
			if at == preference.CRM && down {
				return temporal.NewApplicationError("crm: server_error", "server_error")
			}
			return nil
		}}
		s.plan("op1", "reach", kind)
		env := s.env(t)
		env.RegisterDelayedCallback(env.CancelWorkflow, 5*time.Second)
		env.RegisterDelayedCallback(func() { mu.Lock(); down = false; mu.Unlock() }, 20*time.Second)
		run(env, "op1")
		require.NoError(t, env.GetWorkflowError())
		require.Equal(t, last, s.calls[len(s.calls)-1])
	}
}
