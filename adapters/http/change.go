package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// change asks for a change and answers with how far it came. invalid is what was wrong with building it, nil for
// nothing; present shows the part of the preferences that the call is about.
func (s *server) change(g *gin.Context, canonical []byte, c preference.Change, invalid error, present func(ports.PreferenceView) any) {
	s.changeBecause(g, "", canonical, c, invalid, present)
}

// changeBecause is change with the cause that goes into the ledger, where it is the call that says it.
func (s *server) changeBecause(g *gin.Context, cause string, canonical []byte, c preference.Change, invalid error, present func(ports.PreferenceView) any) {
	headers, err := readChangeHeaders(g.Request.Header)
	if err == nil {
		err = invalid
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	if s.limitChange(g, c) {
		return
	}
	x := exchangeOf(g)
	result, err := s.preferences.Change(g.Request.Context(), ports.ChangeCommand{
		Customer: x.customer, Change: c, Source: preference.FromApp, Cause: cause,
		Actor: consent.Actor{Type: "customer", ID: string(x.customer)},
		Origin: consent.Origin{Source: string(preference.FromApp), Installation: x.installation,
			AppVersion: appVersion(g.Request.Header, c), Address: s.address(g), RequestID: x.requestID},
		Key: headers.key, Fingerprint: fingerprint(g.Request, canonical), IfMatch: headers.ifMatch, Wait: headers.prefer.wait,
	})
	if err != nil {
		s.fail(g, err)
		return
	}
	if result.Unchanged {
		tagged(g, result.View.Tag)
		preferenceApplied(g, headers.prefer, http.StatusOK)
		answerJSON(g, http.StatusOK, present(result.View))
		return
	}
	x.operation = result.Operation.ID
	g.Header("Accord-Operation", x.operation)
	if result.Replayed {
		g.Header("Idempotency-Replayed", "true")
	}
	s.outcome(g, headers.prefer, result, present)
}

func (s *server) outcome(g *gin.Context, prefer preferences, result ports.ChangeResult, present func(ports.PreferenceView) any) {
	op := result.Operation
	switch op.Status {
	case preference.Applied:
		tagged(g, result.View.Tag)
		preferenceApplied(g, prefer, http.StatusOK)
		answerJSON(g, http.StatusOK, present(result.View))
	case preference.Compensated:
		compensated(op).answer(g)
	default:
		preferenceApplied(g, prefer, http.StatusAccepted)
		g.Header("Location", operationPath(op.ID))
		g.Header("Retry-After", "1")
		answerJSON(g, http.StatusAccepted, presentOperation(s.progress(g, op)))
	}
}

// appVersion is what the app says it is, in the header or with the device that it registers.
func appVersion(h http.Header, c preference.Change) string {
	if given := h.Get(appVersionHeader); given != "" {
		return given
	}
	return c.AppVersion()
}

func preferenceApplied(g *gin.Context, prefer preferences, status int) {
	if applied := prefer.applied(status); applied != "" {
		g.Header("Preference-Applied", applied)
	}
}

// progress looks up what each target is at. It is a courtesy: when it fails the answer goes without.
func (s *server) progress(g *gin.Context, op preference.Operation) ports.OperationState {
	if op.Status != preference.Accepted { // no target was touched before that
		if state, err := s.preferences.Operation(g.Request.Context(), op.Customer, op.ID); err == nil {
			return state
		}
	}
	return ports.OperationState{Operation: op}
}

// compensated tells a change that a target refused from one that our own store refused when its turn came: the latter is
// the conflict it would have been, had it come first.
func compensated(op preference.Operation) Problem {
	reason := op.Reason
	if reason == nil {
		reason = &consent.Reason{Code: "compensated"}
	}
	if reason.Target == "store" {
		return Problem{Status: http.StatusConflict, Code: reason.Code, Operation: &op.ID,
			Detail: "When the turn of this change came it was not valid any more: " + reason.Detail}
	}
	detail := "The change did not reach every system and was taken back everywhere."
	if reason.Target != "" {
		detail = fmt.Sprintf("The change did not reach %s and was taken back everywhere.", reason.Target)
	}
	return Problem{Status: http.StatusBadGateway, Code: "change-compensated", Detail: detail,
		Operation: &op.ID, FailedTarget: textOrNull(reason.Target), Reason: &reason.Code}
}

// fingerprint is what makes two requests with one key the same request: method, path and meaning of the body. A
// condition is no part of it, since a client that repeats a request after a lost answer may have read a newer tag.
func fingerprint(r *http.Request, canonical []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.Path), canonical} {
		_, _ = fmt.Fprintf(h, "%d:", len(part)) // a hash never fails to take what it is given
		_, _ = h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
