package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/engagement"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

const install = "0b7f3c1a-0000-4000-8000-00000000000a"

func TestEventsAreHandedOnAndAnsweredOneByOne(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.measure.refused = map[string]fault.Field{"c": {Path: "message_id", Code: "unknown_message", Message: "is not a message in this inbox"}}
	id := inbox.MessageID(7)
	body := fmt.Sprintf(`{"events":[{"id":"a","type":"inbox_opened","at":"2026-05-04T12:00:00+02:00"},
		{"id":"b","type":"deeplink_converted","at":"2026-05-04T10:00:00Z","message_id":%q},
		{"id":"c","type":"deeplink_converted","at":"2026-05-04T10:00:00Z","message_id":"msg_of_another_kind"}]}`, id)
	var got RecordedEvents
	res := a.call("POST", "/v1/events", "ada", body).is(200)
	require.Equal(t, "no-store", res.header.Get("Cache-Control"))
	res.json(&got)
	require.Equal(t, RecordedEvents{Results: []RecordedEvent{{Id: "a", Status: "recorded"}, {Id: "b", Status: "recorded"},
		{Id: "c", Status: "refused", Error: &FieldError{Field: "events.2.message_id", Code: "unknown_message", Message: "is not a message in this inbox"}}}}, got)
	require.Len(t, a.measure.events, 3)
	require.Equal(t, ports.ClientEvent{ID: "b", Type: engagement.LinkConverted, At: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), Message: id}, a.measure.events[1])
	require.True(t, a.measure.events[0].At.Equal(a.measure.events[1].At))
	require.Equal(t, noMessage, a.measure.events[2].Message)

	a.call("POST", "/v1/events", "ada", body).is(200).json(&got)
	require.Equal(t, "duplicate", got.Results[0].Status)
	a.call("POST", "/v1/events", "", body, installationHeader+": "+install).is(200).json(&got)
	require.Equal(t, "recorded", got.Results[0].Status, "the installation is somebody else")
}

func TestAnEventThatBreaksARuleDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.measure.refused = map[string]fault.Field{"of the future": {Path: "type", Code: "unknown_type", Message: "is none"}}
	sound := `{"id":"sound","type":"inbox_opened","at":"2026-05-04T10:00:00Z"}`
	for name, tc := range map[string]struct{ event, id, member, code string }{
		"unknown type":       {`{"id":"of the future","type":"widget_opened","at":"2026-05-04T10:00:00Z"}`, "of the future", "type", "unknown_type"},
		"a type of no text":  {`{"id":"b","type":1,"at":"2026-05-04T10:00:00Z"}`, "b", "type", "wrong_type"},
		"no id":              {`{"type":"inbox_opened","at":"2026-05-04T10:00:00Z"}`, "", "id", "required"},
		"a number as id":     {`{"id":7,"type":"inbox_opened","at":"2026-05-04T10:00:00Z"}`, "", "id", "wrong_type"},
		"a long id":          {`{"id":"` + strings.Repeat("x", 300) + `","type":"inbox_opened","at":"2026-05-04T10:00:00Z"}`, strings.Repeat("x", 300), "id", "too_long"},
		"no time":            {`{"id":"b","type":"inbox_opened"}`, "b", "at", "required"},
		"null as time":       {`{"id":"b","type":"inbox_opened","at":null}`, "b", "at", "null_not_allowed"},
		"no such time":       {`{"id":"b","type":"inbox_opened","at":"yesterday"}`, "b", "at", "bad_format"},
		"a time of no day":   {`{"id":"b","type":"inbox_opened","at":"2026-02-30T10:00:00Z"}`, "b", "at", "bad_format"},
		"unknown member":     {`{"id":"b","type":"inbox_opened","at":"2026-05-04T10:00:00Z","count":2}`, "b", "count", "unknown_field"},
		"message of no text": {`{"id":"b","type":"inbox_opened","at":"2026-05-04T10:00:00Z","message_id":{}}`, "b", "message_id", "wrong_type"},
		"several":            {`{"id":"b","kind":1,"at":5}`, "b", "at", "wrong_type"},
		"nothing":            {`{}`, "", "at", "required"},
	} {
		var got RecordedEvents
		a.call("POST", "/v1/events", "ada", `{"events":[`+tc.event+`,`+sound+`,`+tc.event+`]}`).is(200).json(&got)
		require.Len(t, got.Results, 3, name)
		require.NotEqual(t, "refused", got.Results[1].Status, name)
		require.Equal(t, "sound", got.Results[1].Id, name)
		for i, at := range map[int]string{0: "events.0.", 2: "events.2."} {
			r := got.Results[i]
			require.Equal(t, []string{tc.id, "refused"}, []string{r.Id, r.Status}, name)
			require.Equal(t, []string{at + tc.member, tc.code}, []string{r.Error.Field, r.Error.Code}, name)
			require.NotEmpty(t, r.Error.Message, name)
		}
		a.call("POST", "/v1/events", "ada", `{"events":[`+tc.event+`]}`).is(200).json(&got)
		require.Len(t, got.Results, 1, name)
		require.Equal(t, "refused", got.Results[0].Status, name)
	}
}

func TestABatchThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	sound := `{"id":"a","type":"inbox_opened","at":"2026-05-04T10:00:00Z"}`
	many := strings.TrimSuffix(strings.Repeat(sound+",", 101), ",")
	for name, tc := range map[string]struct{ body, field string }{
		"none":                      {`{"events":[]}`, "events"},
		"too many":                  {`{"events":[` + many + `]}`, "events"},
		"no list":                   {`{"events":` + sound + `}`, "events"},
		"no events":                 {`{}`, "events"},
		"not an object":             {`{"events":[` + sound + `,"a"]}`, "events.1"},
		"null":                      {`{"events":[` + sound + `,null]}`, "events.1"},
		"unknown member":            {`{"events":[` + sound + `],"sent":1}`, "sent"},
		"one that looks like inner": {`{"events":[` + sound + `],"events.0.at":1}`, "events.0.at"},
		"twice the same member":     {`{"events":[{"id":"a","id":"b"}]}`, "events.0.id"},
	} {
		require.Contains(t, fields(a.call("POST", "/v1/events", "ada", tc.body).is(400).problem()), tc.field, name)
	}
	body := `{"events":[` + sound + `]}`
	require.Equal(t, map[string]string{installationHeader: "required"}, fields(a.call("POST", "/v1/events", "", body).is(400).problem()))
	require.Empty(t, a.measure.events)
	a.measure.err = fault.New(fault.Unavailable, "unavailable", "down")
	a.call("POST", "/v1/events", "ada", body).is(503)
}

func TestTheMeasuresAreShownWithWhatTheyAreMadeOf(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	day := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	all := engagement.Measures{InboxOpen: &engagement.Rate{Numerator: 1, Denominator: 4}, MessageClick: &engagement.Rate{}, LinkConversion: &engagement.Rate{},
		PushOptIn: &engagement.Rate{Numerator: 3, Denominator: 4}, PushOptOut: &engagement.Rate{Numerator: 1, Denominator: 8}, EmailOptIn: &engagement.Rate{Numerator: 1, Denominator: 1}}
	a.measure.report = ports.EngagementReport{From: day.AddDate(0, 0, -1), To: day, By: engagement.ByCampaign, AsOf: day.Add(time.Hour), Total: all, More: true,
		Rows: []ports.EngagementRow{{Key: "", Measures: engagement.Measures{MessageClick: &engagement.Rate{Numerator: 1, Denominator: 2}}}, {Key: "spring", Measures: all}}}
	res := a.call("GET", "/v1/metrics/engagement?from=2026-05-03&to=2026-05-04&group_by=campaign", "analyst", "").is(200)
	require.Equal(t, ports.EngagementQuery{From: day.AddDate(0, 0, -1), To: day, By: engagement.ByCampaign}, a.measure.asked)
	measures := `"inbox_open_rate":{"numerator":1,"denominator":4,"rate":0.25},"message_click_rate":{"numerator":0,"denominator":0,"rate":null},
		"deeplink_conversion":{"numerator":0,"denominator":0,"rate":null},"push_opt_in_rate":{"numerator":3,"denominator":4,"rate":0.75},
		"push_opt_out_rate":{"numerator":1,"denominator":8,"rate":0.125},"email_opt_in_rate":{"numerator":1,"denominator":1,"rate":1}`
	require.JSONEq(t, `{"from":"2026-05-03","to":"2026-05-04","group_by":"campaign","as_of":"2026-05-04T01:00:00Z","more":true,"total":{`+measures+`},
		"rows":[{"key":null,"message_click_rate":{"numerator":1,"denominator":2,"rate":0.5}},{"key":"spring",`+measures+`}]}`, string(res.body))

	a.measure.report = ports.EngagementReport{From: day, To: day, By: engagement.ByDay, AsOf: day}
	var got map[string]json.RawMessage
	a.call("GET", "/v1/metrics/engagement", "analyst", "").is(200).json(&got)
	require.Contains(t, []engagement.Grouping{"", engagement.ByDay}, a.measure.asked.By)
	require.True(t, a.measure.asked.From.IsZero() && a.measure.asked.To.IsZero())
	require.JSONEq(t, `[]`, string(got["rows"]))
}

func TestAskingForNoPeriodIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for query, field := range map[string]string{"from=yesterday": "from", "to=2026-02-30": "to", "from=0001-01-01": "from", "group_by=weather": "group_by"} {
		require.Contains(t, fields(a.call("GET", "/v1/metrics/engagement?"+query, "analyst", "").is(400).problem()), field, query)
	}
	a.measure.err = fault.OnField("from", "period_too_long", "a period has at most 366 days")
	require.Equal(t, map[string]string{"from": "period_too_long"}, fields(a.call("GET", "/v1/metrics/engagement", "analyst", "").is(400).problem()))
	a.call("GET", "/v1/metrics/engagement", "ada", "").is(403)
	a.call("GET", "/v1/metrics/engagement", "", "").is(401)
}

func TestWhoLooksAtAnInboxIsPresent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	tag := a.call("GET", "/v1/inbox", "ada", "").is(200).header.Get("ETag")
	a.call("GET", "/v1/inbox", "ada", "", "If-None-Match: "+tag).is(304)
	a.call("GET", "/v1/inbox/counts", "", "", installationHeader+": "+install).is(200)
	require.Equal(t, []inbox.Viewer{inbox.CustomerViewer("ada"), inbox.CustomerViewer("ada"), inbox.InstallationViewer(install)}, a.measure.present)
	a.call("GET", "/v1/preferences", "grace", "").is(200)
	a.call("GET", "/v1/inbox?limit=0", "grace", "").is(400)
	a.call("GET", "/v1/inbox", "nobody", "").is(401)
	require.Len(t, a.measure.present, 3, "neither whoever does something else, nor who is refused")
}
