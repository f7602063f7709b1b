package checker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// linkClock is how exactly a link knows when it was made.
const linkClock = 2 * time.Second

// followed: when somebody was told that a link in an e-mail has unsubscribed them, it has. A change of theirs that did the same
// after the link was made will do.
func (k *check) followed(p *person) {
	made := map[string]*Call{}
	for _, c := range p.others {
		var answer struct {
			URL string `json:"url"`
		}
		if strings.HasSuffix(c.Path, "/unsubscribe-links") {
			if _, path, is := strings.Cut(c.urlOf(&answer), "/u/"); is && c.Status == 200 {
				made["/u/"+path] = c
			}
			continue
		}
		if c.Method != "POST" || c.Status != 200 || !strings.HasPrefix(c.Path, "/u/") {
			continue
		}
		k.held(RuleWithdrawal)
		link := made[c.Path]
		if link == nil {
			k.violated(RuleWithdrawal, p.id, "404 for a link that nobody made", "200", c)
			continue
		}
		if !p.unsubscribedBetween(link.Invoked.Add(-linkClock), c.Answered) {
			k.violated(RuleWithdrawal, p.id, fmt.Sprintf("a withdrawal of e-mail marketing between %s and %s", link.Invoked.Format(time.RFC3339Nano), c.Answered.Format(time.RFC3339Nano)),
				"the ledger has none", link, c)
		}
	}
}

// Words of the ledger.
const (
	emailPath           = "email.marketing"
	pendingConfirmation = "pending_confirmation"
)

// confirmed: where subscriptions have to be confirmed, only the button behind a link does it, and only as long as nothing else was
// decided after the link was made. Who was told that it has, or is about to, is in the ledger with it.
func (k *check) confirmed(p *person) {
	if !k.final.DoubleOptIn {
		return
	}
	made := map[string]*Call{}
	for _, c := range p.others {
		var answer struct {
			URL string `json:"url"`
		}
		if strings.HasSuffix(c.Path, "/confirmation-links") && c.Status == 200 {
			if _, path, is := strings.Cut(c.urlOf(&answer), "/c/"); is {
				made["/c/"+path] = c
			}
		}
		if strings.HasPrefix(c.Path, "/c/") && c.Status == 200 {
			k.held(RuleConfirmed)
			if link := made[c.Path]; link == nil || !p.subscribedBetween(link.Invoked.Add(-linkClock), c.Answered.Add(sameClock)) {
				k.violated(RuleConfirmed, p.id, "a subscription by this link", "the ledger has none", link, c)
			}
		}
	}
	for _, o := range p.order {
		if o.applied() && o.end.After[emailPath] == "subscribed" && o.end.Before[emailPath] != "subscribed" {
			k.held(RuleConfirmed)
			k.confirmation(p, o, made)
		}
	}
}

// confirmation is an operation that made somebody a subscriber.
func (k *check) confirmation(p *person, o *operation, made map[string]*Call) {
	pressed := k.byID[o.requested.Origin.RequestID]
	if pressed == nil || pressed.About != p.id || made[pressed.Path] == nil {
		k.violated(RuleConfirmed, p.id, o.id+", which subscribes, comes of a link made for this customer", "it does not", pressed)
		return
	}
	link := made[pressed.Path]
	for _, other := range p.order {
		if !other.decidesEmail() || !link.before(other.first) || !other.first.before(pressed) {
			continue
		}
		k.violated(RuleConfirmed, p.id, other.id+", which came after the link, makes it worthless", o.id+" was confirmed by it", link, other.first, pressed)
	}
}

// decidesEmail tells an operation that says something else than a link that asks for a confirmation.
func (o *operation) decidesEmail() bool {
	return o.applied() && o.acknowledged() && o.source == "app" && (o.end.After[emailPath] == "unsubscribed" || o.end.After[emailPath] == pendingConfirmation)
}

func (p *person) subscribedBetween(from, to time.Time) bool {
	return slices.ContainsFunc(p.order, func(o *operation) bool {
		return o.source == "email_link" && o.requested.After[emailPath] == "subscribed" && !o.requested.At.Before(from) && !o.requested.At.After(to)
	})
}

func (c *Call) urlOf(answer *struct {
	URL string `json:"url"`
}) string {
	_ = json.Unmarshal(c.Answer, answer) // no link then
	return answer.URL
}

func (p *person) unsubscribedBetween(from, to time.Time) bool {
	for _, o := range p.order {
		at := o.requested.At
		if o.requested.After[emailPath] == "unsubscribed" && o.kind == "withdrawal" && !at.Before(from) && !at.After(to) {
			return true
		}
	}
	return false
}
