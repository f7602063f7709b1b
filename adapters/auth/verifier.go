package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"accord/domain/fault"
	"accord/ports"
)

// KeySource finds the issuer's key with an id. Errors: fault.NotFound when the issuer has no such key,
// fault.Unavailable when the keys cannot be had now.
type KeySource interface {
	Key(ctx context.Context, id string) (jwk.Key, error)
}

// Config of a Verifier. Issuer, Audience and Keys are required.
type Config struct {
	Issuer   string
	Audience string
	Keys     KeySource
	Now      func() time.Time // nil for the system's clock
}

// Leeway that clocks may differ by.
const Leeway = 30 * time.Second

// maxToken bounds what is parsed before any signature was checked.
const maxToken = 8 << 10

// Verifier checks JWTs. It implements ports.TokenVerifier.
type Verifier struct {
	cfg Config
}

// NewVerifier refuses a configuration that would trust tokens of any issuer or for any audience.
func NewVerifier(cfg Config) (*Verifier, error) {
	if cfg.Issuer == "" || cfg.Audience == "" || cfg.Keys == nil {
		return nil, errors.New("verifying tokens needs an issuer, an audience and keys")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg}, nil
}

// compact reports whether it is a token in the compact form, written in the one way there is: the JSON forms carry several
// signatures and unprotected headers, which nobody needs here, and the library takes last letters of a part for equal whose
// bits that belong to no byte differ, in the header too.
func compact(token string) bool {
	parts := strings.Split(token, ".")
	for _, part := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || len(raw) == 0 || base64.RawURLEncoding.EncodeToString(raw) != part {
			return false
		}
	}
	return len(parts) == 3
}

// Verify checks signature, issuer, audience and times. See ports.TokenVerifier.
func (v *Verifier) Verify(ctx context.Context, token string) (ports.Principal, error) {
	if len(token) > maxToken || !compact(token) {
		return ports.Principal{}, denied("it is not a signed JWT")
	}
	choice := &keyChoice{keys: v.cfg.Keys}
	parsed, err := jwt.Parse([]byte(token),
		jwt.WithKeyProvider(jws.KeyProviderFunc(func(_ context.Context, sink jws.KeySink, sig *jws.Signature, _ *jws.Message) error {
			return choice.choose(ctx, sink, sig)
		})),
		jwt.WithIssuer(v.cfg.Issuer), jwt.WithAudience(v.cfg.Audience),
		jwt.WithRequiredClaim(jwt.ExpirationKey), jwt.WithRequiredClaim(jwt.SubjectKey),
		jwt.WithAcceptableSkew(Leeway), jwt.WithClock(jwt.ClockFunc(v.cfg.Now)))
	switch {
	case choice.err != nil:
		return ports.Principal{}, choice.err
	case errors.Is(err, jwt.TokenExpiredError()):
		return ports.Principal{}, denied("it has expired")
	case err != nil:
		// The library's text may quote claims, so it goes no further.
		return ports.Principal{}, denied("its signature, issuer, audience or times are wrong")
	}
	return principal(parsed)
}

func principal(t jwt.Token) (ports.Principal, error) {
	// These only occur in ID tokens, which tell a client who signed in and permit nothing here.
	for _, claim := range []string{"nonce", "at_hash", "c_hash"} {
		if t.Has(claim) {
			return ports.Principal{}, denied("it is an ID token, not an access token")
		}
	}
	var p ports.Principal
	p.Subject, _ = t.Subject()
	if p.Subject == "" {
		return ports.Principal{}, denied("it names no subject")
	}
	var scope string
	if t.Has("scope") && t.Get("scope", &scope) != nil {
		return ports.Principal{}, denied("its scope is not a string")
	}
	p.Scopes = strings.Fields(scope)
	if expires, ok := t.Expiration(); ok {
		p.Expires = expires.Add(Leeway).UTC()
	}
	for _, claim := range []string{"client_id", "azp"} {
		if p.ClientID == "" && t.Has(claim) && t.Get(claim, &p.ClientID) != nil {
			return ports.Principal{}, denied("its client is not a string")
		}
	}
	return p, nil
}

// keyChoice picks the one key that a signature may be checked with. It keeps its own error, since the library wraps
// what a provider says into one of its own.
type keyChoice struct {
	keys KeySource
	err  error
}

var accessTokenTypes = map[string]bool{"": true, "jwt": true, "at+jwt": true, "application/at+jwt": true}

func (k *keyChoice) choose(ctx context.Context, sink jws.KeySink, sig *jws.Signature) error {
	key, alg, err := k.find(ctx, sig.ProtectedHeaders())
	if err != nil {
		k.err = err
		return err
	}
	sink.Key(alg, key)
	return nil
}

func (k *keyChoice) find(ctx context.Context, h jws.Headers) (jwk.Key, jwa.SignatureAlgorithm, error) {
	alg, _ := h.Algorithm()
	fits, allowed := keyOf[alg.String()]
	if !allowed {
		return nil, alg, denied("its algorithm is not allowed")
	}
	if typ, _ := h.Type(); !accessTokenTypes[strings.ToLower(typ)] {
		return nil, alg, denied("it is of another type than an access token")
	}
	if _, critical := h.Critical(); critical {
		return nil, alg, denied("it demands an extension")
	}
	id, ok := h.KeyID()
	if !ok || id == "" {
		return nil, alg, denied("it does not name its key")
	}
	key, err := k.keys.Key(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, alg, denied("its issuer has no such key")
	}
	if err != nil {
		return nil, alg, err
	}
	// A key says what it is for; using an encryption key, or one for another algorithm, is how such checks are fooled.
	if use, ok := key.KeyUsage(); ok && use != "" && use != string(jwk.ForSignature) {
		return nil, alg, denied("its key is not for signatures")
	}
	if only, ok := key.Algorithm(); ok && only.String() != alg.String() {
		return nil, alg, denied("its key is for another algorithm")
	}
	if !fits(key) {
		return nil, alg, denied("its key does not fit its algorithm")
	}
	return key, alg, nil
}

func denied(why string) error {
	return fault.New(fault.Denied, "invalid-token", "the token is not to be trusted: %s", why)
}
