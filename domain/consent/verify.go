package consent

import "fmt"

// Finding is one thing that is wrong with a chain. Seq is 0 where no entry can be named, Chain empty where it is about
// the ledger as a whole.
type Finding struct {
	Chain   string
	Seq     int64
	Problem string
}

// String names the chain and the entry, as far as the finding is about one.
func (f Finding) String() string {
	switch {
	case f.Chain == "":
		return f.Problem
	case f.Seq == 0:
		return fmt.Sprintf("%s: %s", f.Chain, f.Problem)
	}
	return fmt.Sprintf("%s #%d: %s", f.Chain, f.Seq, f.Problem)
}

// Verifier checks one chain link by link, in order of Seq.
type Verifier struct {
	chain    string
	read     func(Link) (Entry, error) // nil leaves sealed bodies closed
	at       Head
	form     Form
	erased   bool
	findings []Finding
}

// NewVerifier starts at the empty chain. read opens what is sealed; without it, the key being destroyed or elsewhere,
// sealed bodies are held against their hashes alone.
func NewVerifier(chain string, read func(Link) (Entry, error)) *Verifier {
	return &Verifier{chain: chain, read: read}
}

// Check takes the next link. It goes on after a finding, from what the link itself says, so that one tampered entry is
// reported once and not for every entry after it.
func (v *Verifier) Check(l Link) {
	switch {
	case l.Chain != v.chain:
		v.find(l.Seq, "belongs to another chain")
	case l.Seq <= v.at.Seq:
		v.find(l.Seq, "appears twice or out of order")
	case l.Seq > v.at.Seq+1:
		v.find(v.at.Seq+1, fmt.Sprintf("removed: the next entry found is #%d", l.Seq))
	case l.Prev != v.at.Hash:
		v.find(l.Seq, "does not follow the entry before it: that one was replaced, or this one moved or inserted")
	case v.erased:
		v.find(l.Seq, "follows the erasure, which ends a chain")
	case l.Form == Plain && v.form > Plain:
		v.find(l.Seq, "is written in a form that was given up before it")
	}
	if l.sum() != l.Hash {
		v.find(l.Seq, "was changed: its content does not match its hash")
	} else if problem := v.content(l); problem != "" {
		v.find(l.Seq, problem)
	}
	v.at, v.form = Head{Seq: l.Seq, Hash: l.Hash}, max(v.form, l.Form)
	v.erased = v.erased || l.Event == Erased
}

// content holds what the columns say against what the body does.
func (v *Verifier) content(l Link) string {
	read := v.read
	switch {
	case (l.Form == Open) != (l.Event == Erased):
		return "was changed: an erasure is written in clear, and nothing else is"
	case l.Form != Sealed:
		read = func(l Link) (Entry, error) { return l.decode(l.Body) }
	case read == nil:
		return ""
	}
	e, err := read(l)
	if err != nil && l.Form == Sealed {
		return "cannot be opened with the key of its chain"
	}
	if err != nil || e.Operation != l.Operation || e.Event != l.Event || !e.At.Equal(l.At) {
		return "was changed: its columns disagree with its content"
	}
	return ""
}

// Head is how far the chain was checked.
func (v *Verifier) Head() Head { return v.at }

// Erased reports that the chain ends with the person's erasure.
func (v *Verifier) Erased() bool { return v.erased }

// Finish compares the end of the chain with the head kept apart from it, and returns everything found.
func (v *Verifier) Finish(head Head) []Finding {
	switch {
	case v.at.Seq < head.Seq:
		v.find(v.at.Seq+1, fmt.Sprintf("removed: the chain should end at #%d", head.Seq))
	case v.at.Seq > head.Seq:
		v.find(head.Seq+1, fmt.Sprintf("inserted: the chain should end at #%d", head.Seq))
	case v.at.Hash != head.Hash:
		v.find(v.at.Seq, "is not the entry the chain ended with")
	}
	return v.findings
}

func (v *Verifier) find(seq int64, problem string) {
	v.findings = append(v.findings, Finding{Chain: v.chain, Seq: seq, Problem: problem})
}
