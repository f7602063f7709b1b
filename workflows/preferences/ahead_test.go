package preferences_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"accord/domain/preference"
	"accord/ports"
	"accord/workflows/preferences"
)

// runAhead starts a run the way it is started for an operation that was begun with its acceptance.
func runAhead(env *testsuite.TestWorkflowEnvironment, kind preference.Kind, deadline time.Time) {
	r := ports.Run{Customer: "ada", Number: 1, Operation: "op1", Kind: kind, Source: preference.FromApp, Targets: preference.Targets,
		Summary: "channel promotions", Ahead: true}
	if kind == preference.Grant {
		r.Deadline = deadline
	}
	env.ExecuteWorkflow(preferences.ChangeWorkflow, preferences.InputFor(r))
}

func soon() time.Time { return time.Now().Add(2 * time.Minute) }

func TestWhatWasBegunAheadIsReachedWithoutAsking(t *testing.T) {
	t.Parallel()
	for _, kind := range []preference.Kind{preference.Grant, preference.Withdrawal} {
		s := &script{next: map[string]string{"op1": "op2"}}
		s.plan("op2", "reach", preference.Grant)
		env := s.env(t)
		runAhead(env, kind, soon())
		require.NoError(t, env.GetWorkflowError())
		require.Equal(t, []string{"reach cmp", "reach crm", "reach push", "commit op1",
			"begin op2", "reach cmp", "reach crm", "reach push", "commit op2"}, s.seen(), "what came behind was not begun")
	}
}

func TestARunAsksFirstWhenNoStepWouldTellIt(t *testing.T) {
	t.Parallel()
	in := preferences.InputFor(ports.Run{Operation: "op1", Number: 1, Kind: preference.Withdrawal, Ahead: true})
	require.Nil(t, in.Plan, "without a target there is no step that could be refused")
	in = preferences.InputFor(ports.Run{Operation: "op1", Number: 1, Kind: preference.Withdrawal, Targets: preference.Targets})
	require.Nil(t, in.Plan, "the sweeper does not know how far it is")
}

// The answer to a start was lost, or a run before has settled the operation: every step is refused then. Whatever has
// become of it, the run does nothing but that.
func TestARunThatIsRefusedAsksAndDoesWhatThereIsToDo(t *testing.T) {
	t.Parallel()
	for _, kind := range []preference.Kind{preference.Grant, preference.Withdrawal} {
		for do, then := range map[string][]string{
			"nothing": {},
			"next":    {"begin op2", "commit op2"},
			"undo":    {"undo cmp", "undo crm", "undo push", "finish compensation op1"},
		} {
			s := &script{reach: func(op string, _ preference.Target, _ int) error {
				if op == "op1" {
					return refused("not-running")
				}
				return nil
			}}
			s.plan("op1", do, kind)
			s.plan("op2", "reach", preference.Grant)
			if do == "next" {
				p := s.plans["op1"]
				p.Next = "op2"
				s.plans["op1"] = p
			}
			p := s.plans["op2"]
			p.Targets = nil
			s.plans["op2"] = p
			env := s.env(t)
			runAhead(env, kind, soon())
			require.NoError(t, env.GetWorkflowError(), "%s %s", kind, do)
			calls := s.seen()
			require.Contains(t, calls, "begin op1")
			// Each target is tried at most once, and the question may be asked for more than one of them at a time.
			require.LessOrEqual(t, len(slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return kindOf(c) != "rea" })), 3)
			rest := slices.DeleteFunc(calls, func(c string) bool { return kindOf(c) == "rea" || c == "begin op1" })
			require.Equal(t, then, rest, "%s %s", kind, do)
		}
	}
}

func TestARefusalByATargetIsWhatItWasWithoutAsking(t *testing.T) {
	t.Parallel()
	for kind, then := range map[preference.Kind]string{preference.Grant: "start compensation crm refused", preference.Withdrawal: "park crm refused"} {
		tries := map[preference.Target]int{}
		var s *script
		s = &script{reach: func(_ string, at preference.Target, _ int) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			tries[at]++
			if at == preference.CRM && tries[at] == 1 {
				return refused("refused")
			}
			return nil
		}, decision: func() preference.Decision { return preference.RetryIt }}
		s.plan("op1", "reach", kind)
		env := s.env(t)
		runAhead(env, kind, soon())
		require.NoError(t, env.GetWorkflowError())
		calls := s.seen()
		require.Contains(t, calls, "begin op1")
		require.Contains(t, calls, then)
		// What was called until now: a step that was given up may still end after the run.
		pushes := slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return c != "reach push" })
		require.LessOrEqual(t, len(pushes), 1, "asking does not repeat what was done")
		require.Equal(t, kind == preference.Withdrawal, calls[len(calls)-1] == "commit op1")
	}
}

// There was no worker for longer than the grant may take: no target is to be asked any more.
func TestALateGrantIsAskedAboutBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	s := &script{}
	s.plan("op1", "undo", preference.Grant)
	env := s.env(t)
	runAhead(env, preference.Grant, time.Now().Add(-time.Hour))
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin op1", "undo cmp", "undo crm", "undo push", "finish compensation op1"}, s.seen())
}

// An operator cancels a run that has nothing to do any more, while it tries.
func TestACancelledRunAsksBeforeItTakesAnythingBack(t *testing.T) {
	t.Parallel()
	s := &script{reach: func(string, preference.Target, int) error {
		return temporal.NewApplicationError("crm: server_error", "server_error")
	}}
	s.plan("op1", "next", preference.Grant)
	env := s.env(t)
	env.RegisterDelayedCallback(env.CancelWorkflow, 5*time.Second)
	runAhead(env, preference.Grant, soon())
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, "begin op1", s.calls[len(s.calls)-1])
}

// twoRefuse is a withdrawal that two targets refuse at once, so that both ask. The one that asks second is answered when the
// first is parked and waits for the operator, who decides five seconds later. op2, if it comes to that, is refused by the CRM.
func twoRefuse(t *testing.T, second string) (s *script, env *testsuite.TestWorkflowEnvironment) {
	t.Helper()
	asked, decided, tried := 0, false, map[string]bool{}
	both, looked := make(chan struct{}), make(chan struct{}) // both have asked; who was parked first has looked for a decision
	lookedOnce := sync.OnceFunc(func() { close(looked) })
	s = &script{
		reach: func(op string, at preference.Target, _ int) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			again := tried[op+string(at)]
			tried[op+string(at)] = true
			if !again && (op == "op1") != (at == preference.CRM) {
				return refused("refused")
			}
			return nil
		},
		asked: func(string) {
			s.mu.Lock()
			asked++
			n := asked
			s.mu.Unlock()
			if n == 2 {
				close(both)
				<-looked
			}
			<-both
		},
		parked: func() {
			if second != "" {
				s.plan("op1", second, preference.Withdrawal)
			}
			second = ""
		},
		decision: func() preference.Decision {
			lookedOnce()
			s.mu.Lock()
			defer s.mu.Unlock()
			if decided {
				return preference.RetryIt
			}
			return ""
		},
	}
	s.plan("op1", "reach", preference.Withdrawal)
	s.plan("op2", "reach", preference.Withdrawal)
	env = s.env(t)
	env.RegisterDelayedCallback(func() {
		s.mu.Lock()
		decided = true
		s.mu.Unlock()
		env.SignalWorkflow(preferences.DecisionSignal, nil)
	}, 5*time.Second)
	return s, env
}

// The second finds the operation parked by the first. It waits like that one, and what the operator decides reaches both.
func TestTwoTargetsThatRefuseAtOnceWaitForTheSameDecision(t *testing.T) {
	t.Parallel()
	s, env := twoRefuse(t, "wait")
	runAhead(env, preference.Withdrawal, soon())
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"park cmp refused", "park push refused"}, s.counted("park"))
	require.Equal(t, []string{"reach cmp", "reach cmp", "reach crm", "reach push", "reach push"}, s.counted("reach"))
	require.Equal(t, []string{"commit op1"}, s.counted("commit"))
}

// The second finds the operation settled, while the first waits for an operator: that is over, and must not take the signal that
// is meant for the next operation.
func TestWhoWaitedForADecisionThatNobodyMakesTakesNobodyElses(t *testing.T) {
	t.Parallel()
	s, env := twoRefuse(t, "next")
	p := s.plans["op1"]
	p.Next = "op2"
	s.plans["op1"] = p
	runAhead(env, preference.Withdrawal, soon())
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"commit op2"}, s.counted("commit"))
}
