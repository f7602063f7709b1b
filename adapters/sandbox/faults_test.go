package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// track starts a write about a customer that a test expects to be held.
func (h *harness) track(ctx context.Context, id string) <-chan error {
	r := h.request("POST", "/braze/users/track", subscribe(id), "Authorization", "Bearer "+h.cfg.BrazeAPIKey).WithContext(ctx)
	done := make(chan error, 1)
	go func() {
		a, err := h.send(r)
		if err == nil && a.status != 201 {
			err = errors.New(a.body)
		}
		done <- err
	}()
	return done
}

func (h *harness) email(id string) string { return h.customer(id).CRM.EmailMarketing }

func TestFaultContract(t *testing.T) {
	t.Parallel()
	h := start(t)
	a := h.do("POST", "/_sandbox/faults", `{"target":"crm","customer":"ada","calls":"write","kind":"status","status":503,
		"headers":{"Retry-After":"7"},"delay_ms":0,"times":3}`)
	require.Equal(t, 201, a.status)
	first := a.json(t)
	require.NotEmpty(t, first["id"])
	require.Equal(t, map[string]any{
		"id": first["id"], "target": "crm", "customer": "ada", "calls": "write", "kind": "status", "status": 503.0,
		"headers": map[string]any{"Retry-After": "7"}, "delay_ms": 0.0, "times": 3.0, "hits": 0.0,
	}, first)
	second := h.do("POST", "/_sandbox/faults", `{"target":"engagement","kind":"status"}`).json(t)
	require.Equal(t, []any{"*", "any", 503.0, 1.0, map[string]any{}},
		[]any{second["customer"], second["calls"], second["status"], second["times"], second["headers"]})

	a = h.braze("POST", "/users/track", subscribe("ada"))
	require.Equal(t, 503, a.status)
	require.Equal(t, "7", a.header.Get("Retry-After"))
	require.NotEmpty(t, a.json(t)["message"])
	require.Equal(t, "unknown", h.email("ada"))
	require.Equal(t, first["id"], h.requests("")[0].Fault)

	first["hits"] = 1.0
	require.Equal(t, map[string]any{"faults": []any{first, second}}, h.do("GET", "/_sandbox/faults", "").json(t))
	a = h.do("DELETE", "/_sandbox/faults", "")
	require.Equal(t, 204, a.status)
	require.Empty(t, a.body)
	require.JSONEq(t, `{"faults":[]}`, h.do("GET", "/_sandbox/faults", "").body)
	require.Equal(t, 201, h.braze("POST", "/users/track", subscribe("ada")).status)
}

func TestFaultValidation(t *testing.T) {
	t.Parallel()
	h := start(t)
	for body, field := range map[string]string{
		`{"target":"sms","kind":"status"}`:                          "target",
		`{"kind":"status"}`:                                         "target",
		`{"target":"crm"}`:                                          "kind",
		`{"target":"crm","kind":"explode"}`:                         "kind",
		`{"target":"crm","kind":"status","calls":"all"}`:            "calls",
		`{"target":"crm","kind":"status","customer":""}`:            "customer",
		`{"target":"crm","kind":"status","status":99}`:              "status",
		`{"target":"crm","kind":"status","times":-1}`:               "times",
		`{"target":"crm","kind":"delay","delay_ms":-1}`:             "delay_ms",
		`{"target":"crm","kind":"delay","delay_ms":"1"}`:            "delay_ms",
		`{"target":"crm","kind":"status","headers":{"a b":"c"}}`:    "headers.a b",
		`{"target":"crm","kind":"status","headers":{"X":"a\r\nb"}}`: "headers.X",
		`{"target":"crm","kind":"status","extra":1}`:                "extra",
	} {
		a := h.do("POST", "/_sandbox/faults", body)
		require.Equal(t, 400, a.status, body)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
		require.Equal(t, field, a.json(t)["errors"].([]any)[0].(map[string]any)["field"], body)
	}
	require.JSONEq(t, `{"faults":[]}`, h.do("GET", "/_sandbox/faults", "").body)
}

func TestFaultStatusLooksLikeTheVendor(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, target := range []string{"crm", "push", "cmp", "engagement"} {
		h.fault(`{"target":"` + target + `","kind":"status","status":429,"headers":{"Retry-After":"1"},"times":0}`)
	}
	a := h.braze("POST", "/users/track", subscribe("ada"))
	require.Equal(t, 429, a.status)
	require.NotEmpty(t, a.header.Get("X-Ratelimit-Limit"))
	for _, a := range []answer{a, h.createUser("ada"), h.receipt("ada", pushPurpose, "CONFIRMED"), h.do("GET", "/engagement/messages", "")} {
		require.Equal(t, 429, a.status)
		require.Equal(t, "1", a.header.Get("Retry-After"))
		require.NotEmpty(t, a.json(t))
	}
	require.Equal(t, nobody, h.do("GET", "/_sandbox/customers/ada", "").body)
	require.NotEmpty(t, h.accessToken(), "token calls are never hit")
}

func TestFaultsMatchTargetCallAndCustomer(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.put("ada", `{"crm":{"email_marketing":"neutral"},"push":{"devices":[{"token":"t1"}]}}`)
	h.put("grace", `{"crm":{"email_marketing":"neutral"},"push":{"devices":[{"token":"t2"}]}}`)
	sub := h.user("ada").json(t)["subscriptions"].([]any)[0].(map[string]any)["id"].(string)
	adaID := h.user("ada").json(t)["identity"].(map[string]any)["onesignal_id"].(string)
	off, on := `{"subscription":{"enabled":false}}`, `{"subscription":{"enabled":true}}`
	both := `{"attributes":[{"external_id":"grace"},{"external_id":"ada"}]}`
	group := `{"subscription_groups":[{"subscription_group_id":"` + newsGroup + `","subscription_state":"subscribed","external_ids":["ada"]}]}`

	for _, c := range []struct {
		fault string
		hit   func() answer
		miss  func() answer
	}{
		{`"target":"crm","calls":"read"`, func() answer {
			return h.braze("POST", "/users/export/ids", `{"external_ids":["ada"],"fields_to_export":["email"]}`)
		},
			func() answer { return h.braze("POST", "/users/track", subscribe("ada")) }},
		{`"target":"crm","calls":"write"`, func() answer { return h.braze("POST", "/users/track", both) },
			func() answer { return h.braze("GET", "/subscription/user/status?external_id=ada", "") }},
		{`"target":"crm"`, func() answer { return h.braze("POST", "/v2/subscription/status/set", group) },
			func() answer { return h.braze("POST", "/users/track", subscribe("grace")) }},
		{`"target":"crm"`, func() answer {
			return h.braze("GET", "/subscription/status/get?subscription_group_id="+newsGroup+"&external_id[]=grace&external_id[]=ada", "")
		}, func() answer { return h.createUser("ada") }},
		{`"target":"crm"`, func() answer { return h.braze("POST", "/users/delete", `{"external_ids":["ada"]}`) },
			func() answer { return h.braze("POST", "/users/delete", `{"external_ids":["x"]}`) }},
		{`"target":"push"`, func() answer { return h.oneSignal("PATCH", "/subscriptions/"+sub, off) },
			func() answer { return h.oneSignal("PATCH", "/subscriptions_by_token/AndroidPush/t2", on) }},
		{`"target":"push"`, func() answer { return h.oneSignal("PATCH", "/subscriptions_by_token/AndroidPush/t1", off) },
			func() answer { return h.user("grace") }},
		{`"target":"push"`, func() answer { return h.oneSignal("GET", "/users/by/onesignal_id/"+adaID, "") },
			func() answer { return h.createUser("grace") }},
		{`"target":"push"`, func() answer { return h.createUser("ada") }, func() answer { return h.addSubscription("grace", "t9") }},
		{`"target":"push"`, func() answer { return h.addSubscription("ada", "t3") }, func() answer { return h.createUser("grace", "t4") }},
		{`"target":"push"`, func() answer { return h.oneSignal("DELETE", "/subscriptions/"+sub, "") },
			func() answer { return h.receipt("ada", pushPurpose, "CONFIRMED") }},
		{`"target":"cmp","calls":"write"`, func() answer { return h.receipt("ada", pushPurpose, "CONFIRMED") },
			func() answer { return h.profiles("", "identifier", "ada") }},
		{`"target":"cmp"`, func() answer { return h.profiles("", "identifier", "ada") },
			func() answer { return h.profiles("", "identifier", "grace") }},
	} {
		h.do("DELETE", "/_sandbox/faults", "")
		h.fault(`{` + c.fault + `,"customer":"ada","kind":"status","status":418}`)
		require.Less(t, c.miss().status, 300, c.fault)
		require.Equal(t, 418, c.hit().status, c.fault)
		require.NotEqual(t, 418, c.hit().status, "the fault was for one call: %s", c.fault)
	}
}

func TestFaultsAreUsedInOrderAndCounted(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"status","status":500,"times":2}`)
	h.fault(`{"target":"crm","kind":"status","status":502,"times":0}`)
	var statuses []int
	for range 4 {
		statuses = append(statuses, h.braze("POST", "/users/track", subscribe("ada")).status)
	}
	require.Equal(t, []int{500, 500, 502, 502}, statuses)
	for i, f := range h.do("GET", "/_sandbox/faults", "").json(t)["faults"].([]any) {
		require.Equal(t, 2.0, f.(map[string]any)["hits"], i)
	}
}

func TestFaultTimesHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"status","status":500,"times":7}`)
	var mu sync.Mutex
	counts := map[int]int{}
	var all sync.WaitGroup
	for range 50 {
		r := h.request("POST", "/braze/users/track", subscribe("ada"), "Authorization", "Bearer "+h.cfg.BrazeAPIKey)
		all.Go(func() {
			a, err := h.send(r)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				counts[a.status]++
			}
		})
	}
	all.Wait()
	require.Equal(t, map[int]int{500: 7, 201: 43}, counts)
}

func TestTimeoutBeforeHasNoEffect(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","customer":"ada","calls":"write","kind":"timeout_before"}`)
	ctx, giveUp := context.WithCancel(t.Context())
	done := h.track(ctx, "ada")
	h.awaitInFlight("?customer=ada")
	require.Equal(t, "unknown", h.email("ada"))
	giveUp()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return h.requests("")[0].FinishedAt != nil }, 10*time.Second, time.Millisecond)
	require.Zero(t, h.requests("")[0].Status, "nobody got an answer")
	require.Equal(t, "unknown", h.email("ada"))
}

func TestTimeoutAfterHasTheEffect(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"timeout_after"}`)
	ctx, giveUp := context.WithCancel(t.Context())
	done := h.track(ctx, "ada")
	require.Eventually(t, func() bool { return h.email("ada") == "subscribed" }, 10*time.Second, time.Millisecond)
	select {
	case err := <-done:
		t.Fatalf("the call was answered: %v", err)
	default:
	}
	giveUp()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestTimeoutsEndAfterTheirDelay(t *testing.T) {
	t.Parallel()
	for kind, effect := range map[string]string{"timeout_before": "unknown", "timeout_after": "subscribed"} {
		h := start(t, func(c *Config) { c.MaxHold = 20 * time.Millisecond })
		for _, body := range []string{`"delay_ms":20`, `"delay_ms":0`} {
			h.fault(`{"target":"crm","kind":"` + kind + `",` + body + `}`)
			require.Equal(t, 504, h.braze("POST", "/users/track", subscribe("ada")).status)
			require.Equal(t, effect, h.email("ada"))
		}
	}
}

func TestRemovingFaultsReleasesHeldCalls(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"timeout_before"}`)
	done := h.track(t.Context(), "ada")
	h.awaitInFlight("?customer=ada")
	h.do("DELETE", "/_sandbox/faults", "")
	require.ErrorContains(t, <-done, "Gateway timeout")
}

func TestDelayGoesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"delay","delay_ms":600000}`)
	ctx, giveUp := context.WithCancel(t.Context())
	done := h.track(ctx, "ada")
	h.awaitInFlight("?customer=ada")
	require.Equal(t, "unknown", h.email("ada"))
	giveUp()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, "unknown", h.email("ada"))
	h.do("DELETE", "/_sandbox/faults", "") // ends the wait
	require.Eventually(t, func() bool { return h.email("ada") == "subscribed" }, 10*time.Second, time.Millisecond)
}

func TestDelayIsNotCutShortByItsClient(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"delay","delay_ms":30}`)
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := h.request("POST", "/braze/users/track", subscribe("ada"), "Authorization", "Bearer "+h.cfg.BrazeAPIKey)
	began := time.Now()
	h.sandbox.ServeHTTP(httptest.NewRecorder(), r.WithContext(gone))
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	require.Equal(t, "subscribed", h.email("ada"))
}

func TestDelayThenAnswersAsUsual(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"delay","delay_ms":30}`)
	began := time.Now()
	require.Equal(t, 201, h.braze("POST", "/users/track", subscribe("ada")).status)
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
}

func TestDropAfterHasTheEffectAndNoAnswer(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","calls":"write","kind":"drop_after"}`)
	err := <-h.track(t.Context(), "ada")
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "subscribed", h.email("ada"))
	entry := h.requests("")[0]
	require.Zero(t, entry.Status)
	require.NotNil(t, entry.FinishedAt)
}

func TestMalformedHasTheEffectAndAnAnswerNobodyCanRead(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"cmp","kind":"malformed"}`)
	a := h.receipt("ada", pushPurpose, "CONFIRMED")
	require.Equal(t, 200, a.status)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	require.False(t, json.Valid([]byte(a.body)))
	require.Equal(t, "granted", h.customer("ada").CMP.Purposes["push-marketing"])
}

func TestClosingReleasesHeldCalls(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.fault(`{"target":"crm","kind":"delay","delay_ms":600000}`)
	h.fault(`{"target":"crm","kind":"timeout_after"}`)
	first := h.track(t.Context(), "ada")
	h.awaitInFlight("?customer=ada")
	second := h.track(t.Context(), "grace")
	require.Eventually(t, func() bool { return h.email("grace") == "subscribed" }, 10*time.Second, time.Millisecond)
	require.NoError(t, h.sandbox.Close())
	require.ErrorContains(t, <-first, "unavailable")
	require.ErrorContains(t, <-second, "Gateway timeout")
	require.Equal(t, http.StatusServiceUnavailable, h.do("GET", "/healthz", "").status)
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	require.Equal(t, 413, h.braze("POST", "/users/track", strings.Repeat(" ", maxBody+1)).status)
}
