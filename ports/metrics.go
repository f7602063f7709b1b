package ports

import (
	"context"
	"time"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
)

// Metrics is what the outside reports to and asks of the measures. docs/metrics.md defines them.
type Metrics interface {
	// RecordEvents takes what a client reports, at most MaxEvents, and answers for each event by itself, in their order.
	// All that is recorded is recorded in one transaction. An event is recognised by its id, so repeating a call changes
	// nothing. Errors: fault.Invalid for no events, too many, and an anonymous viewer; fault.Unavailable.
	RecordEvents(ctx context.Context, viewer inbox.Viewer, events []ClientEvent) ([]EventResult, error)

	// Present notes that a viewer is there. It never waits and may be called with each request: a viewer counts once a
	// day. What it notes is stored about a second later; anonymous viewers are not counted.
	Present(viewer inbox.Viewer)

	// Engagement measures a period. Errors: fault.Invalid names the field; fault.Unavailable.
	Engagement(ctx context.Context, q EngagementQuery) (EngagementReport, error)
}

// Bounds of what clients report and operators ask for.
const (
	MaxEvents     = 100
	MaxEventID    = 64 // characters
	MaxEventAge   = 30 * 24 * time.Hour
	MaxPeriodDays = 366
	MaxRows       = 1000
)

// ClientEvent is something that only the client knows. Type is engagement.InboxOpened or engagement.LinkConverted; Message
// is what a conversion is of. At is when it happened; what is later than now counts as now.
type ClientEvent struct {
	ID      string // the client's own, unique for the viewer
	Type    engagement.Kind
	At      time.Time
	Message inbox.MessageID
}

// EventStatus is what became of an event.
type EventStatus string

const (
	EventRecorded  EventStatus = "recorded"
	EventDuplicate EventStatus = "duplicate" // there was one with this id
	EventRefused   EventStatus = "refused"   // Why says which rule it breaks; sending it again changes nothing
)

// EventResult answers for one event. Why is nil unless it was refused; its path names the member of the event.
type EventResult struct {
	ID     string
	Status EventStatus
	Why    *fault.Field
}

// EngagementQuery asks for the days From to To, both included; only their date in UTC counts.
type EngagementQuery struct {
	From, To time.Time
	By       engagement.Grouping
}

// EngagementReport answers it. Days are in order; campaigns and categories come with those first that were seen most, at
// most MaxRows, and More says that there are others; channels come as in the catalogue.
type EngagementReport struct {
	From, To time.Time
	By       engagement.Grouping
	AsOf     time.Time // every change of preferences that had settled by then is counted
	Total    engagement.Measures
	Rows     []EngagementRow
	More     bool
}

// EngagementRow is one group. Key is the day (2006-01-02), campaign, category or channel; empty for the messages that
// belong to no campaign.
type EngagementRow struct {
	Key string
	engagement.Measures
}

// MetricsUpkeep is what a schedule calls.
type MetricsUpkeep interface {
	// RollUp adds up what has happened, and forgets what is no longer needed to count each thing once. Two at once do not
	// get in each other's way, and repeating it changes nothing. Errors: fault.Unavailable; what was done stays done.
	RollUp(ctx context.Context) (RolledUp, error)
}

// RolledUp counts what RollUp did.
type RolledUp struct {
	Changes   int64 `json:"changes"`   // of preferences counted
	Repaired  int64 `json:"repaired"`  // customers whose count had to be put right
	Facts     int64 `json:"facts"`     // added up
	Forgotten int64 `json:"forgotten"` // marks that are no longer needed
	More      bool  `json:"more"`      // its time was over before all was done
}

// EngagementStore keeps the measures' facts. Errors of every method: fault.Unavailable when the database can't be reached.
type EngagementStore interface {
	// RecordEvents stores the events that are new, with the facts they are, in one transaction. A conversion of a message
	// that the viewer does not have, now or earlier, is refused. Repeating it changes nothing.
	RecordEvents(ctx context.Context, viewer inbox.Viewer, events []ClientEvent) ([]EventStatus, error)

	// RecordPresence stores who was there, each once a day. Repeating it changes nothing.
	RecordPresence(ctx context.Context, present []Presence) error

	// CountChanges counts changes of preferences that have settled, in the order in which they were applied to each
	// customer, about limit of them. Everything settled by asOf is counted; done says that there is no more for now. Each
	// change is counted once, however many count at once.
	CountChanges(ctx context.Context, limit int) (counted int64, asOf time.Time, done bool, err error)

	// CheckCustomers holds what is counted of the next limit customers against their preferences, round and round, and
	// puts right what differs: changes that settled much later than they said, customers who came by another way, or who
	// are gone.
	CheckCustomers(ctx context.Context, limit int) (repaired int64, err error)

	// AddUp moves at most limit facts into the sums of their days, in one transaction; what Engagement answers is the
	// same before, during and after.
	AddUp(ctx context.Context, limit int) (added int64, err error)

	// ForgetMarks forgets at most limit of each of the marks that kept things of before the given time from being counted
	// twice.
	ForgetMarks(ctx context.Context, before time.Time, limit int) (forgotten int64, err error)

	// EngagementCounts sums the facts of the query's days, added up or not, and all earlier ones, as of one moment.
	EngagementCounts(ctx context.Context, q EngagementQuery) (EngagementCounts, error)
}

// Presence is a viewer who was there on a day.
type Presence struct {
	Day    time.Time
	Viewer inbox.Viewer
}

// EngagementCounts are the facts of everything together, and by the groups of the query; of a grouping by day, what was
// counted before the period is Total's.
type EngagementCounts struct {
	Total  engagement.Period
	Groups map[string]engagement.Period
}
