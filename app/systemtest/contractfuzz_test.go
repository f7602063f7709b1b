package systemtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"accord/app/compose"
)

var (
	fuzzRequests = flag.Int("contract.requests", 3000, "how many requests the contract's fuzzer sends")
	fuzzSeed     = flag.Uint64("contract.seed", 0, "what they are drawn from; 0 for another one each time")
)

// TestAnyRequestGetsAnAnswerOfTheContract sends whatever can be drawn from the OpenAPI document, valid, at the border and
// hostile, as several people and systems at once. It knows nothing of the code: the document is the one that is served.
func TestAnyRequestGetsAnAnswerOfTheContract(t *testing.T) {
	t.Parallel()
	s := start(t, everything)
	seed := *fuzzSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: -contract.requests %d -contract.seed %d", *fuzzRequests, seed)
	f := newContractFuzz(t, s)
	const callers = 6
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() { f.send(t, rand.New(rand.NewPCG(seed, uint64(n))), *fuzzRequests/callers) })
	}
	wg.Wait()
	f.report(t)
	require.NoError(t, compose.AuditVerify(t.Context(), s.cfg, quiet(t), compose.AuditOptions{}, os.Stderr), "whatever was asked, the ledger holds")
}

// contractFuzz is what the callers share.
type contractFuzz struct {
	system  *system
	router  routers.Router
	doc     *openapi3.T
	calls   []fuzzCall
	callers []fuzzCaller

	mu       sync.Mutex
	seen     map[string][]string // ids that answers have named, by kind
	statuses map[int]int
	calling  map[string]*fuzzCount // by operation
	busy     int
	failures []string
}

// fuzzCount is what came of an operation.
type fuzzCount struct {
	done int             // answered with success
	by   map[string]bool // who has called it
}

// fuzzCall is an operation of the document.
type fuzzCall struct {
	method, path string
	params       openapi3.Parameters
	op           *openapi3.Operation
}

// fuzzCaller is somebody who calls. What is theirs carries their secret, which nobody else ever sends.
type fuzzCaller struct {
	subject, scope, secret, token string
}

func newContractFuzz(t *testing.T, s *system) *contractFuzz {
	t.Helper()
	res, err := http.Get(s.api + "/openapi.yaml")
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	require.NoError(t, err)
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	f := &contractFuzz{system: s, router: router, doc: doc, seen: map[string][]string{}, statuses: map[int]int{}, calling: map[string]*fuzzCount{}}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Value(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			op := item.Operations()[method]
			f.calls = append(f.calls, fuzzCall{method, path, slices.Concat(item.Parameters, op.Parameters), op})
			f.calling[op.OperationID] = &fuzzCount{by: map[string]bool{}}
		}
	}
	f.people(t)
	f.park(t)
	return f
}

// people makes the callers, each customer with something of their own that nobody else may see.
func (f *contractFuzz) people(t *testing.T) {
	t.Helper()
	scopes := map[string]bool{}
	for _, c := range f.calls {
		if listed, is := c.op.Extensions["x-scopes"].([]any); is {
			for _, scope := range listed {
				scopes[fmt.Sprint(scope)] = true
			}
		}
	}
	all := slices.Sorted(maps.Keys(scopes))
	f.callers = []fuzzCaller{{}, {subject: "desk", scope: strings.Join(all, " ")}}
	for _, scope := range all {
		f.callers = append(f.callers, fuzzCaller{subject: "system-" + strings.ReplaceAll(scope, ":", "-"), scope: scope})
	}
	for _, name := range []string{"ada", "béla@example.org", "c/d e%2F", stuck} {
		f.callers = append(f.callers, fuzzCaller{subject: strings.ReplaceAll(name, " ", "_"), secret: fmt.Sprintf("secret-%016x%016x", rand.Uint64(), rand.Uint64())})
	}
	for i := range f.callers {
		c := &f.callers[i]
		if c.subject == "" {
			continue
		}
		token, _, err := f.system.issuer.Mint(c.subject, c.scope)
		require.NoError(t, err)
		c.token = token
		if c.secret == "" {
			continue
		}
		f.seen["customer"] = append(f.seen["customer"], c.subject)
		f.seen["device"] = append(f.seen["device"], "phone")
		f.system.persist(t, c.subject, http.MethodPut, "/v1/devices/phone",
			map[string]any{"platform": "ios", "token": c.secret, "permission": "granted"})
		f.system.persist(t, c.subject, http.MethodPatch, "/v1/preferences/push", map[string]any{
			"channels": map[string]any{"news": map[string]any{"enabled": true}}, "wording": map[string]any{"id": c.secret, "locale": "en"}})
		a, err := f.system.try("desk", "messages:write", http.MethodPost, f.system.api+"/v1/messages", map[string]any{
			"source": "fuzz", "external_id": c.secret, "title": c.secret, "body": "", "category": "news", "expiry": time.Now().Add(time.Hour),
			"audience": map[string]any{"type": "customers", "ids": []string{c.subject}}})
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, a.status, "%v", a.body)
	}
}

// send sends n requests one after the other.
func (f *contractFuzz) send(t *testing.T, rng *rand.Rand, n int) {
	for range n {
		if f.tooMany() {
			return
		}
		call, caller := oneOf(rng, f.calls), oneOf(rng, f.callers)
		for chance(rng, 80) && !caller.mayCall(call.op, caller.token != "") {
			caller = oneOf(rng, f.callers) // most of them are refused before anything is looked at
		}
		req, body := f.draw(rng, call, caller)
		if req == nil {
			continue
		}
		f.one(t.Context(), call, caller, req, body)
	}
}

// one sends a request and holds the answer against what must always be true.
func (f *contractFuzz) one(ctx context.Context, call fuzzCall, caller fuzzCaller, req *http.Request, body []byte) {
	limit := 40 * time.Second
	if strings.HasSuffix(call.path, "/stream") {
		limit = 150 * time.Millisecond // it never ends by itself
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := f.system.http.Do(req.WithContext(ctx))
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			f.failed(req, body, nil, nil, err.Error())
		}
		return
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil && limit == 40*time.Second {
		f.failed(req, body, res, raw, "the answer breaks off: "+err.Error())
		return
	}
	f.count(call, caller, res.StatusCode)
	if problem := f.judge(caller, req, body, res, raw, err == nil); problem != "" {
		f.failed(req, body, res, raw, problem)
		return
	}
	f.remember(call, raw)
}

func (f *contractFuzz) judge(caller fuzzCaller, req *http.Request, body []byte, res *http.Response, raw []byte, whole bool) string {
	if res.StatusCode >= 500 && !f.excused(res, raw) {
		return "a failure of ours"
	}
	for _, other := range f.callers {
		mine := other.subject == caller.subject || caller.scope != ""
		if other.secret != "" && !mine && bytes.Contains(raw, []byte(other.secret)) {
			return "what belongs to " + other.subject
		}
	}
	route, params, err := f.router.FindRoute(req)
	if err != nil {
		return "" // not of the contract: 404, 405
	}
	if res.StatusCode < 300 && !caller.mayCall(route.Operation, caller.token != "" && req.Header.Get("Authorization") == "Bearer "+caller.token) {
		return "an answer to who may not call"
	}
	if !whole {
		return ""
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}}
	out.SetBodyBytes(raw)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil && res.StatusCode != http.StatusMethodNotAllowed {
		return "not an answer of the contract: " + err.Error()
	}
	return ""
}

// excused is a change that a vendor refused or that took too long, and was taken back, and a grant that Temporal was too busy
// to start: the contract has both, and the machine may be slow.
func (f *contractFuzz) excused(res *http.Response, raw []byte) bool {
	var p struct{ Code string }
	if res.StatusCode == http.StatusBadGateway {
		return json.Unmarshal(raw, &p) == nil && p.Code == "change-compensated"
	}
	if res.StatusCode != http.StatusServiceUnavailable || json.Unmarshal(raw, &p) != nil || p.Code != "unavailable" || res.Header.Get("Retry-After") == "" {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy++
	return true
}

// mayCall is what the contract says of who may call. known is whether their token is sent.
func (c fuzzCaller) mayCall(op *openapi3.Operation, known bool) bool {
	if op.Security != nil && len(*op.Security) == 0 {
		return true
	}
	listed, _ := op.Extensions["x-scopes"].([]any)
	holds := known && slices.ContainsFunc(listed, func(scope any) bool { return slices.Contains(strings.Fields(c.scope), fmt.Sprint(scope)) })
	switch op.Extensions["x-access"] {
	case "service":
		return holds
	case "customer-or-service":
		return holds || known && c.scope == ""
	case "anyone-or-customer":
		return true
	}
	return known
}

func (f *contractFuzz) count(call fuzzCall, caller fuzzCaller, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[status]++
	of := f.calling[call.op.OperationID]
	of.by[caller.subject] = true
	if status < 300 {
		of.done++
	}
}

func (f *contractFuzz) failed(req *http.Request, body []byte, res *http.Response, raw []byte, why string) {
	text := fmt.Sprintf("%s\n  %s %s\n  %v\n  %.600q", why, req.Method, req.URL, req.Header, body)
	if res != nil {
		text += fmt.Sprintf("\n→ %d %v\n  %.600s", res.StatusCode, res.Header, raw)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, text)
}

func (f *contractFuzz) tooMany() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.failures) >= 10
}

func (f *contractFuzz) report(t *testing.T) {
	total, reached := 0, 0
	classes := map[int]int{}
	for status, n := range f.statuses {
		total, classes[status/100] = total+n, classes[status/100]+n
	}
	for _, name := range slices.Sorted(maps.Keys(f.calling)) {
		if of := f.calling[name]; of.done > 0 {
			reached++
		} else {
			t.Logf("never answered with success: %s", name)
		}
	}
	t.Logf("%d answers: %d were 2xx, %d 3xx, %d 4xx, %d 5xx; by status %v", total, classes[2], classes[3], classes[4], classes[5], f.statuses)
	t.Logf("%d of %d operations were reached, by %d callers; %d grants could not be started", reached, len(f.calls), len(f.callers), f.busy)
	for _, text := range f.failures {
		t.Error(text)
	}
	require.LessOrEqual(t, f.statuses[http.StatusTooManyRequests], total/100, "limits keep requests from what is tested")
	if *fuzzRequests < 50_000 || len(f.failures) > 0 {
		return // by chance some are not reached
	}
	require.LessOrEqual(t, f.busy, total/200, "grants that could not be started")
	require.Equal(t, len(f.calls), reached, "operations that were answered with success")
	for name, of := range f.calling {
		require.Len(t, of.by, len(f.callers), "who has called %s", name)
	}
}
