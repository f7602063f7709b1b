package subscribers

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"accord/domain/webhook"
	"accord/ports"
)

const (
	lookEvery    = 500 * time.Millisecond
	handOutBatch = 500
	perEndpoint  = 8 // sent to one endpoint at a time
	// leaseFor is longer than an attempt can take. Who is killed leaves what it had claimed to others after that.
	leaseFor = 40 * time.Second
)

// Run hands out and sends until ctx ends, and then lets attempts under way finish. Any number of processes may run it. What
// if we crash
//   - before an attempt: its lease ends, and it is sent by somebody else;
//   - after the receiver has taken it: it is sent again, under the same id.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	busy := map[string]bool{} // endpoints that somebody here sends to
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for _, e := range s.look(ctx) {
			mu.Lock()
			taken := busy[e.ID]
			busy[e.ID] = true
			mu.Unlock()
			if taken {
				continue // a slow one keeps nobody else waiting
			}
			wg.Go(func() {
				defer func() { mu.Lock(); delete(busy, e.ID); mu.Unlock() }()
				s.drain(ctx, e)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look hands out what was applied, and answers whom there is something for.
func (s *Service) look(ctx context.Context) []ports.Endpoint {
	for more := true; more; {
		var err error
		if more, err = s.Store.HandOut(ctx, handOutBatch); err != nil {
			s.complain(ctx, "changes not handed out", err)
			return nil
		}
	}
	due, err := s.Store.Due(ctx)
	if err != nil {
		s.complain(ctx, "endpoints not read", err)
	}
	return due
}

func (s *Service) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.Logger.WarnContext(ctx, "webhooks wait, and are tried again soon", "because", what, "error", err)
	}
}

// drain sends what is due at an endpoint, several at a time. An endpoint that fails is left alone until the next look.
func (s *Service) drain(ctx context.Context, e ports.Endpoint) {
	for ctx.Err() == nil {
		claimed, err := s.Store.Claim(ctx, e.ID, perEndpoint, leaseFor)
		if err != nil {
			s.complain(ctx, "deliveries not claimed", err)
			return
		}
		if len(claimed) == 0 {
			return
		}
		results := make([]ports.DeliveryResult, len(claimed))
		var wg sync.WaitGroup
		for i, d := range claimed {
			wg.Go(func() { results[i] = s.deliver(context.WithoutCancel(ctx), e, d) })
		}
		wg.Wait()
		if !s.judge(context.WithoutCancel(ctx), e, results) {
			return
		}
	}
}

// deliver makes one attempt and records it.
func (s *Service) deliver(ctx context.Context, e ports.Endpoint, d ports.DueDelivery) (r ports.DeliveryResult) {
	var next time.Time
	if d.Operation != nil {
		body, err := json.Marshal(envelope{Changed, d.Operation.SettledAt, d.Operation.Report(s.Catalogue)})
		if err != nil {
			s.Logger.ErrorContext(ctx, "an event cannot be written", "operation", d.Operation.ID, "error", err)
			r.Code = "unwritable"
		} else {
			r = s.send(ports.About(ctx, d.Operation.ID), e, d.Event, body)
		}
		if !r.Delivered() {
			next = s.Now().Add(webhook.RetryIn(d.Attempts+1, r.RetryAfter, chance()))
		}
		s.Observe(outcomeOf(r))
	}
	if err := s.Store.CloseDelivery(ctx, d, r, next); err != nil {
		s.complain(ctx, "an attempt was not recorded; it is made again", err)
	}
	return r
}

func outcomeOf(r ports.DeliveryResult) string {
	if r.Delivered() {
		return "delivered"
	}
	return r.Code
}

func (s *Service) send(ctx context.Context, e ports.Endpoint, id string, body []byte) ports.DeliveryResult {
	now := s.Now()
	return s.Sender.Send(ctx, e.URL, ports.OutgoingWebhook{ID: id, Timestamp: strconv.FormatInt(now.Unix(), 10), Signature: webhook.Sign(e.Secrets, id, now, body), Body: body})
}

// judge notes whether the endpoint works, and disables one that says it is gone or has failed for too long. It answers
// whether there is any use in going on at once.
func (s *Service) judge(ctx context.Context, e ports.Endpoint, results []ports.DeliveryResult) bool {
	delivered, failed, isGone := false, false, false
	for _, r := range results {
		delivered = delivered || r.Delivered()
		failed = failed || !r.Delivered()
		isGone = isGone || r.Status == 410
	}
	if !failed && e.FailingSince.IsZero() {
		return true
	}
	now, disabled := s.Now().UTC(), ""
	_, err := s.Store.UpdateEndpoint(ctx, e.ID, func(e *ports.Endpoint) error {
		switch {
		case e.Disabled != "":
		case isGone:
			e.Disabled = gone
		case delivered:
			e.FailingSince = time.Time{}
		case e.FailingSince.IsZero():
			e.FailingSince = now
		case now.Sub(e.FailingSince) > webhook.DisableAfter:
			e.Disabled = failing
		}
		disabled = e.Disabled
		return nil
	})
	if err != nil {
		s.complain(ctx, "how an endpoint does was not recorded", err)
	}
	if disabled == gone || disabled == failing {
		s.Observe("endpoint_disabled")
		s.Logger.WarnContext(ctx, "endpoint disabled", "endpoint", e.ID, "why", disabled)
	}
	return !failed
}
