package temporal

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"accord/workflows/ledger"
)

const defaultSealEvery = time.Minute

// ledgerSchedule makes what was added to the ledger be sealed.
func (c *Connection) ledgerSchedule(ctx context.Context) error {
	return c.schedule(ctx, ledger.SealSchedule, c.cfg.SealEvery, &client.ScheduleWorkflowAction{ID: ledger.SealSchedule,
		Workflow: ledger.SealWorkflow, TaskQueue: ledger.TaskQueue, Args: []any{ledger.SealInput{}},
		StaticSummary: "seal what was added to the ledger"})
}
