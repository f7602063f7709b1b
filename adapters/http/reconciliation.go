package httpapi

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
)

// RequestReconciliation has customers compared with what every system holds.
func (s *server) RequestReconciliation(g *gin.Context) {
	var body ReconciliationRequest
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	customers := make([]preference.CustomerID, len(body.Customers))
	for i, id := range body.Customers {
		customer, err := preference.ParseCustomerID(id)
		if err != nil {
			s.fail(g, fault.OnField(fmt.Sprintf("customers[%d]", i), "invalid_id", "must be 1 to 255 bytes without white space or control characters"))
			return
		}
		customers[i] = customer
	}
	if err := s.reconciliation.Ask(g.Request.Context(), customers); err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusAccepted, ReconciliationRequested{Customers: len(customers)})
}
