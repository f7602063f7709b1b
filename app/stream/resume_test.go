package stream_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func TestAClientThatComesBackIsToldWhatIsDifferent(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		elsewhere := r.another()
		c := r.open(ada, "")
		r.changePreferences(ada, "3")
		r.operate(ada, "op_1", preference.Running)
		c.hears()
		c.s.Close()
		pass(time.Hour)
		require.Empty(t, r.openAt(elsewhere, grace, c.last).hears()[2:], "somebody else starts over")

		same := r.openAt(elsewhere, ada, c.last)
		require.Equal(t, []string{operated("op_1", preference.Running)}, same.hears(), "what is open may be different by now")
		same.s.Close()

		r.changeInbox(ada)
		r.changeGlobals()
		r.put(ada, "op_1", preference.Applied)
		r.put(ada, "op_2", preference.NeedsAttention)
		r.set(ada, func(s *ports.Standing) { s.Tag = "4+2" })
		pass(2 * time.Minute)
		again := r.openAt(elsewhere, ada, same.last)
		require.Equal(t, []string{changed("1.2"), preferred("4+2"), operated("op_1", preference.Applied),
			operated("op_2", preference.NeedsAttention)}, again.hears())
		again.s.Close()

		pass(time.Hour)
		r.put(ada, "op_2", preference.Compensated)
		require.Equal(t, []string{operated("op_2", preference.Compensated)}, r.open(ada, again.last).hears(),
			"what was settled long before the client left was told then")
	})
}

func TestAClientThatBreaksOffInTheMiddleIsToldTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		pass(time.Hour)
		r.changeInbox(ada)
		r.changePreferences(ada, "1")
		r.operate(ada, "op_1", preference.Applied)
		pass(2 * time.Minute) // later than what is settled may still be on its way
		words, ok := c.s.Next(t.Context())
		require.True(t, ok)
		require.Len(t, words, 3)
		all := []string{changed("1.1"), preferred("1"), operated("op_1", preference.Applied)}
		for i := range 2 {
			pass(time.Hour)
			require.Equal(t, all[i+1:], r.open(ada, words[i].ID).hears())
		}
		require.Empty(t, r.open(ada, words[2].ID).hears())
	})
}

func TestSigningInStartsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		before := r.open(tablet, "")
		require.Equal(t, []string{changed("0.1")}, before.hears())
		require.Equal(t, []string{changed("0.1"), preferred("0")}, r.open(ada, before.last).hears(), "another inbox with the same version")
	})
}

func TestMissedEventsAreLookedUpInPortions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const people = 1200
		var all []*client
		for i := range people {
			c := r.open(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i))), "")
			c.hears()
			all = append(all, c)
		}
		anonymous := r.open(nobody, "")
		anonymous.hears()
		for i := range people {
			viewer := inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i)))
			r.set(viewer, func(s *ports.Standing) { s.Own, s.Tag = int64(i+1), "2" })
			r.put(viewer, "op_1", preference.Applied)
		}
		r.mu.Lock()
		r.global.Version, r.asked = 9, nil
		r.mu.Unlock()
		for _, l := range r.listeners() {
			l.missed()
		}
		for i, c := range all {
			require.Equal(t, []string{changed(fmt.Sprintf("%d.9", i+1)), preferred("2"), operated("op_1", preference.Applied)}, c.hears())
		}
		require.Equal(t, []string{changed("0.9")}, anonymous.hears())
		require.Equal(t, []int{500, 500, 201}, r.asked)
	})
}

func TestListeningThatBreaksIsTakenUpAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		close(r.listeners()[0].broken)
		synctest.Wait()
		require.Empty(t, r.listeners())
		r.changeInbox(ada) // nobody hears it
		pass(2 * time.Second)
		require.Equal(t, []string{changed("1.1")}, c.hears())
		r.changeInbox(ada)
		require.Equal(t, []string{changed("2.1")}, c.hears())
	})
}

func TestNobodyListensForNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		pass(time.Hour)
		require.Empty(t, r.listeners())
		c := r.open(ada, "")
		c.hears()
		require.Len(t, r.listeners(), 1)
		c.s.Close()
		pass(30 * time.Second)
		c = r.open(ada, c.last)
		pass(time.Hour)
		require.Len(t, r.listeners(), 1)
		require.Equal(t, 1, r.next, "it went on meanwhile")
		c.s.Close()
		pass(90 * time.Second)
		require.Empty(t, r.listeners())
		r.changeInbox(ada)
		r.changeGlobals()
		c = r.open(ada, c.last)
		require.Equal(t, []string{changed("1.2")}, c.hears())
		r.changeInbox(ada)
		require.Equal(t, []string{changed("2.2")}, c.hears())
	})
}

func TestAStreamOpensWhileTheDatabaseIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		old := r.open(ada, "")
		old.hears()
		r.mu.Lock()
		r.down = true
		r.mu.Unlock()
		fresh, back := r.open(grace, ""), r.open(ada, old.last)
		require.Empty(t, fresh.hears())
		words, ok := fresh.s.Next(t.Context())
		require.True(t, ok)
		require.Empty(t, words, "it shows that it is alive")
		r.changeInbox(ada) // through another process
		require.Equal(t, []string{changed("1.1")}, old.hears())
		require.Empty(t, back.hears())
		r.mu.Lock()
		r.down = false
		r.mu.Unlock()
		pass(2 * time.Second)
		require.Equal(t, []string{changed("0.1"), preferred("0")}, fresh.hears())
		require.Equal(t, []string{changed("1.1")}, back.hears())
	})
}

func TestWhatTimeChangesIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a, n := r.open(ada, ""), r.open(nobody, "")
		a.hears()
		n.hears()
		r.set(ada, func(s *ports.Standing) { s.Due = true })
		pass(31 * time.Second)
		require.Equal(t, []string{changed("1.1")}, a.hears())
		r.mu.Lock()
		require.Equal(t, []inbox.Viewer{ada}, r.rolled)
		r.global.Due = true
		r.mu.Unlock()
		pass(31 * time.Second)
		require.Equal(t, []string{changed("1.2")}, a.hears())
		require.Equal(t, []string{changed("0.2")}, n.hears())
	})
}

func TestWordThatWasLostIsMadeUpFor(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := r.open(ada, "")
		c.hears()
		r.set(ada, func(s *ports.Standing) { s.Own, s.Tag = 3, "8" })
		pass(31 * time.Second)
		require.Equal(t, []string{changed("3.1"), preferred("8")}, c.hears())
	})
}

// Whatever happens, and wherever and whenever clients break off and come back: in the end each knows what is so, and has
// been told how each operation ended.
func TestInTheEndEverybodyKnows(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		hubs := []interface {
			Open(inbox.Viewer, string) (ports.Stream, error)
		}{r.hub, r.another()}
		round := 0
		// Wrapped, because rapid would ask a *testing.T for its deadline, which is outside of the bubble's time.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			round++
			me := inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("c", round)))
			last, knows, operations := "", map[string]string{}, map[string]preference.Status{}
			var s ports.Stream
			come := func(at int) {
				var err error
				s, err = hubs[at].Open(me, last)
				require.NoError(rt, err)
			}
			take := func(upTo int) {
				synctest.Wait()
				words, ok := s.Next(atOnce)
				for ok {
					for _, w := range words[:min(upTo, len(words))] {
						what := w.Kind
						if w.Kind == ports.OperationUpdated {
							what = string(w.Data)[:24]
						}
						last, knows[what] = w.ID, string(w.Data)
					}
					if upTo < len(words) { // it broke off
						s.Close()
						come(rapid.IntRange(0, 1).Draw(rt, "back at"))
						return
					}
					words, ok = s.Next(atOnce)
				}
			}
			come(0)
			take(9)
			rt.Repeat(map[string]func(*rapid.T){
				"inbox":       func(*rapid.T) { r.changeInbox(me) },
				"globals":     func(*rapid.T) { r.changeGlobals() },
				"preferences": func(rt *rapid.T) { r.changePreferences(me, fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "tag"))) },
				"operation": func(rt *rapid.T) {
					id := fmt.Sprintf("op_%d", len(operations))
					if len(operations) > 0 && rapid.Bool().Draw(rt, "settles") {
						id = fmt.Sprintf("op_%d", len(operations)-1)
					}
					status := preference.Running
					if _, known := operations[id]; known {
						status = preference.Applied
					}
					if len(operations) < 10 || status == preference.Applied {
						operations[id] = status
						r.operate(me, id, status)
					}
				},
				"unheard": func(*rapid.T) {
					r.set(me, func(s *ports.Standing) { s.Own++ })
					for _, l := range r.listeners() {
						l.missed()
					}
				},
				"time":  func(*rapid.T) { pass(7 * time.Minute) },
				"take":  func(*rapid.T) { take(9) },
				"break": func(rt *rapid.T) { take(rapid.IntRange(0, 3).Draw(rt, "words")) },
				"leave": func(rt *rapid.T) {
					s.Close()
					come(rapid.IntRange(0, 1).Draw(rt, "at"))
				},
			})
			take(99)
			r.mu.Lock()
			want := *r.of(me)
			version := inbox.Version{Own: want.Own, Global: r.global.Version}
			r.mu.Unlock()
			require.Equal(rt, `{"version":"`+version.String()+`"}`, knows[ports.InboxChanged])
			require.Equal(rt, `{"version":"`+want.Tag+`"}`, knows[ports.PreferencesChanged])
			for id, status := range operations {
				word := operated(id, status)[len(ports.OperationUpdated)+1:]
				require.Equal(rt, word, knows[word[:24]])
			}
			s.Close()
		})
	})
}
