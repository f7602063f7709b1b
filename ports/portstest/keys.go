package portstest

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"accord/domain/consent"
	"accord/ports"
)

// Keys wraps data keys for tests, under keys of one letter each. The first of them wraps.
type Keys string

var _ ports.ChainKeys = Keys("")

// Wrap implements ports.ChainKeys.
func (k Keys) Wrap(chain string, key consent.Key) ([]byte, error) {
	return append([]byte{k[0]}, k.mask(k[0], chain, key[:])...), nil
}

// Unwrap implements ports.ChainKeys.
func (k Keys) Unwrap(chain string, wrapped []byte) (key consent.Key, err error) {
	switch {
	case len(wrapped) != 1+32+32:
		return key, errors.New("this is no wrapped key")
	case !bytes.ContainsRune([]byte(k), rune(wrapped[0])):
		return key, ports.ErrKeyMissing
	}
	text := k.mask(wrapped[0], chain, wrapped[1:33])
	if copy(key[:], text); !bytes.Equal(k.mask(wrapped[0], chain, key[:]), wrapped[1:]) {
		return key, errors.New("the wrapped key was changed, or is of another chain")
	}
	return key, nil
}

// Current implements ports.ChainKeys.
func (k Keys) Current(wrapped []byte) bool { return len(wrapped) > 0 && wrapped[0] == k[0] }

// mask is its own inverse, and adds a check.
func (Keys) mask(id byte, chain string, text []byte) []byte {
	pad := sha256.Sum256([]byte(string(id) + chain))
	out := make([]byte, 0, 2*len(pad))
	for i := range pad {
		out = append(out, text[i]^pad[i])
	}
	sum := sha256.Sum256(append(append([]byte(chain), id), text...))
	return append(out, sum[:]...)
}
