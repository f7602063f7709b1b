package bench

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/app/compose"
	"accord/app/config"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/workflows/preferences"
)

// BenchmarkSaga holds changes that reach three targets against a bare workflow with as many steps, all on one Temporal
// server: two local activities and three parallel activities that do nothing, without search attributes, summaries, a
// database or anything else. The worker's options are the same, and so are the activities' time limits: Temporal works on
// each when it is over, whatever has become of the activity. It is started in two ways, and each ratio is given to both:
//
//   - bare, eager start: with EnableEagerStart, as changes are; the strict comparison
//   - bare, default start: the ordinary way, with the SDK's default options; its first task goes through the task queue
//
// Beside them take turns:
//
//   - use case: Service.Change until it knows the outcome; targets in memory, so what differs is the saga's own cost
//   - HTTP: the same through the API, with a bearer token, on connections that stay open
//   - vendors: HTTP again, with the vendors' adapters and the emulated vendors, as `accord dev` runs them
//
// Every change is of another customer who is known already; half are grants, half withdrawals. A change is answered before
// its run is closed; each measurement lasts until all runs are, so that what is left to be done then counts too. Then there
// is a pause until the last of the run's time limits is over: Temporal works on each when it is due, and a run has seven.
// Without it, each contender would pay for those of the one before it.
func BenchmarkSaga(b *testing.B) {
	const other = "whole" // namespace: two workers on one task queue would take each other's work
	pg, server := startPostgres(b), startTemporal(b, other)
	watched := processes{temporal: server.PID(), postgres: pg.server.PID()}
	statements := &counter{}
	cfg := configured(b, pg.database(b, "saga"), server.Address())
	a := startAccord(b, cfg, inMemory(), statements)
	bare := startBare(b, cfg, a.runs.Client())

	known := settle(b, cfg.DatabaseURL.Reveal(), "c-", false, catalogueOf(b, cfg))
	known.issuer = a.issuer
	whole := configured(b, pg.database(b, "whole"), server.Address())
	whole.TemporalNamespace = other
	base, issuer := startWhole(b, whole)
	others := settle(b, whole.DatabaseURL.Reveal(), "v-", false, catalogueOf(b, whole))
	others.issuer = issuer

	contenders := []contender{
		{name: "bare workflow, eager start", op: bare(true)},
		{name: "bare workflow, default start", op: bare(false)},
		{name: "use case", op: useCase(b, a, known)},
		overHTTP(b, "HTTP", a.base, known),
		overHTTP(b, "HTTP, vendors", base, others),
	}
	for i := range contenders {
		contenders[i].drain, contenders[i].rests = allClosed(a.runs.Client()), workflowTaskTimeout+time.Second
	}
	elsewhere, err := client.NewClientFromExisting(a.runs.Client(), client.Options{Namespace: other})
	require.NoError(b, err)
	contenders[len(contenders)-1].drain = allClosed(elsewhere)
	const shortest = 4 * time.Second                       // with 64 clients a change takes a second, and each measurement ends with the last one
	const strict, ordinary, useCaseAt, httpAt = 0, 1, 2, 3 // places among the contenders
	table := newTable(b, "changes", "eager", "default")
	var notes []string
	for _, clients := range clientCounts {
		measured := rounds(b, clients, max(window(b), shortest), watched, contenders)
		table.add(clients, contenders, measured)
		for _, i := range []int{useCaseAt, httpAt} {
			for _, base := range []int{strict, ordinary} {
				what := fmt.Sprintf("%s at %d clients to %s, ", contenders[i].name, clients, contenders[base].name)
				notes = append(notes, goal(b, what+"throughput", ratios(measured[i], measured[base], rate), .9, false),
					goal(b, what+"p50", ratios(measured[i], measured[base], millis(.5)), 1.2, true))
			}
		}
	}
	notes = append(notes, shapes(b, a.runs.Client()), statements.perUnit(b, "use case", contenders[useCaseAt].op))
	b.ReportMetric(0, "ns/op")
	table.print(notes...)
}

func useCase(b *testing.B, a *accord, known *people) func(context.Context) error {
	changes := map[bool]preference.Change{true: switching(b, true), false: switching(b, false)}
	return func(ctx context.Context) error {
		n, on, err := known.next()
		if err != nil {
			return err
		}
		return patiently(func() error {
			result, err := a.service.Change(ctx, known.command(n, changes[!on]))
			if err == nil && result.Operation.Status != preference.Applied {
				err = fmt.Errorf("the operation is %s", result.Operation.Status)
			}
			return err
		})
	}
}

func overHTTP(b *testing.B, name, base string, known *people) contender {
	server := newAPI(b, base)
	return contender{name: name, prepare: func(clients int) { known.sign(200 + 40*clients) }, op: func(ctx context.Context) error {
		n, on, err := known.next()
		if err != nil {
			return err
		}
		token := known.token(n)
		return patiently(func() error { return server.switchPromotions(ctx, token, !on, "wait=30", 200) })
	}}
}

// patiently asks again when a grant is refused because Temporal did not answer in time, as it may not on a machine that is
// busy with other things. The customer waits on.
func patiently(ask func() error) error {
	for try := 1; ; try++ {
		if err := ask(); fault.KindOf(err) != fault.Unavailable || try == 5 {
			return err
		}
	}
}

// The time limits of an attempt at a target, for the bare workflow.
const startToClose, heartbeat = 30 * time.Second, 6 * time.Second

// workflowTaskTimeout is Temporal's default, and the last time limit of a run that is due.
const workflowTaskTimeout = 10 * time.Second

const bareQueue, bareWorkflow = "bare", "bench.Bare"

// startBare is what Temporal itself costs, with either way of starting.
func startBare(b *testing.B, cfg config.Config, c client.Client) func(eager bool) func(context.Context) error {
	b.Helper()
	w := worker.New(c, bareQueue, compose.WorkerOptions(cfg, quiet()))
	w.RegisterWorkflowWithOptions(fiveSteps, workflow.RegisterOptions{Name: bareWorkflow})
	w.RegisterActivity(nothing)
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
	return func(eager bool) func(context.Context) error {
		return func(ctx context.Context) error {
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "bare/" + newID(), TaskQueue: bareQueue, EnableEagerStart: eager}, bareWorkflow)
			if err != nil {
				return err
			}
			return run.Get(ctx, nil)
		}
	}
}

// allClosed waits until no run of a contender is open.
func allClosed(c client.Client) func(context.Context) error {
	query := fmt.Sprintf("WorkflowType IN ('%s', '%s') AND ExecutionStatus = 'Running'", bareWorkflow, preferences.ChangeWorkflow)
	return func(ctx context.Context) error {
		look := time.NewTicker(50 * time.Millisecond) // not so often that looking becomes a part of what is measured
		defer look.Stop()
		for {
			open, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
			if err != nil || open.GetCount() == 0 {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%d runs are still open: %w", open.GetCount(), ctx.Err())
			case <-look.C:
			}
		}
	}
}

func nothing(context.Context) error { return nil }

func fiveSteps(ctx workflow.Context) error {
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteLocalActivity(local, nothing).Get(ctx, nil); err != nil {
		return err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: startToClose, HeartbeatTimeout: heartbeat})
	var steps []workflow.Future
	for range 3 {
		steps = append(steps, workflow.ExecuteActivity(ctx, nothing))
	}
	for _, s := range steps {
		if err := s.Get(ctx, nil); err != nil {
			return err
		}
	}
	return workflow.ExecuteLocalActivity(local, nothing).Get(ctx, nil)
}

// shapes tells what the runs look like in their histories.
func shapes(b *testing.B, c client.Client) string {
	b.Helper()
	out := "per run:"
	for _, name := range []string{bareWorkflow, preferences.ChangeWorkflow} {
		events, tasks, n := 0, 0, 0
		list, err := c.ListWorkflow(b.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 100,
			Query: fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Completed'", name)})
		require.NoError(b, err)
		for _, run := range list.GetExecutions() {
			history := c.GetWorkflowHistory(b.Context(), run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId(), false,
				enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for history.HasNext() {
				event, err := history.Next()
				require.NoError(b, err)
				events++
				if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
					tasks++
				}
			}
			n++
		}
		require.Positive(b, n, "no run of %s is listed", name)
		out += fmt.Sprintf(" %s %.1f history events, %.1f workflow tasks (of %d);", name, float64(events)/float64(n), float64(tasks)/float64(n), n)
	}
	return out
}

// inMemory are targets that answer at once.
func inMemory() map[preference.Target]ports.TargetSystem {
	out := map[preference.Target]ports.TargetSystem{}
	for _, t := range preference.Targets {
		out[t] = &memory{name: t, held: map[preference.CustomerID]preference.Holding{}}
	}
	return out
}

type memory struct {
	name preference.Target
	mu   sync.Mutex
	held map[preference.CustomerID]preference.Holding
}

func (m *memory) Name() preference.Target { return m.name }

func (m *memory) Read(_ context.Context, c preference.CustomerID) (preference.Holding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.held[c]), nil
}

func (m *memory) Forget(_ context.Context, c preference.CustomerID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, c)
	return nil
}

func (m *memory) Write(_ context.Context, w ports.TargetWrite) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[w.Customer] == nil {
		m.held[w.Customer] = preference.Holding{}
	}
	maps.Copy(m.held[w.Customer], w.Set)
	return nil
}
