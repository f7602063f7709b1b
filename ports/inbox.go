package ports

import (
	"context"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// Inbox is what app clients ask about one viewer's inbox. The caller has made sure who the viewer is. Errors of every
// method: fault.Unavailable when the database can't be reached.
type Inbox interface {
	// Feed is one page. Errors: fault.Invalid for a cursor that does not belong to the viewer and filter.
	Feed(ctx context.Context, q FeedQuery) (FeedPage, error)

	// Counts is Feed without messages.
	Counts(ctx context.Context, viewer inbox.Viewer) (InboxState, error)

	// Changes is what is different since a version. Errors: fault.Gone "version-too-old" when that is no longer known.
	Changes(ctx context.Context, viewer inbox.Viewer, since inbox.Version, locales []string) (InboxChanges, error)

	// Refresh asks upstream now, for as long as a small time budget lasts, and then is Feed; freshness tells whether
	// upstream has answered. Errors: fault.Throttled when the viewer asks too often.
	Refresh(ctx context.Context, q FeedQuery) (FeedPage, error)

	// Acknowledge records what the viewer did, each item by itself, all in one transaction. Repeating it changes nothing.
	// An anonymous viewer is fault.Invalid.
	Acknowledge(ctx context.Context, viewer inbox.Viewer, items []Acknowledgement) (AcknowledgeResult, error)

	// AcknowledgeAll records it for every message that was in the inbox as of the version, and for none that came later.
	// Only Seen, Read and Archived can be said of all: anything else is fault.Invalid. The result names no items. A version
	// that this inbox has not come to is fault.Gone "version-too-old".
	AcknowledgeAll(ctx context.Context, viewer inbox.Viewer, state inbox.State, asOf inbox.Version) (AcknowledgeResult, error)

	// Merge takes over what an installation did while nobody was signed in. The installation's inbox is empty afterwards,
	// so that it goes to one customer only; repeating it changes nothing.
	Merge(ctx context.Context, customer preference.CustomerID, installation inbox.InstallationID) (MergeResult, error)
}

// FeedQuery asks for a page.
type FeedQuery struct {
	Viewer  inbox.Viewer
	Filter  inbox.Filter
	Cursor  string   // empty for the first page
	Limit   int      // 1 to 100
	Locales []string // wanted languages, the most wanted first
	// Held are tags of earlier answers to this very question. When the answer would have one of them again, it comes
	// without messages and says Unchanged, which costs less.
	Held []string
}

// InboxState is what every answer carries.
type InboxState struct {
	Version   inbox.Version
	Counts    inbox.Counts
	Freshness Freshness
	// Tag names the answer to Feed or Counts, in letters, digits, dots, - and _: whoever gets the same tag, from whichever
	// process, was answered the same but for the times in Freshness. The tag of a page is of its whole question (viewer,
	// filter, cursor, limit, locales), so the tag and Freshness together name the encoded page. Other answers have none.
	Tag string
}

// Freshness says how old what was read may be. Its times have whole seconds.
type Freshness struct {
	AsOf       time.Time // everything that was upstream then is here; zero when upstream has never been read
	FreshUntil time.Time // AsOf and as long as a feed may be old
	Stale      bool
}

// FeedPage is one page with the state it belongs to. Others may have been given the same one: it is not to be changed.
type FeedPage struct {
	InboxState
	Unchanged bool // see FeedQuery.Held; Messages and Next are not given
	Messages  []FeedEntry
	Next      string // cursor, empty on the last page
}

// FeedEntry is a message as one viewer sees it. Card is what is the same for all viewers (see Cards).
type FeedEntry struct {
	ID      inbox.MessageID
	Card    []byte
	Receipt inbox.Receipt
}

// InboxChanges is what a client does to go from one version to another.
type InboxChanges struct {
	InboxState
	Upserts  []FeedEntry // new or different, archived ones too, in the order of a feed
	Removals []inbox.MessageID
	More     bool // there is more: ask again since Version
}

// Acknowledgement is one thing a viewer did. At is zero for now.
type Acknowledgement struct {
	Message inbox.MessageID
	State   inbox.State
	At      time.Time
}

// AcknowledgeResult has the state afterwards, and one answer per item, in their order.
type AcknowledgeResult struct {
	InboxState
	Items   []Acknowledged
	Changed int // messages that are different now
}

// Acknowledged is what became of one item.
type Acknowledged struct {
	Message inbox.MessageID
	Found   bool // in this viewer's inbox
	Changed bool
	Receipt inbox.Receipt // as it is now, when found
}

// MergeResult tells how many receipts are different now.
type MergeResult struct {
	InboxState
	Merged int
}

// Cards encodes what of a message is the same for every viewer, in the words of whoever shows it: the members of an
// object, without the braces, the id and the receipt. Safe for concurrent use.
type Cards interface {
	// Format grows whenever Card encodes differently, so that stored cards are known to be old.
	Format() int
	// Card is the message in the first of the languages there is a text for. Links for which active answers false are
	// left out, and the card says so. nil takes every link as active.
	Card(m *inbox.Message, locales []string, active func(link string) bool) []byte
}

// Messages is what campaign systems ask. The caller has checked the scope.
type Messages interface {
	// Publish makes a message, visible when it returns if its time has come and its audience is not too large; else
	// Message.Undelivered counts down. created is false when the same message is there already. Errors: those of
	// Draft.Publish, fault.Invalid for the source of the customers' own feed, fault.Conflict "message-exists" for the same
	// name with other content.
	Publish(ctx context.Context, d inbox.Draft) (m StoredMessage, created bool, err error)

	// Message reads one. Errors: fault.NotFound.
	Message(ctx context.Context, id inbox.MessageID) (StoredMessage, error)

	// Edit changes a message everywhere. Errors: fault.NotFound, those of Message.Edited.
	Edit(ctx context.Context, id inbox.MessageID, edit func(inbox.Message) (inbox.Edit, error)) (StoredMessage, error)

	// Retract takes it out of every inbox at once, for good. Repeating it changes nothing. Errors: fault.NotFound.
	Retract(ctx context.Context, id inbox.MessageID) (StoredMessage, error)
}

// StoredMessage is a message and how far it has come.
type StoredMessage struct {
	inbox.Message
	Undelivered int // recipients who do not have it yet
}

// InboxUpkeep is what has to be done now and then, by whoever; every method can be repeated, and run twice at once.
type InboxUpkeep interface {
	// PullCampaigns reads the campaign feed on from where it was left, to its end or for a bounded number of pages, takes
	// what has changed, and tries again what was refused. Errors: *TargetError when upstream fails, which is recorded;
	// fault.Unavailable.
	PullCampaigns(ctx context.Context) (CampaignPull, error)

	// Deliver takes the next batch of a message to many on its way; see MessageStore.Deliver.
	Deliver(ctx context.Context, id inbox.MessageID) (done, left int, err error)

	// Delivery says what Deliver does about a message now. Errors: fault.NotFound, fault.Unavailable.
	Delivery(ctx context.Context, id inbox.MessageID) (Delivery, error)

	// ResumeDeliveries starts the delivery of messages that have been waiting for it, and says of how many.
	ResumeDeliveries(ctx context.Context) (int, error)

	// CleanUp forgets one batch of what nobody will ask for any more; see MessageStore.CleanUp.
	CleanUp(ctx context.Context) (CleanedUp, error)
}

// CampaignPull is what became of what a pull has read.
type CampaignPull struct {
	Pages, Published, Edited, Retracted, Refused, Accepted int  // Accepted were refused before
	Complete                                               bool // the feed was read to its end
}

// LinkTargets is the catalogue of deep-link targets. The caller has checked the scope.
type LinkTargets interface {
	Targets(ctx context.Context) ([]inbox.LinkTarget, error)
	// Target reads one. Errors: fault.NotFound.
	Target(ctx context.Context, key inbox.TargetKey) (inbox.LinkTarget, error)
	// PutTarget makes or replaces one; every feed follows at once.
	PutTarget(ctx context.Context, t inbox.LinkTarget) (stored inbox.LinkTarget, created bool, err error)
	// DeleteTarget removes one; links to it are no longer handed out. Repeating it is fault.NotFound.
	DeleteTarget(ctx context.Context, key inbox.TargetKey) error
}
