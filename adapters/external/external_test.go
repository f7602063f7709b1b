package external

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
)

func TestADecisionIsRead(t *testing.T) {
	t.Parallel()
	events, err := Reader{}.Read([]byte(`{"type":"preferences.decision","timestamp":"2026-03-01T08:00:00Z","new":1,"data":{"customer":"ada",
		"decided_at":"2026-03-01T07:00:00+01:00","push":{"enabled":false},"channels":{"promotions":{"enabled":true}},"purposes":{"p":{"enabled":false}},
		"email":{"marketing":{"status":"subscribed"}},"devices":[{"id":"phone","enabled":false}],"cause":"store_form","wording":{"id":"w","locale":"de-CH"},"other":[]}}`))
	require.NoError(t, err)
	off := false
	require.Equal(t, preference.Told{Customer: "ada", At: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), Cause: "store_form", Push: &off,
		Channels: map[preference.ChannelKey]bool{"promotions": true}, Purposes: map[preference.PurposeID]bool{"p": false}, Email: preference.Subscribed,
		Devices: map[preference.DeviceID]bool{"phone": false}, Wording: &preference.Wording{ID: "w", Locale: "de-CH"}}, events[0].Told)
}

func TestAnotherTypeIsIgnored(t *testing.T) {
	t.Parallel()
	events, err := Reader{}.Read([]byte(`[{"id":"1","type":"order.placed"},{"id":"2","type":"preferences.decision","timestamp":"2026-03-01T08:00:00Z","data":{"customer":"a","push":{"enabled":true}}}]`))
	require.NoError(t, err)
	require.Equal(t, "unknown_type", events[0].Ignored)
	require.Equal(t, "2", events[1].ID)
	require.Equal(t, time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), events[1].Told.At, "the event's own time where the decision has none")
}

func TestABrokenRuleIsNamed(t *testing.T) {
	t.Parallel()
	decision := func(data string) string {
		return `{"type":"preferences.decision","timestamp":"2026-03-01T08:00:00Z","data":` + data + `}`
	}
	for body, field := range map[string]string{
		``:                                "",
		`nonsense`:                        "",
		"\"\xff\"":                        "",
		`7`:                               "",
		`null`:                            "",
		`[7]`:                             "0",
		`{}`:                              "type",
		`{"events":7}`:                    "events",
		`{"type":7}`:                      "type",
		`{"events":[{"type":"x"},{}]}`:    "events.1.type",
		`{"type":"preferences.decision"}`: "data",
		`{"type":"preferences.decision","data":{"customer":"a","push":{"enabled":true}}}`:      "timestamp",
		decision(`{"push":{"enabled":true}}`):                                                  "data.customer",
		decision(`{"customer":"a b","push":{"enabled":true}}`):                                 "data.customer",
		decision(`{"customer":"a"}`):                                                           "data",
		decision(`{"customer":"a","push":{}}`):                                                 "data.push.enabled",
		decision(`{"customer":"a","push":{"enabled":"yes"}}`):                                  "data.push.enabled",
		decision(`{"customer":"a","channels":{"x":null}}`):                                     "data.channels.x.enabled",
		decision(`{"customer":"a","email":{"marketing":{"status":"maybe"}}}`):                  "data.email.marketing.status",
		decision(`{"customer":"a","devices":[{"id":"!","enabled":true}]}`):                     "data.devices",
		decision(`{"customer":"a","devices":[{"id":"a"}]}`):                                    "data.devices",
		decision(`{"customer":"a","push":{"enabled":true},"decided_at":"yesterday"}`):          "data.decided_at",
		decision(`{"customer":"a","push":{"enabled":true},"cause":"Because!"}`):                "data.cause",
		decision(`{"customer":"a","push":{"enabled":true},"wording":{"id":"","locale":"de"}}`): "data.wording.id",
		`{"events":[` + strings.Repeat(`{},`, 500) + `{}]}`:                                    "events",
	} {
		_, err := Reader{}.Read([]byte(body))
		f, is := fault.As(err)
		require.True(t, is, "%s: %v", body, err)
		require.Equal(t, fault.Invalid, f.Kind)
		require.Equal(t, field, f.Fields[0].Path, "%s", body)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"type":"preferences.decision","timestamp":"2026-03-01T08:00:00Z","data":{"customer":"ada","channels":{"promotions":{"enabled":true}}}}`))
	f.Add([]byte(`{"events":[{"type":"preferences.decision","data":{"customer":"ada","decided_at":"2026-03-01T08:00:00Z","email":{"marketing":{"status":"unsubscribed"}}}}]}`))
	f.Add([]byte(`[{"type":"preferences.decision","data":{"devices":[{"id":"x","enabled":false}]}}]`))
	f.Add([]byte(`[null]`))
	for _, at := range []string{"0001-01-01T00:00:00Z", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z"} {
		f.Add([]byte(`{"type":"preferences.decision","timestamp":"` + at + `","data":{"customer":"ada","push":{"enabled":false}}}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Reader{}.Read(body)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, fault.Invalid, broken.Kind)
			require.NotEmpty(t, broken.Fields)
			return
		}
		for _, e := range events {
			if e.Ignored != "" {
				continue
			}
			_, err := preference.ParseCustomerID(string(e.Told.Customer))
			require.NoError(t, err)
			require.GreaterOrEqual(t, e.Told.At.Year(), 1970)
			_, err = json.Marshal(e.Told) // as it is stored
			require.NoError(t, err)
		}
	})
}
