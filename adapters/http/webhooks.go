package httpapi

import (
	"errors"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/ports"
)

// ReceiveWebhook takes a message from another system. Its bytes are what is signed, so nothing looks into them before.
func (s *server) ReceiveWebhook(g *gin.Context, source string) {
	if s.decisions == nil {
		notFound(g)
		return
	}
	r := exchangeOf(g).route
	body, err := rawBody(g, r)
	if err != nil {
		s.failBody(g, r, err)
		return
	}
	receipt, err := s.decisions.Receive(g.Request.Context(), source, ports.WebhookMessage{
		Header: g.Request.Header.Get, Body: body, RequestID: exchangeOf(g).requestID})
	if fault.KindOf(err) == fault.Denied {
		if s.limitFailure(g) {
			return
		}
		unauthenticated(g, "invalid-signature", `Webhook realm="accord"`, "The message is not signed with a secret of this source, or not within the last five minutes.")
		return
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, presentReceipt(receipt))
}

func rawBody(g *gin.Context, r *route) ([]byte, error) {
	if _, err := schemaFor(g.Request.Header, r.bodies); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(g.Writer, g.Request.Body, r.maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, errBrokenOff()
	}
	return raw, nil
}

func presentReceipt(r ports.WebhookReceipt) ReceivedEvents {
	out := ReceivedEvents{Events: make([]ReceivedEvent, len(r.Events))}
	for i, e := range r.Events {
		out.Events[i] = ReceivedEvent{Id: e.ID, Outcome: string(e.Outcome), Reason: textOrNull(e.Reason), Operation: textOrNull(e.Operation)}
	}
	return out
}
