package inbox_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/workflows/inbox"
)

// recorded are the shapes a run has had since its first release, recorded from a real server by the -record flag of the
// tests of adapters/temporal. Today's code must replay all of them, or it strands the runs that are open. A red replay is
// mended with workflow.GetVersion, never by recording again.
var recorded = map[string]struct {
	name string
	fn   any
}{
	"delivered":  {inbox.DeliverWorkflow, inbox.Deliver},
	"pulled":     {inbox.PullWorkflow, inbox.PullCampaigns},
	"cleaned-up": {inbox.CleanUpWorkflow, inbox.CleanUp},
}

func TestRecordedHistoriesReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	for shape, w := range recorded {
		at := slices.IndexFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), shape+"-") })
		require.GreaterOrEqual(t, at, 0, "no history of %s", shape)
		for _, file := range files {
			if !strings.HasPrefix(filepath.Base(file), shape+"-") {
				continue
			}
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflowWithOptions(w.fn, workflow.RegisterOptions{Name: w.name})
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file), file)
		}
	}
}

// TestReplayNoticesAnotherSequence proves that the test above can fail.
func TestReplayNoticesAnotherSequence(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/delivered-*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(func(ctx workflow.Context, in inbox.DeliverInput) (inbox.DeliverOutput, error) {
		if err := workflow.Sleep(ctx, 1); err != nil {
			return inbox.DeliverOutput{}, err
		}
		return inbox.Deliver(ctx, in)
	}, workflow.RegisterOptions{Name: inbox.DeliverWorkflow})
	require.ErrorContains(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, files[0]), "TMPRL1100")
}
