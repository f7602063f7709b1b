package metrics

import (
	"context"
	"regexp"
	"time"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// RecordEvents implements ports.Metrics. An event that breaks a rule does not stand in the way of the others: a client
// that kept many while it was offline must not lose all of them for one.
func (s *Service) RecordEvents(ctx context.Context, viewer inbox.Viewer, events []ports.ClientEvent) ([]ports.EventResult, error) {
	switch {
	case viewer.Anonymous():
		return nil, fault.OnField("", "anonymous", "events belong to a customer or an installation")
	case len(events) == 0:
		return nil, fault.OnField("events", "empty", "must have at least one event")
	case len(events) > ports.MaxEvents:
		return nil, fault.OnField("events", "too_many", "may have at most %d events", ports.MaxEvents)
	}
	now := s.Now()
	out := make([]ports.EventResult, len(events))
	var sound []ports.ClientEvent
	var at []int
	for i, e := range events {
		out[i] = ports.EventResult{ID: e.ID, Status: ports.EventRefused, Why: broken(e, now)}
		if out[i].Why == nil {
			sound, at = append(sound, e), append(at, i)
		}
	}
	if len(sound) == 0 {
		return out, nil
	}
	statuses, err := s.Store.RecordEvents(ctx, viewer, sound)
	if err != nil {
		return nil, err
	}
	for n, i := range at {
		out[i].Status = statuses[n]
		if statuses[n] == ports.EventRefused {
			out[i].Why = &fault.Field{Path: "message_id", Code: "unknown_message", Message: "is not a message in this inbox"}
		}
	}
	return out, nil
}

var eventID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// broken names the rule that an event breaks by itself, nil for none. An event that is too old is refused and not counted
// on another day: its mark may be forgotten, and it would be counted again with each repetition.
func broken(e ports.ClientEvent, now time.Time) *fault.Field {
	converted := e.Type == engagement.LinkConverted
	switch {
	case !eventID.MatchString(e.ID):
		return &fault.Field{Path: "id", Code: "invalid_id", Message: "must be 1 to 64 letters, digits or any of . _ : -"}
	case !converted && e.Type != engagement.InboxOpened:
		return &fault.Field{Path: "type", Code: "unknown_type", Message: "must be inbox_opened or deeplink_converted"}
	case e.At.IsZero():
		return &fault.Field{Path: "at", Code: "required", Message: "must say when it happened"}
	case e.At.Before(now.Add(-ports.MaxEventAge)):
		return &fault.Field{Path: "at", Code: "too_old", Message: "must not be more than 30 days ago"}
	case converted && e.Message == 0:
		return &fault.Field{Path: "message_id", Code: "required", Message: "must name the message whose link led there"}
	case !converted && e.Message != 0:
		return &fault.Field{Path: "message_id", Code: "not_allowed", Message: "does not go with inbox_opened"}
	}
	return nil
}
