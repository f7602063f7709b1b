// Package checkpoint signs the ledger's checkpoints, verifies them, and keeps copies outside the database. They are C2SP
// tlog-checkpoints: signed notes that any witness of such logs can read.
package checkpoint

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"accord/domain/consent"
)

// NewKey makes a signing key. The name is the log's, such as accord.example.com.
func NewKey(name string) (string, error) {
	private, _, err := note.GenerateKey(rand.Reader, name)
	return private, err
}

// Signer signs checkpoints of the log that has the key's name.
type Signer struct {
	note     note.Signer
	verifier string
}

var errNoKey = errors.New("must be a key such as `accord keys new` prints")

// NewSigner reads a signing key. Its error does not quote it.
func NewSigner(key string) (*Signer, error) {
	signer, err := note.NewSigner(key)
	if err != nil {
		return nil, errNoKey
	}
	parts := strings.SplitN(key, "+", 5) // PRIVATE+KEY+name+hash+base64 of the algorithm and the seed, which may hold a plus
	secret, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(secret) != 1+ed25519.SeedSize {
		return nil, errNoKey
	}
	public, is := ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey)
	if !is {
		return nil, errNoKey
	}
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, errNoKey
	}
	return &Signer{note: signer, verifier: verifier}, nil
}

// Verifier is the public key, in the form in which it is handed out.
func (s *Signer) Verifier() string { return s.verifier }

// Sign makes the note.
func (s *Signer) Sign(size int64, root consent.Hash, at time.Time) (signed, verifier string, err error) {
	c := consent.Checkpoint{Origin: s.note.Name(), Size: size, Root: root, At: at}
	out, err := note.Sign(&note.Note{Text: c.Text()}, s.note)
	if err != nil {
		return "", "", fmt.Errorf("sign a checkpoint: %w", err)
	}
	return string(out), s.verifier, nil
}

// Verifiers are the public keys that are trusted.
type Verifiers struct{ list note.Verifiers }

// NewVerifiers reads them.
func NewVerifiers(keys ...string) (Verifiers, error) {
	var all []note.Verifier
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return Verifiers{}, fmt.Errorf("%q is no public key of checkpoints", key)
		}
		all = append(all, v)
	}
	return Verifiers{note.VerifierList(all...)}, nil
}

// strict refuses other spellings of the same signature: the last letter has bits that a lenient reader passes over, and a
// checkpoint that was touched there is a changed one.
var strict = base64.StdEncoding.Strict()

// Open verifies a note and reads what it says. Errors: a signature is wrong, or none is of a key that is trusted, or it is
// no checkpoint of a ledger.
func (v Verifiers) Open(signed string) (consent.Checkpoint, error) {
	n, err := note.Open([]byte(signed), v.list)
	if err != nil {
		return consent.Checkpoint{}, err
	}
	c, err := consent.ParseCheckpoint(n.Text)
	if err != nil {
		return c, err
	}
	for _, sig := range n.Sigs {
		if _, err := strict.DecodeString(sig.Base64); err != nil {
			return c, fmt.Errorf("the signature of %s is not written as one is: %w", sig.Name, err)
		}
		if sig.Name == c.Origin {
			return c, nil
		}
	}
	return c, errors.New("it is signed for another log")
}
