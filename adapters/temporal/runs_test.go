package temporal_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"accord/adapters/temporal"
	"accord/domain/preference"
	"accord/ports"
)

// Nobody works on the runs, so each stays as it was started.
func TestRunsAreFoundByWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	ctx, c := setUp(t)
	for _, r := range []ports.Run{
		{Customer: "ada", Number: 1, Operation: "op_1", Kind: preference.Grant, Source: preference.FromApp, Targets: preference.Targets},
		{Customer: "grace", Number: 1, Operation: "op_2", Kind: preference.Withdrawal, Source: preference.FromCRM, Targets: []preference.Target{preference.CMP, preference.Push}},
		{Customer: "grace", Number: 2, Operation: "op_3", Kind: preference.Withdrawal, Source: preference.FromApp, Targets: []preference.Target{preference.CRM, preference.CMP}},
	} {
		require.NoError(t, c.Start(ctx, r))
	}
	for query, want := range map[string]int64{
		`AccordOperation = "op_2"`:                   1,
		`AccordKind = "withdrawal"`:                  2,
		`AccordSource = "app"`:                       2,
		`AccordTargetSet STARTS_WITH "push"`:         2,
		`AccordTargetSet = "push,cmp,crm"`:           1,
		`AccordTargetSet IN ("cmp,crm", "push,cmp")`: 2,
	} {
		require.NoError(t, found(ctx, c, query, want))
	}
}

// found waits until the query finds so many runs: Temporal lists what it has started a little later.
func found(ctx context.Context, c *temporal.Connection, query string, want int64) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		out, err := c.Client().CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err != nil || out.GetCount() == want {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}
