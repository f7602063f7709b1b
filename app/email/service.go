// Package email holds the use cases of the links in e-mails: unsubscribing, and confirming a subscription.
package email

import (
	"context"
	"strings"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use cases need. Tokens is nil where links are not configured; all else is mandatory.
type Config struct {
	Accounts       ports.Accounts
	Preferences    ports.Preferences
	Tokens         ports.LinkTokens
	Catalogue      *preference.Catalogue
	PublicURL      string        // where people reach the API, without a slash at the end
	UnsubscribeTTL time.Duration // how long an unsubscribe link works; 0 for ever
	Now            func() time.Time
}

// Service implements ports.EmailLinks.
type Service struct{ Config }

var _ ports.EmailLinks = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service {
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	return &Service{cfg}
}

var (
	errOff     = fault.New(fault.Conflict, "links-not-configured", "no keys for links in e-mails are configured here")
	errUnknown = fault.New(fault.NotFound, "link-unknown", "no such link")
)

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// NewUnsubscribe implements ports.EmailLinks.
func (s *Service) NewUnsubscribe(_ context.Context, customer preference.CustomerID, topic preference.TopicKey) (string, error) {
	if _, known := s.Catalogue.Topic(topic); topic != "" && !known {
		return "", fault.OnField("topic", "unknown_topic", "is not a topic of the catalogue")
	}
	l := ports.Link{Purpose: ports.UnsubscribeLink, Customer: customer, Topic: topic, Issued: s.now()}
	if s.UnsubscribeTTL > 0 {
		l.Expires = l.Issued.Add(s.UnsubscribeTTL)
	}
	return s.url("/u/", l)
}

// NewConfirmation implements ports.EmailLinks.
func (s *Service) NewConfirmation(ctx context.Context, customer preference.CustomerID) (string, time.Time, error) {
	acc, err := s.Accounts.Load(ctx, customer)
	if err != nil {
		return "", time.Time{}, err
	}
	asked := acc.EmailState(s.now())
	if asked.Status != preference.PendingConfirmation {
		return "", time.Time{}, fault.New(fault.Conflict, "nothing-to-confirm", "no subscription of this customer waits to be confirmed")
	}
	url, err := s.url("/c/", ports.Link{Purpose: ports.ConfirmLink, Customer: customer, Request: asked.Request, Issued: s.now(), Expires: asked.Until})
	return url, asked.Until, err
}

func (s *Service) url(path string, l ports.Link) (string, error) {
	if s.Tokens == nil {
		return "", errOff
	}
	token, err := s.Tokens.Seal(l)
	return s.PublicURL + path + token, err
}

func (s *Service) open(purpose ports.LinkPurpose, token string) (ports.Link, error) {
	if s.Tokens == nil {
		return ports.Link{}, errUnknown
	}
	l, err := s.Tokens.Open(token)
	if err == nil && l.Purpose != purpose {
		err = errUnknown
	}
	if purpose == ports.UnsubscribeLink && !l.Expires.IsZero() && !s.now().Before(l.Expires) {
		err = errUnknown
	}
	return l, err
}

// Look implements ports.EmailLinks.
func (s *Service) Look(ctx context.Context, purpose ports.LinkPurpose, token string) (ports.LinkView, error) {
	l, err := s.open(purpose, token)
	if err != nil {
		return ports.LinkView{}, err
	}
	return s.view(ctx, l, false), nil
}

// view asks how things are. A page is shown without, rather than not at all.
func (s *Service) view(ctx context.Context, l ports.Link, everything bool) ports.LinkView {
	var v ports.LinkView
	if !everything {
		v.Topic, _ = s.Catalogue.Topic(l.Topic)
	}
	acc, err := s.Accounts.Load(ctx, l.Customer)
	if err != nil {
		return v
	}
	v.Known, v.Locale = true, locale(acc.Preferences().Devices())
	if l.Purpose == ports.UnsubscribeLink {
		v.Done = acc.Withdrawn(s.withdrawal(l, everything), l.Issued)
		return v
	}
	if f, is := fault.As(acc.Confirmable(l.Request, s.now())); is && f.Code == "unchanged" {
		v.Done, v.Settled = true, acc.Confirmed(l.Request)
	} else if is {
		v.Over = f.Code
	}
	return v
}

// locale of the device that was heard of last.
func locale(devices []preference.Device) string {
	var latest preference.Device
	for _, d := range devices {
		if d.Locale != "" && !d.UpdatedAt.Before(latest.UpdatedAt) {
			latest = d
		}
	}
	return latest.Locale
}

// withdrawal is what the link withdraws. A topic that has left the catalogue since cannot be switched off any more: then
// it is all of it, which sends less.
func (s *Service) withdrawal(l ports.Link, everything bool) preference.Change {
	status, topics := preference.Unsubscribed, map[preference.TopicKey]bool(nil)
	if _, known := s.Catalogue.Topic(l.Topic); known && !everything {
		status, topics = "", map[preference.TopicKey]bool{l.Topic: false}
	}
	change, _ := preference.SwitchEmail(status, topics, nil) // refuses only nothing at all
	return change
}

// MailProvider is the actor where a mail provider asks on behalf of the customer (RFC 8058).
var MailProvider = consent.Actor{Type: "mail_provider", ID: "one-click"}

// Unsubscribe implements ports.EmailLinks. What if …
//   - the answer is lost: the repeat finds that it was withdrawn since the link was made;
//   - Temporal and every target are down: the change is accepted all the same, and its hold is effective.
func (s *Service) Unsubscribe(ctx context.Context, u ports.LinkUse) (ports.LinkView, error) {
	l, err := s.open(ports.UnsubscribeLink, u.Token)
	if err != nil {
		return ports.LinkView{}, err
	}
	command := s.command(l, u, s.withdrawal(l, u.Everything))
	command.Unless = l.Issued
	if u.OneClick {
		command.Actor = MailProvider
	}
	_, err = s.Preferences.Change(ctx, command)
	if err != nil && code(err) != "unchanged" {
		return s.view(ctx, l, u.Everything), err
	}
	v := s.view(ctx, l, u.Everything)
	v.Known, v.Done, v.Changed = true, true, err == nil
	return v, nil
}

// Confirm implements ports.EmailLinks.
func (s *Service) Confirm(ctx context.Context, u ports.LinkUse) (ports.LinkView, error) {
	l, err := s.open(ports.ConfirmLink, u.Token)
	if err != nil {
		return ports.LinkView{}, err
	}
	command := s.command(l, u, preference.ConfirmEmail(l.Request))
	command.Wait = u.Wait
	result, err := s.Preferences.Change(ctx, command)
	v := s.view(ctx, l, false)
	switch {
	case err != nil && code(err) == "unchanged":
		v.Known, v.Done = true, true
		return v, nil
	case err != nil:
		return v, err
	case result.Operation.Status == preference.Compensated && result.Operation.Reason != nil && result.Operation.Reason.Target == "store":
		return v, fault.New(fault.Conflict, "superseded", "something else was decided since")
	case result.Operation.Status == preference.Compensated:
		return v, fault.New(fault.Unavailable, "unavailable", "the subscription did not reach every system and was taken back")
	}
	v.Known, v.Done, v.Changed, v.Settled = true, true, true, result.Operation.Status == preference.Applied
	return v, nil
}

func (s *Service) command(l ports.Link, u ports.LinkUse, c preference.Change) ports.ChangeCommand {
	return ports.ChangeCommand{Customer: l.Customer, Change: c, Source: preference.FromEmailLink,
		Actor:  consent.Actor{Type: "customer", ID: string(l.Customer)},
		Origin: consent.Origin{Source: string(preference.FromEmailLink), RequestID: u.RequestID}}
}

func code(err error) string {
	if f, is := fault.As(err); is {
		return f.Code
	}
	return ""
}
