package portstest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// InboxStore is everything about inboxes that shares one database.
type InboxStore interface {
	ports.Inboxes
	ports.Globals
	ports.MessageStore
}

// Pass lets time go by for a store: everything that is kept moves into the past by that much, but for receipts.
type Pass func(time.Duration)

// Inboxes is the contract of ports.Inboxes and ports.Globals. open gives an empty store, opened with Encoder.
func Inboxes(t *testing.T, open func(*testing.T) (InboxStore, Pass)) {
	for name, test := range map[string]func(*testing.T, InboxStore, Pass){
		"an inbox that nothing has happened to is empty":      untouchedInbox,
		"a message is in its recipients' inboxes alone":       recipientsOnly,
		"pinned first, then the newest, page by page":         orderAndPages,
		"views and categories":                                viewsAndCategories,
		"a card is there in the format that is asked for":     cardsByFormat,
		"time makes messages show and go, and is a change":    timeIsAChange,
		"a message that nobody looked at shows in its turn":   timeInOneStep,
		"what a viewer did is stored with the counts":         editIsStored,
		"an edit is of what shows and was asked for":          editOfWhatShows,
		"an edit of all is of what was there":                 editOfAll,
		"an edit that fails or does nothing stores nothing":   editStoresNothing,
		"an edit that breaks its promises is refused":         editIsRefused,
		"receipts for global messages come back as they were": globalReceipts,
		"an inbox is made once":                               madeAtOnce,
		"what an installation did goes to one customer once":  takenOnce,
		"a failing taking leaves the receipts":                takingFails,
		"one at a time reads a customer's feed upstream":      oneClaims,
		"changes are complete up to a version":                changesInParts,
		"changes have what globals concern":                   changesConcerned,
		"globals are of one version":                          globalsOfOneVersion,
		"targets begin and end":                               targetsBeginAndEnd,
		"a message to many leaves at once":                    leavesAtOnce,
		"an ended context stores nothing":                     endedEdit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pass := open(t)
			test(t, s, pass)
		})
	}
}

// Encoder is what a store under test encodes cards with: the title alone.
type Encoder struct{}

// CardFormat of the cards of Encoder.
const CardFormat = 7

func (Encoder) Format() int { return CardFormat }

// Card implements ports.Cards.
func (Encoder) Card(m *inbox.Message, _ []string, _ func(string) bool) []byte {
	return fmt.Appendf(nil, `"title":%q`, m.Content.Title)
}

var (
	adas    = inbox.CustomerViewer(ada)
	graces  = inbox.CustomerViewer(grace)
	install = inbox.InstallationViewer("0b7f6a52-0b7f-4b7f-8b7f-0b7f6a520b7f")
)

var lastMessage atomic.Int64

// Mail is a message to be published. Times count from when it is published.
type Mail struct {
	To       []preference.CustomerID // nobody for a global message
	Title    string
	Category string
	Link     string
	Pinned   bool
	Many     bool // too many recipients for one transaction
	In, Life time.Duration
}

// Send publishes it. A message to many is not delivered yet.
func Send(t require.TestingT, s ports.MessageStore, mail Mail) inbox.Message {
	inline := 1000
	if mail.Many {
		inline = 0
	}
	id := fmt.Sprintf("m-%06d", lastMessage.Add(1))
	stored, created, err := s.PublishMessage(context.Background(), "test", id, mail.To, inline, func(links *inbox.Links, now time.Time) (*inbox.Message, error) {
		d := inbox.Draft{Source: "test", ExternalID: id, Audience: inbox.Personal, Recipients: mail.To, PublishAt: now.Add(mail.In),
			Content: inbox.Content{Category: mail.Category, Pinned: mail.Pinned, Link: mail.Link}}
		d.Content.Title = mail.Title + "#" + id
		if mail.To == nil {
			d.Audience = inbox.Global
		}
		if mail.Life != 0 {
			d.Expiry = d.PublishAt.Add(mail.Life)
		}
		return d.Publish(links, now)
	})
	require.NoError(t, err)
	require.True(t, created)
	return stored.Message
}

// Retract takes it back.
func Retract(t require.TestingT, s ports.MessageStore, id inbox.MessageID) {
	_, err := s.RetractMessage(context.Background(), id)
	require.NoError(t, err)
}

// everything reads an inbox with as many items as a page can have, under globals of the same version.
func everything(t require.TestingT, s InboxStore, viewer inbox.Viewer, f inbox.Filter) (ports.InboxRead, *inbox.Globals) {
	return readPage(t, s, viewer, ports.PageQuery{Filter: f, Limit: 100, Format: CardFormat})
}

func readPage(t require.TestingT, s InboxStore, viewer inbox.Viewer, page ports.PageQuery) (ports.InboxRead, *inbox.Globals) {
	for range 100 {
		g, err := s.Globals(context.Background())
		require.NoError(t, err)
		read, err := s.ReadInbox(context.Background(), ports.InboxQuery{Viewer: viewer, Leaving: g.Leaving, Page: &page})
		require.NoError(t, err)
		if read.Version.Global == g.Version && !read.GlobalsDue {
			return read, g
		}
	}
	require.Fail(t, "the globals never were those of the inbox")
	return ports.InboxRead{}, nil
}

func idsOf(items []ports.InboxItem) []inbox.MessageID {
	out := make([]inbox.MessageID, len(items))
	for i, item := range items {
		out[i] = item.Position.ID
	}
	return out
}

func counted(items []ports.InboxItem) (c inbox.Counts) {
	for _, item := range items {
		c = c.Add(item.Receipt, 1)
	}
	return c
}

// say edits an inbox as somebody who says the same of some of its own messages.
func say(t require.TestingT, s InboxStore, viewer inbox.Viewer, state inbox.State, ids ...inbox.MessageID) ports.InboxHead {
	head, err := s.UpdateInbox(context.Background(), viewer, append([]inbox.MessageID{}, ids...), 0, saying(state))
	require.NoError(t, err)
	return head
}

func saying(state inbox.State) func(ports.InboxEdit) (ports.InboxWrite, error) {
	return func(e ports.InboxEdit) (ports.InboxWrite, error) {
		w := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
		for _, item := range e.Items {
			w.Receipts[item.Position.ID] = item.Receipt.Apply(state, e.Now)
		}
		return w, nil
	}
}

// sayGlobal is say for a global message.
func sayGlobal(t require.TestingT, s InboxStore, viewer inbox.Viewer, state inbox.State, id inbox.MessageID) ports.InboxHead {
	head, err := s.UpdateInbox(context.Background(), viewer, []inbox.MessageID{id}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		return ports.InboxWrite{Globals: e.Receipts.With(inbox.GlobalReceipt{ID: id, Receipt: e.Receipts.Of(id).Apply(state, e.Now), Changed: e.Next})}, nil
	})
	require.NoError(t, err)
	return head
}

func untouchedInbox(t *testing.T, s InboxStore, _ Pass) {
	for _, viewer := range []inbox.Viewer{adas, install} {
		read, g := everything(t, s, viewer, inbox.Filter{})
		require.Equal(t, inbox.Version{Global: g.Version}, read.Version)
		require.Zero(t, read.Counts)
		require.Empty(t, read.Receipts)
		require.Empty(t, read.Items)
		require.True(t, read.PulledAt.IsZero() && read.CampaignsAt.IsZero())
		require.WithinDuration(t, time.Now(), read.Now, time.Minute)
		changes, err := s.ReadChanges(t.Context(), viewer, 0, ports.Concerned{}, CardFormat, 10)
		require.NoError(t, err)
		require.Empty(t, changes.Items)
		require.Zero(t, changes.UpTo)
	}
}

func recipientsOnly(t *testing.T, s InboxStore, _ Pass) {
	both, hers := Send(t, s, Mail{To: []preference.CustomerID{ada, grace}}), Send(t, s, Mail{To: []preference.CustomerID{grace}})
	Send(t, s, Mail{})
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{both.ID}, idsOf(read.Items))
	require.EqualValues(t, 1, read.Version.Own)
	require.Equal(t, both.Position(), read.Items[0].Position)
	require.Equal(t, both.Expiry, read.Items[0].Expiry)
	require.True(t, read.Items[0].Receipt.IsZero())
	read, _ = everything(t, s, graces, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{hers.ID, both.ID}, idsOf(read.Items))
	require.Equal(t, inbox.Counts{Total: 2, Unseen: 2, Unread: 2}, read.Counts)
	read, _ = everything(t, s, install, inbox.Filter{})
	require.Empty(t, read.Items)
}

func orderAndPages(t *testing.T, s InboxStore, pass Pass) {
	var want []inbox.Position
	for i := range 12 {
		m := Send(t, s, Mail{To: []preference.CustomerID{ada}, Pinned: i%5 == 2, In: time.Duration(i%4) * time.Minute})
		p := m.Position()
		p.Published = p.Published.Add(-time.Hour)
		want = append(want, p)
	}
	pass(time.Hour)
	slices.SortFunc(want, inbox.Position.Compare)
	for _, limit := range []int{1, 5, 12, 40, 200} {
		var got []inbox.Position
		var after *inbox.Position
		for {
			page, _ := readPage(t, s, adas, ports.PageQuery{After: after, Limit: limit})
			require.LessOrEqual(t, len(page.Items), limit)
			require.Equal(t, inbox.Counts{Total: 12, Unseen: 12, Unread: 12}, page.Counts)
			for _, item := range page.Items {
				got = append(got, item.Position)
			}
			if len(page.Items) == 0 || len(got) > len(want) {
				break
			}
			after = &got[len(got)-1]
		}
		require.Equal(t, want, got, "limit %d", limit)
	}
}

func viewsAndCategories(t *testing.T, s InboxStore, _ Pass) {
	fresh := Send(t, s, Mail{To: []preference.CustomerID{ada}, Category: "a"}).ID
	seen := Send(t, s, Mail{To: []preference.CustomerID{ada}, Category: "b"}).ID
	read := Send(t, s, Mail{To: []preference.CustomerID{ada}, Category: "c"}).ID
	archived := Send(t, s, Mail{To: []preference.CustomerID{ada}, Category: "a"}).ID
	say(t, s, adas, inbox.Seen, seen)
	say(t, s, adas, inbox.Read, read)
	say(t, s, adas, inbox.Archived, archived)
	for _, c := range []struct {
		filter inbox.Filter
		want   []inbox.MessageID
	}{
		{inbox.Filter{}, []inbox.MessageID{read, seen, fresh}},
		{inbox.Filter{View: inbox.ViewAll}, []inbox.MessageID{read, seen, fresh}},
		{inbox.Filter{View: inbox.ViewUnseen}, []inbox.MessageID{fresh}},
		{inbox.Filter{View: inbox.ViewUnread}, []inbox.MessageID{seen, fresh}},
		{inbox.Filter{View: inbox.ViewArchived}, []inbox.MessageID{archived}},
		{inbox.Filter{Categories: []string{"a"}}, []inbox.MessageID{fresh}},
		{inbox.Filter{Categories: []string{"a", "c"}}, []inbox.MessageID{read, fresh}},
		{inbox.Filter{Categories: []string{"a"}, View: inbox.ViewArchived}, []inbox.MessageID{archived}},
		{inbox.Filter{Categories: []string{"none"}}, []inbox.MessageID{}},
	} {
		got, _ := everything(t, s, adas, c.filter)
		require.Equal(t, c.want, idsOf(got.Items), "%+v", c.filter)
		require.Equal(t, inbox.Counts{Total: 3, Unseen: 1, Unread: 2}, got.Counts, "the counts are of everything")
		if len(c.want) > 1 {
			rest, _ := readPage(t, s, adas, ports.PageQuery{Filter: c.filter, After: &got.Items[0].Position, Limit: 5})
			require.Equal(t, c.want[1:], idsOf(rest.Items), "%+v, after the first", c.filter)
		}
	}
}

func cardsByFormat(t *testing.T, s InboxStore, _ Pass) {
	m := Send(t, s, Mail{To: []preference.CustomerID{ada}, Title: "Grüezi"})
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, string(Encoder{}.Card(&m, nil, nil)), string(read.Items[0].Card))
	require.False(t, read.Items[0].Localized)
	read, _ = readPage(t, s, adas, ports.PageQuery{Limit: 5, Format: CardFormat + 1})
	require.Nil(t, read.Items[0].Card, "what is stored is of another format")
	changes, err := s.ReadChanges(t.Context(), adas, 0, ports.Concerned{}, CardFormat, 10)
	require.NoError(t, err)
	require.Equal(t, string(Encoder{}.Card(&m, nil, nil)), string(changes.Items[0].Card))
}

func timeIsAChange(t *testing.T, s InboxStore, pass Pass) {
	now := Send(t, s, Mail{To: []preference.CustomerID{ada}, Life: 5 * time.Hour}).ID
	later := Send(t, s, Mail{To: []preference.CustomerID{ada}, In: 2 * time.Hour, Life: time.Hour}).ID
	never := Send(t, s, Mail{To: []preference.CustomerID{ada}, In: 2 * time.Hour, Life: time.Hour}).ID
	Retract(t, s, never)
	read, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{now}, idsOf(read.Items))
	before := read.Version.Own
	say(t, s, adas, inbox.Read, now)

	pass(2*time.Hour + time.Minute)
	read, _ = everything(t, s, adas, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{later, now}, idsOf(read.Items))
	require.Equal(t, inbox.Counts{Total: 2, Unseen: 1, Unread: 1}, read.Counts)
	require.Equal(t, before+2, read.Version.Own)
	again, _ := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, read.Version, again.Version, "once")

	pass(time.Hour)
	read, _ = everything(t, s, adas, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{now}, idsOf(read.Items))
	require.Equal(t, inbox.Counts{Total: 1}, read.Counts)
	changes, err := s.ReadChanges(t.Context(), adas, before+2, ports.Concerned{}, CardFormat, 10)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{later}, idsOf(changes.Items))
	require.True(t, changes.Items[0].Gone)

	pass(2 * time.Hour)
	head := say(t, s, adas, inbox.Archived, now)
	require.Zero(t, head.Counts, "an edit sees that time has passed as well")
	require.Equal(t, before+4, head.Version.Own, "and what it did not change is not stored")
	read, _ = everything(t, s, adas, inbox.Filter{})
	require.Empty(t, read.Items)
	require.Equal(t, head.Version, read.Version)
}

func timeInOneStep(t *testing.T, s InboxStore, pass Pass) {
	Send(t, s, Mail{To: []preference.CustomerID{ada}, In: time.Hour, Life: time.Hour})
	stays := Send(t, s, Mail{To: []preference.CustomerID{ada}, In: 2 * time.Hour, Life: 10 * time.Hour}).ID
	Send(t, s, Mail{In: time.Hour, Life: time.Hour})
	global := Send(t, s, Mail{In: 2 * time.Hour, Life: 10 * time.Hour}).ID
	before, _ := everything(t, s, adas, inbox.Filter{})
	pass(5 * time.Hour)
	changes, err := s.ReadChanges(t.Context(), adas, before.Version.Own, ports.Concerned{}, CardFormat, 10)
	require.NoError(t, err)
	require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, changes.Counts)
	read, g := everything(t, s, adas, inbox.Filter{})
	require.Equal(t, []inbox.MessageID{stays}, idsOf(read.Items))
	require.Len(t, g.Messages, 1)
	require.Equal(t, global, g.Messages[0].ID)
	require.Equal(t, before.Version.Global+1, g.Version)
}
