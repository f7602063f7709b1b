package metrics

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

func run(t *testing.T, upkeep ports.MetricsUpkeep) (ports.RolledUp, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	Register(env, &Activities{Upkeep: upkeep})
	env.ExecuteWorkflow(RollUpWorkflow, RollUpInput{})
	require.True(t, env.IsWorkflowCompleted())
	var out ports.RolledUp
	if err := env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, env.GetWorkflowResult(&out)
}

func TestARollUpIsTriedAgainUntilItSucceeds(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockMetricsUpkeep(gomock.NewController(t))
	gomock.InOrder(
		upkeep.EXPECT().RollUp(gomock.Any()).Return(ports.RolledUp{}, fault.New(fault.Unavailable, "unavailable", "not just now")).Times(3),
		upkeep.EXPECT().RollUp(gomock.Any()).Return(ports.RolledUp{}, errors.New("a bug")),
		upkeep.EXPECT().RollUp(gomock.Any()).Return(ports.RolledUp{Facts: 7, More: true}, nil),
	)
	out, err := run(t, upkeep)
	require.NoError(t, err)
	require.Equal(t, ports.RolledUp{Facts: 7, More: true}, out)
}

func TestCausesStayOutOfHistories(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockMetricsUpkeep(gomock.NewController(t))
	upkeep.EXPECT().RollUp(gomock.Any()).Return(ports.RolledUp{}, errors.New("customer someone@example.org")).AnyTimes()
	_, err := run(t, upkeep)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "someone")
}
