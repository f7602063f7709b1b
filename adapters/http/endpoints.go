package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/ports"
)

// ListWebhookEndpoints answers with all of them.
func (s *server) ListWebhookEndpoints(g *gin.Context) {
	all, err := s.endpoints.List(g.Request.Context())
	if err != nil {
		s.fail(g, err)
		return
	}
	out := WebhookEndpointList{Endpoints: []WebhookEndpoint{}}
	for _, e := range all {
		out.Endpoints = append(out.Endpoints, presentEndpoint(e, false))
	}
	answerJSON(g, http.StatusOK, out)
}

// CreateWebhookEndpoint makes one and shows its secret.
func (s *server) CreateWebhookEndpoint(g *gin.Context) {
	var body WebhookEndpointDraft
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	draft := ports.EndpointDraft{URL: body.Url, Description: textOf(body.Description)}
	if body.EventTypes != nil {
		draft.Events = *body.EventTypes
	}
	e, err := s.endpoints.Create(g.Request.Context(), draft)
	s.answerEndpoint(g, http.StatusCreated, e, true, err)
}

// GetWebhookEndpoint answers with one.
func (s *server) GetWebhookEndpoint(g *gin.Context, id string) {
	e, err := s.endpoints.Endpoint(g.Request.Context(), id)
	s.answerEndpoint(g, http.StatusOK, e, false, err)
}

// PatchWebhookEndpoint changes one.
func (s *server) PatchWebhookEndpoint(g *gin.Context, id string) {
	var body WebhookEndpointPatch
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	e, err := s.endpoints.Edit(g.Request.Context(), id, ports.EndpointPatch{URL: body.Url, Description: body.Description, Events: body.EventTypes, Enabled: body.Enabled})
	s.answerEndpoint(g, http.StatusOK, e, false, err)
}

// DeleteWebhookEndpoint forgets one.
func (s *server) DeleteWebhookEndpoint(g *gin.Context, id string) {
	if err := s.endpoints.Delete(g.Request.Context(), id); err != nil {
		s.fail(g, err)
		return
	}
	g.Status(http.StatusNoContent)
}

// RotateWebhookSecret gives one a new secret and shows it.
func (s *server) RotateWebhookSecret(g *gin.Context, id string) {
	e, err := s.endpoints.Rotate(g.Request.Context(), id)
	s.answerEndpoint(g, http.StatusOK, e, true, err)
}

// PingWebhookEndpoint tries one.
func (s *server) PingWebhookEndpoint(g *gin.Context, id string) {
	r, err := s.endpoints.Ping(g.Request.Context(), id)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, WebhookAttempt{Delivered: r.Delivered(), Status: numberOrNull(r.Status), Code: textOrNull(r.Code), TookMs: r.Took.Milliseconds()})
}

// ReplayWebhookEndpoint sends again.
func (s *server) ReplayWebhookEndpoint(g *gin.Context, id string) {
	var body WebhookReplay
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	n, err := s.endpoints.Replay(g.Request.Context(), id, body.From)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusAccepted, WebhookReplayed{Events: n})
}

const deliveryCursorPrefix = "delivery:"

// ListWebhookDeliveries answers with a page of what was sent.
func (s *server) ListWebhookDeliveries(g *gin.Context, id string, params ListWebhookDeliveriesParams) {
	below, err := readCountCursor(deliveryCursorPrefix, textOf(params.Cursor))
	if err != nil {
		s.fail(g, err)
		return
	}
	limit := limitOf(params.Limit)
	found, err := s.endpoints.Deliveries(g.Request.Context(), id, below, limit)
	if err != nil {
		s.fail(g, err)
		return
	}
	page := WebhookDeliveryPage{Deliveries: []WebhookDelivery{}}
	for _, d := range found {
		out := WebhookDelivery{Event: "evt_" + d.Operation, Operation: d.Operation, State: d.State, Attempts: d.Attempts, Status: numberOrNull(d.Status),
			Code: textOrNull(d.Code), AttemptedAt: timeOrNull(d.AttemptedAt), DeliveredAt: timeOrNull(d.DeliveredAt)}
		if d.State == "pending" {
			out.NextAttemptAt = timeOrNull(d.NextAt)
		}
		page.Deliveries = append(page.Deliveries, out)
	}
	if len(found) == limit {
		page.NextCursor = textOrNull(countCursor(deliveryCursorPrefix, found[len(found)-1].ID))
	}
	answerJSON(g, http.StatusOK, page)
}

func (s *server) answerEndpoint(g *gin.Context, status int, e ports.Endpoint, withSecret bool, err error) {
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, status, presentEndpoint(e, withSecret))
}

func presentEndpoint(e ports.Endpoint, withSecret bool) WebhookEndpoint {
	out := WebhookEndpoint{Id: e.ID, Url: e.URL, Description: e.Description, EventTypes: append([]string{}, e.Events...), Enabled: e.Disabled == "",
		DisabledReason: textOrNull(e.Disabled), FailingSince: timeOrNull(e.FailingSince), CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
	if withSecret && len(e.Secrets) > 0 {
		out.Secret = textOrNull(e.Secrets[0].Reveal())
	}
	return out
}

func numberOrNull(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
