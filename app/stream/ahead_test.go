package stream_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// soon is within what a client may hear of a change later than it happens.
const soon = time.Second

// looks since the last time it was asked.
func (r *rig) looks() (viewers []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	viewers, r.asked = r.asked, nil
	return viewers
}

func (r *rig) rolls() (viewers []inbox.Viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	viewers, r.rolled = r.rolled, nil
	return viewers
}

func TestWhatTimeChangesIsToldAtOnceThoughNobodyReads(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.changesIn(ada, 3*time.Second, 20*time.Second, 21*time.Second)
		r.changesIn(tablet, 5*time.Second)
		a, device, g := r.open(ada, ""), r.open(tablet, ""), r.open(grace, "")
		for _, c := range []*client{a, device, g} {
			c.hears()
		}
		pass(3*time.Second - time.Millisecond)
		require.Empty(t, a.hears())
		require.Empty(t, r.rolls(), "nothing is due")
		pass(soon)
		require.Equal(t, []string{changed("1.1")}, a.hears())
		require.Empty(t, device.hears())
		pass(2 * time.Second)
		require.Equal(t, []string{changed("1.1")}, device.hears())
		pass(15 * time.Second)
		require.Equal(t, []string{changed("2.1")}, a.hears(), "the one after it")
		pass(soon)
		require.Equal(t, []string{changed("3.1")}, a.hears(), "and the one right after that")
		require.Empty(t, g.hears())
		require.Equal(t, []inbox.Viewer{ada, tablet, ada, ada}, r.rolls())
	})
}

func TestWhatTimeChangesForEverybodyIsToldAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.changesIn(nobody, 3*time.Second, 8*time.Second)
		g := r.open(grace, "")
		g.hears()
		pass(3*time.Second - time.Millisecond)
		require.Empty(t, g.hears())
		require.Empty(t, r.rolls())
		pass(soon)
		require.Equal(t, []string{changed("0.2")}, g.hears())
		n := r.open(nobody, "")
		require.Equal(t, []string{changed("0.2")}, n.hears())
		pass(5 * time.Second)
		require.Equal(t, []string{changed("0.3")}, g.hears())
		require.Equal(t, []string{changed("0.3")}, n.hears())
		require.Equal(t, []inbox.Viewer{nobody, nobody}, r.rolls())
	})
}

// A message that is published now, to begin in 3 s, makes a difference to nobody yet: its word says the version there was.
func TestAChangeMayBringTheNextOneForward(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.set(ada, func(s *ports.Standing) { s.Own = 4 })
		r.changesIn(ada, 25*time.Second)
		a, n := r.open(ada, ""), r.open(nobody, "")
		a.hears()
		n.hears()
		pass(2 * time.Second)
		r.changesIn(ada, 3*time.Second)
		r.say(ports.InboxChanged, fields{"own": 4}, ada)
		pass(3*time.Second - time.Millisecond)
		require.Empty(t, a.hears())
		pass(soon)
		require.Equal(t, []string{changed("5.1")}, a.hears())

		r.changesIn(ada, 3*time.Second)
		r.changeInbox(ada)
		require.Equal(t, []string{changed("6.1")}, a.hears())
		pass(3*time.Second + soon)
		require.Equal(t, []string{changed("7.1")}, a.hears())

		r.changesIn(nobody, 3*time.Second)
		r.say(ports.InboxChanged, fields{"global": 1})
		pass(3*time.Second - time.Millisecond)
		require.Empty(t, n.hears())
		pass(soon)
		require.Equal(t, []string{changed("0.2")}, n.hears())
		require.Equal(t, []string{changed("7.2")}, a.hears())
	})
}

// What is brought forward to a moment before anybody could look is told as soon as somebody has looked.
func TestAChangeBroughtForwardToNow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.set(ada, func(s *ports.Standing) { s.Own = 4 })
		a := r.open(ada, "")
		a.hears()
		pass(10 * time.Second)
		r.changesIn(ada, time.Millisecond)
		r.say(ports.InboxChanged, fields{"own": 4}, ada)
		pass(soon)
		require.Equal(t, []string{changed("5.1")}, a.hears())
	})
}

func TestAChangeDuringALookIsLookedAtAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.open(ada, "")
		first.hears()
		pass(5 * time.Second)
		r.mu.Lock()
		hold := make(chan struct{})
		r.hold = hold
		r.mu.Unlock()
		r.open(ada, first.last) // looked up: nothing is ahead
		synctest.Wait()
		r.changesIn(ada, 3*time.Second)
		r.changeInbox(ada)
		require.Equal(t, []string{changed("1.1")}, first.hears())
		r.mu.Lock()
		r.hold = nil
		r.mu.Unlock()
		close(hold)
		pass(3*time.Second + soon)
		require.Equal(t, []string{changed("2.1")}, first.hears())
	})
}

func TestLooksForWhatIsAheadAreFewAndBatched(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const people = 1200
		for i := range people {
			r.open(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i))), "")
		}
		pass(16*time.Second + 100*time.Millisecond) // from here on for 14 s nobody is checked without a reason
		r.looks()
		for range 3 {
			for i := range people {
				r.changeInbox(inbox.CustomerViewer(preference.CustomerID(fmt.Sprint(i))))
				r.changeGlobals()
			}
		}
		require.Empty(t, r.looks(), "word says the version: nobody waits for a look")
		pass(soon)
		require.Equal(t, []int{500, 500, 200}, r.looks())

		// A change every 10 ms for five seconds: a look a second, also for the globals.
		for range 500 {
			r.changeInbox(inbox.CustomerViewer("7"))
			r.changeGlobals()
			pass(10 * time.Millisecond)
		}
		looks := r.looks()
		require.LessOrEqual(t, len(looks), 6)
		require.GreaterOrEqual(t, len(looks), 4)
		for _, viewers := range looks {
			require.LessOrEqual(t, viewers, 2)
		}
	})
}

func TestARollThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.changesIn(ada, 3*time.Second)
		r.changesIn(nobody, 10*time.Second)
		a := r.open(ada, "")
		a.hears()
		r.mu.Lock()
		r.fails = 1
		r.mu.Unlock()
		pass(3*time.Second + 2*soon)
		require.Equal(t, []string{changed("1.1")}, a.hears())
		require.Equal(t, []inbox.Viewer{ada, ada}, r.rolls())
		r.mu.Lock()
		r.fails = 10
		r.mu.Unlock()
		pass(10 * time.Second)
		require.LessOrEqual(t, len(r.rolls()), 6, "not in a circle")
		pass(7 * time.Second)
		require.Equal(t, []string{changed("1.2")}, a.hears())
	})
}

func TestWhoHasLeftIsNotRolled(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.changesIn(ada, 3*time.Second)
		r.changesIn(nobody, 3*time.Second)
		a := r.open(ada, "")
		a.hears()
		a.s.Close()
		pass(10 * time.Second)
		require.Empty(t, r.rolls())
		back := r.open(ada, a.last)
		pass(soon)
		require.Equal(t, []string{changed("1.2")}, back.hears())
	})
}

func TestWhatIsFarAheadIsToldInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.changesIn(ada, 3*time.Hour+11*time.Second, 290*365*24*time.Hour)
		a := r.open(ada, "")
		a.hears()
		pass(3*time.Hour + 11*time.Second - time.Millisecond)
		require.Empty(t, a.hears())
		pass(soon)
		require.Equal(t, []string{changed("1.1")}, a.hears())
		pass(time.Hour)
		require.Equal(t, []inbox.Viewer{ada}, r.rolls())
	})
}
