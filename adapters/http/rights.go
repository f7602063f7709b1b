package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

func erasurePath(id string) string { return "/v1/erasures/" + url.PathEscape(id) }

// EraseCustomer makes everybody forget a person.
func (s *server) EraseCustomer(g *gin.Context, id CustomerId, _ EraseCustomerParams) {
	customer, ok := s.customerInPath(g, id)
	if !ok {
		return
	}
	headers, err := readChangeHeaders(g.Request.Header)
	if err != nil {
		s.fail(g, err)
		return
	}
	x := exchangeOf(g)
	state, err := s.rights.Erase(g.Request.Context(), ports.ChangeCommand{Customer: customer, Source: preference.FromOperator, Actor: x.operator(),
		Origin: consent.Origin{Source: string(preference.FromOperator), RequestID: x.requestID},
		Key:    headers.key, Fingerprint: fingerprint(g.Request, nil), Wait: headers.prefer.wait})
	if err != nil {
		s.fail(g, err)
		return
	}
	out, status := presentErasure(state), http.StatusOK
	if state.Proof == nil && !state.Operation.Status.Settled() {
		status = http.StatusAccepted
		g.Header("Location", erasurePath(out.Id))
		g.Header("Retry-After", "1")
	}
	g.Header("Accord-Operation", out.Id)
	preferenceApplied(g, headers.prefer, status)
	answerJSON(g, status, out)
}

// GetErasure tells how far an erasure is.
func (s *server) GetErasure(g *gin.Context, id OperationId) {
	state, err := s.rights.Erasure(g.Request.Context(), id)
	if err != nil {
		s.fail(g, err)
		return
	}
	g.Header("Cache-Control", "private, no-cache")
	answerJSON(g, http.StatusOK, presentErasure(state))
}

func presentErasure(state ports.ErasureState) Erasure {
	if p := state.Proof; p != nil {
		out := Erasure{Id: p.Operation, Status: "erased", RequestedAt: p.RequestedAt.UTC(), ErasedAt: timeOrNull(p.ErasedAt), Targets: map[string]TargetProgress{},
			Ledger: &ErasedChain{Chain: p.Chain, Entries: p.Entries, Head: hex.EncodeToString(p.Head[:])}}
		for _, t := range p.Targets {
			out.Targets[string(t)] = TargetProgress{State: string(ports.TargetApplied)}
		}
		return out
	}
	op := presentOperation(state.Operation)
	return Erasure{Id: op.Id, Status: op.Status, RequestedAt: op.AcceptedAt, Targets: op.Targets}
}

// ExportCustomer answers with everything held about a person. Nobody in between may keep it.
func (s *server) ExportCustomer(g *gin.Context, id CustomerId) {
	customer, ok := s.customerInPath(g, id)
	if !ok {
		return
	}
	export, err := s.rights.Export(g.Request.Context(), customer)
	if err != nil {
		s.fail(g, err)
		return
	}
	g.Header("Cache-Control", "no-store")
	answerJSON(g, http.StatusOK, s.presentExport(g, export))
}

// exported is a CustomerExport. Messages are encoded already, as they are in every inbox.
type exported struct {
	CustomerExport
	Inbox json.RawMessage `json:"inbox"`
}

func (s *server) presentExport(g *gin.Context, e ports.Export) exported {
	out := exported{CustomerExport: CustomerExport{Customer: string(e.Customer), ExportedAt: e.At.UTC(), Preferences: presentPreferences(e.View),
		Operations: []Operation{}, Ledger: []AuditEntry{}, Activity: []ClientActivity{}, Recipients: map[string]map[string]string{}}}
	for _, op := range e.Operations {
		out.Operations = append(out.Operations, s.presentTo(exchangeOf(g), op))
	}
	for _, l := range e.Ledger {
		out.Ledger = append(out.Ledger, presentEntry(l, true))
	}
	for _, a := range e.Activity {
		out.Activity = append(out.Activity, ClientActivity{Kind: a.Kind, Id: textOrNull(a.ID), At: timeOrNull(a.At)})
	}
	for target, holding := range e.Recipients {
		told := map[string]string{}
		for item, state := range holding {
			told[item.Label()] = string(state)
		}
		out.Recipients[string(target)] = told
	}
	out.Inbox = append(appendEntries([]byte{'['}, e.Messages), ']')
	return out
}
