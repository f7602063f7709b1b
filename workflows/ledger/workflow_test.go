package ledger

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/domain/fault"
	"accord/ports"
	"accord/ports/mocks"
)

func run(t *testing.T, upkeep ports.LedgerUpkeep) (out ports.Sealed, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	Register(env, &Activities{Upkeep: upkeep})
	env.ExecuteWorkflow(SealWorkflow, SealInput{})
	require.True(t, env.IsWorkflowCompleted())
	if err := env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, env.GetWorkflowResult(&out)
}

func TestSealingIsTriedAgainUntilItSucceeds(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockLedgerUpkeep(gomock.NewController(t))
	gomock.InOrder(
		upkeep.EXPECT().Seal(gomock.Any()).Return(ports.Sealed{}, fault.New(fault.Unavailable, "unavailable", "not just now")).Times(3),
		upkeep.EXPECT().Seal(gomock.Any()).Return(ports.Sealed{Checkpoints: 1, Size: 7}, nil),
	)
	out, err := run(t, upkeep)
	require.NoError(t, err)
	require.Equal(t, ports.Sealed{Checkpoints: 1, Size: 7}, out)
}

func TestCausesStayOutOfHistories(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockLedgerUpkeep(gomock.NewController(t))
	upkeep.EXPECT().Seal(gomock.Any()).Return(ports.Sealed{}, errors.New("customer someone@example.org")).AnyTimes()
	_, err := run(t, upkeep)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "someone")
}

// Today's code must replay what was recorded from a real server (adapters/temporal, -record), or it strands open runs.
func TestRecordedHistoriesReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sealed-*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		replayer := worker.NewWorkflowReplayer()
		replayer.RegisterWorkflowWithOptions(Seal, workflow.RegisterOptions{Name: SealWorkflow})
		require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file), file)

		other := worker.NewWorkflowReplayer() // or else this test can't fail
		other.RegisterWorkflowWithOptions(func(ctx workflow.Context, in SealInput) (ports.Sealed, error) {
			if err := workflow.Sleep(ctx, 1); err != nil {
				return ports.Sealed{}, err
			}
			return Seal(ctx, in)
		}, workflow.RegisterOptions{Name: SealWorkflow})
		require.ErrorContains(t, other.ReplayWorkflowHistoryFromJSONFile(nil, file), "TMPRL1100")
	}
}
