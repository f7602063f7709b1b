package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"accord/domain/fault"
)

// What tokens of the development issuer say. An API that trusts a real issuer expects other values, so that these
// tokens are worth nothing there.
const (
	DevIssuerName = "accord-dev"
	DevAudience   = "accord"
	DevTokenTTL   = 12 * time.Hour
)

const devKeyFile = "dev-issuer.jwk"

// DevIssuer mints tokens for anybody who asks: for the development stack alone. Its key is kept in the state folder, so
// that tokens survive a restart.
type DevIssuer struct {
	private jwk.Key
	id      string
	public  jwk.Key
	jwks    []byte
}

// NewDevIssuer loads the key from dir, or makes one there.
func NewDevIssuer(dir string) (*DevIssuer, error) {
	private, err := loadKey(filepath.Join(dir, devKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		private, err = makeKey(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("development token issuer: %w", err)
	}
	public, err := private.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("development token issuer: %w", err)
	}
	id, _ := private.KeyID()
	jwks, err := json.Marshal(map[string]any{"keys": []jwk.Key{public}})
	if err != nil {
		return nil, fmt.Errorf("development token issuer: %w", err)
	}
	return &DevIssuer{private: private, id: id, public: public, jwks: jwks}, nil
}

func loadKey(path string) (jwk.Key, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it to get a new one", path)
	}
	if _, private := key.(jwk.OKPPrivateKey); !private {
		return nil, fmt.Errorf("%s holds another kind of key; remove it to get a new one", path)
	}
	return key, nil
}

// makeKey writes to a file of its own and links it into place, so that of two processes that start at once the second
// finds the first one's key, whole.
func makeKey(dir string) (jwk.Key, error) {
	_, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	key, err := jwk.Import(raw)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	err = errors.Join(jwk.AssignKeyID(key), key.Set(jwk.AlgorithmKey, jwa.EdDSA()), key.Set(jwk.KeyUsageKey, jwk.ForSignature))
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the key: %w", err)
	}
	draft, err := os.CreateTemp(dir, devKeyFile+".*") // CreateTemp makes files that only their owner can read
	if err != nil {
		return nil, fmt.Errorf("keep the key: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.Write(text)
	if err = errors.Join(err, draft.Close()); err != nil {
		return nil, fmt.Errorf("keep the key: %w", err)
	}
	path := filepath.Join(dir, devKeyFile)
	if err := os.Link(draft.Name(), path); errors.Is(err, fs.ErrExist) {
		return loadKey(path)
	} else if err != nil {
		return nil, fmt.Errorf("keep the key: %w", err)
	}
	return key, nil
}

// Mint makes a token for a subject with scopes (separated by spaces, may be empty) and tells when it expires.
func (i *DevIssuer) Mint(subject, scope string) (token string, expires time.Time, err error) {
	if subject == "" {
		return "", time.Time{}, fault.OnField("sub", "required", "must be given")
	}
	now := time.Now().UTC().Truncate(time.Second)
	expires = now.Add(DevTokenTTL)
	claims := jwt.NewBuilder().Issuer(DevIssuerName).Audience([]string{DevAudience}).Subject(subject).
		IssuedAt(now).NotBefore(now).Expiration(expires).JwtID(rand.Text()).Claim("client_id", "accord-dev-client")
	if scope != "" {
		claims = claims.Claim("scope", scope)
	}
	t, err := claims.Build()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("mint a token: %w", err)
	}
	head := jws.NewHeaders()
	if err := errors.Join(head.Set(jws.TypeKey, "at+jwt"), head.Set(jws.KeyIDKey, i.id)); err != nil {
		return "", time.Time{}, fmt.Errorf("mint a token: %w", err)
	}
	signed, err := jwt.Sign(t, jwt.WithKey(jwa.EdDSA(), i.private, jws.WithProtectedHeaders(head)))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("mint a token: %w", err)
	}
	return string(signed), expires, nil
}

// Key makes the issuer a KeySource, for the process it runs in.
func (i *DevIssuer) Key(_ context.Context, id string) (jwk.Key, error) {
	if id != i.id {
		return nil, fault.New(fault.NotFound, "not-found", "no such key")
	}
	return i.public, nil
}

// Verifier trusts the issuer's tokens.
func (i *DevIssuer) Verifier() (*Verifier, error) {
	return NewVerifier(Config{Issuer: DevIssuerName, Audience: DevAudience, Keys: i})
}

// ServeHTTP answers with the public key as a JWKS.
func (i *DevIssuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(i.jwks)
}
