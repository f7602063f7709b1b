package httpapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// bearer reads RFC 6750's credentials; the scheme's case does not matter. It is written out because every request has
// them, and a pattern costs more than all the rest of finding out who calls.
func bearer(credentials string) (token string, ok bool) {
	const scheme = "bearer "
	if len(credentials) <= len(scheme) || !strings.EqualFold(credentials[:len(scheme)], scheme) {
		return "", false
	}
	token = strings.TrimLeft(credentials[len(scheme):], " ")
	text := strings.TrimRight(token, "=")
	for i := range len(text) {
		if !tokenCharacter[text[i]] {
			return "", false
		}
	}
	return token, text != ""
}

var tokenCharacter = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/-") {
		is[c] = true
	}
	return is
}()

// authenticate finds out who is calling, and whether the contract lets them.
func (s *server) authenticate(g *gin.Context) {
	x := exchangeOf(g)
	if x.route == nil || x.route.access == forAnyone {
		return
	}
	given := g.Request.Header.Values("Authorization")
	if len(given) == 0 && x.route.access == forAnyoneOrCustomer {
		return
	}
	if len(given) == 0 {
		if s.limitFailure(g) {
			return
		}
		unauthenticated(g, "unauthenticated", `Bearer realm="accord"`, "Send an access token: Authorization: Bearer <token>.")
		return
	}
	token, ok := bearer(strings.TrimSpace(given[0]))
	if len(given) > 1 || !ok {
		if s.limitFailure(g) {
			return
		}
		unauthenticated(g, "invalid-token", `Bearer realm="accord", error="invalid_token"`, "Authorization must be one Bearer token.")
		return
	}
	principal, err := s.verifier.Verify(g.Request.Context(), token)
	if f, is := fault.As(err); is && f.Kind == fault.Denied {
		if s.limitFailure(g) {
			return
		}
		unauthenticated(g, "invalid-token", `Bearer realm="accord", error="invalid_token"`, f.Message)
		return
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	x.principal = principal
	admit(g, x)
}

func unauthenticated(g *gin.Context, code, challenge, detail string) {
	g.Header("WWW-Authenticate", challenge)
	Problem{Status: http.StatusUnauthorized, Code: code, Detail: detail}.answer(g)
}

// admit decides by what the contract says about the operation. A customer's own data needs no scope: the subject is all
// that names it.
func admit(g *gin.Context, x *exchange) {
	scoped := x.principal.HasAny(x.route.scopes...)
	if x.route.access == forService && !scoped {
		insufficientScope(g, x.route)
		return
	}
	if x.route.access == forService || scoped {
		return
	}
	customer, err := customerOf(x.principal)
	if err != nil {
		Problem{Status: http.StatusForbidden, Code: "not-a-customer", Detail: "The token's subject is not a customer."}.answer(g)
		return
	}
	x.customer = customer
}

func customerOf(p ports.Principal) (preference.CustomerID, error) {
	if p.IsClient() {
		return "", fault.New(fault.Denied, "not-a-customer", "no person is behind this token")
	}
	return preference.ParseCustomerID(p.Subject)
}

func insufficientScope(g *gin.Context, r *route) {
	g.Header("WWW-Authenticate", `Bearer realm="accord", error="insufficient_scope", scope="`+r.scopes[0]+`"`)
	Problem{Status: http.StatusForbidden, Code: "insufficient-scope", Detail: "The token needs the scope " + strings.Join(r.scopes, " or ") + "."}.answer(g)
}
