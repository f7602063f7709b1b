package temporal_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"accord/adapters/devstack/stacktest"
	"accord/adapters/temporal"
)

func key(id string, fill byte) temporal.Key {
	return temporal.Key{ID: id, Secret: bytes.Repeat([]byte{fill}, 32)}
}

func encryption(t testing.TB, keys ...temporal.Key) converter.DataConverter {
	t.Helper()
	c, err := temporal.NewEncryption(keys...)
	require.NoError(t, err)
	return c
}

type note struct {
	Text string `json:"text"`
}

const marker = "for nobody's eyes"

func TestPayloadsAreEncryptedAndSummariesAreNot(t *testing.T) {
	t.Parallel()
	c := encryption(t, key("new", 1))
	sealed, err := c.ToPayloads(note{marker}, marker, nil, []byte(marker))
	require.NoError(t, err)
	again, err := c.ToPayloads(note{marker})
	require.NoError(t, err)
	require.NotEqual(t, sealed.Payloads[0].Data, again.Payloads[0].Data, "a nonce of its own each time")
	for _, p := range sealed.Payloads {
		require.NotContains(t, string(p.Data), marker)
		require.Equal(t, "new", string(p.Metadata["encryption-key-id"]))
		require.Equal(t, "binary/encrypted", string(p.Metadata["encoding"]))
	}
	var one note
	var text string
	var nothing *note
	var raw []byte
	require.NoError(t, c.FromPayloads(sealed, &one, &text, &nothing, &raw))
	require.Equal(t, []any{note{marker}, marker, (*note)(nil), []byte(marker)}, []any{one, text, nothing, raw})
	require.Contains(t, c.ToStrings(sealed)[0], marker)

	single, err := c.ToPayload(note{marker})
	require.NoError(t, err)
	require.NotContains(t, string(single.Data), marker)
	require.NoError(t, c.FromPayload(single, &one))
	summary, err := c.ToPayload("crm: push off")
	require.NoError(t, err)
	require.NoError(t, converter.GetDefaultDataConverter().FromPayload(summary, &text))
	require.Equal(t, "crm: push off", text)
	none, err := c.ToPayloads()
	require.NoError(t, err)
	require.Nil(t, none)
}

func TestWhatWasWrittenBeforeIsStillRead(t *testing.T) {
	t.Parallel()
	var got note
	plain, err := converter.GetDefaultDataConverter().ToPayloads(note{"before there was a key"})
	require.NoError(t, err)
	require.NoError(t, encryption(t, key("a", 1)).FromPayloads(plain, &got))
	require.Equal(t, "before there was a key", got.Text)

	// Rotation, step by step: whatever any process writes, every other one reads.
	steps := [][]temporal.Key{{key("a", 1)}, {key("a", 1), key("b", 2)}, {key("b", 2), key("a", 1)}, {key("b", 2)}}
	for i := range steps[1:] {
		before, after := encryption(t, steps[i]...), encryption(t, steps[i+1]...)
		for _, way := range [][2]converter.DataConverter{{before, after}, {after, before}} {
			if i == 2 && way[0] == before {
				way[0] = after // the old key goes when nothing was written with it that is still needed
			}
			p, err := way[0].ToPayloads(note{"x"})
			require.NoError(t, err)
			require.NoError(t, way[1].FromPayloads(p, &got), "step %d", i+1)
		}
	}
}

func TestWhatCanNotBeTrustedIsNotRead(t *testing.T) {
	t.Parallel()
	a, b := encryption(t, key("a", 1)), encryption(t, key("b", 2), key("a", 3))
	sealed, err := a.ToPayload(note{marker})
	require.NoError(t, err)
	change := func(fn func(*commonpb.Payload)) *commonpb.Payload {
		c := proto.CloneOf(sealed)
		fn(c)
		return c
	}
	var got note
	two := encryption(t, key("a", 1), key("b", 1)) // the same bytes under two names
	for name, try := range map[string]func() error{
		"a key we have not":       func() error { return encryption(t, key("b", 1)).FromPayload(sealed, &got) },
		"another key of its name": func() error { return b.FromPayload(sealed, &got) },
		"changed data":            func() error { return a.FromPayload(change(func(p *commonpb.Payload) { p.Data[20] ^= 1 }), &got) },
		"cut short":               func() error { return a.FromPayload(change(func(p *commonpb.Payload) { p.Data = p.Data[:5] }), &got) },
		"another key's name": func() error {
			return two.FromPayload(change(func(p *commonpb.Payload) { p.Metadata["encryption-key-id"] = []byte("b") }), &got)
		},
	} {
		err := try()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), marker, name)
		require.Empty(t, got.Text, name)
	}
	inside := a.(workflow.ContextAware).WithWorkflowContext(nil)
	require.Panics(t, func() { _ = inside.FromPayload(change(func(p *commonpb.Payload) { p.Data[20] ^= 1 }), &got) }, "an error would end the run for good")
	for _, bad := range [][]temporal.Key{nil, {{ID: "a", Secret: []byte("short")}}, {{ID: "", Secret: key("", 1).Secret}}, {key("a", 1), key("a", 2)}} {
		_, err := temporal.NewEncryption(bad...)
		require.Error(t, err)
	}
}

const secretQueue = "secrets"

// secretly is a workflow with everything that can be in a history.
func secretly(ctx workflow.Context, in note) (note, error) {
	var heard note
	workflow.GetSignalChannel(ctx, "heard").Receive(ctx, &heard)
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second, Summary: "say it",
		RetryPolicy: &sdk.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 2}})
	workflow.SetCurrentDetails(ctx, "half way")
	var said note
	if err := workflow.ExecuteActivity(ctx, "say", heard).Get(ctx, &said); err != nil {
		return in, err
	}
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second, Summary: "say it here"})
	return said, workflow.ExecuteLocalActivity(ctx, "say", said).Get(ctx, &said)
}

func say(ctx context.Context, in note) (note, error) {
	if activity.GetInfo(ctx).Attempt == 1 && !activity.GetInfo(ctx).IsLocalActivity {
		activity.RecordHeartbeat(ctx, in)
		return note{}, sdk.NewApplicationError("not yet", "not-yet", in)
	}
	return in, nil
}

func startSecretly(t *testing.T, c client.Client) worker.Worker {
	t.Helper()
	w := worker.New(c, secretQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(secretly, workflow.RegisterOptions{Name: "secretly"})
	w.RegisterActivityWithOptions(say, activity.RegisterOptions{Name: "say"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return w
}

// TestARealServerHoldsNothingThatCanBeRead but what is meant to be, through a rotation, and with a worker without the key.
func TestARealServerHoldsNothingThatCanBeRead(t *testing.T) {
	t.Parallel()
	address, namespace := stacktest.TemporalNamespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	connect := func(keys ...temporal.Key) client.Client {
		c, err := temporal.Connect(temporal.Config{Address: address, Namespace: namespace, Keys: keys, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c.Client()
	}
	old, both, stranger := connect(key("a", 1)), connect(key("b", 2), key("a", 1)), connect(key("c", 3))

	run, err := old.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "secretly", TaskQueue: secretQueue, StaticSummary: "a summary", StaticDetails: "some details"}, "secretly", note{marker})
	require.NoError(t, err)
	// A worker that can't read it must not end it.
	w := startSecretly(t, stranger)
	require.Eventually(t, func() bool { return len(historyOf(ctx, t, old).Events) > 3 }, 20*time.Second, 20*time.Millisecond)
	failed := historyOf(ctx, t, old).Events
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, failed[3].EventType)
	described, err := old.DescribeWorkflowExecution(ctx, "secretly", "")
	require.NoError(t, err)
	require.Equal(t, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, described.GetWorkflowExecutionInfo().GetStatus())
	w.Stop()

	startSecretly(t, both) // reads what was written with the old key, and writes with the new one
	require.NoError(t, old.SignalWorkflow(ctx, "secretly", "", "heard", note{marker}))
	var got note
	require.NoError(t, both.GetWorkflow(ctx, run.GetID(), run.GetRunID()).Get(ctx, &got))
	require.Equal(t, marker, got.Text)
	require.Error(t, old.GetWorkflow(ctx, run.GetID(), run.GetRunID()).Get(ctx, &got), "the new key wrote the result")

	history := historyOf(ctx, t, old)
	raw, err := proto.Marshal(history)
	require.NoError(t, err)
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(history)
	require.NoError(t, err)
	described, err = old.DescribeWorkflowExecution(ctx, "secretly", "")
	require.NoError(t, err)
	seen, err := proto.Marshal(described)
	require.NoError(t, err)
	for _, kept := range [][]byte{raw, text, seen} {
		require.NotContains(t, string(kept), marker)
	}
	require.NotContains(t, string(text), "Zm9yIG5vYm9keSdzIGV5ZXM", "nor in base64")
	for _, readable := range []string{"a summary", "say it", "say it here"} {
		require.Contains(t, string(raw), readable)
	}
	require.Contains(t, string(seen), "some details")
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DataConverter: encryption(t, key("b", 2), key("a", 1))})
	require.NoError(t, err)
	replayer.RegisterWorkflowWithOptions(secretly, workflow.RegisterOptions{Name: "secretly"})
	require.NoError(t, replayer.ReplayWorkflowHistory(nil, history))
}

func historyOf(ctx context.Context, t *testing.T, c client.Client) *historypb.History {
	t.Helper()
	history := &historypb.History{}
	for events := c.GetWorkflowHistory(ctx, "secretly", "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, e)
	}
	return history
}

func BenchmarkEncryption(b *testing.B) {
	for name, c := range map[string]converter.DataConverter{"off": converter.GetDefaultDataConverter(), "on": encryption(b, key("a", 1))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := c.ToPayloads(note{marker})
				if err != nil {
					b.Fatal(err)
				}
				var got note
				if err := c.FromPayloads(p, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
