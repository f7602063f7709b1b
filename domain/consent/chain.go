package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Form is how a link's body is written and how the link is hashed.
type Form int16

const (
	Plain  Form = 1 // recipe 1: in clear. Nothing is written so any more
	Sealed Form = 2 // recipe 2: encrypted, see Key
	Open   Form = 3 // recipe 2: in clear, for what must be read when the key is gone, and names nobody
)

// label opens the image that is hashed.
func (f Form) label() string {
	switch f {
	case Plain:
		return "accord/ledger/v1"
	case Sealed:
		return "accord/ledger/v2/sealed"
	case Open:
		return "accord/ledger/v2/open"
	}
	return fmt.Sprintf("accord/ledger/unknown/%d", f)
}

// Link is an entry in its chain, as it is stored. Body is the entry as JSON, sealed or in clear, byte for byte what was
// hashed.
type Link struct {
	Chain     string
	Seq       int64 // 1, 2, 3 … without a gap
	Form      Form
	Operation string
	Event     Event
	At        time.Time // UTC, microseconds
	Body      []byte
	Prev      Hash
	Hash      Hash
}

// Line is a link with its entry in clear.
type Line struct {
	Link
	Entry Entry
}

// Head is the end of a chain. The zero value is the empty chain.
type Head struct {
	Seq  int64
	Hash Hash
}

// Chain is where a customer's entries go. ID is random for whoever came after recipe 1, and names nobody; Key is what
// the entries are sealed under, and destroying it erases them.
type Chain struct {
	ID   string
	Key  Key
	Head Head
}

// ErrNoKey is the answer where an entry would have to be written in clear.
var ErrNoKey = errors.New("the ledger's chain has no key")

// Append puts an entry, sealed, at the end of the chain. Errors: ErrNoKey.
func (c Chain) Append(e Entry) (Link, Chain, error) {
	if c.Key == (Key{}) {
		return Link{}, c, ErrNoKey
	}
	return c.append(e, Sealed)
}

// Erasure is what the ledger keeps of the erasing of a person.
type Erasure struct {
	ID          string // of its operation
	By          Actor
	Cause       string
	RequestedAt time.Time
	At          time.Time
	Outcomes    map[string]string // by target
}

// Erase ends the chain with an entry that can be read when the key is gone. Who was erased must not be named in it, so
// of a customer who asked for it only that it was the customer.
func (c Chain) Erase(e Erasure) (Link, Chain, error) {
	if e.By.Type == "customer" {
		e.By.ID = ""
	}
	asked := e.RequestedAt.UTC().Truncate(time.Microsecond)
	return c.append(Entry{Event: Erased, At: e.At, Operation: e.ID, Kind: "erasure", Actor: e.By, Cause: e.Cause, Outcomes: e.Outcomes,
		RequestedAt: &asked}, Open)
}

func (c Chain) append(e Entry, f Form) (Link, Chain, error) {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	body, err := json.Marshal(e)
	if err != nil {
		return Link{}, c, fmt.Errorf("encode ledger entry: %w", err)
	}
	l := Link{Chain: c.ID, Seq: c.Head.Seq + 1, Form: f, Operation: e.Operation, Event: e.Event, At: e.At, Body: body, Prev: c.Head.Hash}
	if f == Sealed {
		if l.Body, err = c.Key.seal(c.ID, l.Seq, body); err != nil {
			return Link{}, c, err
		}
	}
	l.Hash = l.sum()
	c.Head = Head{Seq: l.Seq, Hash: l.Hash}
	return l, c, nil
}

// Read opens the body with the chain's key, which is not looked at where the body is in clear. Errors: ErrSealed when
// the body is not what was sealed under this key, or is no entry.
func (l Link) Read(key Key) (Entry, error) {
	if l.Form != Sealed {
		return l.decode(l.Body)
	}
	k, err := key.Entry(l)
	if err != nil {
		return Entry{}, err
	}
	return l.ReadWith(k)
}

// ReadWith is Read for who was given the key of this one entry.
func (l Link) ReadWith(key EntryKey) (Entry, error) {
	body := l.Body
	if l.Form == Sealed {
		var err error
		if body, err = key.open(l.Body); err != nil {
			return Entry{}, fmt.Errorf("ledger entry %d: %w", l.Seq, err)
		}
	}
	return l.decode(body)
}

func (l Link) decode(body []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("decode ledger entry %d: %w", l.Seq, err)
	}
	return e, nil
}

// sum hashes every stored column but the hash itself, each with its length in front so that no two rows share an image.
func (l Link) sum() Hash {
	var b bytes.Buffer
	var seq, at [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(l.Seq)) //nolint:gosec // only a spelling: every int64 has one of its own
	binary.BigEndian.PutUint64(at[:], uint64(l.At.UTC().UnixMicro()))
	for _, part := range [][]byte{[]byte(l.Form.label()), []byte(l.Chain), seq[:], []byte(l.Operation),
		[]byte(l.Event), at[:], l.Body, l.Prev[:]} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		b.Write(n[:])
		b.Write(part)
	}
	return sha256.Sum256(b.Bytes())
}
