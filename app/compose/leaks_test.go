package compose

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"accord/adapters/auth"
	"accord/adapters/checkpoint"
	"accord/adapters/devstack/stacktest"
	"accord/adapters/postgres"
	"accord/adapters/sandbox"
	"accord/app/config"
)

// Marks that stand in every text a client can send.
const (
	markedToken   = "push-token-nobody-may-see"
	markedWording = "wording-nobody-may-see"
	markedKey     = "idempotency-key-nobody-may-see"
)

// heap takes what several goroutines write.
type heap struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heap) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heap) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

// whole is API, worker and vendors in this process, over real servers, with everything that they tell caught.
type whole struct {
	*installed
	url                string
	sandbox            *httptest.Server
	logs, spans        *heap
	refusals, measures strings.Builder
	stop               func()
}

func startWhole(t *testing.T, environ map[string]string) *whole {
	t.Helper()
	w := &whole{installed: &installed{t: t, key: signingKey(t)}, logs: &heap{}, spans: &heap{}}
	box, err := sandbox.New(sandbox.DefaultConfig())
	require.NoError(t, err)
	w.sandbox = httptest.NewServer(box)
	t.Cleanup(func() {
		require.NoError(t, box.Close())
		w.sandbox.Close()
	})
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w.spans, r.Body) }))
	t.Cleanup(collector.Close)
	database := stacktest.PostgresFrom(t, "accord", func(url string) error {
		return postgres.Migrate(context.Background(), url, func(string, ...any) {})
	})
	checkpointKey, err := checkpoint.NewKey("accord.test")
	require.NoError(t, err)
	address, namespace := stacktest.TemporalNamespace(t)
	settings := map[string]string{"ACCORD_DATABASE_URL": database, "ACCORD_DATABASE_CONNS": "8", "ACCORD_TEMPORAL_ADDRESS": address,
		"ACCORD_TEMPORAL_NAMESPACE": namespace, "ACCORD_SANDBOX_ADDR": strings.TrimPrefix(w.sandbox.URL, "http://"),
		"ACCORD_LEDGER_KEYS": newKey("test"), "ACCORD_CHECKPOINT_KEY": checkpointKey, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "ACCORD_GRANT_BUDGET": "1m"}
	for name, value := range environ {
		settings[name] = value
	}
	cfg := WithSandboxVendors(config.Load(settings))
	require.NoError(t, cfg.Validate(config.NeedDatabase, config.NeedTemporal, config.NeedVendors, config.NeedLedgerKeys, config.NeedCheckpointKey))
	w.c, err = openCore(t.Context(), cfg, slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuer: testIssuer, Audience: "accord", Keys: w})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.url = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ready := make(chan struct{})
	running.Go(func() {
		if err := w.c.serveAPI(ctx, ln, verifier, nil); err != nil {
			t.Errorf("API: %v", err)
		}
	})
	running.Go(func() {
		if err := w.c.runWorker(ctx, func() { close(ready) }); err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	w.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := w.c.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(w.stop)
	select {
	case <-ready:
	case <-time.After(time.Minute):
		t.Fatal("the worker is not ready")
	}
	return w
}

// send a request over the network, and keep the answer when it is a refusal.
func (w *whole) send(method, target, authorization, body string, headers ...string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+target, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Prefer", "wait=30")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	if resp.StatusCode >= 400 {
		w.refusals.Write(raw)
	}
	return resp.StatusCode, string(raw)
}

func (w *whole) fault(body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, w.sandbox.URL+"/_sandbox/faults", nil)
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	if body == "" {
		return
	}
	resp, err = http.Post(w.sandbox.URL+"/_sandbox/faults", "application/json", strings.NewReader(body))
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	require.Less(w.t, resp.StatusCode, 300)
}

// live makes a customer's changes succeed, fail, be refused and be parked.
func (w *whole) live(mine, operators string) {
	w.t.Helper()
	is := func(want int, method, target, auth, body string, headers ...string) string {
		w.t.Helper()
		got, answer := w.send(method, target, auth, body, headers...)
		require.Equal(w.t, want, got, "%s %s: %s", method, target, answer)
		return answer
	}
	const wording = `,"wording":{"id":"` + markedWording + `","locale":"en"}}`
	is(200, "PUT", "/v1/devices/phone", mine, `{"platform":"ios","token":"`+markedToken+`","permission":"granted","app_version":"4.2"}`)
	is(200, "PATCH", "/v1/preferences/push", mine, `{"channels":{"promotions":{"enabled":true}}`+wording, "Idempotency-Key: "+markedKey)
	is(200, "PATCH", "/v1/preferences/email", mine, `{"marketing":{"status":"unsubscribed"}`+wording)
	for _, kind := range []string{`"kind":"status","status":400,"times":0`, `"kind":"malformed","times":0`} {
		w.fault(`{"target":"cmp","customer":"*","calls":"write",` + kind + `}`)
		got, _ := w.send("PATCH", "/v1/preferences/email", mine, `{"marketing":{"status":"subscribed"}`+wording, "Prefer: wait=3")
		require.Contains(w.t, []int{200, 202, 502}, got) // an answer that makes no sense may have had its effect
	}
	w.fault(`{"target":"crm","customer":"*","calls":"any","kind":"status","status":503,"times":2}`)
	_, _ = w.send("PATCH", "/v1/preferences/push", mine, `{"channels":{"news":{"enabled":false}}`+wording)
	w.fault(`{"target":"crm","customer":"*","calls":"write","kind":"status","status":400,"times":0}`)
	parked := is(202, "PATCH", "/v1/preferences/push", mine, `{"enabled":false`+wording)
	_, id, _ := strings.Cut(parked, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	require.Eventually(w.t, func() bool {
		_, op := w.send("GET", "/v1/operations/"+id, operators, "")
		return strings.Contains(op, "needs_attention")
	}, 40*time.Second, 100*time.Millisecond)
	w.fault("")
	is(202, "POST", "/v1/operations/"+id+"/retry", operators, "")
	require.Eventually(w.t, func() bool {
		_, op := w.send("GET", "/v1/operations/"+id, operators, "")
		return strings.Contains(op, `"status":"applied"`)
	}, 40*time.Second, 100*time.Millisecond)

	// And what is refused before anything happens.
	is(422, "PATCH", "/v1/preferences/push", mine, `{"channels":{"promotions":{"enabled":false}}}`, "Idempotency-Key: "+markedKey)
	is(400, "PUT", "/v1/devices/phone", mine, `{"platform":"`+markedWording+`","token":"`+markedToken+` x","permission":"`+markedWording+`","locale":"`+markedWording+`"}`)
	is(400, "PATCH", "/v1/preferences/email", mine, `{"marketing":{"status":"`+markedWording+`"}}`)
	is(400, "PATCH", "/v1/preferences/push", mine, `{"enabled":"`+markedWording+`"}`)
	is(400, "PATCH", "/v1/preferences/push", mine, `{"enabled":`+markedWording)
	is(400, "GET", "/v1/preferences/audit?cursor="+markedWording, mine, "")
	is(404, "GET", "/v1/operations/"+markedWording, mine, "")
	is(404, "GET", "/v1/nothing/"+markedWording+"?"+markedToken, mine, "")
	is(403, "GET", "/v1/customers/"+string(ada)+"/audit", mine, "")
	is(401, "GET", "/v1/preferences", mine+"x", "")
	is(401, "GET", "/v1/preferences", "Basic "+markedToken, "")
	_, shown := w.send("GET", "/metrics", "", "")
	w.measures.WriteString(shown)
}

// TestNothingPersonalIsToldToThoseWhoOperate: not in Temporal's histories and visibility, not in logs at debug level, not in
// spans, measures or refusals. Without encryption, so that it is what we write, and not a key, that keeps it out. To
// see it fail, put the customer's id into a workflow id, or a cause into an error.
func TestNothingPersonalIsToldToThoseWhoOperate(t *testing.T) {
	t.Parallel()
	w := startWhole(t, nil)
	mine := "Bearer " + w.token(string(ada), "")
	w.live(mine, "Bearer "+w.token("support", "operations:write"))
	kept := w.keptByTemporal()
	w.stop()
	v := w.c.cfg.Vendors
	secrets := map[string]string{"customer": string(ada), "customer's name": "ada.lovelace", "push token": markedToken, "wording": markedWording, "access token": mine[len("Bearer "):],
		"CRM key": v.BrazeAPIKey.Reveal(), "push key": v.OneSignalAPIKey.Reveal(), "CMP secret": v.OneTrustClientSecret.Reveal(),
		"CMP collection point": v.OneTrustRequestInformation.Reveal(), "database": w.c.cfg.DatabaseURL.Reveal()}
	where := map[string]string{"Temporal": kept, "logs": w.logs.String(), "spans": w.spans.String(), "refusals": w.refusals.String(), "measures": w.measures.String()}
	require.Contains(t, where["Temporal"], "channel promotions on", "what people read is there")
	require.Contains(t, where["logs"], `"route":"/v1/preferences/push"`)
	require.Contains(t, where["refusals"], "change-compensated")
	require.NotEmpty(t, where["spans"])
	for place, text := range where {
		require.NotEmpty(t, text, place)
		for name, secret := range secrets {
			require.NotEmpty(t, secret, name)
			for _, form := range []string{secret, strings.ReplaceAll(secret, "@", "%40"), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("the %s is in the %s: … %s …", name, place, text[max(0, i-200):min(len(text), i+len(form)+50)])
				}
			}
		}
	}
}

// keptByTemporal is all that an operator of Temporal can see, as bytes on the wire and as JSON.
func (w *whole) keptByTemporal() string {
	w.t.Helper()
	c, ctx := w.c.temporal.Client(), w.t.Context()
	var out strings.Builder
	add := func(m proto.Message) {
		raw, err := proto.Marshal(m)
		require.NoError(w.t, err)
		text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(m)
		require.NoError(w.t, err)
		out.Write(raw)
		out.Write(text)
	}
	var listed *workflowservice.ListWorkflowExecutionsResponse
	require.Eventually(w.t, func() bool {
		var err error
		listed, err = c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "preferences.Change"`})
		require.NoError(w.t, err)
		return len(listed.GetExecutions()) >= 5
	}, 30*time.Second, 100*time.Millisecond, "not all runs are seen")
	add(listed)
	for _, e := range listed.GetExecutions() {
		history := &historypb.History{}
		for events := c.GetWorkflowHistory(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
			event, err := events.Next()
			require.NoError(w.t, err)
			history.Events = append(history.Events, event)
		}
		add(history)
		described, err := c.DescribeWorkflowExecution(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId())
		require.NoError(w.t, err)
		add(described)
	}
	return out.String()
}
