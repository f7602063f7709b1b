// Package inbox is what happens to the inbox by itself: bringing a message to many into their inboxes, taking the
// engagement platform's campaigns, and forgetting what nobody will ask for any more.
//
// The database is the source of truth: it knows which recipients wait, how far a feed was read and what has ended. Every
// step can be repeated and says only how far things are, so a run that is terminated, reset or started twice does no harm;
// a sweep starts the deliveries that have no run. Inputs hold ids and numbers, never personal data.
package inbox

import (
	"fmt"

	"go.temporal.io/sdk/temporal"

	"accord/domain/inbox"
	"accord/ports"
)

// Names under which the outside knows the workflows. Renaming one strands the runs that are open.
const (
	TaskQueue       = "inbox"
	DeliverWorkflow = "inbox.Deliver"
	PullWorkflow    = "inbox.PullCampaigns"
	CleanUpWorkflow = "inbox.CleanUp"
	PullSchedule    = "inbox-pull-campaigns"
	CleanUpSchedule = "inbox-clean-up"
)

// DeliverInput starts a delivery, or goes on with one in another run. Fields are only ever added.
type DeliverInput struct {
	Message string `json:"message"` // inbox.MessageID.String
	Done    int    `json:"done"`    // by the runs before this one
	// What it was started for, and the recipients of the message, for people: the store knows what is to be done, and
	// that may change while it goes on.
	Task ports.DeliveryTask `json:"task,omitempty"`
	Of   int                `json:"of,omitempty"`
}

// DeliverySummary says in one line what a delivery is for.
func DeliverySummary(in DeliverInput) string {
	recipients := "its recipients"
	if in.Of > 0 {
		recipients = fmt.Sprintf("its %d recipients", in.Of)
	}
	switch in.Task {
	case ports.BringingIn:
		return fmt.Sprintf("bring message %s into the inboxes of %s", in.Message, recipients)
	case ports.TakingOut:
		return fmt.Sprintf("take message %s out of the inboxes of %s", in.Message, recipients)
	case ports.PassingOn:
		return fmt.Sprintf("pass on the edit of message %s to the inboxes of %s", in.Message, recipients)
	}
	return fmt.Sprintf("deliver message %s to the inboxes of %s", in.Message, recipients)
}

// doing is what the steps of a delivery do.
func doing(task ports.DeliveryTask) string {
	switch task {
	case ports.BringingIn:
		return "bringing it in"
	case ports.TakingOut:
		return "taking it out"
	case ports.PassingOn:
		return "passing on its edit"
	}
	return "delivering it"
}

// DeliverOutput is for people; the store is the truth.
type DeliverOutput struct {
	Done int `json:"done"` // inboxes that were changed
}

// DeliveryID is the workflow of a message: at most one is open.
func DeliveryID(id inbox.MessageID) string { return "messages/" + id.String() + "/deliver" }

// PullInput is empty; it is there to be added to.
type PullInput struct{}

// PullOutput tells what a pull has found. Failure is the code of upstream's failure: that is nothing to repeat, the next
// pull comes soon enough.
type PullOutput struct {
	Resumed   int    `json:"resumed"` // deliveries that had no run
	Pages     int    `json:"pages"`
	Published int    `json:"published"`
	Edited    int    `json:"edited"`
	Retracted int    `json:"retracted"`
	Refused   int    `json:"refused"`
	Accepted  int    `json:"accepted"` // refused before
	Complete  bool   `json:"complete"`
	Failure   string `json:"failure,omitempty"`
}

// CleanUpInput is empty; it is there to be added to.
type CleanUpInput struct{}

// CleanUpOutput counts what was forgotten, and the inboxes whose counts had to be put right: each of those is a bug.
type CleanUpOutput struct {
	Messages int64 `json:"messages"`
	Items    int64 `json:"items"`
	Repaired int64 `json:"repaired"`
	More     bool  `json:"more"` // left for the next time
}

// Search attributes that make deliveries findable in the Temporal UI. None holds personal data.
var (
	AttrMessage   = temporal.NewSearchAttributeKeyKeyword("AccordMessage")
	AttrDelivered = temporal.NewSearchAttributeKeyInt64("AccordDelivered")
	AttrLeft      = temporal.NewSearchAttributeKeyInt64("AccordLeft")
)

// Attributes are those that the namespace must know.
func Attributes() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{AttrMessage, AttrDelivered, AttrLeft}
}
