package stream

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
)

// mark is what a client has been told up to. It is the whole of a word's id, so that any process can go on from it.
type mark struct {
	version inbox.Version
	tag     string
	at      time.Time // operations settled before then have been told
}

// The id's parts: its form, the version, the time in ms, whose it is, the tag. Whoever has signed in since has another
// inbox, whose version may be the same by chance; that is what "whose" is for.
const (
	markForm  = "1"
	markParts = 5
	maxMark   = 128
)

// id names the mark of a viewer.
func (m mark) id(viewer string) string {
	b := make([]byte, 0, 64)
	b = append(b, markForm...)
	b = append(b, '-')
	b = strconv.AppendInt(b, m.version.Own, 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, m.version.Global, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, m.at.UnixMilli(), 36)
	b = append(b, '-')
	b = append(b, viewer...)
	b = append(b, '-')
	b = append(b, m.tag...)
	return string(b)
}

// parseMark takes back what id made, for whichever viewer.
func parseMark(id string) (m mark, viewer string, err error) {
	bad := fault.OnField("Last-Event-ID", "invalid_event_id", "must be the id of an event of this stream")
	parts := strings.SplitN(id, "-", markParts)
	if len(id) > maxMark || len(parts) != markParts || parts[0] != markForm {
		return mark{}, "", bad
	}
	if m.version, err = inbox.ParseVersion("Last-Event-ID", parts[1]); err != nil {
		return mark{}, "", bad
	}
	ms, err := strconv.ParseInt(parts[2], 36, 64)
	if err != nil || ms < 0 {
		return mark{}, "", bad
	}
	m.at, m.tag = time.UnixMilli(ms), parts[4]
	if m.id(parts[3]) != id || !plain(id) {
		return mark{}, "", bad
	}
	return m, parts[3], nil
}

// plain is what fits on a line of an event stream, and in JSON, as it is.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
}

// whose is a viewer's part of an id: enough to tell two viewers of one client apart.
func whose(viewer inbox.Viewer) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(viewer.Key())) // a hash takes everything
	return strconv.FormatUint(uint64(h.Sum32()), 36)
}
