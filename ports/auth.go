package ports

import (
	"context"
	"slices"
	"time"
)

// Principal is who a bearer token speaks for.
type Principal struct {
	Subject  string    // the customer, or the service itself
	Scopes   []string  // what a service may do; empty for a customer
	ClientID string    // the client the token was issued to, empty when the token does not say
	Expires  time.Time // when the token stops being good, leeway for clocks that differ included; zero for not known
}

// HasAny reports whether the principal was given at least one of the scopes.
func (p Principal) HasAny(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(p.Scopes, s) })
}

// IsClient reports that the token was issued to a client for itself (RFC 9068, section 2.2): no person is behind it.
func (p Principal) IsClient() bool { return p.ClientID != "" && p.Subject == p.ClientID }

// TokenVerifier decides whether a bearer token is to be trusted. Errors: fault.Denied when it is not, with a message
// that may be shown to the caller; fault.Unavailable when that cannot be decided now because the issuer's keys cannot be
// had. Safe for concurrent use; verifying twice changes nothing.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (Principal, error)
}
