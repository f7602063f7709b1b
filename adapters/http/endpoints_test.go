package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/webhook"
	"accord/ports"
	"accord/ports/mocks"
)

func TestAnEndpointShowsItsSecretWhenItIsMadeAndNeverAgain(t *testing.T) {
	t.Parallel()
	endpoints := mocks.NewMockEndpoints(gomock.NewController(t))
	a := newAPI(t, func(c *Config) { c.Endpoints = endpoints })
	token := "hooks"
	secret, err := webhook.NewSecret(make([]byte, 32))
	require.NoError(t, err)
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	e := ports.Endpoint{ID: "we_1", URL: "https://x.example/", Events: []string{}, Secrets: []webhook.Secret{secret}, CreatedAt: at, UpdatedAt: at}
	endpoints.EXPECT().Create(gomock.Any(), ports.EndpointDraft{URL: "https://x.example/", Description: "d"}).Return(e, nil)
	endpoints.EXPECT().Endpoint(gomock.Any(), "we_1").Return(e, nil)
	endpoints.EXPECT().List(gomock.Any()).Return([]ports.Endpoint{e}, nil)
	endpoints.EXPECT().Rotate(gomock.Any(), "we_1").Return(e, nil)
	made := a.call(http.MethodPost, "/v1/webhook-endpoints", token, `{"url":"https://x.example/","description":"d"}`).is(201)
	require.Contains(t, string(made.body), secret.Reveal())
	require.Contains(t, string(a.call(http.MethodPost, "/v1/webhook-endpoints/we_1/rotate-secret", token, "").is(200).body), secret.Reveal())
	for _, target := range []string{"/v1/webhook-endpoints/we_1", "/v1/webhook-endpoints"} {
		require.NotContains(t, string(a.call(http.MethodGet, target, token, "").is(200).body), "whsec_")
	}
}

func TestWhatIsAskedOfEndpoints(t *testing.T) {
	t.Parallel()
	endpoints := mocks.NewMockEndpoints(gomock.NewController(t))
	a := newAPI(t, func(c *Config) { c.Endpoints = endpoints })
	token := "hooks"
	off, at := false, time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	endpoints.EXPECT().Edit(gomock.Any(), "we_1", ports.EndpointPatch{Enabled: &off}).Return(ports.Endpoint{ID: "we_1", Disabled: "by_request"}, nil)
	require.Contains(t, string(a.call(http.MethodPatch, "/v1/webhook-endpoints/we_1", token, `{"enabled":false}`).is(200).body), `"disabled_reason":"by_request"`)
	endpoints.EXPECT().Ping(gomock.Any(), "we_1").Return(ports.DeliveryResult{Code: "timeout", Took: 15 * time.Second}, nil)
	require.JSONEq(t, `{"delivered":false,"status":null,"code":"timeout","took_ms":15000}`, string(a.call(http.MethodPost, "/v1/webhook-endpoints/we_1/ping", token, "").is(200).body))
	endpoints.EXPECT().Replay(gomock.Any(), "we_1", at).Return(int64(7), nil)
	require.JSONEq(t, `{"events":7}`, string(a.call(http.MethodPost, "/v1/webhook-endpoints/we_1/replay", token, `{"from":"2026-03-01T08:00:00Z"}`).is(202).body))
	endpoints.EXPECT().Deliveries(gomock.Any(), "we_1", int64(0), 1).Return([]ports.EventDelivery{{ID: 9, Operation: "op_1", State: "delivered", Attempts: 2, Status: 200, NextAt: at, AttemptedAt: at, DeliveredAt: at}}, nil)
	var page WebhookDeliveryPage
	a.call(http.MethodGet, "/v1/webhook-endpoints/we_1/deliveries?limit=1", token, "").is(200).json(&page)
	require.Equal(t, "evt_op_1", page.Deliveries[0].Event)
	require.Nil(t, page.Deliveries[0].NextAttemptAt)
	endpoints.EXPECT().Deliveries(gomock.Any(), "we_1", int64(9), 50).Return(nil, nil)
	a.call(http.MethodGet, "/v1/webhook-endpoints/we_1/deliveries?cursor="+*page.NextCursor, token, "").is(200)
	endpoints.EXPECT().Delete(gomock.Any(), "we_1").Return(nil)
	a.call(http.MethodDelete, "/v1/webhook-endpoints/we_1", token, "").is(204)

	endpoints.EXPECT().Endpoint(gomock.Any(), "we_2").Return(ports.Endpoint{}, fault.New(fault.NotFound, "not-found", "x"))
	a.call(http.MethodGet, "/v1/webhook-endpoints/we_2", token, "").is(404)
	a.call(http.MethodPost, "/v1/webhook-endpoints", token, `{"url":"https://x.example/","secret":"mine"}`).is(400)
	a.call(http.MethodPost, "/v1/webhook-endpoints", "", `{"url":"https://x.example/"}`).is(401)
}
