package portstest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/ports"
)

// Feeds is the contract of ports.Feeds. open gives an empty store.
func Feeds(t *testing.T, open func(*testing.T) MessageStore) {
	for name, test := range map[string]func(*testing.T, MessageStore){
		"a feed is read from the beginning on":          feedAdvances,
		"of several that read the same one moves on":    feedOnce,
		"a failure is recorded and changes nothing":     feedFails,
		"what was refused is kept until it is accepted": feedRefuses,
		"a customer's messages of a source":             feedOwn,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func feedAdvances(t *testing.T, s MessageStore) {
	feed := func() ports.FeedState {
		t.Helper()
		state, err := s.Feed(t.Context(), "campaigns")
		require.NoError(t, err)
		return state
	}
	advance := func(from, to string, complete time.Time, want bool) {
		t.Helper()
		moved, err := s.Advance(t.Context(), "campaigns", from, to, complete)
		require.NoError(t, err)
		require.Equal(t, want, moved)
	}
	require.Zero(t, feed())
	advance("a", "b", time.Time{}, false)
	require.Zero(t, feed())
	advance("", "a", time.Time{}, true)
	require.Equal(t, ports.FeedState{Cursor: "a"}, feed())
	advance("", "b", Noon, false)
	advance("a", "b", Noon, true)
	require.Equal(t, ports.FeedState{Cursor: "b", PulledAt: Noon}, feed())
	advance("a", "c", Noon.Add(time.Hour), false)
	advance("b", "c", time.Time{}, true)
	require.Equal(t, ports.FeedState{Cursor: "c", PulledAt: Noon}, feed(), "it was read to its end then")
	advance("c", "c", Noon.Add(time.Minute), true)
	require.Equal(t, ports.FeedState{Cursor: "c", PulledAt: Noon.Add(time.Minute)}, feed())
	advance("c", "c", Noon, true)
	require.Equal(t, ports.FeedState{Cursor: "c", PulledAt: Noon.Add(time.Minute)}, feed(), "and never goes back")
	advance("c", "", Noon, true)
	advance("", "d", Noon, true)
	other, err := s.Feed(t.Context(), "other")
	require.NoError(t, err)
	require.Zero(t, other)
}

func feedOnce(t *testing.T, s MessageStore) {
	for _, from := range []string{"", "a"} {
		var all sync.WaitGroup
		wins := make(chan bool, 8)
		for range cap(wins) {
			all.Go(func() {
				moved, err := s.Advance(t.Context(), "campaigns", from, from+"a", Noon)
				if err != nil {
					t.Error(err)
				}
				wins <- moved
			})
		}
		all.Wait()
		close(wins)
		won := 0
		for moved := range wins {
			if moved {
				won++
			}
		}
		require.Equal(t, 1, won)
	}
}

func feedFails(t *testing.T, s MessageStore) {
	require.NoError(t, s.Failed(t.Context(), "campaigns", "timeout", Noon))
	state, err := s.Feed(t.Context(), "campaigns")
	require.NoError(t, err)
	require.Zero(t, state)
	moved, err := s.Advance(t.Context(), "campaigns", "", "a", Noon)
	require.NoError(t, err)
	require.True(t, moved)
	require.NoError(t, s.Failed(t.Context(), "campaigns", "timeout", Noon.Add(time.Minute)))
	state, err = s.Feed(t.Context(), "campaigns")
	require.NoError(t, err)
	require.Equal(t, ports.FeedState{Cursor: "a", PulledAt: Noon}, state)
}

func feedRefuses(t *testing.T, s MessageStore) {
	broken := Draft(ada)
	broken.ExternalID = "nul \x00 and \u2028"
	broken.Content.Body = "nul \x00"
	broken.Content.Actions = []inbox.Action{{ID: "a", Title: "A", Link: "app://nowhere"}}
	broken.Content.Variants = map[string]inbox.Text{"de": {Title: "Hallo", Actions: map[string]string{"a": "Ä"}}}
	broken.PublishAt = Noon
	first := ports.Refusal{Campaign: ports.Campaign{Draft: broken}, Code: "invalid-request", Detail: "body must have no control characters", At: Noon}
	second := ports.Refusal{Campaign: ports.Campaign{Draft: Draft(), Retracted: true}, Code: "deeplink-inactive", Detail: "deeplink leads nowhere", At: Noon.Add(time.Minute)}
	list := func() []ports.Refusal {
		t.Helper()
		refusals, err := s.Refusals(t.Context(), 10)
		require.NoError(t, err)
		return refusals
	}
	require.Empty(t, list())
	require.NoError(t, s.Refuse(t.Context(), second))
	require.NoError(t, s.Refuse(t.Context(), first))
	require.Equal(t, []ports.Refusal{first, second}, list())
	first.At, first.Code = Noon.Add(time.Hour), "message-exists"
	require.NoError(t, s.Refuse(t.Context(), first))
	require.Equal(t, []ports.Refusal{second, first}, list(), "those tried longest ago first")
	some, err := s.Refusals(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []ports.Refusal{second}, some)
	for _, r := range []ports.Refusal{first, second, second} {
		require.NoError(t, s.Accept(t.Context(), r.Campaign.Draft.Source, r.Campaign.Draft.ExternalID))
	}
	require.Empty(t, list())
}

func feedOwn(t *testing.T, s MessageStore) {
	mine, gone, foreign, other := Draft(ada), Draft(ada), Draft(grace), Draft(ada)
	mine.Source, gone.Source, foreign.Source = "upstream", "upstream", "upstream"
	m := Publish(t, s, mine)
	retract(t, s, Publish(t, s, gone).ID)
	Publish(t, s, foreign)
	Publish(t, s, other)
	own, err := s.OwnMessages(t.Context(), "upstream", ada)
	require.NoError(t, err)
	require.Equal(t, map[string]inbox.MessageID{mine.ExternalID: m.ID}, own)
	own, err = s.OwnMessages(t.Context(), "upstream", "somebody")
	require.NoError(t, err)
	require.Empty(t, own)
}
