package preference

import (
	"maps"
	"slices"
	"time"

	"accord/domain/fault"
)

// TopicKey names a topic of marketing e-mail.
type TopicKey string

// Topic is a part of marketing e-mail that the customer can switch under the subscription. Title is what people are shown.
type Topic struct {
	Key   TopicKey
	Title string
}

// Email is the e-mail marketing subscription. Topics holds only those switched at least once: the subscription masks them
// and never changes them. With double opt-in a subscription that was asked for is PendingConfirmation until Until, and
// Request names the operation that asked, then the one that was confirmed.
type Email struct {
	Status  EmailStatus         `json:"status"`
	At      time.Time           `json:"at,omitzero"`
	Source  Source              `json:"source,omitempty"`
	Topics  map[TopicKey]Choice `json:"topics,omitempty"`
	Request string              `json:"request,omitempty"`
	Until   time.Time           `json:"until,omitzero"`
	Wording *Wording            `json:"wording,omitempty"` // shown when the subscription that is pending was asked for
}

// asOf is the subscription at a moment: one that nobody has confirmed in time counts as not asked for.
func (e Email) asOf(now time.Time) Email {
	if e.Status == PendingConfirmation && !now.Before(e.Until) {
		e.Status = Unsubscribed
	}
	return e
}

// asked is set by Accept in a change that asks for a subscription which has to be confirmed.
type asked struct {
	Request string    `json:"request"`
	Until   time.Time `json:"until"`
}

// WithEmail is the catalogue with topics of e-mail, and with double opt-in when confirm is more than zero: so long a
// subscription waits to be confirmed. It refuses an empty key and a key given twice.
func (c *Catalogue) WithEmail(confirm time.Duration, topics ...Topic) (*Catalogue, error) {
	next := *c
	next.confirm, next.topics = confirm, slices.Clone(topics)
	for i, t := range topics {
		if t.Key == "" || slices.ContainsFunc(topics[:i], func(other Topic) bool { return other.Key == t.Key }) {
			return nil, fault.New(fault.Invalid, "bad-catalogue", "topic %q: keys must be unique and not empty", t.Key)
		}
	}
	return &next, nil
}

// Topics of marketing e-mail in the order in which they are shown.
func (c *Catalogue) Topics() []Topic { return slices.Clone(c.topics) }

// Topic finds a topic by its key.
func (c *Catalogue) Topic(key TopicKey) (Topic, bool) {
	i := slices.IndexFunc(c.topics, func(t Topic) bool { return t.Key == key })
	if i < 0 {
		return Topic{}, false
	}
	return c.topics[i], true
}

// Topic is the customer's choice for a topic: off until chosen.
func (p Preferences) Topic(key TopicKey) Choice {
	if choice, chosen := p.email.Topics[key]; chosen {
		return choice
	}
	return Choice{Source: FromDefault}
}

// AsOf are the preferences as they count at a moment, since a subscription that nobody confirms ends by itself.
func (p Preferences) AsOf(now time.Time) Preferences {
	p.email = p.email.asOf(now)
	return p
}

// SwitchEmail sets the subscription (empty leaves it) and topics. At least one of them must be given.
func SwitchEmail(status EmailStatus, topics map[TopicKey]bool, wording *Wording) (Change, error) {
	if status == "" && len(topics) == 0 {
		return Change{}, fault.OnField("", "empty_change", "must set marketing or at least one topic")
	}
	if status != "" && status != Subscribed && status != Unsubscribed {
		return Change{}, fault.OnField("marketing.status", "not_allowed", "must be subscribed or unsubscribed")
	}
	return withWording(changeDoc{Email: status, EmailTopics: maps.Clone(topics)}, wording)
}

// ConfirmEmail confirms the subscription that the named operation asked for.
func ConfirmEmail(request string) Change {
	if request == "" {
		return Change{}
	}
	return Change{changeDoc{Email: Subscribed, Confirms: request}}
}

// emailRequested makes of a subscription that has to be confirmed first a request for it, and gives a confirmation the
// wording under which it was asked for. What is subscribed already needs no confirming, wherever it came from.
func (p Preferences) emailRequested(c Change, request string, at time.Time) Change {
	switch {
	case c.c.Email != Subscribed:
	case c.c.Confirms != "":
		c.c.Wording = p.email.Wording
	case p.catalogue.confirm > 0 && p.email.Status != Subscribed:
		c.c.Email = PendingConfirmation
		c.c.Asked = &asked{Request: request, Until: at.Add(p.catalogue.confirm)}
	}
	return c
}

// Errors of a confirmation.
var (
	errConfirmed   = fault.New(fault.Conflict, "unchanged", "the subscription is confirmed already")
	errSuperseded  = fault.New(fault.Conflict, "superseded", "something else was decided since")
	errUnconfirmed = fault.New(fault.Conflict, "confirmation-required", "a subscription must be confirmed first")
	errExpired     = fault.New(fault.Conflict, "expired", "the confirmation came too late")
)

// confirmable says why a confirmation of the request does not count at a moment, nil when it does.
func (e Email) confirmable(request string, at time.Time) error {
	switch {
	case e.Request != request:
		return errSuperseded
	case e.Status == Subscribed:
		return errConfirmed
	case e.Status != PendingConfirmation:
		return errSuperseded
	case !at.Before(e.Until):
		return errExpired
	}
	return nil
}

func applyEmail(p *Preferences, d changeDoc, at time.Time, source Source) error {
	if err := p.catalogue.knows(d.EmailTopics); err != nil {
		return err
	}
	switch {
	case d.Confirms != "":
		if err := p.email.confirmable(d.Confirms, at); err != nil {
			return err
		}
	case d.Email == Subscribed && p.catalogue.confirm > 0 && p.email.Status != Subscribed:
		return errUnconfirmed // it was accepted on top of a confirmation that was taken back since
	}
	next := Email{Status: p.email.Status, At: p.email.At, Source: p.email.Source, Request: p.email.Request, Until: p.email.Until,
		Wording: p.email.Wording, Topics: maps.Clone(p.email.Topics)}
	if d.Email != "" {
		next = Email{Status: d.Email, At: at, Source: source, Request: d.Confirms, Topics: next.Topics}
		if d.Asked != nil {
			next.Request, next.Until, next.Wording = d.Asked.Request, d.Asked.Until.UTC(), copied(d.Wording)
		}
	}
	for key, on := range d.EmailTopics {
		if next.Topics == nil {
			next.Topics = map[TopicKey]Choice{}
		}
		next.Topics[key] = Choice{Enabled: on, At: at, Source: source}
	}
	p.email = next
	return nil
}

func (c *Catalogue) knows(topics map[TopicKey]bool) error {
	var unknown []fault.Field
	for _, key := range slices.Sorted(maps.Keys(topics)) {
		if _, known := c.Topic(key); !known {
			unknown = append(unknown, fault.Field{Path: "topics." + string(key), Code: "unknown_topic", Message: "is not a topic of the catalogue"})
		}
	}
	if len(unknown) > 0 {
		return fault.OnFields(unknown...)
	}
	return nil
}

// heldSince reports that the change withdraws what has been withdrawn at or after the given moment and since: to make it
// again would tell nobody anything.
func (p Preferences) heldSince(c Change, since time.Time) bool {
	d := c.c
	if c.Kind() != Withdrawal || since.IsZero() {
		return false
	}
	held := true
	if d.Email != "" {
		held = p.email.Status == Unsubscribed && !p.email.At.Before(since)
	}
	for key := range d.EmailTopics {
		choice := p.Topic(key)
		held = held && !choice.Enabled && !choice.At.Before(since)
	}
	return held
}

// EmailState is the subscription as it will be once all that waits is done, for whoever confirms or withdraws by a link.
func (a *Account) EmailState(now time.Time) Email { return a.expected().email.asOf(now) }

// Confirmable says whether a confirmation of the request would count now. Errors: Conflict "unchanged" (it was confirmed),
// "superseded" and "expired".
func (a *Account) Confirmable(request string, now time.Time) error {
	return a.expected().email.confirmable(request, now)
}

// Confirmed reports that the subscription which the request asked for was confirmed and has reached every system.
func (a *Account) Confirmed(request string) bool {
	return a.prefs.email.Status == Subscribed && a.prefs.email.Request == request
}

// Withdrawn reports that the change withdraws what has been withdrawn since a moment.
func (a *Account) Withdrawn(c Change, since time.Time) bool { return a.expected().heldSince(c, since) }

// expired reports a subscription that was asked for and not confirmed in time.
func (e Email) expired(now time.Time) bool { return e.asOf(now).Status != e.Status }

// EmailBlockers names every reason why no marketing e-mail may be sent now, on a topic unless that is empty; none means it
// may.
func (p Preferences) EmailBlockers(topic TopicKey, holds []Hold) []Blocker {
	var out []Blocker
	switch p.email.Status {
	case Subscribed:
	case PendingConfirmation:
		out = append(out, BlockedByConfirmation)
	default:
		out = append(out, BlockedBySubscription)
	}
	if topic != "" && !p.Topic(topic).Enabled {
		out = append(out, BlockedByTopic)
	}
	if purpose := p.catalogue.emailPurpose; purpose != "" && p.Purpose(purpose) == ConsentWithdrawn {
		out = append(out, BlockedByConsent)
	}
	for _, h := range holds {
		if h.all || h.email || topic != "" && h.emailTopic[topic] {
			return append(out, BlockedByHold)
		}
	}
	return out
}

// E-mail only.
const (
	BlockedBySubscription Blocker = "email_unsubscribed" // the customer is not subscribed
	BlockedByConfirmation Blocker = "email_unconfirmed"  // or has asked to be, and not confirmed it
	BlockedByTopic        Blocker = "email_topic_disabled"
)

func (p Preferences) desireTopics(h Holding) {
	for _, t := range p.catalogue.topics {
		h[Item{EmailTopicItem, string(t.Key)}] = onOff(p.Topic(t.Key).Enabled)
	}
}

// EmailTopicItem is what the CRM holds for a topic of marketing e-mail.
const EmailTopicItem ItemKind = "email_topic"

func (p Preferences) emailFacts(out map[string]any, d changeDoc) {
	if d.Email != "" {
		out["email.marketing"] = p.email.Status
		if p.email.Status == PendingConfirmation {
			out["email.confirm_until"] = p.email.Until
		}
		if purpose := p.catalogue.emailPurpose; purpose != "" {
			out["purposes."+string(purpose)] = p.Purpose(purpose)
		}
	}
	for key := range d.EmailTopics {
		out["email.topics."+string(key)] = p.Topic(key).Enabled
	}
}
