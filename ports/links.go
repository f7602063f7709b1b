package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// LinkPurpose says what a link in an e-mail is for. A link for one purpose is worth nothing for another.
type LinkPurpose string

const (
	UnsubscribeLink LinkPurpose = "unsubscribe"
	ConfirmLink     LinkPurpose = "confirm"
)

// Link is all that a link in an e-mail says. It needs no row in a database.
type Link struct {
	Purpose  LinkPurpose
	Customer preference.CustomerID
	Topic    preference.TopicKey // unsubscribe: empty for all marketing e-mail
	Request  string              // confirm: the operation that asked
	Issued   time.Time           // microseconds
	Expires  time.Time           // zero for never
}

// LinkTokens turn links into tokens that tell their bearer nothing and that nobody else can make.
type LinkTokens interface {
	// Seal makes a token out of letters, digits, - _ and . (fit for a segment of a path). Two of one link differ.
	Seal(l Link) (string, error)

	// Open reads a token back. fault.NotFound "link-unknown" for whatever was not sealed with one of the keys in use:
	// garbled, made up, or sealed with a key that was taken out. It does not look at Expires.
	Open(token string) (Link, error)
}

// EmailLinks is what may be done by the links in e-mails: making them is for whoever sends the e-mail, using them for
// whoever has them.
type EmailLinks interface {
	// NewUnsubscribe makes a link that withdraws marketing e-mail, or one topic of it. Errors: fault.Invalid for an unknown
	// topic, fault.Conflict "links-not-configured".
	NewUnsubscribe(ctx context.Context, customer preference.CustomerID, topic preference.TopicKey) (url string, err error)

	// NewConfirmation makes a link that confirms the subscription the customer has asked for, and says until when. Errors:
	// fault.Conflict "nothing-to-confirm" and "links-not-configured", fault.Unavailable.
	NewConfirmation(ctx context.Context, customer preference.CustomerID) (url string, expires time.Time, err error)

	// Look says what a link is about and how things are; it changes nothing. Errors: fault.NotFound "link-unknown" for all
	// that is no link of this purpose, whatever the reason. What could not be asked now is left out (Known false).
	Look(ctx context.Context, purpose LinkPurpose, token string) (LinkView, error)

	// Unsubscribe withdraws and answers as soon as that is accepted. Repeating it changes nothing: Changed is false when it
	// had been withdrawn since the link was made. Errors: fault.NotFound "link-unknown", fault.Unavailable.
	Unsubscribe(ctx context.Context, u LinkUse) (LinkView, error)

	// Confirm subscribes and waits for the outcome, up to u.Wait. Repeating it changes nothing. Errors: fault.NotFound
	// "link-unknown", fault.Conflict "superseded" and "expired", fault.Unavailable, also when it was compensated: then the
	// link works still.
	Confirm(ctx context.Context, u LinkUse) (LinkView, error)
}

// LinkUse is somebody using a link.
type LinkUse struct {
	Token      string
	Everything bool // unsubscribe: from all marketing e-mail, though the link is for a topic
	OneClick   bool // a mail provider sends it on behalf of the customer, else a person pressed the button
	RequestID  string
	Wait       time.Duration
}

// LinkView is what a page about a link shows. It names nobody.
type LinkView struct {
	Topic   preference.Topic // zero for all marketing e-mail
	Locale  string           // of the customer's devices, empty when not known
	Known   bool             // how things are could be asked
	Done    bool             // it is withdrawn, or confirmed
	Over    string           // confirm: "expired" or "superseded", empty while it works
	Changed bool             // by this call
	Settled bool             // confirm: every system has it
}
