package preference_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	. "accord/domain/preference"
)

// everythingOn is a customer who has switched everything on.
func everythingOn(t require.TestingT) Preferences {
	return after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), setEmail(t, Subscribed),
		switchPush(t, ptr(true), map[ChannelKey]bool{promotions: true, loyalty: true, news: true}))
}

func TestDriftAndItsRemedies(t *testing.T) {
	t.Parallel()
	on := everythingOn(t)
	off := after(t, on, setEmail(t, Unsubscribed), switchPush(t, ptr(false), map[ChannelKey]bool{promotions: false, loyalty: false, news: false}))
	email, push := Item{Kind: EmailItem}, Item{Kind: PushItem}
	channel := func(k ChannelKey) Item { return Item{ChannelItem, string(k)} }
	token, purpose := Item{DeviceItem, "token-1"}, Item{PurposeItem, string(emailMarketing)}
	for name, c := range map[string]struct {
		p      Preferences
		target Target
		item   Item
		theirs State
		want   Remedy
	}{
		"unsubscribed at the CRM":                  {on, CRM, email, Off, Adopt},
		"subscribed at the CRM":                    {off, CRM, email, On, Withhold},
		"the CRM's neutral sends":                  {off, CRM, email, Neutral, Withhold},
		"the CRM has lost the person":              {on, CRM, email, Unknown, Restate},
		"nobody is told by what they do not know":  {off, CRM, email, Unknown, Restate},
		"push switched off at the CRM":             {on, CRM, push, Off, Adopt},
		"a channel switched off at the CRM":        {on, CRM, channel(promotions), Off, Adopt},
		"a required channel cannot be":             {on, CRM, channel(orderUpdates), Off, Restate},
		"a channel switched on at the CRM":         {off, CRM, channel(loyalty), On, Withhold},
		"a mark of ours at the push provider":      {on, Push, channel(promotions), Off, Restate},
		"a mark that would send":                   {off, Push, channel(promotions), On, Withhold},
		"a device disabled at the push provider":   {on, Push, token, Off, Adopt},
		"a device enabled at the push provider":    {off, Push, token, On, Withhold},
		"a device lost by the push provider":       {on, Push, token, Unknown, Restate},
		"a device that is nobody's of ours":        {on, Push, Item{DeviceItem, "stray"}, On, Withhold},
		"consent withdrawn at the CMP":             {on, CMP, purpose, Off, Adopt},
		"consent given at the CMP":                 {off, CMP, purpose, On, Withhold},
		"consent lost by the CMP":                  {on, CMP, purpose, Unknown, Restate},
		"consent to what was never asked about":    {after(t, Defaults(ada, catalogue), register(t, "p", "t", Granted)), CMP, purpose, On, Withhold},
		"whether there is a device is ours to say": {on, CRM, Item{Kind: ReachableItem}, Off, Restate},
	} {
		held := maps.Clone(c.p.Desired(c.target))
		require.Empty(t, c.p.Drift(c.target, held), name)
		held[c.item] = c.theirs
		drifts := c.p.Drift(c.target, held)
		require.Len(t, drifts, 1, name)
		require.Equal(t, c.want, drifts[0].Remedy, name)
	}
}

// Somebody subscribed in the CRM, and we took back what followed from that, as another system refused it: nothing of it holds, so the
// CRM may not go on with it. What it does not know is no drift of somebody of whom nothing holds.
func TestWhoWasOnlyHeardOfByWhatWasTakenBackIsComparedForWhatWouldBeSent(t *testing.T) {
	t.Parallel()
	email, channel := Item{Kind: EmailItem}, Item{ChannelItem, string(promotions)}
	held := Holding{email: On, channel: Off}
	stranger := RestoreAccount(Standing{Preferences: Defaults(ada, catalogue)})
	require.Empty(t, stranger.Drift(CRM, held), "we have not heard of them")
	heard := RestoreAccount(Standing{Preferences: Defaults(ada, catalogue), LastNumber: 1})
	require.Equal(t, []Drift{{email, Off, On, Withhold}}, heard.Drift(CRM, held))
	require.Empty(t, heard.Drift(CRM, Holding{}))
}

// Who has only ever spoken of e-mail is not known to the push provider, which sends them nothing then.
func TestATargetThatWasNeverToldOfAPersonHasNotDrifted(t *testing.T) {
	t.Parallel()
	subscribed := after(t, Defaults(ada, catalogue), setEmail(t, Subscribed))
	require.Empty(t, subscribed.Drift(Push, Holding{}))
	require.NotEmpty(t, subscribed.Drift(Push, Holding{{ChannelItem, string(promotions)}: On}), "it has heard of them elsewhere")
	require.NotEmpty(t, subscribed.Drift(Push, Holding{{DeviceItem, "stray"}: On}))
	require.NotEmpty(t, subscribed.Drift(CRM, Holding{}))
	chosen, err := subscribed.Apply(switchPush(t, nil, map[ChannelKey]bool{promotions: true}), start, FromCRM)
	require.NoError(t, err)
	require.NotEmpty(t, chosen.Drift(Push, Holding{}), "it was told, and has lost them")
	require.NotEmpty(t, after(t, chosen, switchPush(t, nil, map[ChannelKey]bool{promotions: false})).Drift(Push, Holding{}), "chosen back to what it was")
	require.NotEmpty(t, after(t, subscribed, register(t, "phone", "token-1", Denied)).Drift(Push, Holding{}))
}

// Whatever a target holds: once the remedies have been carried out, nobody is sent anything that either side has ruled out,
// the target holds what we do, and a second round finds nothing.
func TestTheRemediesEndEveryDriftAndNeverSendMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := after(t, somePreferences.Draw(t, "preferences"), setEmail(t, rapid.SampledFrom([]EmailStatus{Subscribed, Unsubscribed}).Draw(t, "email")))
		target := rapid.SampledFrom(Targets).Draw(t, "target")
		held := maps.Clone(p.Desired(target))
		for i := range held {
			if rapid.Bool().Draw(t, "drifts") {
				held[i] = rapid.SampledFrom([]State{On, Off, Neutral, Unknown}).Draw(t, "state")
			}
		}
		drifts := p.Drift(target, held)
		now := p
		for _, c := range p.Adopted(drifts) {
			require.Equal(t, Withdrawal, c.Kind())
			next, err := now.Apply(c, start, FromCRM)
			require.NoError(t, err)
			now = next
		}
		for _, change := range PutRight(drifts) {
			maps.Copy(held, Assign(target, change, p, p, held).Write)
		}
		after := Assign(target, setEmail(t, Unsubscribed), p, now, held) // what the adopted changes write there, were they to write
		maps.Copy(held, after.Write)
		for i, ours := range p.Desired(target) {
			require.False(t, ours == Off && now.Desired(target).State(i) == On && i.Kind != ReachableItem, "%v is on now", i)
		}
		for _, again := range now.Drift(target, held) {
			require.NotEqual(t, Adopt, again.Remedy, "%v", again)
			require.False(t, again.Theirs == On && again.Ours == Off, "%v still sends", again)
		}
	})
}

func TestOnlyWhatIsSeenTwiceIsDrift(t *testing.T) {
	t.Parallel()
	a := Drift{Item: Item{Kind: EmailItem}, Ours: On, Theirs: Off, Remedy: Adopt}
	b := Drift{Item: Item{Kind: PushItem}, Ours: On, Theirs: Off, Remedy: Adopt}
	require.Equal(t, []Drift{b}, SeenTwice([]Drift{a, b}, []Drift{b}))
	c := b
	c.Theirs = Unknown
	require.Empty(t, SeenTwice([]Drift{b}, []Drift{c}), "still changing")
}
