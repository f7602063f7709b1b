package checker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const adasHours = `{"start":"21:30","end":"14:00","time_zone":"Europe/Zurich"}` // the story is told at noon there, in summer

// quiet is ada, who wants quiet until two, while everybody holds it.
func quiet(t *testing.T) *story {
	t.Helper()
	s := phoneAndNews(t)
	s.change("ada", "PATCH", "/v1/preferences/push", `{"quiet_hours":`+adasHours+`}`, 5)
	st := s.standing("ada")
	shown := strings.ReplaceAll(string(st.Preferences), `"version":4`, `"version":5`)
	shown = strings.Replace(shown, `"effective":`, `"quiet_hours":`+adasHours+`,"effective":`, 1)
	shown = strings.Replace(shown, `"deliverable":true,"blocked_by":[]`, `"deliverable":false,"blocked_by":["quiet_hours"]`, 1)
	st.Preferences = json.RawMessage(shown)
	const held = `"quiet_hours":"21:30-14:00 Europe/Zurich","time_zone":"Europe/Zurich"`
	st.Vendors = replaced(t, st.Vendors, `"crm":{`, `"crm":{`+held+`,`)
	st.Vendors = replaced(t, st.Vendors, `"push":{`, `"push":{`+held+`,`)
	s.call("ada", "GET", "/v1/preferences", "", 200, shown)
	return s
}

func TestQuietHours(t *testing.T) {
	t.Parallel()
	t.Run("kept", func(t *testing.T) {
		t.Parallel()
		r := quiet(t).judged()
		require.Empty(t, r.Violations, r.Told(&History{}))
		require.Equal(t, 1, r.Checked[RuleHours])
	})
	t.Run("shown with another time", func(t *testing.T) {
		t.Parallel()
		s := quiet(t)
		last := s.calls[len(s.calls)-1]
		last.Answer = replaced(t, last.Answer, `"21:30"`, `"21:31"`)
		require.Equal(t, []string{RuleRead}, s.judged().broken())
	})
	t.Run("something is deliverable in them", func(t *testing.T) {
		t.Parallel()
		s := quiet(t)
		last := s.calls[len(s.calls)-1]
		last.Answer = replaced(t, last.Answer, `"deliverable":false,"blocked_by":["quiet_hours"]`, `"deliverable":true,"blocked_by":[]`)
		require.Equal(t, []string{RuleHours}, s.judged().broken())
		last.Answered = last.Answered.Add(3 * time.Hour)
		require.Empty(t, s.judged().broken(), "at the moment at which they end it may be")
	})
	t.Run("something is deliverable while they are on their way", func(t *testing.T) {
		t.Parallel()
		s := quiet(t)
		last := s.calls[len(s.calls)-1]
		last.Answer = json.RawMessage(`{"version":4,"push":` + adasPush + `,"email":{"marketing":{"status":"unsubscribed"},"version":4}}`)
		require.Equal(t, []string{RuleHours}, s.judged().broken())
	})
	t.Run("a vendor does not know of them", func(t *testing.T) {
		t.Parallel()
		s := quiet(t)
		st := s.standing("ada")
		st.Vendors = replaced(t, st.Vendors, `"push":{"quiet_hours":"21:30-14:00 Europe/Zurich",`, `"push":{`)
		require.Equal(t, []string{RuleAgree}, s.judged().broken())
	})
	t.Run("taken away, and a vendor keeps them", func(t *testing.T) {
		t.Parallel()
		s := quiet(t)
		s.change("ada", "PATCH", "/v1/preferences/push", `{"quiet_hours":null}`, 6)
		st := s.standing("ada")
		st.Preferences = replaced(t, st.Preferences, `"quiet_hours":`+adasHours, `"quiet_hours":null`)
		st.Preferences = json.RawMessage(strings.ReplaceAll(string(st.Preferences), `"version":5`, `"version":6`))
		st.Vendors = replaced(t, st.Vendors, `"push":{"quiet_hours":"21:30-14:00 Europe/Zurich",`, `"push":{`)
		require.Equal(t, []string{RuleAgree}, s.judged().broken())
		st.Vendors = replaced(t, st.Vendors, `"crm":{"quiet_hours":"21:30-14:00 Europe/Zurich",`, `"crm":{`)
		require.Empty(t, s.judged().broken(), "the zone stays known")
	})
}
