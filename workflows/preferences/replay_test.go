package preferences_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/workflows/preferences"
)

// recorded are the shapes a run has had since its first release, recorded from a real server by the system test's
// -record flag. Today's code must replay all of them, or it strands the runs that are open. A red replay is mended with
// workflow.GetVersion, never by recording again.
var recorded = []string{"applied", "compensated", "withdrawal-through-outage", "queued-changes", "parked-and-retried", "parked-and-compensated"}

func TestRecordedHistoriesReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	for _, name := range recorded {
		require.True(t, slices.ContainsFunc(files, func(f string) bool {
			return strings.HasPrefix(filepath.Base(f), name+"-")
		}), "no history of %s", name)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflowWithOptions(preferences.Change, workflow.RegisterOptions{Name: preferences.ChangeWorkflow})
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}

// TestReplayNoticesAnotherSequence proves that the test above can fail.
func TestReplayNoticesAnotherSequence(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/applied-*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(func(ctx workflow.Context, in preferences.ChangeInput) error {
		if err := workflow.Sleep(ctx, 1); err != nil {
			return err
		}
		_, err := preferences.Change(ctx, in)
		return err
	}, workflow.RegisterOptions{Name: preferences.ChangeWorkflow})
	require.ErrorContains(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, files[0]), "TMPRL1100")
}

// TestHistoriesHoldNoPersonalData: they were recorded for a customer whose id is an e-mail address and whose push token
// says what it is.
func TestHistoriesHoldNoPersonalData(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var history any
		require.NoError(t, json.Unmarshal(raw, &history))
		var b strings.Builder
		collect(history, &b)
		for _, secret := range []string{"example.com", "very-secret-token"} {
			require.NotContains(t, b.String(), secret, file)
		}
		require.Contains(t, b.String(), "op_", "payloads were not decoded")
	}
}

// collect writes every string, and what it says when it is base64, as payloads are.
func collect(v any, b *strings.Builder) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			collect(inner, b)
		}
	case []any:
		for _, inner := range v {
			collect(inner, b)
		}
	case string:
		b.WriteString(v + "\n")
		if decoded, err := base64.StdEncoding.DecodeString(v); err == nil {
			b.Write(decoded)
		}
	}
}
