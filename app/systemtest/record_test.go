package systemtest

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	temporalclient "go.temporal.io/sdk/client"

	"accord/domain/preference"
	"accord/workflows/preferences"
)

var record = flag.String("record", "", "write the histories of this test's runs to workflows/preferences/testdata, with this release in their names")

// TestHistoriesOfEveryShape runs a change of each shape and looks at the history it leaves behind. With -record they
// become the files that the replay test holds today's code against.
func TestHistoriesOfEveryShape(t *testing.T) {
	t.Parallel()
	s := start(t, patient)
	tc, err := temporalclient.Dial(temporalclient.Options{HostPort: s.cfg.TemporalAddress, Namespace: s.cfg.TemporalNamespace})
	require.NoError(t, err)
	t.Cleanup(tc.Close)
	h := historian{system: s, temporal: tc}
	for name, play := range map[string]func(*testing.T, string) (run int64, outcome string){
		"applied":                   h.applied,
		"compensated":               h.compensated,
		"withdrawal-through-outage": h.outage,
		"queued-changes":            h.queued,
		"parked-and-retried":        h.parked("retry", "applied"),
		"parked-and-compensated":    h.parked("compensate", "compensated"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What looks like an e-mail address, to prove that no history holds it.
			who := name + "@example.com"
			a := s.persist(t, who, http.MethodPut, "/v1/devices/phone", map[string]any{"platform": "ios", "token": "very-secret-token-" + name, "permission": "granted"}, "Prefer", "wait=30")
			require.Equal(t, 200, a.status, a.body)
			run, outcome := play(t, who)
			h.keep(t, name, who, run, outcome)
		})
	}
}

type historian struct {
	*system
	temporal temporalclient.Client
}

// keep checks the closed run's output and, when asked to, writes its history.
func (h historian) keep(t *testing.T, name, who string, run int64, outcome string) {
	id := preferences.WorkflowID(preference.CustomerID(who), run)
	runID, out := h.settledRun(t, id)
	require.Equal(t, outcome, out.Settled[len(out.Settled)-1].Outcome)
	history := &historypb.History{}
	for events := h.temporal.GetWorkflowHistory(context.Background(), id, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, e)
	}
	if *record == "" {
		return
	}
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(history)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join("../../workflows/preferences/testdata", name+"-"+*record+".json"), raw, 0o644))
}

// settledRun finds the execution that settled something. The sweeper may have started another one just when it closed,
// which found nothing to do.
func (h historian) settledRun(t *testing.T, id string) (runID string, out preferences.ChangeOutput) {
	eventually(t, 20*time.Second, func() string {
		list, err := h.temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowId = %q AND ExecutionStatus = 'Completed'", id)})
		if err != nil {
			return err.Error()
		}
		for _, e := range list.GetExecutions() {
			runID = e.GetExecution().GetRunId()
			if err := h.temporal.GetWorkflow(t.Context(), id, runID).Get(t.Context(), &out); err != nil {
				return err.Error()
			}
			if len(out.Settled) > 0 {
				return ""
			}
		}
		return "no execution of " + id + " has settled anything"
	})
	return runID, out
}

func (h historian) applied(t *testing.T, who string) (int64, string) {
	a := h.persist(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	return 2, "applied"
}

func (h historian) fault(t *testing.T, who, target string, status, times int) string {
	return h.control(t, http.MethodPost, "/faults", map[string]any{"target": target, "customer": who, "calls": "write", "kind": "status", "status": status, "times": times}).text("id")
}

func (h historian) compensated(t *testing.T, who string) (int64, string) {
	h.fault(t, who, "cmp", 400, 0)
	a := h.persist(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=30")
	require.Equal(t, 502, a.status, a.body)
	return 2, "compensated"
}

func (h historian) outage(t *testing.T, who string) (int64, string) {
	h.fault(t, who, "crm", 503, 3)
	h.fault(t, who, "push", 429, 1)
	a := h.persist(t, who, http.MethodPatch, "/v1/preferences/push", promotions(false), "Prefer", "wait=30")
	require.Equal(t, 200, a.status, a.body)
	return 2, "applied"
}

// queued: two more changes come in while the first waits for the CRM, the second of them refused by it.
func (h historian) queued(t *testing.T, who string) (int64, string) {
	h.fault(t, who, "crm", 503, 3)
	h.respondAsync(t, who, http.MethodPatch, "/v1/preferences/push", promotions(false))
	h.respondAsync(t, who, http.MethodPatch, "/v1/preferences/push", promotions(true))
	last := h.respondAsync(t, who, http.MethodPatch, "/v1/preferences/push", promotions(false))
	h.awaitStatus(t, who, last, 30*time.Second, "applied")
	return 2, "applied"
}

func (h historian) parked(decision, outcome string) func(*testing.T, string) (int64, string) {
	return func(t *testing.T, who string) (int64, string) {
		fault := h.fault(t, who, "cmp", 400, 0)
		op := h.respondAsync(t, who, http.MethodPatch, "/v1/preferences/push", promotions(false))
		h.awaitStatus(t, who, op, 30*time.Second, "needs_attention")
		h.control(t, http.MethodDelete, "/faults/"+fault, nil)
		require.Less(t, h.asOperator(t, http.MethodPost, "/v1/operations/"+op+"/"+decision, nil).status, 300)
		h.awaitStatus(t, who, op, 30*time.Second, outcome)
		return 2, outcome
	}
}
