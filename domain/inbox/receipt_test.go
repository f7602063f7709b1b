package inbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/inbox"
)

var forward = []inbox.State{inbox.Seen, inbox.Read, inbox.Clicked, inbox.Archived}

type act struct {
	State inbox.State
	At    time.Time
}

func acts(states ...inbox.State) *rapid.Generator[[]act] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{rapid.SampledFrom(states).Draw(t, "state"), moments().Draw(t, "at")}
	}), 0, 8)
}

func applied(r inbox.Receipt, acts []act) inbox.Receipt {
	for _, a := range acts {
		r = r.Apply(a.State, a.At)
	}
	return r
}

func TestWhatIsSaidTwiceIsSaidOnce(t *testing.T) {
	t.Parallel()
	all := append([]inbox.State{inbox.Unread, inbox.Unarchived}, forward...)
	rapid.Check(t, func(t *rapid.T) {
		r := applied(inbox.Receipt{}, acts(all...).Draw(t, "before"))
		a := acts(all...).Filter(func(a []act) bool { return len(a) > 0 }).Draw(t, "said")[0]
		once := r.Apply(a.State, a.At)
		require.Equal(t, once, once.Apply(a.State, a.At))
	})
}

func TestStatesOnlyMoveForwardWithoutAnUndo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := applied(inbox.Receipt{}, acts(forward...).Draw(t, "before"))
		after := applied(r, acts(forward...).Draw(t, "more"))
		for _, pair := range [][2]time.Time{{r.SeenAt, after.SeenAt}, {r.ReadAt, after.ReadAt}, {r.ClickedAt, after.ClickedAt}, {r.ArchivedAt, after.ArchivedAt}} {
			if !pair[0].IsZero() {
				require.False(t, pair[1].IsZero(), "something that has happened has not happened any more")
				require.False(t, pair[1].After(pair[0]), "the first time is the one that counts")
			}
		}
	})
}

func TestDevicesThatWereOfflineAgreeInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := acts(forward...).Draw(t, "said")
		require.Equal(t, applied(inbox.Receipt{}, said), applied(inbox.Receipt{}, rapid.Permutation(said).Draw(t, "order")))
	})
}

func TestAClickIsAReadAndAReadIsASight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := applied(inbox.Receipt{}, acts(append([]inbox.State{inbox.Unread, inbox.Unarchived}, forward...)...).Draw(t, "said"))
		if !r.ClickedAt.IsZero() || !r.ReadAt.IsZero() {
			require.False(t, r.Unseen())
		}
		require.False(t, !r.ReadAt.IsZero() && !r.UnreadAt.IsZero() && !r.ReadAt.After(r.UnreadAt), "read before it was taken back")
	})
	r := inbox.Receipt{}.Apply(inbox.Clicked, noon)
	require.Equal(t, inbox.Receipt{SeenAt: noon, ReadAt: noon, ClickedAt: noon}, r)
}

func TestAnUndoIsOnlyOverriddenByWhatIsNewer(t *testing.T) {
	t.Parallel()
	r := applied(inbox.Receipt{}, []act{{inbox.Read, noon}, {inbox.Archived, noon}})
	undone := applied(r, []act{{inbox.Unread, noon.Add(time.Hour)}, {inbox.Unarchived, noon.Add(time.Hour)}})
	require.True(t, undone.Unread())
	require.False(t, undone.Archived())
	late := applied(undone, []act{{inbox.Read, noon.Add(time.Minute)}, {inbox.Archived, noon.Add(time.Minute)}})
	require.True(t, late.Unread(), "an older word that arrived late")
	require.False(t, late.Archived())
	again := applied(undone, []act{{inbox.Read, noon.Add(2 * time.Hour)}, {inbox.Archived, noon.Add(2 * time.Hour)}})
	require.False(t, again.Unread())
	require.True(t, again.Archived())
	older := r.Apply(inbox.Unread, noon.Add(-time.Hour))
	require.Equal(t, r, older, "an undo of something that had not happened yet")
}

func TestMergingTakesTheFurthestState(t *testing.T) {
	t.Parallel()
	all := append([]inbox.State{inbox.Unread, inbox.Unarchived}, forward...)
	rapid.Check(t, func(t *rapid.T) {
		a, b := applied(inbox.Receipt{}, acts(all...).Draw(t, "a")), applied(inbox.Receipt{}, acts(all...).Draw(t, "b"))
		m := a.Merge(b)
		require.Equal(t, m, b.Merge(a))
		require.Equal(t, m, m.Merge(b), "once is enough")
		require.Equal(t, m.Unseen(), a.Unseen() && b.Unseen())
		require.Equal(t, m.Unread(), a.Unread() && b.Unread())
		require.Equal(t, m.Archived(), a.Archived() || b.Archived())
		require.False(t, !m.Unread() && !m.UnreadAt.Before(m.ReadAt), "what counts as read was taken back later")
		require.False(t, m.Archived() && !m.UnarchivedAt.Before(m.ArchivedAt))
	})
}

func TestTheMomentIsNeitherBeforeTheMessageNorInTheFuture(t *testing.T) {
	t.Parallel()
	published := noon.Add(-time.Hour)
	require.Equal(t, noon, inbox.When(time.Time{}, published, noon))
	require.Equal(t, noon, inbox.When(noon.Add(time.Hour), published, noon))
	require.Equal(t, published, inbox.When(noon.Add(-2*time.Hour), published, noon))
	require.Equal(t, noon.Add(-time.Minute), inbox.When(noon.Add(-time.Minute), published, noon))
}

func TestStatesAndViewsAreNamedInErrors(t *testing.T) {
	t.Parallel()
	_, err := inbox.ParseState("items.0.state", "opened")
	requireField(t, err, "items.0.state", "unknown_state")
	_, err = inbox.ParseView("state", "seen")
	requireField(t, err, "state", "unknown_state")
	v, err := inbox.ParseView("state", "")
	require.NoError(t, err)
	require.Equal(t, inbox.ViewAll, v)
}
