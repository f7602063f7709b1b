package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"accord/ports"
	"accord/ports/mocks"
)

// api is the whole handler over the fake application. Every answer it gives is held against the contract.
type api struct {
	t       testing.TB
	app     *fakeApp
	inbox   *fakeInbox
	measure *fakeMeasures
	streams *fakeStreams
	links   *fakeLinks
	engine  *gin.Engine
	asking  *fakeAsking
	metrics *prometheus.Registry
	logs    *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newAPI(t testing.TB, options ...func(*Config)) *api {
	t.Helper()
	a := &api{t: t, app: newFakeApp(), inbox: newFakeInbox(), measure: newFakeMeasures(), streams: &fakeStreams{}, links: &fakeLinks{}, asking: &fakeAsking{}, metrics: prometheus.NewRegistry(), logs: &safeBuffer{}}
	cfg := Config{Preferences: a.app, Operators: a.app, Inbox: a.inbox, Messages: a.inbox, LinkTargets: a.inbox, EmailLinks: a.links, Brand: "Example & Sons", Engagement: a.measure, Reconciliation: a.asking, Rights: fakeRights{a.app}, Auditing: fakeAuditing{a.app}, Streams: a.streams, Endpoints: mocks.NewMockEndpoints(nil),
		Verifier: newFakeVerifier(), Catalogue: a.app.catalogue, Metrics: a.metrics,
		Ready: map[string]ports.Readiness{}, Build: "test", Logger: slog.New(slog.NewJSONHandler(a.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, o := range options {
		o(&cfg)
	}
	engine, err := newEngine(cfg)
	require.NoError(t, err)
	a.engine = engine
	return a
}

// answer is a response read to its end.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (r answer) json(dst any) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal(r.body, dst), "%s", r.body)
}

func (r answer) problem() Problem {
	r.t.Helper()
	require.Equal(r.t, "application/problem+json", r.header.Get("Content-Type"), "%s", r.body)
	var p Problem
	r.json(&p)
	require.Equal(r.t, r.status, p.Status)
	require.Equal(r.t, "/problems/"+p.Code, p.Type)
	require.NotEmpty(r.t, p.Title)
	return p
}

func (r answer) is(status int) answer {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	return r
}

// call sends a request. Headers are "Name: value"; a body is JSON unless a header says otherwise.
func (a *api) call(method, target, token, body string, headers ...string) answer {
	a.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Content-Type" {
			req.Header.Del(name)
		}
		if value != "" || name != "Content-Type" {
			req.Header.Add(name, value)
		}
	}
	return a.send(req)
}

func (a *api) send(req *http.Request) answer {
	a.t.Helper()
	rec := httptest.NewRecorder()
	a.engine.Handler().ServeHTTP(rec, req)
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	require.NoError(a.t, err)
	out := answer{t: a.t, status: res.StatusCode, header: res.Header, body: body}
	a.holdAgainstContract(req, out)
	return out
}

// strictContract is the document made stricter than clients may rely on: every member and every value that is sent must
// be in it.
var strictContract = sync.OnceValues(func() (routers.Router, error) {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	for _, ref := range doc.Components.Schemas {
		tighten(ref.Value)
	}
	return legacy.NewRouter(doc)
})

func tighten(s *openapi3.Schema) {
	if values, listed := s.Extensions["x-extensible-enum"].([]any); listed {
		s.Enum = values
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil {
		closed := false
		s.AdditionalProperties.Has = &closed
	}
	for _, p := range s.Properties {
		if p.Ref == "" {
			tighten(p.Value)
		}
	}
	for _, p := range []*openapi3.SchemaRef{s.Items, s.AdditionalProperties.Schema} {
		if p != nil && p.Ref == "" {
			tighten(p.Value)
		}
	}
}

func (a *api) holdAgainstContract(req *http.Request, got answer) {
	a.t.Helper()
	require.NotEmpty(a.t, got.header.Get("X-Request-Id"))
	page := strings.HasPrefix(got.header.Get("Content-Type"), "text/html")
	if got.status >= 400 && got.status != http.StatusServiceUnavailable && !page {
		got.problem()
	}
	router, err := strictContract()
	require.NoError(a.t, err)
	route, params, err := router.FindRoute(req)
	if err != nil || strings.HasSuffix(req.URL.Path, "/") {
		return // not of the contract: 404, 405, /docs and /dev
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: got.status, Header: got.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}}
	out.SetBodyBytes(got.body)
	require.NoError(a.t, openapi3filter.ValidateResponse(context.Background(), out), "%s %s → %d %s", req.Method, req.URL, got.status, got.body)
}

const phone = `{"platform":"ios","token":"token-of-ada","permission":"granted","app_version":"4.2.0","locale":"en-GB"}`

// withPhone gives a customer a device that permits notifications.
func (a *api) withPhone(customer string) *api {
	a.t.Helper()
	a.call("PUT", "/v1/devices/phone", customer, strings.ReplaceAll(phone, "ada", customer)).is(200)
	return a
}

func fields(p Problem) map[string]string {
	out := map[string]string{}
	if p.Errors != nil {
		for _, e := range *p.Errors {
			out[e.Field] = e.Code
		}
	}
	return out
}
