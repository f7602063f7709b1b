package reconciliation

import (
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"accord/domain/fault"
	"accord/ports"
	"accord/ports/mocks"
)

func run(t *testing.T, upkeep ports.ReconciliationUpkeep) (ports.ReconciliationReport, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	Register(env, &Activities{Upkeep: upkeep})
	env.ExecuteWorkflow(ReconcileWorkflow, Input{})
	require.True(t, env.IsWorkflowCompleted())
	var out ports.ReconciliationReport
	if err := env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, env.GetWorkflowResult(&out)
}

func TestARunIsTriedAgainWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockReconciliationUpkeep(gomock.NewController(t))
	gomock.InOrder(
		upkeep.EXPECT().Reconcile(gomock.Any(), gomock.Any(), gomock.Any()).Return(ports.ReconciliationReport{}, fault.New(fault.Unavailable, "unavailable", "not just now")).Times(2),
		upkeep.EXPECT().Reconcile(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
			func(_ any, limit time.Duration, alive func(ports.ReconciliationReport)) (ports.ReconciliationReport, error) {
				require.Less(t, limit, 2*time.Minute, "it ends by itself before it is ended")
				alive(ports.ReconciliationReport{Checked: 1})
				return ports.ReconciliationReport{Checked: 3, Drifts: 1, Operations: 1}, nil
			}),
	)
	out, err := run(t, upkeep)
	require.NoError(t, err)
	require.Equal(t, 3, out.Checked)
}

func TestCausesStayOutOfHistories(t *testing.T) {
	t.Parallel()
	upkeep := mocks.NewMockReconciliationUpkeep(gomock.NewController(t))
	upkeep.EXPECT().Reconcile(gomock.Any(), gomock.Any(), gomock.Any()).Return(ports.ReconciliationReport{}, errors.New("customer someone@example.org")).AnyTimes()
	_, err := run(t, upkeep)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "someone")
}
