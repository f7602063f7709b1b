package checkpoint

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"accord/domain/consent"
)

// Proved is what a proof says when it has been checked.
type Proved struct {
	Proof    consent.Proof
	Opened   int                // entries whose content was checked
	Seal     consent.Checkpoint // the zero value while nothing is sealed
	Problems []string
	Trusted  bool // the checkpoint is signed by a key that was given, not just by the one in the file
}

// Check reads a proof and holds it against itself and the checkpoint in it. Without keys the one in the file verifies the
// signature, which shows only that the file is whole. Errors: it is no proof.
func Check(raw []byte, keys ...string) (Proved, error) {
	var p consent.Proof
	if err := json.Unmarshal(raw, &p); err != nil {
		return Proved{}, fmt.Errorf("this is no proof of a ledger: %w", err)
	}
	out := Proved{Proof: p}
	opened, links, problems := p.Check()
	out.Opened, out.Problems = opened, problems
	if p.Seal == nil {
		return out, nil
	}
	out.Trusted = len(keys) > 0
	own, err := NewVerifiers(p.Seal.Verifier)
	if err == nil {
		_, err = own.Open(p.Seal.Checkpoint)
	}
	if err != nil {
		out.Problems = append(out.Problems, "the checkpoint is not signed by the public key that comes with it")
	}
	if !out.Trusted {
		keys = []string{p.Seal.Verifier}
	}
	if out.Seal, err = sealed(p, links, keys); err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	return out, nil
}

// sealed verifies that the checkpoint is signed, and that the chain's end is in the log it speaks of.
func sealed(p consent.Proof, links []consent.Link, keys []string) (consent.Checkpoint, error) {
	verifiers, err := NewVerifiers(keys...)
	if err != nil {
		return consent.Checkpoint{}, err
	}
	c, err := verifiers.Open(p.Seal.Checkpoint)
	if err != nil {
		return c, fmt.Errorf("the checkpoint is not signed by a key that is trusted: %w", err)
	}
	if p.Seal.Seq < 1 || p.Seal.Seq > int64(len(links)) {
		return c, errors.New("the entry that is said to be sealed is not in it")
	}
	end := links[p.Seal.Seq-1]
	leaf := consent.Leaf{Index: p.Seal.Leaf, Chain: p.Chain, Seq: end.Seq, Hash: end.Hash}
	var path tlog.RecordProof
	for _, text := range p.Seal.Path {
		var h tlog.Hash
		raw, err := hex.DecodeString(text)
		if err != nil || copy(h[:], raw) != len(h) || len(raw) != len(h) || hex.EncodeToString(raw) != text {
			return c, errors.New("the way to the checkpoint has a hash that is none")
		}
		path = append(path, h)
	}
	if leaf.Index < 0 || leaf.Index >= c.Size {
		return c, errors.New("the leaf is not in the log that the checkpoint speaks of")
	}
	if err := tlog.CheckRecord(path, c.Size, tlog.Hash(c.Root), leaf.Index, tlog.RecordHash(leaf.Record())); err != nil {
		return c, fmt.Errorf("entry %d does not lead to the checkpoint: it was not sealed as it is here", end.Seq)
	}
	return c, nil
}

// Sentences say what is proved, for people.
func (p Proved) Sentences() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	n := len(p.Proof.Entries)
	if len(p.Problems) > 0 {
		for _, problem := range p.Problems {
			say("WRONG: %s.", problem)
		}
		say("Nothing is proved by this file.")
		return out
	}
	say("The file holds the %d entries of chain %s, from the first on, without a gap. Each carries the hash of the one before.", n, p.Proof.Chain)
	say("What %d of them say is what was sealed in them; %d are closed to who got this file.", p.Opened, n-p.Opened)
	if p.Proof.Seal == nil {
		say("None of it is sealed by a checkpoint yet: that nothing was changed rests on the chain alone.")
		return out
	}
	say("Entries 1 to %d were in the ledger, as they are here, on %s: the log %q of %d ends of chains was signed then.", p.Proof.Seal.Seq,
		p.Seal.At.UTC().Format(time.RFC3339), p.Seal.Origin, p.Seal.Size)
	if left := int64(n) - p.Proof.Seal.Seq; left > 0 {
		say("The last %d came later and are not sealed yet.", left)
	}
	if p.Trusted {
		say("The signature is of a key that you trust.")
	} else {
		say("The signature was verified by the key in the file itself (%s). To know whose it is, compare it with the one that is published, or give that one with --key.", p.Proof.Seal.Verifier)
	}
	return out
}
