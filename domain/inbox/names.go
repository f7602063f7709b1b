package inbox

import (
	"encoding/base32"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"

	"accord/domain/fault"
	"accord/domain/preference"
)

// MessageID names a message: positive, and later messages have greater ones. The outside knows it as a string that tells
// nothing of how many there are.
type MessageID int64

const (
	idPrefix = "msg_"
	// idSpread is odd, so that multiplying by it (modulo 2^64) can be taken back by idGather. It spreads neighbours.
	idSpread uint64 = 0x9E3779B97F4A7C15
	idGather uint64 = 0xF1DE83E19937733D
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func (id MessageID) String() string { return string(id.Append(nil)) }

// Append puts String at the end of b.
func (id MessageID) Append(b []byte) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(id)*idSpread) //nolint:gosec // a bijection on all 64 bits
	return idEncoding.AppendEncode(append(b, idPrefix...), raw[:])
}

// ParseMessageID takes back what String made. Anything else names no message: fault.NotFound.
func ParseMessageID(s string) (MessageID, error) {
	text, ok := strings.CutPrefix(s, idPrefix)
	raw, err := idEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 8 {
		return 0, errNoMessage()
	}
	id := MessageID(binary.BigEndian.Uint64(raw) * idGather) //nolint:gosec // see String
	if id <= 0 || id.String() != s {                         // the last character has bits to spare
		return 0, errNoMessage()
	}
	return id, nil
}

func errNoMessage() error {
	return fault.New(fault.NotFound, "not-found", "there is no such message")
}

// InstallationID is one install of the app on a device: a UUID in lower case.
type InstallationID string

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// ParseInstallationID takes a UUID in either case.
func ParseInstallationID(s string) (InstallationID, error) {
	lower := strings.ToLower(s)
	if !uuidPattern.MatchString(lower) {
		return "", fault.OnField("installation_id", "invalid_id", "must be a UUID")
	}
	return InstallationID(lower), nil
}

// Viewer is whose inbox it is: a customer's, or that of an installation on which nobody is signed in. The zero Viewer is
// an anonymous caller without an installation, who sees global messages and leaves no trace.
type Viewer struct {
	Customer     preference.CustomerID
	Installation InstallationID // counts only where Customer is empty
}

// CustomerViewer is the viewer of a customer's inbox.
func CustomerViewer(c preference.CustomerID) Viewer { return Viewer{Customer: c} }

// InstallationViewer is the viewer of an installation's inbox.
func InstallationViewer(i InstallationID) Viewer { return Viewer{Installation: i} }

// Anonymous reports that nothing can be kept for this viewer.
func (v Viewer) Anonymous() bool { return v == Viewer{} }

// Key is unique over customers and installations, empty for an anonymous viewer.
func (v Viewer) Key() string {
	switch {
	case v.Customer != "":
		return "c:" + string(v.Customer)
	case v.Installation != "":
		return "i:" + string(v.Installation)
	}
	return ""
}

// Version says which state of an inbox something belongs to: Own grows with whatever happens to this inbox alone, Global
// with whatever concerns everybody (global messages, messages to many, link targets). Zero is before everything.
type Version struct {
	Own, Global int64
}

func (v Version) String() string {
	return strconv.FormatInt(v.Own, 10) + "." + strconv.FormatInt(v.Global, 10)
}

// ParseVersion takes back what String made; path is the input named in the error.
func ParseVersion(path, s string) (Version, error) {
	own, global, _ := strings.Cut(s, ".")
	var v Version
	var errOwn, errGlobal error
	v.Own, errOwn = strconv.ParseInt(own, 10, 64)
	v.Global, errGlobal = strconv.ParseInt(global, 10, 64)
	if errOwn != nil || errGlobal != nil || v.Own < 0 || v.Global < 0 || v.String() != s {
		return Version{}, fault.OnField(path, "invalid_version", "must be a version that an answer carried")
	}
	return v, nil
}

// Covers reports whether whoever has v knows everything that o has.
func (v Version) Covers(o Version) bool { return v.Own >= o.Own && v.Global >= o.Global }
