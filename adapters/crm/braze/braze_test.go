package braze_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/adapters/crm/braze"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

var groups = map[preference.ChannelKey]string{"promotions": "group-1", "news": "group-2"}

var (
	email      = preference.Item{Kind: preference.EmailItem}
	push       = preference.Item{Kind: preference.PushItem}
	reachable  = preference.Item{Kind: preference.ReachableItem}
	promotions = preference.Item{Kind: preference.ChannelItem, Key: "promotions"}
	news       = preference.Item{Kind: preference.ChannelItem, Key: "news"}
)

// vendor answers the calls with fixed texts.
type vendor struct {
	export, groups, track string
	status                int // of users/track
	calls                 []string
	tracked               []byte
}

func (v *vendor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /users/export/ids", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, v.export)
	})
	mux.HandleFunc("GET /subscription/user/status", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("external_id") != "ada" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, v.groups)
	})
	mux.HandleFunc("POST /users/track", func(w http.ResponseWriter, r *http.Request) {
		v.calls = append(v.calls, r.URL.Path)
		v.tracked, _ = io.ReadAll(r.Body)
		w.WriteHeader(v.status)
		_, _ = io.WriteString(w, v.track)
	})
	return mux
}

func (v *vendor) system(t *testing.T) *braze.Braze {
	t.Helper()
	b, err := braze.New(portstest.VendorAPI(preference.CRM, v.handler()), braze.Config{Groups: groups})
	require.NoError(t, err)
	require.Equal(t, preference.CRM, b.Name())
	return b
}

const (
	nobody   = `{"message":"success","users":[],"invalid_user_ids":["ada"]}`
	noGroups = `{"message":"success","total_count":0,"users":[]}`
)

func TestRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		export, groups string
		want           preference.Holding
	}{
		"nobody": {nobody, noGroups, preference.Holding{}},
		"nobody, with groups spelled out as unknown": {nobody,
			`{"success":true,"subscription_groups":[{"subscription_group_id":"group-1","subscription_status":"Unknown"}]}`, preference.Holding{}},
		"everything on": {
			`{"users":[{"external_id":"ada","email_subscribe":"opted_in","push_subscribe":"opted_in","custom_attributes":{"push_reachable":true,"shoe":43}}]}`,
			`{"users":[{"external_id":"ada","email":null,"subscription_groups":[{"id":"group-1","name":"Promotions","channel":"push","status":"Subscribed"},{"id":"group-2","status":"subscribed"}]}]}`,
			preference.Holding{email: preference.On, push: preference.On, reachable: preference.On, promotions: preference.On, news: preference.On},
		},
		"everything off, in the other shape": {
			`{"users":[{"external_id":"ada","email_subscribe":"unsubscribed","push_subscribe":"unsubscribed","custom_attributes":{"push_reachable":false}}]}`,
			`{"success":true,"subscription_groups":[{"subscription_group_id":"group-1","subscription_status":"Unsubscribed"},{"subscription_group_id":"group-2","subscription_status":"unsubscribed"}]}`,
			preference.Holding{email: preference.Off, push: preference.Off, reachable: preference.Off, promotions: preference.Off, news: preference.Off},
		},
		"a new profile is neutral, which is not on": {
			`{"users":[{"external_id":"ada","email_subscribe":"subscribed","push_subscribe":"subscribed","custom_attributes":null}]}`, noGroups,
			preference.Holding{email: preference.Neutral, push: preference.Neutral},
		},
		"nulls, new words and other types are no state": {
			`{"users":[{"external_id":"ada","email_subscribe":null,"push_subscribe":"paused","custom_attributes":{"push_reachable":"yes"}}]}`,
			`{"users":[{"external_id":"ada","subscription_groups":[{"id":"group-1","status":"Pending"},{"id":"somebody-elses-group","status":"Subscribed"}]}]}`,
			preference.Holding{},
		},
		"another person in the answer": {
			`{"users":[{"external_id":"grace","email_subscribe":"opted_in"}]}`,
			`{"users":[{"external_id":"grace","subscription_groups":[{"id":"group-1","status":"Subscribed"}]}]}`, preference.Holding{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := (&vendor{export: test.export, groups: test.groups}).system(t).Read(t.Context(), "ada")
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestReadFailsWhenEitherCallFails(t *testing.T) {
	t.Parallel()
	for _, v := range []vendor{{export: `{"users":`, groups: noGroups}, {export: nobody, groups: `{"users":`}} {
		_, err := v.system(t).Read(t.Context(), "ada")
		failure, is := ports.AsTargetError(err)
		require.True(t, is, "got %v", err)
		require.Equal(t, "malformed", failure.Code)
	}
}

func TestWriteIsOneCallWithOneObject(t *testing.T) {
	t.Parallel()
	v := &vendor{status: 201, track: `{"message":"success","attributes_processed":1}`}
	require.NoError(t, v.system(t).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{
		email: preference.On, push: preference.Neutral, reachable: preference.Off, promotions: preference.On, news: preference.Off,
	}}))
	require.Equal(t, []string{"/users/track"}, v.calls)
	var sent struct{ Attributes []map[string]any }
	require.NoError(t, json.Unmarshal(v.tracked, &sent))
	require.Len(t, sent.Attributes, 1)
	object := sent.Attributes[0]
	require.ElementsMatch(t, []any{
		map[string]any{"subscription_group_id": "group-1", "subscription_state": "subscribed"},
		map[string]any{"subscription_group_id": "group-2", "subscription_state": "unsubscribed"},
	}, object["subscription_groups"])
	delete(object, "subscription_groups")
	require.Equal(t, map[string]any{
		"external_id": "ada", "email_subscribe": "opted_in", "push_subscribe": "subscribed", "push_reachable": false,
	}, object)
}

func TestWriteWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		item  preference.Item
		state preference.State
		want  string
	}{
		{email, preference.Off, `{"external_id":"ada","email_subscribe":"unsubscribed"}`},
		{email, preference.Neutral, `{"external_id":"ada","email_subscribe":"subscribed"}`},
		{email, preference.Unknown, `{"external_id":"ada","email_subscribe":"unsubscribed"}`},
		{push, preference.On, `{"external_id":"ada","push_subscribe":"opted_in"}`},
		{push, preference.Unknown, `{"external_id":"ada","push_subscribe":"unsubscribed"}`},
		{reachable, preference.On, `{"external_id":"ada","push_reachable":true}`},
		{reachable, preference.Unknown, `{"external_id":"ada","push_reachable":null}`},
		{news, preference.Unknown, `{"external_id":"ada","subscription_groups":[{"subscription_group_id":"group-2","subscription_state":"unsubscribed"}]}`},
		{news, preference.Neutral, `{"external_id":"ada","subscription_groups":[{"subscription_group_id":"group-2","subscription_state":"unsubscribed"}]}`},
	} {
		v := &vendor{status: 201, track: `{"message":"success"}`}
		require.NoError(t, v.system(t).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{test.item: test.state}}))
		require.JSONEq(t, `{"attributes":[`+test.want+`]}`, string(v.tracked))
	}
}

func TestWriteAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status    int
		answer    string
		class     ports.TargetErrorClass // empty: fine
		code      string
		maybeDone bool
	}{
		"applied later":          {status: 201, answer: `{"message":"success","attributes_processed":1}`},
		"queued for maintenance": {status: 202, answer: `{"message":"queued"}`},
		"our object refused": {201, `{"message":"success","errors":[{"type":"external_id is blacklisted and disallowed","input_array":"attributes","index":0}]}`,
			ports.Refused, "item_refused", false},
		"our object refused in plain words": {201, `{"message":"success","errors":["no"]}`, ports.Refused, "item_refused", false},
		"everything refused":                {400, `{"message":"Valid data must be provided","errors":[{"type":"x"}]}`, ports.Refused, "refused", false},
		"an answer from somewhere else":     {200, `{"status":"ok"}`, ports.Transient, "malformed", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &vendor{status: test.status, track: test.answer}
			err := v.system(t).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{email: preference.On}})
			if test.class == "" {
				require.NoError(t, err)
				return
			}
			failure, is := ports.AsTargetError(err)
			require.True(t, is, "got %v", err)
			require.Equal(t, test.class, failure.Class)
			require.Equal(t, test.code, failure.Code)
			require.Equal(t, test.maybeDone, failure.MaybeDone)
		})
	}
}

func TestUnmappedItemsAreRefusedUnsent(t *testing.T) {
	t.Parallel()
	for _, item := range []preference.Item{{Kind: preference.ChannelItem, Key: "unheard-of"}, {Kind: preference.DeviceItem, Key: "t"}, {Kind: preference.PurposeItem, Key: "p"}} {
		v := &vendor{status: 201}
		err := v.system(t).Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{email: preference.On, item: preference.On}})
		failure, is := ports.AsTargetError(err)
		require.True(t, is)
		require.Equal(t, ports.Refused, failure.Class)
		require.Equal(t, "unmapped_item", failure.Code)
		require.Empty(t, v.calls)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]map[preference.ChannelKey]string{
		"no group": {"news": ""}, "no channel": {"": "group-1"}, "one group for two": {"news": "group-1", "promotions": "group-1"},
	} {
		_, err := braze.New(nil, braze.Config{Groups: bad})
		require.Error(t, err, name)
		require.True(t, slices.ContainsFunc([]string{"news", "promotions", `""`}, func(s string) bool { return strings.Contains(err.Error(), s) }))
	}
}

func TestTopicsAreGroupsToo(t *testing.T) {
	t.Parallel()
	offers := preference.Item{Kind: preference.EmailTopicItem, Key: "offers"}
	v := &vendor{export: nobody, status: 201, track: `{"message":"success"}`,
		groups: `{"users":[{"external_id":"ada","subscription_groups":[{"id":"group-1","status":"Unsubscribed"},{"id":"group-9","status":"Subscribed"}]}]}`}
	api := portstest.VendorAPI(preference.CRM, v.handler())
	b, err := braze.New(api, braze.Config{Groups: groups, Topics: map[preference.TopicKey]string{"offers": "group-9"}})
	require.NoError(t, err)
	held, err := b.Read(t.Context(), "ada")
	require.NoError(t, err)
	require.Equal(t, preference.Holding{offers: preference.On, promotions: preference.Off}, held)
	require.NoError(t, b.Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{offers: preference.Off}}))
	require.JSONEq(t, `{"attributes":[{"external_id":"ada","subscription_groups":[{"subscription_group_id":"group-9","subscription_state":"unsubscribed"}]}]}`, string(v.tracked))
	_, err = braze.New(api, braze.Config{Groups: groups, Topics: map[preference.TopicKey]string{"offers": "group-1"}})
	require.ErrorContains(t, err, "the same subscription group")
	err = b.Write(t.Context(), ports.TargetWrite{Customer: "ada", Set: preference.Holding{{Kind: preference.EmailTopicItem, Key: "tips"}: preference.Off}})
	failure, is := ports.AsTargetError(err)
	require.True(t, is && failure.Class == ports.Refused)
}
