package consent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Key is a chain's data key. It is random, kept nowhere but wrapped under a key from outside the database, and destroyed
// to erase what is sealed under it.
type Key [32]byte

// String and GoString keep it from being printed.
func (Key) String() string   { return "***" }
func (Key) GoString() string { return "***" }

// EntryKey opens one entry and no other.
type EntryKey [32]byte

// ErrSealed is the answer when a body was not sealed under the key at hand.
var ErrSealed = errors.New("the body cannot be opened with this key")

// A sealed body is salt, commitment and ciphertext. The salt is made of the text, under the key: an entry whose
// transaction is undone and done again with another text has another entry key, so no key and nonce are ever used for
// two texts, and nothing random is needed. The commitment is made of the entry key, because AES-GCM alone lets who
// chooses two keys find a ciphertext that both open, to different texts.
const (
	saltSize   = 16
	commitSize = sha256.Size
	tagSize    = 16
)

// place is what every key of an entry is bound to beside the chain's key.
func place(label, chain string, seq int64) string {
	b := binary.BigEndian.AppendUint64([]byte(label), uint64(len(chain)))
	b = append(b, chain...)
	return string(binary.BigEndian.AppendUint64(b, uint64(seq))) //nolint:gosec // only a spelling
}

func (k Key) salt(chain string, seq int64, text []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, k[:], nil, place("accord/ledger/v2/salt", chain, seq), sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)[:saltSize], nil
}

func (k Key) entry(chain string, seq int64, salt []byte) (out EntryKey, err error) {
	key, err := hkdf.Key(sha256.New, k[:], salt, place("accord/ledger/v2/entry", chain, seq), len(out))
	copy(out[:], key)
	return out, err
}

// Entry derives the key of one entry, to be given to who may read that one. Errors: ErrSealed when the body is none.
func (k Key) Entry(l Link) (EntryKey, error) {
	if l.Form != Sealed || len(l.Body) < saltSize+commitSize+tagSize {
		return EntryKey{}, fmt.Errorf("ledger entry %d: %w", l.Seq, ErrSealed)
	}
	return k.entry(l.Chain, l.Seq, l.Body[:saltSize])
}

func (k Key) seal(chain string, seq int64, text []byte) ([]byte, error) {
	salt, err := k.salt(chain, seq, text)
	if err != nil {
		return nil, fmt.Errorf("seal ledger entry: %w", err)
	}
	key, err := k.entry(chain, seq, salt)
	if err != nil {
		return nil, fmt.Errorf("seal ledger entry: %w", err)
	}
	commitment, aead, err := key.expand()
	if err != nil {
		return nil, fmt.Errorf("seal ledger entry: %w", err)
	}
	body := make([]byte, 0, saltSize+commitSize+len(text)+tagSize)
	body = append(append(body, salt...), commitment...)
	return aead.Seal(body, make([]byte, aead.NonceSize()), text, nil), nil //nolint:gosec // each entry has a key of its own, used once
}

// expand makes the commitment and the cipher out of an entry's key.
func (k EntryKey) expand() (commitment []byte, aead cipher.AEAD, err error) {
	both, err := hkdf.Expand(sha256.New, k[:], "accord/ledger/v2/commitment and cipher", commitSize+32)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(both[commitSize:])
	if err != nil {
		return nil, nil, err
	}
	aead, err = cipher.NewGCM(block)
	return both[:commitSize], aead, err
}

func (k EntryKey) open(body []byte) ([]byte, error) {
	if len(body) < saltSize+commitSize+tagSize {
		return nil, ErrSealed
	}
	commitment, aead, err := k.expand()
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(commitment, body[saltSize:saltSize+commitSize]) {
		return nil, ErrSealed
	}
	text, err := aead.Open(nil, make([]byte, aead.NonceSize()), body[saltSize+commitSize:], nil)
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}
