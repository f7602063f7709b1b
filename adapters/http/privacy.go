package httpapi

import (
	"github.com/gin-gonic/gin"

	"accord/ports"
)

// notePrivacy tells of a signed-in customer's request whether their browser sends Global Privacy Control. The request goes
// on as if nothing was: what follows from it is done elsewhere.
func (s *server) notePrivacy(g *gin.Context) {
	x := exchangeOf(g)
	if s.signals == nil || x.customer == "" || !readInstallation(x, g.Request.Header) {
		return
	}
	s.signals.Seen(ports.SignalledRequest{Customer: x.customer, Installation: x.installation,
		Signal: g.Request.Header.Get("Sec-GPC") == "1", RequestID: x.requestID})
}
