package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/inbox"
	"accord/ports"
)

// standard is what the standard library writes, as writeJSON has it write.
func standard(t require.TestingT, value any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(value))
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func FuzzAppendText(f *testing.F) {
	for _, s := range []string{"", `"`, `\`, "\x00\x1f\x7f", "\b\f\n\r\t", "<script>&amp;", "\u2028\u2029\u2027", "grüße", "\xff\xfe", "a\xc3", "😀\xf0\x9f", "�"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, standard(t, s), string(appendText(nil, s)))
	})
}

func TestTextIsWrittenAsTheStandardLibraryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		require.Equal(t, standard(t, s), string(appendText(nil, s)))
	})
}

var anyTime = rapid.Map(rapid.Int64Range(0, 4e15), func(us int64) time.Time {
	if us%5 == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).In(time.FixedZone("", 3600))
})

// The writer and the contract's generated shapes say the same, member by member, whatever is in a page.
func TestPagesAreWrittenAsTheContractSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		dead := rapid.Bool().Draw(t, "dead")
		active := func(string) bool { return !dead }
		page := ports.FeedPage{Next: rapid.SampledFrom([]string{"", "AQ-_"}).Draw(t, "next"), InboxState: drawState(t)}
		want := InboxPage{Messages: []InboxMessage{}, NextCursor: textOrNull(page.Next), Counts: InboxCounts{Total: page.Counts.Total, Unseen: page.Counts.Unseen, Unread: page.Counts.Unread}, Version: page.Version.String(),
			Freshness: Freshness{AsOf: timeOrNull(page.Freshness.AsOf), FreshUntil: timeOrNull(page.Freshness.FreshUntil), Stale: page.Freshness.Stale}}
		for range rapid.IntRange(0, 3).Draw(t, "messages") {
			r := inbox.Receipt{SeenAt: anyTime.Draw(t, "seen"), ReadAt: anyTime.Draw(t, "read"), ClickedAt: anyTime.Draw(t, "clicked"), ArchivedAt: anyTime.Draw(t, "archived")}
			page.Messages = append(page.Messages, ports.FeedEntry{ID: m.ID, Card: NewCards().Card(m, nil, active), Receipt: r})
			want.Messages = append(want.Messages, presented(m, r, dead))
		}
		require.JSONEq(t, standard(t, want), string(appendPage(nil, page)))
		require.JSONEq(t, standard(t, InboxChanges{Upserts: want.Messages, Removals: []string{m.ID.String(), m.ID.String()}, HasMore: true,
			Counts: want.Counts, Version: want.Version, Freshness: want.Freshness}),
			string(appendChanges(nil, ports.InboxChanges{InboxState: page.InboxState, Upserts: page.Messages, Removals: []inbox.MessageID{m.ID, m.ID}, More: true})))
	})
}

func drawState(t *rapid.T) ports.InboxState {
	n := rapid.IntRange(0, 1<<40)
	return ports.InboxState{Version: inbox.Version{Own: int64(n.Draw(t, "own")), Global: int64(n.Draw(t, "global"))},
		Counts:    inbox.Counts{Total: n.Draw(t, "total"), Unseen: n.Draw(t, "unseen"), Unread: n.Draw(t, "unread")},
		Freshness: ports.Freshness{AsOf: anyTime.Draw(t, "as of"), FreshUntil: anyTime.Draw(t, "until"), Stale: rapid.Bool().Draw(t, "stale")}}
}

func drawMessage(t *rapid.T) *inbox.Message {
	link := rapid.SampledFrom([]string{"", "app://orders/42", "app://x/\"<>"})
	m := &inbox.Message{ID: inbox.MessageID(rapid.Int64Range(1, 1<<62).Draw(t, "id")), Audience: rapid.SampledFrom([]inbox.Audience{inbox.Global, inbox.Personal}).Draw(t, "audience"),
		PublishedAt: anyTime.Filter(func(t time.Time) bool { return !t.IsZero() }).Draw(t, "published"), Expiry: time.Unix(1<<32, 0),
		Content: inbox.Content{Text: inbox.Text{Title: rapid.String().Draw(t, "title"), Body: rapid.String().Draw(t, "body"), ImageURL: link.Draw(t, "image")},
			Category: "news", Link: link.Draw(t, "link"), Pinned: rapid.Bool().Draw(t, "pinned")}}
	for range rapid.IntRange(0, 3).Draw(t, "actions") {
		m.Content.Actions = append(m.Content.Actions, inbox.Action{ID: "a", Title: rapid.String().Draw(t, "action"), Link: "app://orders/7"})
	}
	return m
}

func presented(m *inbox.Message, r inbox.Receipt, dead bool) InboxMessage {
	c := m.Content
	out := InboxMessage{Id: m.ID.String(), Title: c.Title, Body: c.Body, Deeplink: textOrNull(c.Link), Expiry: m.Expiry.UTC(), Category: c.Category,
		Audience: string(m.Audience), PublishedAt: m.PublishedAt.UTC(), ImageUrl: textOrNull(c.ImageURL), Pinned: c.Pinned, Actions: []InboxAction{},
		SeenAt: timeOrNull(r.SeenAt), ReadAt: timeOrNull(r.ReadAt), ClickedAt: timeOrNull(r.ClickedAt), ArchivedAt: timeOrNull(r.ArchivedAt)}
	status := "active"
	if dead {
		out.Deeplink, status = nil, "inactive"
	}
	if c.Link != "" {
		out.DeeplinkStatus = &status
	}
	for _, a := range c.Actions {
		action := InboxAction{Id: a.ID, Title: a.Title, Deeplink: &a.Link}
		if dead {
			action.Deeplink = nil
		}
		out.Actions = append(out.Actions, action)
	}
	return out
}

func TestCardsAreInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	m := &inbox.Message{ID: 1, Audience: inbox.Global, PublishedAt: time.Unix(1, 0), Expiry: time.Unix(2, 0), Content: inbox.Content{
		Text: inbox.Text{Title: "Hello", Body: "B", ImageURL: "https://img/en"}, Locale: "en", Category: "c", Link: "app://a",
		Actions: []inbox.Action{{ID: "go", Title: "Go", Link: "app://a"}, {ID: "no", Title: "No", Link: "app://b"}},
		Variants: map[string]inbox.Text{"de": {Title: "Hallo", Body: "K", Actions: map[string]string{"go": "Los"}},
			"fr": {Title: "Salut", ImageURL: "https://img/fr"}}}}
	read := func(locales ...string) (out InboxMessage) {
		card := NewCards().Card(m, locales, func(link string) bool { return link == "app://b" })
		require.NoError(t, json.Unmarshal(append(append([]byte("{"), card...), '}'), &out), "%s", card)
		return out
	}
	de := read("de-CH")
	require.Equal(t, "Hallo", de.Title)
	require.Equal(t, "https://img/en", *de.ImageUrl, "a translation without a picture has that of the message")
	require.Equal(t, "Los", de.Actions[0].Title)
	require.Nil(t, de.Actions[0].Deeplink)
	require.Equal(t, "No", de.Actions[1].Title)
	require.Equal(t, "app://b", *de.Actions[1].Deeplink)
	require.Equal(t, "inactive", *de.DeeplinkStatus)
	require.Nil(t, de.Deeplink)
	require.Equal(t, "https://img/fr", *read("fr").ImageUrl)
	require.Equal(t, "Hello", read("it", "en").Title)
	require.Equal(t, "Hello", read().Title)
	require.Positive(t, NewCards().Format())
}

func TestPagesAreWrittenIntoOneBuffer(t *testing.T) {
	card := NewCards().Card(&inbox.Message{ID: 1, PublishedAt: time.Unix(1, 0), Expiry: time.Unix(2, 0), Content: inbox.Content{Text: inbox.Text{Title: "T"}}}, nil, nil)
	page := ports.FeedPage{InboxState: ports.InboxState{Freshness: ports.Freshness{AsOf: time.Unix(1, 0), FreshUntil: time.Unix(61, 0)}}}
	for i := range 20 {
		page.Messages = append(page.Messages, ports.FeedEntry{ID: inbox.MessageID(i + 1), Card: card, Receipt: inbox.Receipt{SeenAt: time.Unix(1, 0)}})
	}
	buffer := make([]byte, 0, 64<<10)
	require.Zero(t, testing.AllocsPerRun(100, func() { buffer = appendPage(buffer[:0], page) }))
}
