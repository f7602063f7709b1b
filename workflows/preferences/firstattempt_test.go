package preferences

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

// attemptRig is one target under mocks, and an operation that is running.
func attemptRig(t *testing.T) (*Activities, *mocks.MockSteps, *mocks.MockTargetSystem) {
	t.Helper()
	ctrl := gomock.NewController(t)
	steps, crm := mocks.NewMockSteps(ctrl), mocks.NewMockTargetSystem(ctrl)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	change, err := preference.SetEmail(preference.Subscribed, nil)
	require.NoError(t, err)
	before := preference.Defaults("ada", cat)
	steps.EXPECT().Begun(gomock.Any(), "op").AnyTimes().Return(preference.Operation{ID: "op", Customer: "ada", Status: preference.Running,
		Change: change, Before: before.Snapshot(), After: before.Snapshot()}, nil)
	crm.EXPECT().Name().AnyTimes().Return(preference.CRM)
	return &Activities{Steps: steps, Targets: map[preference.Target]ports.TargetSystem{preference.CRM: crm}, Catalogue: cat,
		Logger: slog.New(slog.DiscardHandler)}, steps, crm
}

var down = &ports.TargetError{Target: preference.CRM, Class: ports.Transient, Code: "server_error"}

// left is the step of an attempt that has ended without saying how: its run was lost with it.
func left() *ports.TargetStep {
	return &ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying, Assignment: preference.Assignment{
		Write: preference.Holding{preference.Item{Kind: preference.EmailItem}: preference.On}}}
}

// The first attempt of another run knows nothing of the step and cannot read the target. Its failure says "without effect",
// and that must not be taken for the lost attempt's: the undo would leave what that one has written.
func TestAFirstAttemptThatFailsKeepsTheDoubtThatALostRunHasLeft(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(nil, down)
	gomock.InOrder(
		steps.EXPECT().Step(gomock.Any(), "op", preference.CRM).Return(preference.Operation{ID: "op"}, left(), nil),
		steps.EXPECT().MarkStep(gomock.Any(), "op", preference.CRM, ports.TargetApplying, "", true),
		steps.EXPECT().MarkStep(gomock.Any(), "op", preference.CRM, ports.TargetPending, "server_error", false),
	)
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
	require.ErrorIs(t, err, error(down))
}

func TestAFirstAttemptThatFailsWithNothingLeftBehindIsWithoutDoubt(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(nil, down)
	steps.EXPECT().Step(gomock.Any(), "op", preference.CRM).Return(preference.Operation{ID: "op"}, nil, nil)
	steps.EXPECT().MarkStep(gomock.Any(), "op", preference.CRM, ports.TargetPending, "server_error", false)
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
	require.ErrorIs(t, err, error(down))
}

// While it cannot be told whether there is a step, nothing is said about it.
func TestAFailureIsNotRecordedOverAStepThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(nil, down)
	steps.EXPECT().Step(gomock.Any(), "op", preference.CRM).Return(preference.Operation{}, nil, fault.New(fault.Unavailable, "unavailable", "down"))
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
	require.ErrorIs(t, err, error(down))
}

// What the lost attempt was going to write is what is written, and it counts as maybe done before that.
func TestAFirstAttemptTakesUpTheStepThatALostRunHasLeft(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	want := left().Assignment.Write
	gomock.InOrder(
		crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(preference.Holding{}, nil),
		steps.EXPECT().StartStep(gomock.Any(), "op", gomock.Any()).Return(*left(), false, nil),
		steps.EXPECT().MarkStep(gomock.Any(), "op", preference.CRM, ports.TargetApplying, "", true),
		crm.EXPECT().Write(gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, w ports.TargetWrite) error {
			require.Equal(t, want, w.Set)
			return nil
		}),
		crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(want, nil),
	)
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
	require.NoError(t, err)
}

// Closed as never started, just before the first step: nothing is written.
func TestAStepThatIsRefusedWritesNothing(t *testing.T) {
	t.Parallel()
	a, steps, crm := attemptRig(t)
	crm.EXPECT().Read(gomock.Any(), gomock.Any()).Return(preference.Holding{}, nil)
	refusal := fault.New(fault.Conflict, notRunning, "the operation is not running any more")
	steps.EXPECT().StartStep(gomock.Any(), "op", gomock.Any()).Return(ports.TargetStep{}, false, refusal)
	_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
	require.ErrorIs(t, err, refusal)
}

// While a target is slow to tell what it holds, there is no step that shows that the operation runs.
func TestAnOperationShowsThatItRunsWhileItsTargetIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, steps, crm := attemptRig(t)
		began := time.Now()
		crm.EXPECT().Read(gomock.Any(), gomock.Any()).DoAndReturn(func(context.Context, preference.CustomerID) (preference.Holding, error) {
			<-time.After(2 * showsAfter) // in a bubble, where nobody waits for it
			return preference.Holding{}, nil
		})
		gomock.InOrder(
			steps.EXPECT().ShowBegun(gomock.Any(), "op").DoAndReturn(func(context.Context, string) error {
				require.Equal(t, showsAfter, time.Since(began))
				return nil
			}),
			steps.EXPECT().StartStep(gomock.Any(), "op", gomock.Any()).Return(ports.TargetStep{Target: preference.CRM}, true, nil),
		)
		_, err := a.reachOnce(t.Context(), TargetInput{Operation: "op", Target: preference.CRM}, true)
		require.NoError(t, err)
	})
}
