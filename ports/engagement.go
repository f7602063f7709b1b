package ports

import (
	"context"
	"time"

	"accord/domain/inbox"
	"accord/domain/preference"
)

// Engagement is what failures of both feeds name as their target. It is no target of a change.
const Engagement preference.Target = "engagement"

// CampaignsName is the name under which Feeds keeps how far the campaign feed was read; InboxHead.CampaignsAt is its
// FeedState.PulledAt.
const CampaignsName = "campaigns"

// CampaignFeed is the engagement platform's feed of messages that are not one customer's own: everything that changed,
// the oldest change first. Failures are *TargetError (or ctx.Err()).
type CampaignFeed interface {
	// Campaigns reads one page after the cursor (empty for the beginning). A message that changes comes again, later.
	Campaigns(ctx context.Context, cursor string) (CampaignPage, error)
}

// CampaignPage is one page. Next is where to go on, now or later: it is set on the last page too.
type CampaignPage struct {
	Campaigns []Campaign
	Next      string
	More      bool
}

// Campaign is a message upstream. A retracted one may have no more than its name (Source and ExternalID).
type Campaign struct {
	Draft     inbox.Draft
	Retracted bool
	// Broken says which member cannot be read and why, without repeating its value; empty when all is well. The draft is
	// the message's name alone then, which no rule lets through.
	Broken string
}

// CustomerFeed is the engagement platform's feed of one customer. Failures are *TargetError (or ctx.Err()).
type CustomerFeed interface {
	// Source is the one that all its drafts have.
	Source() string
	// CustomerMessages lists all that the platform has for the customer now, each with the customer as the recipient.
	// What it listed before and does not list any more has ended.
	CustomerMessages(ctx context.Context, customer preference.CustomerID) ([]inbox.Draft, error)
}

// Feeds keeps how far each campaign feed was read. Errors: fault.Unavailable.
type Feeds interface {
	// Feed is where reading a feed goes on; a feed nobody has heard of starts at the beginning.
	Feed(ctx context.Context, name string) (FeedState, error)

	// Advance moves on from one cursor to another; moved is false when somebody else was quicker, and nothing is stored.
	// complete is when the feed was read to its end, zero when there is more.
	Advance(ctx context.Context, name, from, to string, complete time.Time) (moved bool, err error)

	// Failed records that the feed could not be read.
	Failed(ctx context.Context, name, code string, at time.Time) error

	// Refuse keeps a campaign that breaks a rule, to be tried again; Refusals lists them, those tried longest ago first,
	// and Accept forgets one.
	Refuse(ctx context.Context, r Refusal) error
	Refusals(ctx context.Context, limit int) ([]Refusal, error)
	Accept(ctx context.Context, source, externalID string) error

	// OwnMessages lists the messages of a source that show in the customer's inbox or wait there for their time, by
	// external id, for finding out which of them have ended upstream.
	OwnMessages(ctx context.Context, source string, customer preference.CustomerID) (map[string]inbox.MessageID, error)
}

// FeedState is how far a feed was read.
type FeedState struct {
	Cursor   string
	PulledAt time.Time // zero when it was never read to its end
}

// Refusal is a campaign that could not be taken.
type Refusal struct {
	Campaign Campaign
	Code     string
	Detail   string // names field and rule
	At       time.Time
}

// Events is word of changes, in every process.
type Events interface {
	// Listen calls each for every event from now on, those of this process and of all others, each about once and not
	// much later than it happened, until ctx ends. missed is called when that has begun, and whenever events may have been
	// lost: whoever is connected must be told to look again.
	Listen(ctx context.Context, each func([]StreamEvent), missed func()) error
}

// StreamEvent tells connected clients to look again. Viewers is empty when it concerns everybody.
type StreamEvent struct {
	ID      int64
	Viewers []string // see inbox.Viewer.Key
	Kind    string   // inbox.changed, preferences.changed, operation.updated
	Data    []byte   // JSON object
}
