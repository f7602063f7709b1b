// Package engagement says what the measures of engagement are: which facts are counted, and which of them is divided by
// which. docs/metrics.md is the same for people. It is pure: it counts nothing itself.
package engagement

import "time"

// Kind is a kind of fact.
type Kind string

// Facts about viewers and messages are counted on the day they happened.
const (
	ViewerPresent  Kind = "viewer_present"     // a viewer was there, once a day
	InboxOpened    Kind = "inbox_opened"       // and opened the inbox, once a day
	MessageSeen    Kind = "message_seen"       // a viewer saw a message, once ever
	MessageClicked Kind = "message_clicked"    // and followed it, once ever
	LinkConverted  Kind = "deeplink_converted" // and did what it was for, once ever
)

// Facts about customers are differences: how many more, or fewer, there are than before.
const (
	CustomerKnown      Kind = "customer_known"       // with at least one change of preferences applied
	CustomerWithDevice Kind = "customer_with_device" // with at least one device
	EmailOn            Kind = "email_on"             // whom marketing e-mail may reach
	PushOn             Kind = "push_on"              // whom push can reach, on a channel or at all
)

// How customers came and went, on a channel or at all, on the day the change was applied.
const (
	PushIn  Kind = "push_opted_in"
	PushOut Kind = "push_opted_out"
)

// Flows are counted within a period, Stocks up to a moment.
var (
	Flows  = []Kind{ViewerPresent, InboxOpened, MessageSeen, MessageClicked, LinkConverted, PushIn, PushOut}
	Stocks = []Kind{CustomerKnown, CustomerWithDevice, EmailOn, PushOn}
)

// Counts are sums of facts.
type Counts map[Kind]int64

// Add puts others on top.
func (c Counts) Add(others Counts) {
	for k, n := range others {
		c[k] += n
	}
}

// Rate is a part of a whole.
type Rate struct {
	Numerator, Denominator int64
}

// Value is the quotient; ok is false when there is nothing to divide by.
func (r Rate) Value() (quotient float64, ok bool) {
	if r.Denominator == 0 {
		return 0, false
	}
	return float64(r.Numerator) / float64(r.Denominator), true
}

// Measures are the six, of a period. Those that do not apply are nil.
type Measures struct {
	InboxOpen, MessageClick, LinkConversion *Rate
	PushOptIn, PushOptOut, EmailOptIn       *Rate
}

// Grouping is what measures are told apart by.
type Grouping string

const (
	ByDay      Grouping = "day"
	ByCampaign Grouping = "campaign"
	ByCategory Grouping = "category"
	ByChannel  Grouping = "channel"
)

// Groupings lists all.
var Groupings = []Grouping{ByDay, ByCampaign, ByCategory, ByChannel}

// Period is what was counted before a period and in it. Flows before it do not matter.
type Period struct {
	Before, Within Counts
}

// ends is how many there are at the end.
func (p Period) ends(k Kind) int64 { return p.Before[k] + p.Within[k] }

// Measures of everything together.
func (p Period) Measures() Measures {
	m := p.OfMessages()
	push := p.OfChannel(p.ends(CustomerWithDevice))
	m.InboxOpen = &Rate{p.Within[InboxOpened], p.Within[ViewerPresent]}
	m.PushOptIn, m.PushOptOut = push.PushOptIn, push.PushOptOut
	m.EmailOptIn = &Rate{p.ends(EmailOn), p.ends(CustomerKnown)}
	return m
}

// OfMessages are those that can be told apart by campaign and category.
func (p Period) OfMessages() Measures {
	return Measures{
		MessageClick:   &Rate{p.Within[MessageClicked], p.Within[MessageSeen]},
		LinkConversion: &Rate{p.Within[LinkConverted], p.Within[MessageClicked]},
	}
}

// OfChannel are those that can be told apart by channel. withDevice is how many customers have a device at the end.
func (p Period) OfChannel(withDevice int64) Measures {
	return Measures{
		PushOptIn:  &Rate{p.ends(PushOn), withDevice},
		PushOptOut: &Rate{p.Within[PushOut], p.Before[PushOn] + p.Within[PushIn]},
	}
}

// Next is the period that follows right after, in which these were counted.
func (p Period) Next(within Counts) Period {
	before := Counts{}
	before.Add(p.Before)
	before.Add(p.Within)
	return Period{Before: before, Within: within}
}

// Day is the day that counts for something that happened at a time: days are those of UTC, the same for everybody.
func Day(at time.Time) time.Time {
	y, m, d := at.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
