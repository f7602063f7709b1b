package httpapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAcknowledgingOneMessage(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.publish(global("news", ""))
	for who, headers := range map[string][]string{"ada": nil, "": {header + hers}} {
		var got AcknowledgedMessage
		a.acknowledge(id, "clicked", who, headers...).is(200).json(&got)
		require.Equal(t, id, got.Id)
		require.NotNil(t, got.Receipt.SeenAt)
		require.NotNil(t, got.Receipt.ReadAt)
		require.NotNil(t, got.Receipt.ClickedAt)
		require.Nil(t, got.Receipt.ArchivedAt)
		require.Equal(t, InboxCounts{Total: 1}, got.Counts)
		require.Equal(t, got.Version, a.feed("", who, headers...).Version)
		a.acknowledge(id, "archived", who, headers...).is(200)
		require.Empty(t, a.feed("", who, headers...).Messages)
		require.Len(t, a.feed("?state=archived", who, headers...).Messages, 1)
		a.acknowledge(id, "unarchived", who, headers...).is(200).json(&got)
		require.Nil(t, got.Receipt.ArchivedAt)
	}
	require.Len(t, a.feed("?state=unseen", "grace").Messages, 1)
	require.Len(t, a.feed("?state=unread", "", header+others).Messages, 1, "somebody else's installation")
}

func TestWhenItHappened(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.publish(global("news", ""))
	a.inbox.now = a.inbox.now.Add(time.Hour)
	seenAt := func(at string) time.Time {
		var got AcknowledgedMessage
		a.call("POST", "/v1/inbox/messages/"+id+"/acknowledge", "", `{"state":"seen","at":`+at+`}`, header+hers).is(200).json(&got)
		return *got.Receipt.SeenAt
	}
	require.Equal(t, a.inbox.now, seenAt(`"2100-01-01T00:00:00Z"`), "a clock that is ahead")
	then := a.inbox.now.Add(-time.Minute)
	require.Equal(t, then, seenAt(`"`+then.In(time.FixedZone("", 7200)).Format(time.RFC3339)+`"`))
	require.Equal(t, then, seenAt("null"))
	require.Equal(t, a.inbox.now.Add(-time.Hour), seenAt(`"1999-01-01T00:00:00.123456789Z"`), "before it was there")
}

func TestMessagesThatAreNotInTheInbox(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	foreign := a.publish(personal("order", "grace", ""))
	retracted := a.publish(global("gone", ""))
	a.call("DELETE", "/v1/messages/"+retracted, "editor", "").is(200)
	var bodies []string
	for _, id := range []string{foreign, retracted, "msg_0000000000000", "nonsense"} {
		got := a.acknowledge(id, "seen", "ada", "X-Request-Id: r").is(404)
		require.Equal(t, "not-found", got.problem().Code)
		bodies = append(bodies, string(got.body))
	}
	require.Equal(t, bodies[0], bodies[1], "somebody else's and none look the same")
}

func TestAcknowledgingManyMessages(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first, second := a.publish(global("first", "")), a.publish(personal("second", "ada", ""))
	a.acknowledge(second, "seen", "ada").is(200)
	var got BulkAcknowledged
	a.call("POST", "/v1/inbox/acknowledge", "ada", `{"items":[{"id":"`+first+`","state":"read"},{"id":"`+second+`","state":"seen","at":null},
		{"id":"nonsense \"x","state":"seen"},{"id":"`+first+`","state":"archived"}]}`).is(200).json(&got)
	require.Equal(t, 2, got.Changed)
	var statuses, ids []string
	for _, it := range got.Items {
		statuses, ids = append(statuses, it.Status), append(ids, it.Id)
	}
	require.Equal(t, []string{"applied", "unchanged", "not_found", "applied"}, statuses)
	require.Equal(t, []string{first, second, `nonsense "x`, first}, ids)
	require.NotNil(t, got.Items[3].Receipt.ArchivedAt)
	require.Nil(t, got.Items[2].Receipt)
	require.Equal(t, InboxCounts{Total: 1, Unread: 1}, got.Counts)
}

func TestAcknowledgingAllAsOfAVersion(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.publish(global("first", ""))
	version := a.feed("", "ada").Version
	a.publish(global("later", ""))
	var got BulkAcknowledged
	a.call("POST", "/v1/inbox/acknowledge", "ada", `{"all":"read","as_of":"`+version+`"}`).is(200).json(&got)
	require.Equal(t, 1, got.Changed)
	require.Empty(t, got.Items)
	require.Equal(t, InboxCounts{Total: 2, Unseen: 1, Unread: 1}, got.Counts)
	never := a.call("POST", "/v1/inbox/acknowledge", "ada", `{"all":"read","as_of":"999999.999999"}`).is(410).problem()
	require.Equal(t, "version-too-old", never.Code)
}

func TestMergingAnInstallation(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.publish(global("news", ""))
	a.acknowledge(id, "clicked", "", header+hers).is(200)
	var got MergedInbox
	merge := `{"installation_id":"` + "8E03978E-40D5-43E8-BC93-6894A57F9324" + `"}`
	a.call("POST", "/v1/inbox/merge", "ada", merge).is(200).json(&got)
	require.Equal(t, 1, got.Merged)
	require.NotNil(t, a.feed("", "ada").Messages[0].ClickedAt)
	a.call("POST", "/v1/inbox/merge", "grace", merge).is(200).json(&got)
	require.Zero(t, got.Merged, "it goes to one customer only")
	require.Equal(t, "unauthenticated", a.call("POST", "/v1/inbox/merge", "", merge, header+hers).is(401).problem().Code)
	require.Equal(t, "not-a-customer", a.call("POST", "/v1/inbox/merge", "machine", merge).is(403).problem().Code)
}

func TestAcknowledgementsThatBreakARule(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	one, many := "/v1/inbox/messages/"+a.publish(global("news", ""))+"/acknowledge", "/v1/inbox/acknowledge"
	for _, c := range []struct {
		path, body string
		want       map[string]string
	}{
		{one, `{}`, map[string]string{"state": "required"}},
		{one, `{"state":"unseen"}`, map[string]string{"state": "not_allowed"}},
		{one, `{"state":null}`, map[string]string{"state": "null_not_allowed"}},
		{one, `{"state":"seen","at":"yesterday"}`, map[string]string{"at": "bad_format"}},
		{one, `{"state":"seen","at":"2026-02-30T00:00:00Z"}`, map[string]string{"at": "bad_format"}},
		{one, `{"state":"seen","at":"0001-01-01T00:00:00Z"}`, map[string]string{"at": "out_of_range"}},
		{one, `{"state":"seen","at":7}`, map[string]string{"at": "wrong_type"}},
		{one, `{"state":"seen","id":"x"}`, map[string]string{"id": "unknown_field"}},
		{many, `{}`, map[string]string{"items": "required"}},
		{many, `{"items":[]}`, map[string]string{"items": "too_few"}},
		{many, `{"items":[{}]}`, map[string]string{"items.0.id": "required", "items.0.state": "required"}},
		{many, `{"items":[{"id":"x","state":"seen"},{"id":"","state":"gone","at":"now"}]}`,
			map[string]string{"items.1.id": "too_short", "items.1.state": "not_allowed", "items.1.at": "bad_format"}},
		{many, `{"items":[{"id":"x","state":"seen","at":"2026-13-01T00:00:00Z"}]}`, map[string]string{"items.0.at": "bad_format"}},
		{many, `{"items":[{"id":"x","state":"seen"}],"all":"seen","as_of":"1.1"}`, map[string]string{"all": "not_allowed"}},
		{many, `{"items":[{"id":"x","state":"seen"}],"as_of":"1.1"}`, map[string]string{"as_of": "not_allowed"}},
		{many, `{"all":"seen"}`, map[string]string{"as_of": "required"}},
		{many, `{"as_of":"1.1"}`, map[string]string{"items": "required", "as_of": "not_allowed"}},
		{many, `{"all":"clicked","as_of":"1.1"}`, map[string]string{"all": "not_allowed"}},
		{many, `{"all":"seen","as_of":"1"}`, map[string]string{"as_of": "invalid_version"}},
		{many, `{"all":"seen","as_of":"-1.1"}`, map[string]string{"as_of": "invalid_version"}},
		{"/v1/inbox/merge", `{}`, map[string]string{"installation_id": "required"}},
		{"/v1/inbox/merge", `{"installation_id":"phone"}`, map[string]string{"installation_id": "bad_format"}},
	} {
		p := a.call("POST", c.path, "ada", c.body).is(400).problem()
		require.Equal(t, c.want, fields(p), c.body)
	}
	for _, path := range []string{one, many} {
		p := a.call("POST", path, "", `{"state":"seen"}`).is(400).problem()
		if path == many {
			p = a.call("POST", path, "", `{"all":"seen","as_of":"1.1"}`).is(400).problem()
		}
		require.Equal(t, map[string]string{"Accord-Installation-Id": "required"}, fields(p), "nothing can be kept for who is nobody")
	}
	hundredAndOne := `{"items":[{"id":"x","state":"seen"}`
	for range 100 {
		hundredAndOne += `,{"id":"x","state":"seen"}`
	}
	p := a.call("POST", many, "ada", hundredAndOne+`]}`).is(400).problem()
	require.Equal(t, map[string]string{"items": "too_many"}, fields(p))
}
