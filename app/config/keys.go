package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// EncryptionKey is one of ACCORD_TEMPORAL_KEYS or ACCORD_LEDGER_KEYS.
type EncryptionKey struct {
	ID     string
	Secret []byte // 32 bytes
}

// String keeps the key from being printed.
func (k EncryptionKey) String() string { return k.ID + ":***" }

// GoString keeps %#v from printing it.
func (k EncryptionKey) GoString() string { return k.String() }

var keyName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// EncryptionKeys reads ACCORD_TEMPORAL_KEYS, the current key first. Errors name a key, never what it is.
func (c Config) EncryptionKeys() ([]EncryptionKey, error) { return c.TemporalKeys.keys() }

// KeysOfLedger reads ACCORD_LEDGER_KEYS in the same way.
func (c Config) KeysOfLedger() ([]EncryptionKey, error) { return c.LedgerKeys.keys() }

func (s Secret) keys() ([]EncryptionKey, error) {
	if s == "" {
		return nil, nil
	}
	var out []EncryptionKey
	known := map[string]bool{}
	for i, part := range strings.Split(s.Reveal(), ",") {
		id, text, found := strings.Cut(strings.TrimSpace(part), ":")
		if !found || !keyName.MatchString(id) {
			return nil, fmt.Errorf("must be a list of name:base64 (number %d is not; a name has letters, digits, dots, - and _)", i+1)
		}
		secret, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(secret) != 32 {
			return nil, fmt.Errorf("must give 32 bytes in base64 for the key %s, such as `openssl rand -base64 32` prints", id)
		}
		if known[id] {
			return nil, errors.New("names the key " + id + " twice")
		}
		known[id] = true
		out = append(out, EncryptionKey{ID: id, Secret: secret})
	}
	return out, nil
}
