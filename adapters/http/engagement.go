package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/ports"
)

// inboxPaths are those on which a viewer is there, for the measures.
const inboxPaths = "/v1/inbox"

// notePresence notes who looks at an inbox, whatever the answer will be: 304 and a stream count as much as a page.
func (s *server) notePresence(g *gin.Context) {
	if x := exchangeOf(g); x.route != nil && strings.HasPrefix(x.route.path, inboxPaths) {
		s.engagement.Present(x.viewer())
	}
}

// GetEngagement answers with the measures of a period.
func (s *server) GetEngagement(g *gin.Context, params GetEngagementParams) {
	var q ports.EngagementQuery
	var err error
	if q.From, err = dayOrNone("from", params.From); err == nil {
		q.To, err = dayOrNone("to", params.To)
	}
	if params.GroupBy != nil {
		q.By = engagement.Grouping(*params.GroupBy)
	}
	var report ports.EngagementReport
	if err == nil {
		report, err = s.engagement.Engagement(g.Request.Context(), q)
	}
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, presentEngagement(report))
}

// dayOrNone is the zero time when none is given.
func dayOrNone(name string, text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, *text)
	if err != nil || day.Year() < 1970 {
		return time.Time{}, fault.OnField(name, "bad_format", "must be a day such as 2026-05-31, in 1970 or later")
	}
	return day, nil
}

func presentEngagement(r ports.EngagementReport) EngagementMetrics {
	out := EngagementMetrics{From: r.From.Format(time.DateOnly), To: r.To.Format(time.DateOnly), GroupBy: string(r.By), AsOf: r.AsOf.UTC(),
		Total: presentMeasures(r.Total), Rows: make([]EngagementRow, len(r.Rows)), More: r.More}
	for i, row := range r.Rows {
		m := presentMeasures(row.Measures)
		out.Rows[i] = EngagementRow{Key: textOrNull(row.Key), InboxOpenRate: m.InboxOpenRate, MessageClickRate: m.MessageClickRate,
			DeeplinkConversion: m.DeeplinkConversion, PushOptInRate: m.PushOptInRate, PushOptOutRate: m.PushOptOutRate, EmailOptInRate: m.EmailOptInRate}
	}
	return out
}

func presentMeasures(m engagement.Measures) EngagementMeasures {
	return EngagementMeasures{InboxOpenRate: presentRate(m.InboxOpen), MessageClickRate: presentRate(m.MessageClick),
		DeeplinkConversion: presentRate(m.LinkConversion), PushOptInRate: presentRate(m.PushOptIn),
		PushOptOutRate: presentRate(m.PushOptOut), EmailOptInRate: presentRate(m.EmailOptIn)}
}

// presentRate is nil for a measure that does not apply; its rate is null when there is nothing to divide by.
func presentRate(r *engagement.Rate) *Rate {
	if r == nil {
		return nil
	}
	out := &Rate{Numerator: r.Numerator, Denominator: r.Denominator}
	if value, ok := r.Value(); ok {
		out.Rate = &value
	}
	return out
}
