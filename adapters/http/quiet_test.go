package httpapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nights = `{"quiet_hours":{"start":"22:00","end":"07:00","time_zone":"Europe/Zurich"}}`

func (a *api) at(hour int) { a.app.now = time.Date(2026, 5, 4, hour, 0, 0, 0, time.UTC) }

func TestQuietHoursAreSetShownAndRemoved(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	set := a.call("PATCH", "/v1/preferences/push", "ada", nights).is(200) // no device is needed for it
	want := `{"start":"22:00","end":"07:00","time_zone":"Europe/Zurich","ts":"2026-05-04T10:00:00Z","source":"app"}`
	var push struct {
		QuietHours *QuietHours `json:"quiet_hours"`
	}
	for _, got := range []answer{set, a.call("GET", "/v1/preferences/push", "ada", "").is(200), a.call("GET", "/v1/preferences", "ada", "").is(200)} {
		require.Contains(t, string(got.body), `"quiet_hours":{`)
		got.json(&push)
		require.NotNil(t, push.QuietHours)
		require.Equal(t, "Europe/Zurich", push.QuietHours.TimeZone)
	}
	require.Contains(t, want, push.QuietHours.Start)
	a.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(200).json(&push)
	require.NotNil(t, push.QuietHours, "a patch that does not speak of them leaves them")
	push.QuietHours = nil
	a.call("PATCH", "/v1/preferences/push", "ada", `{"quiet_hours":null}`).is(200).json(&push)
	require.Nil(t, push.QuietHours)
	a.call("PATCH", "/v1/preferences/push", "ada", `{"quiet_hours":{"start":"21:00","end":"06:00","time_zone":"UTC"},"enabled":true,"wording":{"id":"w","locale":"en"}}`).is(200).json(&push)
	require.Equal(t, "21:00", push.QuietHours.Start)
	require.Equal(t, []string{"withdrawal", "withdrawal", "grant", "withdrawal"}, []string{
		string(a.app.ops["op-1"].Kind), string(a.app.ops["op-2"].Kind), string(a.app.ops["op-3"].Kind), string(a.app.ops["op-4"].Kind)})
}

func TestBadQuietHoursAreRefusedByName(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for body, want := range map[string][2]string{
		`{"quiet_hours":{"start":"22:00","end":"22:00","time_zone":"UTC"}}`:              {"quiet_hours.end", "empty_quiet_hours"},
		`{"quiet_hours":{"start":"22:00","end":"07:00","time_zone":"Mars/Olympus"}}`:     {"quiet_hours.time_zone", "unknown_time_zone"},
		`{"quiet_hours":{"start":"10pm","end":"07:00","time_zone":"UTC"}}`:               {"quiet_hours.start", "invalid_time"},
		`{"quiet_hours":{"start":"22:00","end":"07:00"}}`:                                {"quiet_hours.time_zone", "required"},
		`{"quiet_hours":{"start":"22:00","end":"07:00","time_zone":"UTC","days":[1]}}`:   {"quiet_hours.days", "unknown_field"},
		`{"quiet_hours":"22:00-07:00"}`:                                                  {"quiet_hours", "wrong_type"},
		`{"enabled":false,"quiet_hours":{"start":"22:00","end":"22:00","time_zone":""}}`: {"quiet_hours.end", "empty_quiet_hours"},
	} {
		var problem Problem
		a.call("PATCH", "/v1/preferences/push", "ada", body).is(400).json(&problem)
		require.NotNil(t, problem.Errors, body)
		require.Equal(t, want, [2]string{(*problem.Errors)[0].Field, (*problem.Errors)[0].Code}, body)
	}
	require.Empty(t, a.app.ops)
}

// What can be delivered changes with the time of day: a client that has seen one answer must not be told that it still holds.
func TestTheAnswerIsNotTakenForTheSameWhenQuietHoursBegin(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"loyalty":{"enabled":true}}}`).is(200)
	a.call("PATCH", "/v1/preferences/push", "ada", nights).is(200)
	day := a.call("GET", "/v1/preferences/push", "ada", "").is(200)
	a.call("GET", "/v1/preferences/push", "ada", "", "If-None-Match: "+day.header.Get("ETag")).is(304)

	a.at(23)
	night := a.call("GET", "/v1/preferences/push", "ada", "", "If-None-Match: "+day.header.Get("ETag")).is(200)
	require.NotEqual(t, day.header.Get("ETag"), night.header.Get("ETag"))
	a.call("GET", "/v1/preferences/push", "ada", "", "If-None-Match: "+night.header.Get("ETag")).is(304)
	var push PushPreferences
	night.json(&push)
	for _, e := range push.Effective {
		switch e.Channel {
		case "loyalty":
			require.Equal(t, []string{"quiet_hours"}, e.BlockedBy)
		case "order_updates":
			require.True(t, e.Deliverable)
		}
	}
	var may DeliverabilityAnswer
	a.call("GET", "/v1/customers/ada/deliverability?channel=loyalty", "reader", "").is(200).json(&may)
	require.False(t, *may.Deliverable)
	require.Equal(t, []string{"quiet_hours"}, *may.BlockedBy)
	require.Equal(t, time.Date(2026, 5, 5, 5, 0, 0, 0, time.UTC), may.Until.UTC())
	may = DeliverabilityAnswer{}
	a.call("GET", "/v1/customers/ada/deliverability?channel=order_updates", "reader", "").is(200).json(&may)
	require.True(t, *may.Deliverable)
	require.Nil(t, may.Until)

	// An edit of what was seen by day is taken at night, and one of what was seen at night by day.
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"news":{"enabled":true}}}`, "If-Match: "+day.header.Get("ETag")).is(200)
	night = a.call("GET", "/v1/preferences/push", "ada", "").is(200)
	a.at(12)
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"news":{"enabled":false}}}`, "If-Match: "+night.header.Get("ETag")).is(200)
	a.call("PATCH", "/v1/preferences/push", "ada", `{"channels":{"news":{"enabled":true}}}`, "If-Match: "+night.header.Get("ETag")).is(412)
}
