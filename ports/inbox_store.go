package ports

import (
	"context"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// Inboxes keeps every viewer's inbox. Errors of every method: fault.Unavailable when the database can't be reached. Every
// read is of one moment: what it answers belongs to the versions it answers.
type Inboxes interface {
	// ReadInbox reads one viewer's state and, with q.Page, a page of the items. An inbox that nothing has happened to is
	// empty. Items whose time has come or gone are made so first.
	ReadInbox(ctx context.Context, q InboxQuery) (InboxRead, error)

	// ReadChanges reads the items and receipts that changed after since (own version), at most limit items and those
	// that changed with the last of them, the oldest change first.
	ReadChanges(ctx context.Context, viewer inbox.Viewer, since int64, concerned Concerned, format, limit int) (InboxChangesRead, error)

	// UpdateInbox locks the inbox (made when it is not there), reads the items with these ids (all that show and were
	// added up to asOf when ids is nil), lets fn decide the receipts, and stores what is different with one next version,
	// the counts, word for connected clients and the facts to be counted, in one transaction. fn may run more than once.
	UpdateInbox(ctx context.Context, viewer inbox.Viewer, ids []inbox.MessageID, asOf int64, fn func(InboxEdit) (InboxWrite, error)) (InboxHead, error)

	// TakeReceipts empties an installation's receipts and gives them to fn's edit of the customer's inbox, both in one
	// transaction.
	TakeReceipts(ctx context.Context, from, to inbox.Viewer, fn func(taken inbox.Receipts, into InboxEdit) (InboxWrite, error)) (InboxHead, error)

	// ClaimPull says whether the caller may read the customer's own feed upstream now: it was read before olderThan, and
	// nobody else has begun to since abandoned. One statement.
	ClaimPull(ctx context.Context, customer preference.CustomerID, olderThan, abandoned time.Time) (bool, error)

	// Pulled records that it was read to its end at a time.
	Pulled(ctx context.Context, customer preference.CustomerID, at time.Time) error
}

// InboxQuery is what to read. Leaving are the messages that Globals.Leaving lists at the version the caller has.
type InboxQuery struct {
	Viewer  inbox.Viewer
	Leaving []inbox.MessageID
	Page    *PageQuery // nil for the state alone
}

// PageQuery asks for items of the viewer's own, after a position (nil for the start), at most Limit.
type PageQuery struct {
	Filter inbox.Filter
	After  *inbox.Position
	Limit  int
	Format int // of the cards that are of use
}

// InboxHead is an inbox without its items. Counts are of its own items that show, without Leaving.
type InboxHead struct {
	Now      time.Time // the database's clock
	Version  inbox.Version
	Floor    int64 // own version up to which changes are no longer all known
	Counts   inbox.Counts
	Receipts inbox.Receipts
	// PulledAt is when the customer's own feed upstream, and CampaignsAt when the campaign feed, was last read to its
	// end; zero for never.
	PulledAt, CampaignsAt time.Time
}

// InboxRead is what ReadInbox found. GlobalsDue says that time has changed the globals and nobody has made it so yet.
type InboxRead struct {
	InboxHead
	Items      []InboxItem
	GlobalsDue bool
}

// InboxItem is a message in one inbox. Card is nil when what is stored is not of use: read the message.
type InboxItem struct {
	Position  inbox.Position
	Expiry    time.Time
	Targets   []inbox.TargetKey
	Localized bool
	Card      []byte
	Receipt   inbox.Receipt
	Gone      bool // expired or retracted; only in changes
}

// Concerned are the global changes that may concern items of this inbox: messages to many, and link targets.
type Concerned struct {
	Messages []inbox.MessageID
	Targets  []inbox.TargetKey
}

// InboxChangesRead is what ReadChanges found. UpTo is the own version that the answer is complete to.
type InboxChangesRead struct {
	InboxHead
	Items []InboxItem
	UpTo  int64
}

// InboxEdit is what fn of UpdateInbox decides upon. Items are those that show.
type InboxEdit struct {
	InboxHead
	Items []InboxItem
	Next  int64 // own version of what fn changes
}

// InboxWrite is what fn wants stored: receipts of the inbox's own items by message, and all receipts for global messages
// (nil to leave them). Facts are counted in the same transaction.
type InboxWrite struct {
	Receipts map[inbox.MessageID]inbox.Receipt
	Globals  inbox.Receipts
	Facts    []Fact
}

// Changed reports whether there is anything to store.
func (w InboxWrite) Changed() bool { return len(w.Receipts) > 0 || w.Globals != nil }

// Kinds of facts. Each is counted once for a viewer and a message.
const (
	FactSeen      = "message_seen"
	FactRead      = "message_read"
	FactClicked   = "message_clicked"
	FactConverted = "deeplink_converted"
)

// Fact is something the measures count. Message is 0 where there is none.
type Fact struct {
	Day     time.Time
	Kind    string
	Message inbox.MessageID
	Channel string
	Count   int64
}

// Globals keeps what is the same for every inbox.
type Globals interface {
	// Globals reads everything, of one version. Messages and targets whose time has come or gone are made so first.
	Globals(ctx context.Context) (*inbox.Globals, error)

	// GlobalHead is what can be known without reading them. One round trip.
	GlobalHead(ctx context.Context) (GlobalHead, error)

	// GlobalChanges lists what was different with the versions after since. A link target is among them when its links may
	// lead elsewhere. Errors: fault.Gone "version-too-old" when that is no longer all known.
	GlobalChanges(ctx context.Context, since int64) (Concerned, error)
}

// GlobalHead is the current version; Due says that time has changed something and nobody has made it so yet.
type GlobalHead struct {
	Now         time.Time // the database's clock
	Version     int64
	Due         bool
	CampaignsAt time.Time // see InboxHead
}

// MessageStore keeps messages and the link catalogue. Errors of every method: fault.Unavailable.
type MessageStore interface {
	// PublishMessage lets build make the message (without an id) under the catalogue as it is when the transaction ends,
	// and stores it with its card: a global one is one row, a personal one is put into its recipients' inboxes, or, when
	// there are more than inline, into batches for Deliver. When the name is taken, the stored one is answered instead,
	// whatever build would say, created is false, and nothing is stored. build may run more than once.
	PublishMessage(ctx context.Context, source, externalID string, recipients []preference.CustomerID, inline int,
		build func(*inbox.Links, time.Time) (*inbox.Message, error)) (m StoredMessage, created bool, err error)

	// Message reads one. Errors: fault.NotFound.
	Message(ctx context.Context, id inbox.MessageID) (StoredMessage, error)

	// MessageNamed reads one by its name. Errors: fault.NotFound.
	MessageNamed(ctx context.Context, source, externalID string) (StoredMessage, error)

	// Messages reads several; those not found are missing from the answer.
	Messages(ctx context.Context, ids []inbox.MessageID) (map[inbox.MessageID]*inbox.Message, error)

	// EditMessage stores what fn makes of the message, in one transaction under its lock, and makes every inbox show it;
	// where it stands in the inboxes of a message to many, and until when, follows by Deliver. When fn leaves it as it is,
	// nothing is stored. fn may run more than once. Errors: fault.NotFound, and fn's.
	EditMessage(ctx context.Context, id inbox.MessageID, fn func(inbox.Message, *inbox.Links, time.Time) (*inbox.Message, error)) (StoredMessage, error)

	// RetractMessage takes it out of every inbox; those of a message to many follow by Deliver, and no reader shows it
	// meanwhile. Repeating it changes nothing. Errors: fault.NotFound.
	RetractMessage(ctx context.Context, id inbox.MessageID) (StoredMessage, error)

	// Deliver takes the next batch of a message to many into, or after its retraction or edit out of or through, its
	// recipients' inboxes. Repeating it goes on from there, and several may do so at once; left is about how many inboxes
	// are still to come, and 0 when all is done, or the message is not known any more.
	Deliver(ctx context.Context, id inbox.MessageID) (done, left int, err error)

	// Undelivered lists messages that Deliver has work for, since before the given time.
	Undelivered(ctx context.Context, before time.Time, limit int) ([]inbox.MessageID, error)

	// PutTarget, DeleteTarget and Targets keep the catalogue; see LinkTargets.
	PutTarget(ctx context.Context, t inbox.LinkTarget) (stored inbox.LinkTarget, created bool, err error)
	DeleteTarget(ctx context.Context, key inbox.TargetKey) error
	Targets(ctx context.Context) ([]inbox.LinkTarget, error)

	// CleanUp forgets messages and items that ended before goneBefore, marks on global changes and client events as old,
	// word for connected clients older than a minute, and receipts for messages that are gone; at most batch rows of
	// each. It repairs counts that differ from the list, and says how many did.
	CleanUp(ctx context.Context, goneBefore time.Time, batch int) (CleanedUp, error)
}

// CleanedUp counts what CleanUp did. More says that there is more of it to do.
type CleanedUp struct {
	Messages, Items, Repaired int64
	More                      bool
}

// Deliveries starts the delivery of a message to many. Errors: fault.Unavailable; who is not started is found by the
// sweep of Undelivered.
type Deliveries interface {
	StartDelivery(ctx context.Context, d Delivery) error
}

// DeliveryTask is what Deliver does with a message to many. It is for people to read: Deliver finds out by itself.
type DeliveryTask string

const (
	BringingIn DeliveryTask = "bring-in" // to those who do not have it yet
	TakingOut  DeliveryTask = "take-out" // of the inboxes of those who have it, after its retraction
	PassingOn  DeliveryTask = "pass-on"  // an edit, to those who have it
)

// Delivery is what is to be done about a message to many.
type Delivery struct {
	Message    inbox.MessageID
	Task       DeliveryTask
	Recipients int // that the message has in all
}

// DeliveryOf is what is to be done about the message as it is stored.
func DeliveryOf(m StoredMessage) Delivery {
	d := Delivery{Message: m.ID, Task: PassingOn, Recipients: m.Recipients}
	switch {
	case !m.RetractedAt.IsZero():
		d.Task = TakingOut
	case m.Undelivered > 0:
		d.Task = BringingIn
	}
	return d
}
