// Package metrics holds the use cases around the measures of engagement: taking what clients report, noting who is there,
// and answering for a period. What the measures are is the domain's (domain/engagement).
package metrics

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use cases need. All of it is mandatory.
type Config struct {
	Store     ports.EngagementStore
	Catalogue *preference.Catalogue
	Now       func() time.Time
	Logger    *slog.Logger
}

// Service implements ports.Metrics and ports.MetricsUpkeep.
type Service struct {
	Config
	presence *presence
}

var (
	_ ports.Metrics       = (*Service)(nil)
	_ ports.MetricsUpkeep = (*Service)(nil)
)

// New makes the service. Close it to store who was noted last.
func New(cfg Config) *Service {
	return &Service{Config: cfg, presence: newPresence(cfg.Store.RecordPresence, cfg.Now, cfg.Logger)}
}

// Close stores what is noted and not stored yet, for as long as ctx lasts, and ends the goroutine. Present may still be
// called and notes nothing any more. Repeating it changes nothing.
func (s *Service) Close(ctx context.Context) error { return s.presence.close(ctx) }

// How much is done at once, how long a roll-up goes on, and how long a report may take to catch up before it is answered.
const (
	changesAtOnce = 500
	checkAtOnce   = 5000
	factsAtOnce   = 20_000
	marksAtOnce   = 10_000
	rollUpTime    = 30 * time.Second
	catchUp       = 2 * time.Second
)

// keepMarks is longer than an event may be old: one that is sent again is known, or refused for its age.
const keepMarks = ports.MaxEventAge + 5*24*time.Hour

// RollUp implements ports.MetricsUpkeep.
func (s *Service) RollUp(ctx context.Context) (out ports.RolledUp, err error) {
	until := s.Now().Add(rollUpTime)
	for done := false; !done && err == nil; {
		if out.More = !s.Now().Before(until); out.More {
			return out, nil
		}
		var n int64
		n, _, done, err = s.Store.CountChanges(ctx, changesAtOnce)
		out.Changes += n
	}
	if err != nil {
		return out, err
	}
	if out.Repaired, err = s.Store.CheckCustomers(ctx, checkAtOnce); err != nil {
		return out, err
	}
	before := s.Now().Add(-keepMarks)
	for _, step := range []struct {
		sum    *int64
		atOnce int64
		do     func() (int64, error)
	}{
		{&out.Facts, factsAtOnce, func() (int64, error) { return s.Store.AddUp(ctx, factsAtOnce) }},
		{&out.Forgotten, marksAtOnce, func() (int64, error) { return s.Store.ForgetMarks(ctx, before, marksAtOnce) }},
	} {
		for n := step.atOnce; n >= step.atOnce; {
			if out.More = !s.Now().Before(until); out.More {
				return out, nil
			}
			if n, err = step.do(); err != nil {
				return out, err
			}
			*step.sum += n
		}
	}
	return out, nil
}

// Engagement implements ports.Metrics. What has happened and is not counted yet is counted first, so that the answer is
// of this moment; when there is much of it (a first start over many changes), AsOf says how far it is.
func (s *Service) Engagement(ctx context.Context, q ports.EngagementQuery) (ports.EngagementReport, error) {
	q, err := checked(q, s.Now())
	if err != nil {
		return ports.EngagementReport{}, err
	}
	if err := s.presence.flush(ctx); err != nil {
		return ports.EngagementReport{}, err
	}
	out := ports.EngagementReport{From: q.From, To: q.To, By: q.By}
	until := s.Now().Add(catchUp)
	for done := false; !done && s.Now().Before(until); {
		if _, out.AsOf, done, err = s.Store.CountChanges(ctx, changesAtOnce); err != nil {
			return out, err
		}
	}
	counts, err := s.Store.EngagementCounts(ctx, q)
	if err != nil {
		return out, err
	}
	out.Total = counts.Total.Measures()
	switch q.By {
	case engagement.ByDay:
		out.Rows = days(q, counts)
	case engagement.ByChannel:
		out.Rows = s.channels(counts)
	case engagement.ByCampaign, engagement.ByCategory:
		out.Rows, out.More = groups(counts)
	}
	return out, nil
}

// defaultDays is how much a question that does not say is about.
const defaultDays = 30

func checked(q ports.EngagementQuery, now time.Time) (ports.EngagementQuery, error) {
	if q.By == "" {
		q.By = engagement.ByDay
	}
	if !slices.Contains(engagement.Groupings, q.By) {
		return q, fault.OnField("group_by", "unknown_grouping", "must be one of day, campaign, category, channel")
	}
	switch {
	case q.To.IsZero() && q.From.IsZero():
		q.To = now
		q.From = q.To.AddDate(0, 0, 1-defaultDays)
	case q.To.IsZero():
		q.To = now
	case q.From.IsZero():
		q.From = q.To.AddDate(0, 0, 1-defaultDays)
	}
	q.From, q.To = engagement.Day(q.From), engagement.Day(q.To)
	if q.To.Before(q.From) {
		return q, fault.OnField("to", "before_from", "must not be before from")
	}
	if q.To.After(q.From.AddDate(0, 0, ports.MaxPeriodDays-1)) {
		return q, fault.OnField("from", "period_too_long", "a period has at most %d days", ports.MaxPeriodDays)
	}
	return q, nil
}

// days has a row for each day: what is counted at a moment is carried on over days on which nothing has changed.
func days(q ports.EngagementQuery, counts ports.EngagementCounts) []ports.EngagementRow {
	var out []ports.EngagementRow
	period := engagement.Period{Before: counts.Total.Before}
	for day := q.From; !day.After(q.To); day = day.AddDate(0, 0, 1) {
		key := day.Format(time.DateOnly)
		period = period.Next(counts.Groups[key].Within)
		out = append(out, ports.EngagementRow{Key: key, Measures: period.Measures()})
	}
	return out
}

// channels has a row for each channel of the catalogue, in its order, and then for those that have left it.
func (s *Service) channels(counts ports.EngagementCounts) []ports.EngagementRow {
	var keys []string
	for _, ch := range s.Catalogue.Channels() {
		keys = append(keys, string(ch.Key))
	}
	var left []string
	for key := range counts.Groups {
		if !slices.Contains(keys, key) {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	out := make([]ports.EngagementRow, 0, len(keys)+len(left))
	withDevice := counts.Total.Before[engagement.CustomerWithDevice] + counts.Total.Within[engagement.CustomerWithDevice]
	for _, key := range append(keys, left...) {
		out = append(out, ports.EngagementRow{Key: key, Measures: counts.Groups[key].OfChannel(withDevice)})
	}
	return out
}

// groups has a row for each campaign or category that something has happened to, those seen most first.
func groups(counts ports.EngagementCounts) (out []ports.EngagementRow, more bool) {
	out = make([]ports.EngagementRow, 0, len(counts.Groups))
	for key, period := range counts.Groups {
		out = append(out, ports.EngagementRow{Key: key, Measures: period.OfMessages()})
	}
	slices.SortFunc(out, func(a, b ports.EngagementRow) int {
		return cmp.Or(cmp.Compare(b.MessageClick.Denominator, a.MessageClick.Denominator), cmp.Compare(a.Key, b.Key))
	})
	if len(out) > ports.MaxRows {
		return out[:ports.MaxRows], true
	}
	return out, false
}
