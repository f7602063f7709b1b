package consent

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Leaf is the end of a chain as it was sealed: what grew since the checkpoint before gets a leaf in the log.
type Leaf struct {
	Index int64
	Chain string
	Seq   int64
	Hash  Hash
}

// Record is what is hashed into the log's tree.
func (l Leaf) Record() []byte {
	b := []byte("accord/ledger/leaf/v1")
	b = binary.BigEndian.AppendUint64(b, uint64(len(l.Chain)))
	b = append(b, l.Chain...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Seq)) //nolint:gosec // only a spelling
	return append(b, l.Hash[:]...)
}

// Checkpoint is the log at one moment: so many leaves, with this root.
type Checkpoint struct {
	Origin string // which log it is of
	Size   int64
	Root   Hash
	At     time.Time
}

const sealedAt = "accord/sealed-at "

// Text is what is signed: a C2SP tlog-checkpoint, with the time in a line of its own after the root.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]), sealedAt, c.At.UTC().Format(time.RFC3339Nano))
}

var errNoCheckpoint = errors.New("this is no checkpoint of a ledger")

// ParseCheckpoint reads what Text has written, and nothing else.
func ParseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[4] != "" {
		return c, errNoCheckpoint
	}
	c.Origin = lines[0]
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return c, errNoCheckpoint
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(c.Root[:], root) != len(c.Root) {
		return c, errNoCheckpoint
	}
	if c.At, err = time.Parse(time.RFC3339Nano, strings.TrimPrefix(lines[3], sealedAt)); err != nil || c.Text() != text {
		return c, errNoCheckpoint
	}
	return c, nil
}
