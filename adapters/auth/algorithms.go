package auth

import (
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keyOf lists the algorithms that are allowed, each with the keys it may be used with. Nothing symmetric is in it: a
// public key must never be taken for a shared secret.
var keyOf = map[string]func(jwk.Key) bool{
	"RS256": anyRSA,
	"PS256": anyRSA,
	"ES256": func(k jwk.Key) bool {
		ec, ok := k.(jwk.ECDSAPublicKey)
		return ok && curveIs(ec.Crv, jwa.P256())
	},
	"EdDSA": func(k jwk.Key) bool {
		okp, ok := k.(jwk.OKPPublicKey)
		return ok && curveIs(okp.Crv, jwa.Ed25519())
	},
}

// anyRSA need not look at the size: the library takes no key under 2048 bits in, and a test holds it to that.
func anyRSA(k jwk.Key) bool {
	_, ok := k.(jwk.RSAPublicKey)
	return ok
}

func curveIs(crv func() (jwa.EllipticCurveAlgorithm, bool), want jwa.EllipticCurveAlgorithm) bool {
	got, ok := crv()
	return ok && got == want
}
