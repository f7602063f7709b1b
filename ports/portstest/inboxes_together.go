package portstest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// InboxTogether has many publish, retract, acknowledge, follow and let time pass at once. At every single read the counts
// are those of the list, a version never goes back and never stands for two states, and the changes lead to what is there.
func InboxTogether(t *testing.T, open func(*testing.T) (InboxStore, Pass)) {
	const rounds = 40
	s, pass := open(t)
	ctx := t.Context()
	viewers := []inbox.Viewer{adas, graces}
	start := globalsNow(t, s)
	var sent struct {
		sync.Mutex
		ids []inbox.MessageID
	}
	pick := func() inbox.MessageID {
		sent.Lock()
		defer sent.Unlock()
		if len(sent.ids) == 0 {
			return 1 << 40
		}
		return sent.ids[rand.N(len(sent.ids))]
	}
	var writers, readers sync.WaitGroup
	var over atomic.Bool
	write := func(fn func(i int)) {
		writers.Go(func() {
			for i := range rounds {
				fn(i)
			}
		})
	}
	for range 2 {
		write(func(i int) {
			mail := Mail{To: []preference.CustomerID{ada, grace}, Pinned: i%7 == 0, Life: time.Duration(1+i%5) * time.Hour}
			switch i % 4 {
			case 0:
				mail.To = mail.To[:1]
			case 1:
				mail.In = 30 * time.Minute
			case 2:
				mail.Many = i%8 == 2
			case 3:
				if mail.To = nil; i%8 == 3 {
					mail.In = 30 * time.Minute
				}
			}
			m := Send(t, s, mail)
			if mail.Many {
				deliver(t, s, m.ID)
			}
			sent.Lock()
			sent.ids = append(sent.ids, m.ID)
			sent.Unlock()
		})
	}
	for n := range 2 {
		write(func(i int) {
			state := []inbox.State{inbox.Seen, inbox.Read, inbox.Archived, inbox.Unread, inbox.Unarchived}[i%5]
			_, err := s.UpdateInbox(ctx, viewers[(i+n)%2], []inbox.MessageID{pick(), pick()}, 0, saying(state))
			assert.NoError(t, err)
		})
	}
	write(func(i int) {
		if i%3 == 0 {
			id := pick()
			if _, err := s.RetractMessage(ctx, id); err == nil {
				deliver(t, s, id)
			}
		}
	})
	write(func(i int) {
		if i%8 == 4 {
			pass(20 * time.Minute)
		}
	})
	for _, v := range viewers {
		readers.Go(func() {
			var last ports.InboxRead
			globals := inbox.NewGlobals(0, 0, nil, nil, nil, time.Time{})
			for !over.Load() && !t.Failed() {
				read, g := everything(t, s, v, inbox.Filter{})
				if g.Version == globals.Version {
					assert.Equal(t, shown(globals), shown(g), "one version for two states of the globals")
				}
				globals = g
				assert.Equal(t, counted(read.Items), read.Counts, "the counts are those of the list")
				assert.True(t, read.Version.Covers(last.Version), "a version goes back: %v after %v", read.Version, last.Version)
				if read.Version == last.Version {
					assert.Equal(t, idsOf(last.Items), idsOf(read.Items), "one version for two states")
				}
				last = read
			}
		})
		readers.Go(func() {
			c := &follower{version: inbox.Version{Global: start.Version}, items: map[inbox.MessageID]inbox.Receipt{}}
			for !over.Load() && !t.Failed() {
				c.follow(t, s, v)
			}
			c.follow(t, s, v)
			c.compare(t, s, v)
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
}

// follower keeps a copy of a customer's own messages by the changes alone.
type follower struct {
	version inbox.Version
	items   map[inbox.MessageID]inbox.Receipt
}

func (c *follower) follow(t *testing.T, s InboxStore, v inbox.Viewer) {
	g, err := s.Globals(context.Background())
	require.NoError(t, err)
	concerned, err := s.GlobalChanges(context.Background(), c.version.Global)
	require.NoError(t, err)
	for {
		read, err := s.ReadChanges(context.Background(), v, c.version.Own, concerned, CardFormat, 3)
		require.NoError(t, err)
		for _, item := range read.Items {
			if delete(c.items, item.Position.ID); !item.Gone {
				c.items[item.Position.ID] = item.Receipt
			}
		}
		// The global changes that were asked for are those up to g at least.
		c.version, concerned = inbox.Version{Own: read.UpTo, Global: g.Version}, ports.Concerned{}
		if read.UpTo == read.Version.Own {
			return
		}
	}
}

func (c *follower) compare(t *testing.T, s InboxStore, v inbox.Viewer) {
	read, _ := everything(t, s, v, inbox.Filter{})
	archive, _ := everything(t, s, v, inbox.Filter{View: inbox.ViewArchived})
	want := map[inbox.MessageID]inbox.Receipt{}
	for _, item := range append(read.Items, archive.Items...) {
		want[item.Position.ID] = item.Receipt
	}
	assert.Equal(t, want, c.items, "the changes lead to what is there")
}
