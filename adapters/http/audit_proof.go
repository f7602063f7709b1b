package httpapi

import (
	"encoding/hex"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/consent"
	"accord/domain/preference"
)

// GetOwnAuditProof answers with the customer's own ledger as a file that proves itself.
func (s *server) GetOwnAuditProof(g *gin.Context, _ GetOwnAuditProofParams) {
	s.proof(g, exchangeOf(g).customer, true)
}

// GetCustomerAuditProof answers with anybody's.
func (s *server) GetCustomerAuditProof(g *gin.Context, id CustomerId) {
	if customer, ok := s.customerInPath(g, id); ok {
		s.proof(g, customer, false)
	}
}

func (s *server) proof(g *gin.Context, customer preference.CustomerID, toCustomer bool) {
	p, err := s.auditing.Proof(g.Request.Context(), customer, toCustomer)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, p)
}

// GetOwnConsent answers with what held for the customer at a time.
func (s *server) GetOwnConsent(g *gin.Context, params GetOwnConsentParams) {
	s.consentAt(g, exchangeOf(g).customer, params.At)
}

// GetCustomerConsent answers with what held for anybody at a time.
func (s *server) GetCustomerConsent(g *gin.Context, id CustomerId, params GetCustomerConsentParams) {
	if customer, ok := s.customerInPath(g, id); ok {
		s.consentAt(g, customer, params.At)
	}
}

func (s *server) consentAt(g *gin.Context, customer preference.CustomerID, asked *At) {
	at := time.Now()
	if asked != nil {
		at = *asked
	}
	at, err := knownTime("at", at)
	if err != nil {
		s.fail(g, err)
		return
	}
	standing, err := s.auditing.ConsentAt(g.Request.Context(), customer, at)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, ConsentAt{At: standing.At.UTC(), Facts: presentFacts(standing.Facts), Withheld: presentFacts(standing.Withheld)})
}

func presentFacts(in map[string]consent.Fact) map[string]ConsentFact {
	out := make(map[string]ConsentFact, len(in))
	for path, f := range in {
		out[path] = ConsentFact{Value: f.Value, Seq: f.Seq, Since: f.Since.UTC(), Operation: f.Operation}
	}
	return out
}

const checkpointCursorPrefix = "checkpoint:"

// ListCheckpoints hands out the ledger's checkpoints, for whoever keeps them outside.
func (s *server) ListCheckpoints(g *gin.Context, params ListCheckpointsParams) {
	after, err := readCountCursor(checkpointCursorPrefix, textOf(params.Cursor)) // 0, before the first, for none
	if err != nil {
		s.fail(g, err)
		return
	}
	limit := limitOf(params.Limit)
	all, err := s.auditing.Checkpoints(g.Request.Context(), after, limit)
	if err != nil {
		s.fail(g, err)
		return
	}
	page := CheckpointPage{Checkpoints: []Checkpoint{}}
	for _, c := range all {
		page.Checkpoints = append(page.Checkpoints, Checkpoint{Number: c.Number, Size: c.Size, Root: hex.EncodeToString(c.Root[:]),
			SealedAt: c.SealedAt.UTC(), Note: c.Note, Verifier: c.Verifier})
	}
	if n := len(all); n == limit {
		page.NextCursor = textOrNull(countCursor(checkpointCursorPrefix, all[n-1].Number))
	}
	answerJSON(g, http.StatusOK, page)
}
