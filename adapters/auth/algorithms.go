package auth

import (
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

const minRSABits = 2048

// keyOf lists the algorithms that are allowed, each with the keys it may be used with. Nothing symmetric is in it: a
// public key must never be taken for a shared secret.
var keyOf = map[string]func(jwk.Key) bool{
	"RS256": strongRSA,
	"PS256": strongRSA,
	"ES256": func(k jwk.Key) bool {
		ec, ok := k.(jwk.ECDSAPublicKey)
		return ok && curveIs(ec.Crv, jwa.P256())
	},
	"EdDSA": func(k jwk.Key) bool {
		okp, ok := k.(jwk.OKPPublicKey)
		return ok && curveIs(okp.Crv, jwa.Ed25519())
	},
}

func strongRSA(k jwk.Key) bool {
	rsa, ok := k.(jwk.RSAPublicKey)
	if !ok {
		return false
	}
	n, ok := rsa.N()
	return ok && len(n)*8 >= minRSABits
}

func curveIs(crv func() (jwa.EllipticCurveAlgorithm, bool), want jwa.EllipticCurveAlgorithm) bool {
	got, ok := crv()
	return ok && got == want
}
