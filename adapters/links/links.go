// Package links seals the links in e-mails: JWE (RFC 7516) with a key that both sides of it share, dir and A256GCM. The
// token is encrypted, so nobody reads a customer in it, and authenticated, so nobody makes one.
package links

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// maxToken is longer than any token of ours: a customer's id has at most 255 bytes.
const maxToken = 2048

// Key is one that tokens are sealed with. ID is shown in every token.
type Key struct {
	ID     string
	Secret []byte
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// ParseKeys reads id:base64 pairs. Errors name no secret.
func ParseKeys(pairs []string) ([]Key, error) {
	keys := make([]Key, 0, len(pairs))
	seen := map[string]bool{}
	for i, pair := range pairs {
		id, text, _ := strings.Cut(pair, ":")
		secret, err := base64.StdEncoding.DecodeString(text)
		if !keyID.MatchString(id) || err != nil || len(secret) != KeySize {
			return nil, fmt.Errorf("key %d is not id:base64 of %d bytes (id: letters, digits, _ and -)", i+1, KeySize)
		}
		if seen[id] {
			return nil, fmt.Errorf("key %d has the same id as another", i+1)
		}
		seen[id] = true
		keys = append(keys, Key{ID: id, Secret: secret})
	}
	return keys, nil
}

// Tokens implements ports.LinkTokens. It is safe for concurrent use.
type Tokens struct {
	current Key
	// Keys by the first segment of the tokens they have sealed. It is looked up before anything in a token is read, so a
	// token chooses neither algorithm nor options.
	byHeader map[string]Key
}

var _ ports.LinkTokens = (*Tokens)(nil)

// New seals with the first of the keys and opens with all.
func New(keys []Key) (*Tokens, error) {
	if len(keys) == 0 {
		return nil, errors.New("links: at least one key is needed")
	}
	t := &Tokens{current: keys[0], byHeader: map[string]Key{}}
	for _, key := range keys {
		sealed, err := seal(key, []byte("{}"))
		if err != nil {
			return nil, fmt.Errorf("links: %w", err)
		}
		header, _, _ := strings.Cut(sealed, ".")
		t.byHeader[header] = key
	}
	return t, nil
}

func seal(key Key, payload []byte) (string, error) {
	headers := jwe.NewHeaders()
	if err := headers.Set(jwe.KeyIDKey, key.ID); err != nil {
		return "", err
	}
	sealed, err := jwe.Encrypt(payload, jwe.WithKey(jwa.DIRECT(), key.Secret), jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers))
	return string(sealed), err
}

// claims are what is inside. Names are short because the token is in a header of every e-mail.
type claims struct {
	Purpose  ports.LinkPurpose `json:"p"`
	Customer string            `json:"c"`
	Topic    string            `json:"t,omitempty"`
	Request  string            `json:"r,omitempty"`
	Issued   int64             `json:"i"` // microseconds since 1970
	Expires  int64             `json:"e,omitempty"`
}

// Seal implements ports.LinkTokens.
func (t *Tokens) Seal(l ports.Link) (string, error) {
	c := claims{Purpose: l.Purpose, Customer: string(l.Customer), Topic: string(l.Topic), Request: l.Request, Issued: l.Issued.UnixMicro()}
	if !l.Expires.IsZero() {
		c.Expires = l.Expires.UnixMicro()
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("seal a link: %w", err)
	}
	token, err := seal(t.current, payload)
	if err != nil {
		return "", fmt.Errorf("seal a link: %w", err)
	}
	return token, nil
}

var errUnknown = fault.New(fault.NotFound, "link-unknown", "no such link")

// canonical is how a token was written: last letters have bits that belong to no byte, and a link that could be written in
// many ways would be many links to whoever counts how often one is opened.
func canonical(token string) bool {
	for part := range strings.SplitSeq(token, ".") {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != part {
			return false
		}
	}
	return true
}

// Open implements ports.LinkTokens.
func (t *Tokens) Open(token string) (ports.Link, error) {
	header, _, _ := strings.Cut(token, ".")
	key, known := t.byHeader[header]
	if !known || len(token) > maxToken || strings.Count(token, ".") != 4 || !canonical(token) {
		return ports.Link{}, errUnknown
	}
	payload, err := jwe.Decrypt([]byte(token), jwe.WithKey(jwa.DIRECT(), key.Secret))
	if err != nil {
		return ports.Link{}, errUnknown
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return ports.Link{}, errUnknown
	}
	customer, err := preference.ParseCustomerID(c.Customer)
	if err != nil || (c.Purpose != ports.UnsubscribeLink && c.Purpose != ports.ConfirmLink) {
		return ports.Link{}, errUnknown
	}
	l := ports.Link{Purpose: c.Purpose, Customer: customer, Topic: preference.TopicKey(c.Topic), Request: c.Request, Issued: time.UnixMicro(c.Issued).UTC()}
	if c.Expires != 0 {
		l.Expires = time.UnixMicro(c.Expires).UTC()
	}
	return l, nil
}
