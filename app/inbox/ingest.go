package inbox

import (
	"context"
	"strings"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// What became of a message from upstream.
type outcome int

const (
	nothing outcome = iota // it is here already, or has ended before it came
	published
	edited
	retracted
)

// take brings a message from upstream here, as it is there now. Taking the same again does nothing. One that breaks a rule
// is answered as a refusal and leaves what was here before as it was; err is for what another attempt may mend.
func (s *Service) take(ctx context.Context, c ports.Campaign) (outcome, *ports.Refusal, error) {
	done, err := s.bring(ctx, c)
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict:
		f, _ := fault.As(err)
		return nothing, &ports.Refusal{Campaign: c, Code: f.Code, Detail: detail(f), At: s.cfg.Now()}, nil
	}
	return done, nil, err
}

func (s *Service) bring(ctx context.Context, c ports.Campaign) (outcome, error) {
	d := c.Draft
	if now := s.cfg.Now(); c.Retracted || !d.Expiry.IsZero() && !d.Expiry.After(now) {
		return s.end(ctx, d, c.Retracted, now)
	}
	m, created, same, err := s.store(ctx, d)
	switch {
	case err != nil || same && !created:
		return nothing, err
	case created:
		return published, nil
	}
	return edited, s.replace(ctx, m, d)
}

// end takes back what was retracted upstream, or has an expiry there that is over.
func (s *Service) end(ctx context.Context, d inbox.Draft, always bool, now time.Time) (outcome, error) {
	m, err := s.cfg.Messages.MessageNamed(ctx, d.Source, d.ExternalID)
	if err != nil {
		return nothing, notMissing(err)
	}
	if !m.RetractedAt.IsZero() || !always && !m.Expiry.After(now) {
		return nothing, nil
	}
	_, err = s.Retract(ctx, m.ID)
	return retracted, notMissing(err)
}

// replace makes the message what the draft says now. Who gets it and when it was published stay as they are.
func (s *Service) replace(ctx context.Context, m ports.StoredMessage, d inbox.Draft) error {
	_, err := s.edit(ctx, m.ID, func(m inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
		expiry := d.Expiry
		if expiry.IsZero() {
			expiry = m.PublishedAt.Add(inbox.DefaultLife)
		}
		change := inbox.Edit{Content: &d.Content}
		if expiry = expiry.Truncate(time.Microsecond); !expiry.Equal(m.Expiry) {
			change.Expiry = &expiry
		}
		out, err := m.Edited(change, links, now)
		if err == nil {
			out.Fingerprint = d.Fingerprint() // so that the next pull finds it unchanged
		}
		return out, err
	})
	return err
}

// notMissing takes it for done when the message is not there any more.
func notMissing(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// detail names the fields and the rules they break, in our words alone.
func detail(f *fault.Error) string {
	if len(f.Fields) == 0 {
		return f.Message
	}
	parts := make([]string, len(f.Fields))
	for i, field := range f.Fields {
		parts[i] = field.Path + " " + field.Message
	}
	return strings.Join(parts, "; ")
}
