package httpapi

import (
	"cmp"
	"context"
	"sync"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

// fakeMeasures keeps what it is told, and answers with the report it was given.
type fakeMeasures struct {
	mu      sync.Mutex
	known   map[string]bool
	refused map[string]fault.Field // by the event's id
	events  []ports.ClientEvent
	present []inbox.Viewer
	asked   ports.EngagementQuery
	report  ports.EngagementReport
	err     error
}

func newFakeMeasures() *fakeMeasures { return &fakeMeasures{known: map[string]bool{}} }

func (f *fakeMeasures) RecordEvents(_ context.Context, v inbox.Viewer, events []ports.ClientEvent) ([]ports.EventResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]ports.EventResult, len(events))
	for i, e := range events {
		if why, is := f.refused[e.ID]; is {
			out[i] = ports.EventResult{ID: e.ID, Status: ports.EventRefused, Why: &why}
			continue
		}
		out[i] = ports.EventResult{ID: e.ID, Status: ports.EventRecorded}
		if f.known[v.Key()+e.ID] {
			out[i].Status = ports.EventDuplicate
		}
		f.known[v.Key()+e.ID] = true
	}
	f.events = append(f.events, events...)
	return out, f.err
}

func (f *fakeMeasures) Present(v inbox.Viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present = append(f.present, v)
}

func (f *fakeMeasures) Engagement(_ context.Context, q ports.EngagementQuery) (ports.EngagementReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = q
	report := f.report
	if report.By == "" { // as nobody has given one
		report.From, report.To, report.By = q.From, q.To, cmp.Or(q.By, engagement.ByDay)
	}
	return report, f.err
}
