package consent

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// ProofFormat names the form of a proof.
const ProofFormat = "accord/ledger-proof/v1"

// Proof is a chain in a file of its own: who has it can check it without us. Each entry comes with what opens that entry
// alone, and the last end that was sealed with its way up to a signed checkpoint.
type Proof struct {
	Format  string       `json:"format"`
	Chain   string       `json:"chain"`
	Entries []ProofEntry `json:"entries"` // all of them, oldest first
	Seal    *ProofSeal   `json:"seal"`    // null while nothing of it is sealed
}

// ProofEntry is an entry as it is stored, and what it says. Key and Entry are left out of what the holder of the proof may
// not read: its hash is checked all the same.
type ProofEntry struct {
	Seq       int64     `json:"seq"`
	Form      Form      `json:"form"`
	Operation string    `json:"operation"`
	Event     Event     `json:"event"`
	At        time.Time `json:"at"`
	Body      []byte    `json:"body"` // base64
	Key       string    `json:"key"`  // hex; empty where the body is in clear, or closed
	Prev      string    `json:"prev_hash"`
	Hash      string    `json:"hash"`
	Sealed    bool      `json:"sealed"`
	Entry     *Entry    `json:"entry"`
}

// ProofSeal is the leaf of the chain's end that was sealed last, its inclusion proof (RFC 6962), and the checkpoint that it
// leads to.
type ProofSeal struct {
	Seq        int64    `json:"seq"`
	Leaf       int64    `json:"leaf"`
	Path       []string `json:"path"` // hex
	Checkpoint string   `json:"checkpoint"`
	Verifier   string   `json:"verifier"`
}

// ProofOf puts a line into a proof. closed leaves out what it says.
func ProofOf(l Line, key Key, sealed, closed bool) (ProofEntry, error) {
	p := ProofEntry{Seq: l.Seq, Form: l.Form, Operation: l.Operation, Event: l.Event, At: l.At, Body: l.Body,
		Prev: hex.EncodeToString(l.Prev[:]), Hash: hex.EncodeToString(l.Hash[:]), Sealed: sealed}
	if closed && l.Form == Sealed {
		return p, nil
	}
	p.Entry = &l.Entry
	if l.Form != Sealed {
		return p, nil
	}
	k, err := key.Entry(l.Link)
	p.Key = hex.EncodeToString(k[:])
	return p, err
}

func (p ProofEntry) link(chain string) (l Link, key *EntryKey, err error) {
	l = Link{Chain: chain, Seq: p.Seq, Form: p.Form, Operation: p.Operation, Event: p.Event, At: p.At, Body: p.Body}
	for text, hash := range map[*string]*Hash{&p.Prev: &l.Prev, &p.Hash: &l.Hash} {
		raw, err := hex.DecodeString(*text)
		if err != nil || copy(hash[:], raw) != len(hash) || len(raw) != len(hash) || hex.EncodeToString(raw) != *text {
			return l, nil, fmt.Errorf("entry %d has a hash that is none", p.Seq)
		}
	}
	if !p.At.Equal(p.At.Truncate(time.Microsecond)) { // of which the hash knows nothing
		return l, nil, fmt.Errorf("entry %d has a time that is finer than any in the ledger", p.Seq)
	}
	if p.Key == "" {
		return l, nil, nil
	}
	raw, err := hex.DecodeString(p.Key)
	key = new(EntryKey)
	if err != nil || len(raw) != len(key) || hex.EncodeToString(raw) != p.Key {
		return l, nil, fmt.Errorf("entry %d has a key that is none", p.Seq)
	}
	copy(key[:], raw)
	return l, key, nil
}

// Check holds the chain against itself, and what the entries are said to say against what is sealed. It answers how many of
// the entries were opened, the links, and every problem. The seal is for who knows the log.
func (p Proof) Check() (opened int, links []Link, problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if p.Format != ProofFormat {
		bad("it is not in the form %s", ProofFormat)
	}
	keys := map[int64]*EntryKey{}
	v := NewVerifier(p.Chain, func(l Link) (Entry, error) {
		if key := keys[l.Seq]; key != nil {
			return l.ReadWith(*key)
		}
		return Entry{Operation: l.Operation, Event: l.Event, At: l.At}, nil // closed: the hash has to do
	})
	for _, e := range p.Entries {
		l, key, err := e.link(p.Chain)
		if err != nil {
			bad("%v", err)
			continue
		}
		keys[l.Seq], links = key, append(links, l)
		v.Check(l)
		if e.Sealed != (p.Seal != nil && e.Seq <= p.Seal.Seq) {
			bad("entry %d is marked wrongly as to whether it is sealed", e.Seq)
		}
		switch {
		case e.Entry == nil && (key != nil || l.Form != Sealed):
			bad("entry %d can be opened, but what it says is left out", e.Seq)
		case e.Entry == nil:
		case key == nil && l.Form == Sealed:
			bad("entry %d is said to say something, but comes without its key", e.Seq)
		case !says(l, key, *e.Entry):
			bad("entry %d does not say what it is said to say", e.Seq)
		default:
			opened++
		}
	}
	for _, f := range v.Finish(v.Head()) {
		bad("%s", f)
	}
	if len(p.Entries) == 0 {
		bad("there is no entry in it")
	}
	return opened, links, problems
}

func says(l Link, key *EntryKey, said Entry) bool {
	var e Entry
	var err error
	if key != nil {
		e, err = l.ReadWith(*key)
	} else {
		e, err = l.Read(Key{})
	}
	if err != nil {
		return false
	}
	is, err1 := json.Marshal(e)
	as, err2 := json.Marshal(said)
	return err1 == nil && err2 == nil && bytes.Equal(is, as)
}
