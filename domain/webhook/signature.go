// Package webhook is Standard Webhooks 1.0.0: how a message that is pushed over HTTP shows who has sent it, and when. It
// is pure: the time comes in as an argument.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"accord/domain/fault"
)

// Names of the headers, in lower case.
const (
	HeaderID        = "webhook-id"        // the same for every attempt: receivers tell repeats by it
	HeaderTimestamp = "webhook-timestamp" // of the attempt, in Unix seconds
	HeaderSignature = "webhook-signature" // separated by blanks, one of each secret
)

// Tolerance is how far the time of an attempt may be from ours, either way.
const Tolerance = 5 * time.Minute

const (
	prefix     = "whsec_"
	version    = "v1,"
	minSecret  = 24 // bytes
	maxSecret  = 64
	maxIDBytes = 255
)

// Secret signs, and shows that a signature is right. Its zero value does neither.
type Secret struct{ key []byte }

// ParseSecret reads "whsec_" and base64 of 24 to 64 bytes; the prefix may be left out. The error never says what was given.
func ParseSecret(text string) (Secret, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), prefix))
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fault.OnField("secret", "invalid_secret", "must be whsec_ and base64 of %d to %d bytes", minSecret, maxSecret)
	}
	return Secret{key}, nil
}

// NewSecret makes one of random bytes, 24 to 64 of them.
func NewSecret(random []byte) (Secret, error) {
	return ParseSecret(base64.StdEncoding.EncodeToString(random))
}

// Reveal writes the secret as receivers and senders exchange it.
func (s Secret) Reveal() string { return prefix + base64.StdEncoding.EncodeToString(s.key) }

// String keeps a secret out of logs.
func (Secret) String() string { return "***" }

// GoString keeps %#v from printing it.
func (Secret) GoString() string { return "***" }

// Sign is the value of HeaderSignature for one attempt: a signature of each secret, so that a receiver which still has the
// one before, or has the next one already, finds its own.
func Sign(secrets []Secret, id string, at time.Time, body []byte) string {
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		if len(s.key) > 0 {
			signatures = append(signatures, version+base64.StdEncoding.EncodeToString(s.sum(id, strconv.FormatInt(at.Unix(), 10), body)))
		}
	}
	return strings.Join(signatures, " ")
}

func (s Secret) sum(id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write([]byte(id + "." + timestamp + ".")) // a hash takes everything
	_, _ = mac.Write(body)
	return mac.Sum(nil)
}

// Signed are the three headers of a message.
type Signed struct{ ID, Timestamp, Signature string }

// strict knows one spelling of a signature: the last letter has bits that belong to no byte, and that nobody has signed.
var strict = base64.StdEncoding.Strict()

// Verify checks that somebody with one of the secrets has signed the body within Tolerance of now. Every pair of a
// signature and a secret is compared, each in constant time. Error: Denied "invalid-signature", which does not tell more
// than whether it is a matter of time.
func (m Signed) Verify(secrets []Secret, body []byte, now time.Time) error {
	seconds, err := strconv.ParseInt(m.Timestamp, 10, 64)
	// A dot in the id would let what is signed be cut up in another way.
	if err != nil || m.ID == "" || len(m.ID) > maxIDBytes || strings.ContainsAny(m.ID, ". \t\r\n") {
		return refused("the signature is not right")
	}
	right := 0
	for _, given := range strings.Fields(m.Signature) {
		text, isV1 := strings.CutPrefix(given, version)
		sum, err := strict.DecodeString(text)
		if !isV1 || err != nil {
			continue // of a version that we do not know
		}
		for _, s := range secrets {
			if len(s.key) > 0 {
				right |= subtle.ConstantTimeCompare(sum, s.sum(m.ID, m.Timestamp, body))
			}
		}
	}
	if right == 0 {
		return refused("the signature is not right")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > Tolerance || off < -Tolerance {
		return refused("the signature is right, but not of the last five minutes")
	}
	return nil
}

func refused(why string) error { return fault.New(fault.Denied, "invalid-signature", "%s", why) }

// SameSecret compares a secret that was sent as it is with those that are right. An empty one never is.
func SameSecret(given string, right []string) bool {
	sum, found := sha256.Sum256([]byte(given)), 0
	for _, r := range right {
		if r != "" {
			of := sha256.Sum256([]byte(r)) // of equal length, so that not even that is told
			found |= subtle.ConstantTimeCompare(sum[:], of[:])
		}
	}
	return given != "" && found == 1
}
