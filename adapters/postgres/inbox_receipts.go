package postgres

import (
	"encoding/binary"
	"fmt"
	"time"

	"accord/domain/inbox"
)

// Receipts for global messages are packed into one value of the inbox's row: a row for each would be the largest table of
// all, and every read would have to look into it. The format, all numbers as varints and none longer than it has to be:
//
//	format byte, number of receipts, then for each, by ascending id:
//	id (as the distance from the one before), own version of its last change, one bit for each time that is set,
//	and those times: microseconds since 1970, each as the distance from the one before.
//
// No receipts at all is no bytes.
const receiptsFormat = 1

// leastReceipt is how many bytes a receipt takes at least: id, version, bits and one time.
const leastReceipt = 4

// receiptTimes are the times in their order in the format.
func receiptTimes(r *inbox.Receipt) [6]*time.Time {
	return [6]*time.Time{&r.SeenAt, &r.ReadAt, &r.ClickedAt, &r.ArchivedAt, &r.UnreadAt, &r.UnarchivedAt}
}

// packReceipts leaves out those that say nothing. They must be in the order of their ids, each once.
func packReceipts(receipts inbox.Receipts) []byte {
	said := 0
	for i := range receipts {
		if !receipts[i].IsZero() {
			said++
		}
	}
	if said == 0 {
		return []byte{}
	}
	b := make([]byte, 0, 4+16*said)
	b = append(b, receiptsFormat)
	b = binary.AppendUvarint(b, uint64(said))
	var id inbox.MessageID
	var last int64
	for i := range receipts {
		r := receipts[i]
		if r.IsZero() {
			continue
		}
		b = binary.AppendUvarint(b, uint64(r.ID-id))   //nolint:gosec // ascending
		b = binary.AppendUvarint(b, uint64(r.Changed)) //nolint:gosec // versions are not negative
		id = r.ID
		set, at := byte(0), len(b)
		b = append(b, 0)
		for bit, t := range receiptTimes(&r.Receipt) {
			if !t.IsZero() {
				set |= 1 << bit
				b = binary.AppendVarint(b, t.UnixMicro()-last)
				last = t.UnixMicro()
			}
		}
		b[at] = set
	}
	return b
}

// unpackReceipts takes back what packReceipts made. Anything else is an error that is nobody's fault but ours.
func unpackReceipts(b []byte) (inbox.Receipts, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != receiptsFormat {
		return nil, fmt.Errorf("packed receipts: format %d is unknown", b[0])
	}
	p := packed{b: b[1:]}
	n := p.unsigned()
	if n == 0 || n > uint64(len(p.b)/leastReceipt) {
		return nil, fmt.Errorf("packed receipts: %d of them in %d bytes", n, len(b))
	}
	out := make(inbox.Receipts, n)
	var id inbox.MessageID
	var last int64
	for i := range out {
		before := id
		id += inbox.MessageID(p.unsigned())                            //nolint:gosec // an overflow is found below
		r := inbox.GlobalReceipt{ID: id, Changed: int64(p.unsigned())} //nolint:gosec // as above
		set := p.byte()
		for bit, t := range receiptTimes(&r.Receipt) {
			if set&(1<<bit) != 0 {
				last += p.signed()
				if *t = time.UnixMicro(last).UTC(); t.IsZero() {
					p.bad = true
				}
			}
		}
		if p.bad || id <= before || r.Changed < 0 || set == 0 || set >= 1<<6 {
			return nil, fmt.Errorf("packed receipts: the %d. of %d is not readable", i+1, n)
		}
		out[i] = r
	}
	if len(p.b) != 0 {
		return nil, fmt.Errorf("packed receipts: %d bytes too many", len(p.b))
	}
	return out, nil
}

// packed reads from the front; after the first thing that is not there, everything is zero.
type packed struct {
	b   []byte
	bad bool
}

func (p *packed) byte() byte {
	if len(p.b) == 0 {
		p.bad = true
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *packed) unsigned() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 || (n > 1 && p.b[n-1] == 0) { // not there, too large, or longer than it has to be
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *packed) signed() int64 {
	u := p.unsigned()
	v := int64(u >> 1) // zigzag, as binary.AppendVarint has it
	if u&1 != 0 {
		v = ^v
	}
	return v
}
