package onesignal_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/push/onesignal"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

var (
	promotions = preference.Item{Kind: preference.ChannelItem, Key: "promotions"}
	news       = preference.Item{Kind: preference.ChannelItem, Key: "news"}
	loyalty    = preference.Item{Kind: preference.ChannelItem, Key: "loyalty"}
	phone      = preference.Item{Kind: preference.DeviceItem, Key: "tok-1"}
	browser    = preference.Item{Kind: preference.DeviceItem, Key: "tok-2"}
	tablet     = preference.Item{Kind: preference.DeviceItem, Key: "tok-3"}
)

var devices = map[string]ports.TargetDevice{
	"tok-1": {Platform: preference.IOS, AppVersion: "4.5"}, "tok-2": {Platform: preference.Web}, "tok-3": {Platform: preference.Android},
}

// script answers "METHOD path" with the next of its answers, the last one for good, and notes what was asked.
type script struct {
	t       *testing.T
	answers map[string][]answer
	asked   []string // writes only: METHOD path body
}

type answer struct {
	status int
	body   string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	call := r.Method + " " + strings.TrimPrefix(r.URL.EscapedPath(), "/apps/app-1")
	if r.Method != http.MethodGet {
		s.asked = append(s.asked, strings.TrimSpace(call+" "+string(body)))
	}
	next := s.answers[call]
	if len(next) == 0 {
		s.t.Errorf("unexpected call %s", call)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if len(next) > 1 {
		s.answers[call] = next[1:]
	}
	w.WriteHeader(next[0].status)
	_, _ = io.WriteString(w, next[0].body)
}

func newSystem(t *testing.T, answers map[string][]answer) (*onesignal.OneSignal, *script) {
	t.Helper()
	s := &script{t: t, answers: answers}
	o, err := onesignal.New(portstest.VendorAPI(preference.Push, s), onesignal.Config{AppID: "app-1"})
	require.NoError(t, err)
	require.Equal(t, preference.Push, o.Name())
	return o, s
}

const user = "GET /users/by/external_id/ada"

func order(set preference.Holding) ports.TargetWrite {
	return ports.TargetWrite{Customer: "ada", Operation: "op-1", Set: set, Devices: devices}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer answer
		want   preference.Holding
	}{
		"nobody":               {answer{404, `{"errors":[{"code":"user-1","title":"not found"}]}`}, preference.Holding{}},
		"somebody without any": {answer{200, `{"identity":{"external_id":"ada"}}`}, preference.Holding{}},
		"devices": {answer{200, `{"properties":{"tags":{}},"subscriptions":[
			{"id":"s1","type":"iOSPush","token":"tok-1","enabled":true,"notification_types":1},
			{"id":"s2","type":"ChromePush","token":"tok-2","enabled":false,"notification_types":-31},
			{"id":"s3","type":"Email","token":"ada@example.com","enabled":true},
			{"id":"s4","type":"SMS","token":"+41000000000","enabled":true},
			{"id":"s5","type":"AndroidPush","token":"","enabled":true}]}`},
			preference.Holding{phone: preference.On, browser: preference.Off}},
		"enabled, but with a reason to get nothing": {answer{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":true,"notification_types":-2}]}`},
			preference.Holding{phone: preference.Off}},
		"removed with the app": {answer{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":false,"notification_types":-10},
			{"id":"s2","type":"ChromePush","token":"tok-2","enabled":true,"notification_types":-22},{"id":"s3","type":"AndroidPush","token":"tok-3","enabled":true,"invalid_identifier":true}]}`},
			preference.Holding{phone: preference.Unregistered, browser: preference.Unregistered, tablet: preference.Unregistered}},
		"removed under one of two types": {answer{200, `{"subscriptions":[{"id":"s1","type":"ChromePush","token":"tok-2","enabled":false},{"id":"s2","type":"FirefoxPush","token":"tok-2","notification_types":-22}]}`},
			preference.Holding{browser: preference.Off}},
		"quiet hours": {answer{200, `{"properties":{"tags":{"quiet_hours":"22:00-07:00 UTC"},"timezone_id":"UTC"}}`},
			preference.Holding{{Kind: preference.QuietItem}: "22:00-07:00 UTC", {Kind: preference.ZoneItem}: "UTC"}},
		"enabled without notification_types": {answer{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":true}]}`},
			preference.Holding{phone: preference.On}},
		"one token under two types": {answer{200, `{"subscriptions":[{"id":"s1","type":"ChromePush","token":"tok-2","enabled":true},{"id":"s2","type":"FirefoxPush","token":"tok-2","enabled":false}]}`},
			preference.Holding{browser: preference.On}},
		"tags": {answer{200, `{"properties":{"tags":{"channel_promotions":"on","channel_news":"off","channel_loyalty":"maybe","vip":"on","channel_odd":{"a":1}}}}`},
			preference.Holding{promotions: preference.On, news: preference.Off}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := newSystem(t, map[string][]answer{user: {test.answer}})
			got, err := o.Read(t.Context(), "ada")
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestWriteMakesAPersonInOneCall(t *testing.T) {
	t.Parallel()
	o, s := newSystem(t, map[string][]answer{user: {{404, `{}`}}, "POST /users": {{201, `{"identity":{"external_id":"ada"}}`}}})
	require.NoError(t, o.Write(t.Context(), order(preference.Holding{
		phone: preference.On, browser: preference.Off, tablet: preference.Unknown, promotions: preference.On, news: preference.Off, loyalty: preference.Unknown,
	})))
	require.Equal(t, []string{`POST /users {"identity":{"external_id":"ada"},` +
		`"properties":{"tags":{"channel_news":"off","channel_promotions":"on"}},` +
		`"subscriptions":[{"type":"ChromePush","token":"tok-2","enabled":false},` +
		`{"type":"iOSPush","token":"tok-1","enabled":true,"notification_types":1,"app_version":"4.5"}]}`}, s.asked)
}

func TestWriteMakesNobodyJustToHaveNothing(t *testing.T) {
	t.Parallel()
	o, s := newSystem(t, map[string][]answer{user: {{404, `{}`}}})
	require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.Unknown, news: preference.Unknown})))
	require.Empty(t, s.asked)
}

func TestWriteSendsLessBeforeMore(t *testing.T) {
	t.Parallel()
	o, s := newSystem(t, map[string][]answer{
		user:                              {{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":true},{"id":"s2","type":"ChromePush","token":"tok-2","enabled":true}]}`}},
		"DELETE /subscriptions/s1":        {{202, ``}},
		"PATCH /users/by/external_id/ada": {{202, `{}`}},
		"PATCH /subscriptions/s2":         {{200, `{}`}},
		"POST /users/by/external_id/ada/subscriptions": {{201, `{"subscription":{"id":"s3","type":"AndroidPush","token":"tok-3","enabled":true,"notification_types":1}}`}},
	})
	require.NoError(t, o.Write(t.Context(), order(preference.Holding{
		phone: preference.Unknown, browser: preference.Off, tablet: preference.On, promotions: preference.On, loyalty: preference.Unknown,
	})))
	require.Equal(t, []string{
		`DELETE /subscriptions/s1`,
		`PATCH /users/by/external_id/ada {"properties":{"tags":{"channel_loyalty":"","channel_promotions":"on"}}}`,
		`PATCH /subscriptions/s2 {"subscription":{"enabled":false}}`,
		`POST /users/by/external_id/ada/subscriptions {"subscription":{"type":"AndroidPush","token":"tok-3","enabled":true,"notification_types":1}}`,
	}, s.asked)
}

func TestWriteAlsoWritesWhatSeemsToHold(t *testing.T) {
	t.Parallel()
	o, s := newSystem(t, map[string][]answer{
		user:                      {{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":false}]}`}},
		"PATCH /subscriptions/s1": {{200, `{}`}},
	})
	require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.Off})))
	require.Len(t, s.asked, 1, "a contrary write may be on its way")
}

func TestAMovedTokenGetsTheNewOwnersState(t *testing.T) {
	t.Parallel()
	kept := `{"id":"s9","type":"iOSPush","token":"tok-1","enabled":true,"notification_types":1}`
	t.Run("added to a known person", func(t *testing.T) {
		t.Parallel()
		o, s := newSystem(t, map[string][]answer{
			user: {{200, `{}`}},
			"POST /users/by/external_id/ada/subscriptions": {{202, `{"subscription":` + kept + `}`}},
			"PATCH /subscriptions/s9":                      {{200, `{}`}},
		})
		require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.Off})))
		require.Equal(t, `PATCH /subscriptions/s9 {"subscription":{"enabled":false}}`, s.asked[1])
	})
	t.Run("added with a new person", func(t *testing.T) {
		t.Parallel()
		o, s := newSystem(t, map[string][]answer{
			user: {{404, `{}`}}, "POST /users": {{201, `{"subscriptions":[` + kept + `]}`}}, "PATCH /subscriptions/s9": {{200, `{}`}},
		})
		require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.Off})))
		require.Equal(t, `PATCH /subscriptions/s9 {"subscription":{"enabled":false}}`, s.asked[1])
	})
}

func TestSomethingIsGoneBetweenLookingAndWriting(t *testing.T) {
	t.Parallel()
	with := answer{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":false}]}`}
	without := answer{200, `{"subscriptions":[]}`}
	notFound := answer{404, `{"errors":[{"code":"not_found"}]}`}

	t.Run("to be switched: it is added", func(t *testing.T) {
		t.Parallel()
		o, _ := newSystem(t, map[string][]answer{
			user: {with, without}, "PATCH /subscriptions/s1": {notFound},
			"POST /users/by/external_id/ada/subscriptions": {{201, `{"subscription":{"id":"s2","enabled":true}}`}},
		})
		require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.On})))
	})
	t.Run("to be taken away: fine", func(t *testing.T) {
		t.Parallel()
		o, s := newSystem(t, map[string][]answer{user: {with}, "DELETE /subscriptions/s1": {notFound}})
		require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.Unknown})))
		require.Len(t, s.asked, 1)
	})
	t.Run("the person: made again", func(t *testing.T) {
		t.Parallel()
		o, s := newSystem(t, map[string][]answer{
			user: {without, notFound}, "POST /users/by/external_id/ada/subscriptions": {notFound}, "POST /users": {{201, `{}`}},
		})
		require.NoError(t, o.Write(t.Context(), order(preference.Holding{phone: preference.On})))
		require.Len(t, s.asked, 2)
	})
	t.Run("again and again: refused", func(t *testing.T) {
		t.Parallel()
		o, s := newSystem(t, map[string][]answer{user: {with}, "PATCH /subscriptions/s1": {notFound}})
		failure, is := ports.AsTargetError(o.Write(t.Context(), order(preference.Holding{phone: preference.On})))
		require.True(t, is)
		require.Equal(t, ports.Refused, failure.Class)
		require.Len(t, s.asked, 2)
	})
}

func TestAFailureHalfWayMayHaveDoneSomething(t *testing.T) {
	t.Parallel()
	answers := func(tags answer) map[string][]answer {
		return map[string][]answer{
			user:                              {{200, `{"subscriptions":[{"id":"s1","type":"iOSPush","token":"tok-1","enabled":false}]}`}},
			"PATCH /users/by/external_id/ada": {tags}, "PATCH /subscriptions/s1": {{400, `{}`}},
		}
	}
	set := preference.Holding{phone: preference.On, news: preference.On}
	o, _ := newSystem(t, answers(answer{202, `{}`}))
	failure, is := ports.AsTargetError(o.Write(t.Context(), order(set)))
	require.True(t, is)
	require.Equal(t, ports.Refused, failure.Class)
	require.True(t, failure.MaybeDone, "the tags are written")

	o, _ = newSystem(t, answers(answer{400, `{}`}))
	failure, _ = ports.AsTargetError(o.Write(t.Context(), order(set)))
	require.False(t, failure.MaybeDone, "nothing is written")
}

func TestWhatCannotBeWrittenIsRefusedUnsent(t *testing.T) {
	t.Parallel()
	strange := preference.Item{Kind: preference.DeviceItem, Key: "tok-nobody-described"}
	for name, test := range map[string]struct {
		item preference.Item
		user answer
		code string
	}{
		"a device to be created that we know nothing about": {strange, answer{200, `{}`}, "unknown_device"},
		"the same for a new person":                         {strange, answer{404, `{}`}, "unknown_device"},
		"an e-mail subscription":                            {preference.Item{Kind: preference.EmailItem}, answer{200, `{}`}, "unmapped_item"},
	} {
		o, s := newSystem(t, map[string][]answer{user: {test.user}})
		failure, is := ports.AsTargetError(o.Write(t.Context(), order(preference.Holding{news: preference.On, test.item: preference.On})))
		require.True(t, is, name)
		require.Equal(t, ports.Refused, failure.Class, name)
		require.Equal(t, test.code, failure.Code, name)
		require.Empty(t, s.asked, name)
	}
	o, s := newSystem(t, map[string][]answer{
		user:                      {{200, `{"subscriptions":[{"id":"s1","type":"HuaweiPush","token":"tok-nobody-described","enabled":true}]}`}},
		"PATCH /subscriptions/s1": {{200, `{}`}},
	})
	require.NoError(t, o.Write(t.Context(), order(preference.Holding{strange: preference.Off})), "what is there can be switched")
	require.Len(t, s.asked, 1)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := onesignal.New(nil, onesignal.Config{})
	require.Error(t, err)
}
