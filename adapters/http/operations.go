package httpapi

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"accord/domain/preference"
	"accord/ports"
)

const defaultLimit = 50

func operationPath(id string) string { return "/v1/operations/" + url.PathEscape(id) }

// GetOperation answers its customer, and services that may look at everybody's.
func (s *server) GetOperation(g *gin.Context, id OperationId, _ GetOperationParams) {
	x := exchangeOf(g)
	var op ports.OperationState
	var err error
	if x.operates() {
		op, err = s.operators.Find(g.Request.Context(), id)
	} else {
		op, err = s.preferences.Operation(g.Request.Context(), x.customer, id)
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	x.operation = op.ID
	if !op.Status.Settled() {
		g.Header("Retry-After", "1")
	}
	answerJSON(g, http.StatusOK, s.presentTo(x, op))
}

// presentTo adds what only operators are told.
func (s *server) presentTo(x *exchange, op ports.OperationState) Operation {
	out := presentOperation(op)
	if x.operates() {
		out.Customer, out.TemporalUi = textOrNull(string(op.Customer)), textOrNull(s.operators.RunLink(op))
	}
	return out
}

// ListOperations answers with a page of operations.
func (s *server) ListOperations(g *gin.Context, params ListOperationsParams) {
	var statuses []preference.Status
	if params.Status != nil {
		for _, status := range *params.Status {
			statuses = append(statuses, preference.Status(status))
		}
	} else {
		for _, status := range preference.Statuses {
			if !status.Settled() {
				statuses = append(statuses, status)
			}
		}
	}
	ops, next, err := s.operators.ByStatus(g.Request.Context(), statuses, textOf(params.Cursor), limitOf(params.Limit))
	if err != nil {
		s.fail(g, err)
		return
	}
	page := OperationPage{Operations: []Operation{}, NextCursor: textOrNull(next)}
	for _, op := range ops {
		page.Operations = append(page.Operations, s.presentTo(exchangeOf(g), op))
	}
	answerJSON(g, http.StatusOK, page)
}

// RetryOperation lets a parked operation go on.
func (s *server) RetryOperation(g *gin.Context, id OperationId) { s.decide(g, id, preference.RetryIt) }

// CompensateOperation takes a parked operation back.
func (s *server) CompensateOperation(g *gin.Context, id OperationId) {
	s.decide(g, id, preference.CompensateIt)
}

func (s *server) decide(g *gin.Context, id string, d preference.Decision) {
	x := exchangeOf(g)
	op, err := s.operators.Decide(g.Request.Context(), id, d, x.operator())
	if err != nil {
		s.fail(g, err)
		return
	}
	x.operation = op.ID
	g.Header("Location", operationPath(op.ID))
	g.Header("Retry-After", "1")
	answerJSON(g, http.StatusAccepted, s.presentTo(x, op))
}

func limitOf(given *Limit) int {
	if given == nil {
		return defaultLimit
	}
	return *given
}
