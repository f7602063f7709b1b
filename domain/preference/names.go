package preference

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"accord/domain/fault"
)

// CustomerID is a signed-in person: the subject of the bearer token. 1 to 255 bytes without control characters or
// white space; it may be an e-mail address, so it never goes into logs or workflow ids as it is (see Pseudonym).
type CustomerID string

// ParseCustomerID checks the rules of CustomerID.
func ParseCustomerID(s string) (CustomerID, error) {
	// "." and ".." cannot be a segment of a URL, which is where vendors want an id.
	if s == "" || s == "." || s == ".." || len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}) {
		return "", fault.OnField("customer", "invalid_id", "must be 1 to 255 bytes without white space or control characters, and not . or ..")
	}
	return CustomerID(s), nil
}

// DeviceID names one registered device of a customer; the app makes it.
type DeviceID string

var devicePattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// ParseDeviceID checks that s is 1 to 128 letters, digits or any of . _ : -
func ParseDeviceID(s string) (DeviceID, error) {
	if !devicePattern.MatchString(s) {
		return "", fault.OnField("device_id", "invalid_id", "must be 1 to 128 letters, digits or any of . _ : -")
	}
	return DeviceID(s), nil
}

// ChannelKey names a push topic of the catalogue.
type ChannelKey string

// PurposeID names what a consent is for, in the CMP.
type PurposeID string

// Platform is the kind of device.
type Platform string

const (
	IOS     Platform = "ios"
	Android Platform = "android"
	Web     Platform = "web"
)

// Permission is what the operating system lets the app do.
type Permission string

const (
	Granted      Permission = "granted"
	Denied       Permission = "denied"
	Provisional  Permission = "provisional" // iOS: delivered quietly until the person decides
	Undetermined Permission = "undetermined"
)

// Delivers reports whether the operating system shows a notification at all.
func (p Permission) Delivers() bool { return p == Granted || p == Provisional }

// EmailStatus is the state of the e-mail marketing subscription.
type EmailStatus string

const (
	Subscribed          EmailStatus = "subscribed"
	Unsubscribed        EmailStatus = "unsubscribed"
	PendingConfirmation EmailStatus = "pending_confirmation"
)

// Source says where a change came from.
type Source string

const (
	FromApp        Source = "app"
	FromOperator   Source = "operator"
	FromTokenMove  Source = "token_move" // the push token was registered by somebody else
	FromDefault    Source = "default"    // never chosen
	FromCRM        Source = "crm"
	FromPush       Source = "push"
	FromCMP        Source = "cmp"
	FromEmailLink  Source = "email_link"
	FromReconciler Source = "reconciliation"
	FromGPC        Source = "gpc"         // the browser's Global Privacy Control
	FromEngagement Source = "engagement"  // the engagement platform, which is no target
	FromExternal   Source = "external"    // another system that speaks our own webhook format
	FromUpkeep     Source = "maintenance" // Accord by itself, such as for tokens that nobody has used for long
)

// Target is one system outside that a change must reach.
type Target string

const (
	CRM  Target = "crm"
	Push Target = "push"
	CMP  Target = "cmp"
)

// Targets lists every target, in the order in which they are shown.
var Targets = []Target{CRM, Push, CMP}

// Origin is the target a change came from and must not be echoed to; empty when it came from our own side.
func (s Source) Origin() Target {
	switch s {
	case FromCRM:
		return CRM
	case FromPush:
		return Push
	case FromCMP:
		return CMP
	default:
		return ""
	}
}

// Wording is the text the person was shown when deciding: its id and language, and its SHA-256 in hex where it is told.
type Wording struct {
	ID       string `json:"id"`
	Locale   string `json:"locale"`
	TextHash string `json:"text_sha256,omitempty"`
}

// Choice is a switch with when and from where it was last set. A zero At means it was never chosen.
type Choice struct {
	Enabled bool      `json:"enabled"`
	At      time.Time `json:"at,omitzero"`
	Source  Source    `json:"source,omitempty"`
}
