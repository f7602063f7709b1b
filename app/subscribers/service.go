// Package subscribers tells other systems of changes: they name an endpoint, and get each applied change as a signed webhook,
// at least once.
package subscribers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

// Config is what the use case needs. All of it is mandatory.
type Config struct {
	Store     ports.EndpointStore
	Sender    ports.WebhookSender
	Catalogue *preference.Catalogue
	Now       func() time.Time
	NewID     func() string
	Observe   func(outcome string) // of each attempt: delivered, or why not
	Logger    *slog.Logger
}

// Service implements ports.Endpoints, and sends.
type Service struct{ Config }

var _ ports.Endpoints = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg} }

// Types of events.
const (
	Changed = "preferences.changed"
	ping    = "ping"
)

const (
	maxEndpoints = 50
	overlap      = 24 * time.Hour      // both secrets sign for so long after a rotation
	maxReplay    = 30 * 24 * time.Hour // as long as operations and deliveries are known
)

// Why an endpoint is sent nothing.
const (
	byRequest = "by_request"
	gone      = "gone"
	failing   = "failing"
)

// Create implements ports.Endpoints.
func (s *Service) Create(ctx context.Context, d ports.EndpointDraft) (ports.Endpoint, error) {
	if err := s.check(&d.URL, &d.Description, &d.Events); err != nil {
		return ports.Endpoint{}, err
	}
	secret, err := newSecret()
	if err != nil {
		return ports.Endpoint{}, err
	}
	now := s.Now().UTC()
	e := ports.Endpoint{ID: s.NewID(), URL: d.URL, Description: d.Description, Events: append([]string{}, d.Events...), Secrets: []webhook.Secret{secret}, CreatedAt: now, UpdatedAt: now}
	if err := s.Store.CreateEndpoint(ctx, e, maxEndpoints); err != nil {
		return ports.Endpoint{}, err
	}
	return s.Store.FindEndpoint(ctx, e.ID)
}

func newSecret() (webhook.Secret, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return webhook.Secret{}, err
	}
	return webhook.NewSecret(random)
}

// check holds what is given against the rules; nil is not given.
func (s *Service) check(url, description *string, events *[]string) error {
	var bad []fault.Field
	if url != nil {
		if err := s.Sender.Check(*url); err != nil {
			f, is := fault.As(err)
			if !is {
				return err
			}
			bad = append(bad, f.Fields...)
		}
	}
	if description != nil && (len(*description) > 255 || !utf8.ValidString(*description) || slices.ContainsFunc([]rune(*description), unicode.IsControl)) {
		bad = append(bad, fault.Field{Path: "description", Code: "invalid_text", Message: "must be at most 255 bytes without control characters"})
	}
	if events != nil {
		for i, kind := range *events {
			if kind != Changed {
				bad = append(bad, fault.Field{Path: "event_types." + strconv.Itoa(i), Code: "not_allowed", Message: "must be " + Changed})
			}
		}
	}
	if len(bad) > 0 {
		return fault.OnFields(bad...)
	}
	return nil
}

// Endpoint implements ports.Endpoints.
func (s *Service) Endpoint(ctx context.Context, id string) (ports.Endpoint, error) {
	return s.Store.FindEndpoint(ctx, id)
}

// List implements ports.Endpoints.
func (s *Service) List(ctx context.Context) ([]ports.Endpoint, error) {
	return s.Store.ListEndpoints(ctx)
}

// Edit implements ports.Endpoints.
func (s *Service) Edit(ctx context.Context, id string, p ports.EndpointPatch) (ports.Endpoint, error) {
	if err := s.check(p.URL, p.Description, p.Events); err != nil {
		return ports.Endpoint{}, err
	}
	return s.Store.UpdateEndpoint(ctx, id, func(e *ports.Endpoint) error {
		if p.URL != nil {
			e.URL = *p.URL
		}
		if p.Description != nil {
			e.Description = *p.Description
		}
		if p.Events != nil {
			e.Events = *p.Events
		}
		switch {
		case p.Enabled == nil:
		case *p.Enabled:
			e.Disabled, e.FailingSince = "", time.Time{}
		case e.Disabled == "":
			e.Disabled = byRequest
		}
		return nil
	})
}

// Delete implements ports.Endpoints.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.Store.DeleteEndpoint(ctx, id)
}

// Rotate implements ports.Endpoints.
func (s *Service) Rotate(ctx context.Context, id string) (ports.Endpoint, error) {
	secret, err := newSecret()
	if err != nil {
		return ports.Endpoint{}, err
	}
	return s.Store.RotateSecret(ctx, id, secret, s.Now().Add(overlap))
}

// Ping implements ports.Endpoints.
func (s *Service) Ping(ctx context.Context, id string) (ports.DeliveryResult, error) {
	e, err := s.Store.FindEndpoint(ctx, id)
	if err != nil {
		return ports.DeliveryResult{}, err
	}
	body, err := json.Marshal(envelope{ping, s.Now().UTC(), struct{}{}})
	if err != nil {
		return ports.DeliveryResult{}, err
	}
	return s.send(ctx, e, "ping_"+rand.Text(), body), nil
}

// Replay implements ports.Endpoints.
func (s *Service) Replay(ctx context.Context, id string, from time.Time) (int64, error) {
	if s.Now().Sub(from) > maxReplay {
		return 0, fault.OnField("from", "out_of_range", "must be of the last 30 days")
	}
	if _, err := s.Store.FindEndpoint(ctx, id); err != nil {
		return 0, err
	}
	return s.Store.ReplayFrom(ctx, id, from)
}

// Deliveries implements ports.Endpoints.
func (s *Service) Deliveries(ctx context.Context, id string, below int64, limit int) ([]ports.EventDelivery, error) {
	if _, err := s.Store.FindEndpoint(ctx, id); err != nil {
		return nil, err
	}
	return s.Store.ListDeliveries(ctx, id, below, limit)
}

type envelope struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// chance is a number from 0 to 1.
func chance() float64 { return mathrand.Float64() } //nolint:gosec // spreads retries, no more
