package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/ports"
)

// hearing answers as it is told to, and keeps what it was told.
type hearing struct {
	source string
	got    ports.WebhookMessage
	answer ports.WebhookReceipt
	err    error
}

func (h *hearing) Receive(_ context.Context, source string, m ports.WebhookMessage) (ports.WebhookReceipt, error) {
	h.source, h.got = source, m
	return h.answer, h.err
}

func TestAWebhookIsHandedOnAsItCame(t *testing.T) {
	t.Parallel()
	h := &hearing{answer: ports.WebhookReceipt{Events: []ports.ReceivedEvent{{ID: "e1", Outcome: ports.DecisionAccepted, Operation: "op_1"}, {ID: "e2", Outcome: ports.DecisionIgnored, Reason: "no_customer"}}}}
	a := newAPI(t, func(c *Config) { c.Decisions = h })
	const body = `{"b":1,  "a":2}`
	got := a.call(http.MethodPost, "/v1/webhooks/braze", "", body, "Webhook-Id: m1").is(200)
	require.Equal(t, "braze", h.source)
	require.Equal(t, body, string(h.got.Body), "the bytes are what is signed")
	require.Equal(t, "m1", h.got.Header("webhook-id"))
	require.JSONEq(t, `{"events":[{"id":"e1","outcome":"accepted","reason":null,"operation":"op_1"},{"id":"e2","outcome":"ignored","reason":"no_customer","operation":null}]}`, string(got.body))
}

func TestWhatAWebhookIsAnsweredWhenItIsNotTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		body   string
		status int
		code   string
	}{
		{fault.New(fault.Denied, "invalid-signature", "x"), `{}`, 401, "invalid-signature"},
		{fault.New(fault.NotFound, "not-found", "x"), `{}`, 404, "not-found"},
		{fault.OnField("data.customer", "invalid_id", "x"), `{}`, 400, "invalid-request"},
		{fault.New(fault.Unavailable, "unavailable", "x"), `{}`, 503, "unavailable"},
		{context.DeadlineExceeded, `{}`, 500, "internal"},
		{nil, `"` + strings.Repeat("x", 1<<20) + `"`, 413, "content-too-large"},
	} {
		a := newAPI(t, func(cfg *Config) { cfg.Decisions = &hearing{err: c.err} })
		got := a.call(http.MethodPost, "/v1/webhooks/generic", "", c.body).is(c.status)
		require.Equal(t, c.code, got.problem().Code)
		if c.status == 503 {
			require.NotEmpty(t, got.header.Get("Retry-After"))
		}
		if c.status == 401 {
			require.NotEmpty(t, got.header.Get("WWW-Authenticate"))
		}
	}
	a := newAPI(t)
	a.call(http.MethodPost, "/v1/webhooks/generic", "", `{}`).is(404)
	a.call(http.MethodPost, "/v1/webhooks/generic", "", `a=b`, "Content-Type: application/x-www-form-urlencoded").is(404)
	a = newAPI(t, func(cfg *Config) { cfg.Decisions = &hearing{} })
	a.call(http.MethodPost, "/v1/webhooks/generic", "", `a=b`, "Content-Type: application/x-www-form-urlencoded").is(415)
}
