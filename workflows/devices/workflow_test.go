package devices

import (
	"errors"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"accord/domain/fault"
	"accord/ports"
	"accord/ports/mocks"
)

func run(t *testing.T, upkeep ports.DeviceUpkeep) (out ports.PrunedDevices, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	Register(env, &Activities{Upkeep: upkeep})
	env.ExecuteWorkflow(PruneWorkflow, PruneInput{})
	require.True(t, env.IsWorkflowCompleted())
	if err := env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, env.GetWorkflowResult(&out)
}

func TestPruningIsTriedAgainUntilItSucceeds(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockDeviceUpkeep(gomock.NewController(t))
	gomock.InOrder(
		upkeep.EXPECT().PruneStale(gomock.Any()).Return(ports.PrunedDevices{}, fault.New(fault.Unavailable, "unavailable", "not just now")).Times(2),
		upkeep.EXPECT().PruneStale(gomock.Any()).Return(ports.PrunedDevices{Found: 3, Pruned: 2}, nil),
	)
	out, err := run(t, upkeep)
	require.NoError(t, err)
	require.Equal(t, ports.PrunedDevices{Found: 3, Pruned: 2}, out)
}

func TestCausesStayOutOfHistories(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockDeviceUpkeep(gomock.NewController(t))
	upkeep.EXPECT().PruneStale(gomock.Any()).Return(ports.PrunedDevices{}, errors.New("customer someone@example.org")).AnyTimes()
	_, err := run(t, upkeep)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "someone")
}
