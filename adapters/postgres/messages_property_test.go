package postgres_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/adapters/postgres"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// modelled is what should be known of one message.
type modelled struct {
	ports.StoredMessage
	to        []preference.CustomerID
	has       map[preference.CustomerID]bool // was delivered
	retracted bool
	archived  map[preference.CustomerID]bool
	read      map[preference.CustomerID]bool
}

type messagesMachine struct {
	db        *postgres.DB
	t         *testing.T
	customers []preference.CustomerID
	messages  []*modelled
	versions  map[preference.CustomerID]inbox.Version
}

func (s *messagesMachine) pick(t *rapid.T) *modelled {
	if len(s.messages) == 0 {
		s.publish(t)
	}
	return rapid.SampledFrom(s.messages).Draw(t, "message")
}

func (s *messagesMachine) publish(t *rapid.T) {
	to := rapid.SliceOfNDistinct(rapid.SampledFrom(s.customers), 1, len(s.customers), func(c preference.CustomerID) preference.CustomerID { return c }).Draw(t, "to")
	d := portstest.Draft(to...)
	d.Content.Pinned = rapid.Bool().Draw(t, "pinned")
	m := &modelled{StoredMessage: portstest.Publish(s.t, s.db, d), to: to, has: map[preference.CustomerID]bool{}, archived: map[preference.CustomerID]bool{}, read: map[preference.CustomerID]bool{}}
	if len(to) <= portstest.InlineRecipients {
		m.deliver()
	}
	s.messages = append(s.messages, m)
}

func (m *modelled) deliver() {
	for _, c := range m.to {
		m.has[c] = true
	}
}

func (s *messagesMachine) deliverOne(t *rapid.T) {
	m := s.pick(t)
	portstest.DeliverAll(s.t, s.db, m.ID)
	if !m.retracted {
		m.deliver()
	}
}

func (s *messagesMachine) retract(t *rapid.T) {
	m := s.pick(t)
	_, err := s.db.RetractMessage(s.t.Context(), m.ID)
	require.NoError(t, err)
	m.retracted = true
}

// pin of a message to many is delivered at once, so that the model need not follow how far it has come.
func (s *messagesMachine) pin(t *rapid.T) {
	m := s.pick(t)
	_, err := s.db.EditMessage(s.t.Context(), m.ID, func(stored inbox.Message, links *inbox.Links, now time.Time) (*inbox.Message, error) {
		stored.Content.Pinned = !m.Content.Pinned
		return stored.Edited(inbox.Edit{Content: &stored.Content}, links, now)
	})
	if m.retracted {
		require.ErrorIs(t, err, &fault.Error{Code: "message-retracted"})
		return
	}
	require.NoError(t, err)
	m.Content.Pinned = !m.Content.Pinned
	portstest.DeliverAll(s.t, s.db, m.ID)
	m.deliver()
}

func (s *messagesMachine) acknowledge(t *rapid.T) {
	m, c := s.pick(t), rapid.SampledFrom(s.customers).Draw(t, "customer")
	state := rapid.SampledFrom([]inbox.State{inbox.Read, inbox.Archived}).Draw(t, "state")
	_, err := s.db.UpdateInbox(s.t.Context(), inbox.CustomerViewer(c), []inbox.MessageID{m.ID}, 0, func(e ports.InboxEdit) (ports.InboxWrite, error) {
		w := ports.InboxWrite{Receipts: map[inbox.MessageID]inbox.Receipt{}}
		for _, item := range e.Items {
			w.Receipts[item.Position.ID] = item.Receipt.Apply(state, e.Now)
		}
		return w, nil
	})
	require.NoError(t, err)
	if m.has[c] && !m.retracted {
		m.read[c] = m.read[c] || state == inbox.Read
		m.archived[c] = m.archived[c] || state == inbox.Archived
	}
}

func (s *messagesMachine) cleanUp(t *rapid.T) {
	before := time.Now().Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "when")) * time.Hour)
	done, err := s.db.CleanUp(s.t.Context(), before, 50)
	require.NoError(t, err)
	require.Zero(t, done.Repaired)
	s.messages = slices.DeleteFunc(s.messages, func(m *modelled) bool { return m.retracted }) // may be gone
}

// check compares every inbox with the model: list, order, counts, and a version that grows exactly when they differ.
func (s *messagesMachine) check(t *rapid.T) {
	g, err := s.db.Globals(s.t.Context())
	require.NoError(t, err)
	for _, c := range s.customers {
		var want []*modelled
		var counts inbox.Counts
		for _, m := range s.messages {
			if m.has[c] && !m.retracted && !m.archived[c] {
				want = append(want, m)
				counts.Total, counts.Unread = counts.Total+1, counts.Unread+1
				if m.read[c] {
					counts.Unread--
				}
			}
		}
		slices.SortFunc(want, func(a, b *modelled) int { return a.Position().Compare(b.Position()) })
		read, err := s.db.ReadInbox(s.t.Context(), ports.InboxQuery{Viewer: inbox.CustomerViewer(c), Leaving: g.Leaving, Page: &ports.PageQuery{Limit: 100}})
		require.NoError(t, err)
		require.Len(t, read.Items, len(want))
		for i, item := range read.Items {
			require.Equal(t, want[i].Position(), item.Position)
			require.Equal(t, want[i].read[c], !item.Receipt.ReadAt.IsZero())
		}
		counts.Unseen = read.Counts.Unseen // read implies seen; nothing else is said here
		require.Equal(t, counts, read.Counts)
		require.GreaterOrEqual(t, cmp.Compare(read.Version.Own, s.versions[c].Own), 0)
		require.LessOrEqual(t, read.Floor, read.Version.Own)
		s.versions[c] = read.Version
	}
}

// Whatever is published, delivered, retracted, pinned, acknowledged and cleaned up in whatever order: every inbox is what
// a few lists in memory say, and its counts are those of its list.
func TestInboxesFollowTheirMessages(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	world := 0
	rapid.Check(t, func(rt *rapid.T) {
		world++
		s := &messagesMachine{db: db, t: t, versions: map[preference.CustomerID]inbox.Version{}}
		for i := range portstest.InlineRecipients + 2 {
			s.customers = append(s.customers, preference.CustomerID(fmt.Sprintf("world-%d-customer-%d", world, i)))
		}
		rt.Repeat(map[string]func(*rapid.T){"publish": s.publish, "deliver": s.deliverOne, "retract": s.retract, "pin": s.pin,
			"acknowledge": s.acknowledge, "clean up": s.cleanUp, "": s.check})
	})
}
