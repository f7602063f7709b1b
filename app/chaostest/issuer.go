package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"accord/adapters/auth"
)

// issuer is the development issuer for callers whose clock is wrong: it says when a token was issued by their clock.
type issuer struct {
	keys    *auth.DevIssuer
	private jwk.Key
}

func newIssuer(dir string) (*issuer, error) {
	keys, err := auth.NewDevIssuer(dir)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "dev-issuer.jwk"))
	if err != nil {
		return nil, err
	}
	private, err := jwk.ParseKey(raw)
	return &issuer{keys: keys, private: private}, err
}

// mint makes a token for somebody by a clock that is wrong by skew.
func (i *issuer) mint(subject, scope string, skew time.Duration) (string, error) {
	now := time.Now().Add(skew).UTC().Truncate(time.Second)
	claims := jwt.NewBuilder().Issuer(auth.DevIssuerName).Audience([]string{auth.DevAudience}).Subject(subject).
		IssuedAt(now).NotBefore(now).Expiration(now.Add(12*time.Hour)).JwtID(rand.Text()).Claim("client_id", "chaos")
	if scope != "" {
		claims = claims.Claim("scope", scope)
	}
	token, err := claims.Build()
	if err != nil {
		return "", err
	}
	id, _ := i.private.KeyID()
	head := jws.NewHeaders()
	if err := head.Set(jws.TypeKey, "at+jwt"); err != nil {
		return "", err
	}
	if err := head.Set(jws.KeyIDKey, id); err != nil {
		return "", err
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.EdDSA(), i.private, jws.WithProtectedHeaders(head)))
	return string(signed), err
}
