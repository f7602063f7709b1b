// Package keyring wraps the ledger's data keys under keys that the configuration gives: what is in the database opens
// nothing without it.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"accord/domain/consent"
	"accord/ports"
)

// Key is one of the ring's: 32 bytes with a name.
type Key struct {
	ID     string // 1 to 64 bytes
	Secret []byte
}

// Ring implements ports.ChainKeys. The first key wraps, all of them unwrap.
type Ring struct {
	current string
	ciphers map[string]cipher.AEAD
}

var _ ports.ChainKeys = (*Ring)(nil)

// New makes a ring of at least one key.
func New(keys ...Key) (*Ring, error) {
	r := &Ring{ciphers: map[string]cipher.AEAD{}}
	for _, k := range keys {
		if len(k.ID) < 1 || len(k.ID) > 64 || len(k.Secret) != 32 {
			return nil, errors.New("keyring: a key has 32 bytes and a name of at most 64")
		}
		block, err := aes.NewCipher(k.Secret)
		if err != nil {
			return nil, err
		}
		if r.ciphers[k.ID], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		if r.current == "" {
			r.current = k.ID
		}
	}
	if r.current == "" {
		return nil, errors.New("keyring: no key is given")
	}
	return r, nil
}

// A wrapped key is a version (1), the length of the wrapping key's name, that name, a random nonce, and the ciphertext,
// which is bound to the chain.
const version = 1

// Wrap implements ports.ChainKeys.
func (r *Ring) Wrap(chain string, key consent.Key) ([]byte, error) {
	aead := r.ciphers[r.current]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)                                            // never fails
	out := append([]byte{version, byte(len(r.current))}, r.current...) //nolint:gosec // ids are short, New has seen to that
	return aead.Seal(append(out, nonce...), nonce, key[:], bound(chain)), nil
}

// Unwrap implements ports.ChainKeys.
func (r *Ring) Unwrap(chain string, wrapped []byte) (key consent.Key, err error) {
	id, rest, ok := parse(wrapped)
	if !ok {
		return key, errors.New("keyring: this is no wrapped key")
	}
	aead := r.ciphers[id]
	if aead == nil {
		return key, fmt.Errorf("%w: %q", ports.ErrKeyMissing, id)
	}
	if len(rest) < aead.NonceSize() {
		return key, errors.New("keyring: this is no wrapped key")
	}
	text, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], bound(chain))
	if err != nil || len(text) != len(key) {
		return key, errors.New("keyring: the wrapped key was changed, or is of another chain")
	}
	copy(key[:], text)
	return key, nil
}

// Current implements ports.ChainKeys.
func (r *Ring) Current(wrapped []byte) bool {
	id, _, ok := parse(wrapped)
	return ok && id == r.current
}

func parse(wrapped []byte) (id string, rest []byte, ok bool) {
	if len(wrapped) < 2 || wrapped[0] != version || len(wrapped) < 2+int(wrapped[1]) {
		return "", nil, false
	}
	end := 2 + int(wrapped[1])
	return string(wrapped[2:end]), wrapped[end:], true
}

func bound(chain string) []byte { return []byte("accord/ledger/data-key/" + chain) }
