package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/stream"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func changed(version string) string { return `inbox.changed {"version":"` + version + `"}` }
func preferred(tag string) string   { return `preferences.changed {"version":"` + tag + `"}` }
func operated(id string, s preference.Status) string {
	return `operation.updated {"operation":"` + id + `","status":"` + string(s) + `"}`
}

func TestANewStreamIsToldWhereEverythingStands(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.set(ada, func(s *ports.Standing) { s.Own, s.Tag = 5, "12+3" })
		r.put(ada, "op_1", preference.Applied)
		pass(2 * time.Minute)
		require.Equal(t, []string{changed("5.1"), preferred("12+3")}, r.open(ada, "").hears())
		require.Equal(t, []string{changed("0.1"), preferred("0")}, r.open(grace, "").hears())
		require.Equal(t, []string{changed("0.1")}, r.open(tablet, "").hears())
		require.Equal(t, []string{changed("0.1")}, r.open(nobody, "").hears())
		looks := len(r.asked)
		require.Equal(t, []string{changed("5.1"), preferred("12+3")}, r.open(ada, "").hears())
		require.Equal(t, []string{changed("0.1")}, r.open(nobody, "").hears())
		require.Len(t, r.asked, looks, "the database was asked for what is known")
	})
}

func TestOnlyWhomItConcernsIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a, alsoA, g, n := r.open(ada, ""), r.open(ada, ""), r.open(grace, ""), r.open(nobody, "")
		for _, c := range []*client{a, alsoA, g, n} {
			c.hears()
		}
		r.changeInbox(ada)
		r.changePreferences(ada, "1")
		r.operate(ada, "op_1", preference.Applied)
		want := []string{changed("1.1"), preferred("1"), operated("op_1", preference.Applied)}
		require.Equal(t, want, a.hears())
		require.Equal(t, want, alsoA.hears())
		require.Empty(t, g.hears())
		require.Empty(t, n.hears())

		r.changeGlobals()
		require.Equal(t, []string{changed("1.2")}, a.hears())
		require.Equal(t, []string{changed("0.2")}, g.hears())
		require.Equal(t, []string{changed("0.2")}, n.hears())
	})
}

func TestWhatHappensWhileAClientIsBusyBecomesOneWordOfAKind(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		for i := range 100 {
			r.changeInbox(ada)
			r.changeGlobals()
			r.changePreferences(ada, fmt.Sprint(i))
			r.operate(ada, "op_1", preference.Running)
			r.operate(ada, "op_2", preference.Running)
		}
		r.operate(ada, "op_1", preference.Applied)
		require.Equal(t, []string{changed("100.101"), preferred("99"), operated("op_2", preference.Running),
			operated("op_1", preference.Applied)}, c.hears())

		for i := range 3 * ports.MaxStandingOperations {
			r.operate(ada, fmt.Sprintf("op_%d", 1000+i), preference.Running)
		}
		heard := c.hears()
		require.Len(t, heard, ports.MaxStandingOperations, "what waits for a client is bounded")
		require.Contains(t, heard[len(heard)-1], "op_1149")
	})
}

func TestAnEventWithoutAVersionIsLookedUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a, g := r.open(ada, ""), r.open(grace, "")
		a.hears()
		g.hears()
		r.set(ada, func(s *ports.Standing) { s.Own = 7 })
		r.set(grace, func(s *ports.Standing) { s.Own = 9 })
		r.say(ports.InboxChanged, fields{}, ada, grace)
		require.Equal(t, []string{changed("7.1")}, a.hears())
		require.Equal(t, []string{changed("9.1")}, g.hears())

		r.say(ports.InboxChanged, fields{"own": 99}, ada, grace) // one number for two inboxes is of no use
		require.Empty(t, a.hears())
		require.Empty(t, g.hears())

		r.set(ada, func(s *ports.Standing) { s.Tag = "4" })
		r.put(ada, "op_1", preference.NeedsAttention)
		r.say(ports.PreferencesChanged, fields{}, ada)
		r.say(ports.OperationUpdated, fields{}, ada)
		require.Equal(t, []string{preferred("4"), operated("op_1", preference.NeedsAttention)}, a.hears())

		r.mu.Lock()
		r.global.Version = 30
		r.mu.Unlock()
		r.say(ports.InboxChanged, fields{})
		require.Equal(t, []string{changed("7.30")}, a.hears())
	})
}

func TestWordIsNotTakenBackByAnOlderLook(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(ada, "")
		first.hears()
		r.put(ada, "op_1", preference.Running)
		r.mu.Lock()
		hold := make(chan struct{})
		r.hold = hold
		r.mu.Unlock()
		again := r.open(ada, first.last) // looked up: version 0, tag 0, running
		synctest.Wait()
		r.changeInbox(ada)
		r.changePreferences(ada, "1")
		r.operate(ada, "op_1", preference.Applied)
		want := []string{changed("1.1"), preferred("1"), operated("op_1", preference.Applied)}
		require.Equal(t, want, first.hears())
		require.Empty(t, again.hears(), "it was told before it was known what it may have missed")
		close(hold)
		require.Equal(t, want, again.hears())
		require.Empty(t, first.hears())
	})
}

func TestStreamsAreLimited(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var of []*client
		for range 3 {
			of = append(of, r.open(ada, ""))
		}
		require.True(t, of[0].over(), "the oldest of one viewer's makes room")
		require.False(t, of[1].over())
		require.False(t, of[2].over())
		require.GreaterOrEqual(t, of[0].s.Retry(), time.Minute, "or the client would take turns with itself")
		of[0].s.Close()

		var anonymous []*client
		for range 7 { // two are ada's
			anonymous = append(anonymous, r.open(nobody, ""))
		}
		r.open(tablet, "")
		_, err := r.hub.Open(nobody, "")
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "who is not signed in leaves some to those who are")
		r.open(grace, "")
		_, err = r.hub.Open(grace, "")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))

		anonymous[3].s.Close()
		anonymous[3].s.Close()
		r.open(grace, "")
		_, err = r.hub.Open(grace, "")
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "closing twice made room twice")
	}, func(c *stream.Config) { c.MaxStreams, c.PerViewer = 11, 2 })
}

func TestWhoHasLeftDoesNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first, second := r.open(ada, ""), r.open(ada, "")
		first.s.Close()
		third := r.open(ada, "")
		require.False(t, second.over())
		fourth := r.open(ada, "")
		require.True(t, second.over())
		require.False(t, third.over())
		require.False(t, fourth.over())
	}, func(c *stream.Config) { c.PerViewer = 2 })
}

func TestWhoWaitsIsWoken(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		began := time.Now()
		for _, v := range []inbox.Viewer{ada, nobody} {
			c := r.open(v, "")
			c.hears()
			heard := make(chan string)
			go func() {
				for {
					words, ok := c.s.Next(t.Context())
					if !ok {
						close(heard)
						return
					}
					for _, w := range words {
						heard <- w.Kind
					}
				}
			}()
			synctest.Wait() // it waits for word
			r.changeGlobals()
			require.Equal(t, ports.InboxChanged, <-heard)
			if v == ada {
				synctest.Wait()
				r.changeInbox(ada)
				require.Equal(t, ports.InboxChanged, <-heard)
				synctest.Wait()
				r.changePreferences(ada, "1")
				require.Equal(t, ports.PreferencesChanged, <-heard)
				synctest.Wait()
				r.operate(ada, "op_1", preference.Applied)
				require.Equal(t, ports.OperationUpdated, <-heard)
			}
			synctest.Wait()
			c.s.Close()
			_, open := <-heard
			require.False(t, open)
		}
		require.Zero(t, time.Since(began))
	})
}

func TestOneViewerWithOneStreamMayReplaceIt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(ada, "")
		second := r.open(ada, "")
		require.True(t, first.over())
		second.hears()
		r.changeInbox(ada)
		require.Equal(t, []string{changed("1.1")}, second.hears())
	}, func(c *stream.Config) { c.PerViewer = 1 })
}

func TestASlowClientIsDroppedAndNobodyElseNotices(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		stuck, quick := r.open(ada, ""), r.open(ada, "")
		synctest.Wait()
		words, ok := stuck.s.Next(t.Context()) // and never comes back for more
		require.True(t, ok)
		require.NotEmpty(t, words)
		quick.hears()
		for i := range 60 {
			r.changeInbox(ada)
			require.Equal(t, []string{changed(fmt.Sprintf("%d.1", i+1))}, quick.hears())
			pass(time.Second)
		}
		require.Equal(t, 1, r.tally.ended["slow"])
		require.True(t, stuck.over())
		require.False(t, quick.over())
		stuck.s.Close()
		quick.s.Slow()
		require.Equal(t, map[string]int{"slow": 2}, r.tally.ended)
		require.GreaterOrEqual(t, stuck.s.Retry(), 5*time.Second)
	})
}

func TestTellingNeverWaitsForAClient(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for i := range 10_000 {
			r.open(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i))), "")
		}
		synctest.Wait()
		began := time.Now()
		for range 50 {
			r.changeGlobals()
		}
		require.Zero(t, time.Since(began), "in this time nothing passes but waiting")
		synctest.Wait()
	})
}

func TestSignsOfLife(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		for range 10 {
			began := time.Now()
			words, ok := c.s.Next(t.Context())
			require.True(t, ok)
			require.Empty(t, words)
			require.LessOrEqual(t, time.Since(began), 15*time.Second)
		}
		require.GreaterOrEqual(t, c.s.Retry(), 2*time.Second)
		require.LessOrEqual(t, c.s.Retry(), 4*time.Second)
	})
}

func TestStopping(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var all []*client
		ended := make(chan bool, 200)
		for i := range 200 {
			c := r.open(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i%50))), "")
			c.hears()
			all = append(all, c)
			go func() {
				_, ok := c.s.Next(t.Context())
				ended <- !ok && t.Context().Err() == nil
			}()
		}
		synctest.Wait()
		began := time.Now()
		r.hub.StopAccepting()
		for range all {
			require.True(t, <-ended)
		}
		require.Zero(t, time.Since(began))
		_, err := r.hub.Open(ada, "")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		waits := map[time.Duration]bool{}
		for _, c := range all {
			c.s.Close()
			waits[c.s.Retry().Round(100*time.Millisecond)] = true
		}
		require.Greater(t, len(waits), 10, "they must not all come back at once")
		require.Equal(t, map[string]int{"drained": 200}, r.tally.ended)
		r.hub.Close() // and the bubble finds goroutines that are left
		r.hub.Close()
	})
}

func TestMeasures(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		r.operate(ada, "op_1", preference.Applied)
		r.operate(ada, "op_2", preference.Applied)
		c.hears()
		c.s.Close()
		require.Equal(t, 1, r.tally.opened)
		require.Equal(t, map[string]int{"closed": 1}, r.tally.ended)
		require.Equal(t, map[string]int{ports.InboxChanged: 1, ports.PreferencesChanged: 1, ports.OperationUpdated: 2}, r.tally.told)
	})
}

func TestIdsThatNoStreamHasGiven(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		for _, id := range []string{"x", "7", "1-5-x", c.last + "\n", "2" + c.last[1:], c.last + `"`, strings.Replace(c.last, "1-", "1--", 1),
			"1-1.1-zzzzzzzzzzzzzzzzzzz-a-1", "1--1.1-0-a-1", "1-01.1-0-a-1", c.last + strings.Repeat("9", 200)} {
			_, err := r.hub.Open(ada, id)
			require.Equal(t, fault.Invalid, fault.KindOf(err), id)
		}
	})
}
