package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "accord/domain/preference"
)

func TestAWithdrawalAfterTheySubscribedThereIsNoEcho(t *testing.T) {
	t.Parallel()
	heard := func(p Preferences, c Change, at time.Time, source Source) Preferences {
		next, err := p.Apply(c, at, source)
		require.NoError(t, err)
		return next
	}
	news := switchPush(t, nil, map[ChannelKey]bool{"news": true, promotions: true})
	for name, c := range map[string]struct {
		item   Item
		on     Change
		source Source
		origin Target
	}{
		"email":   {Item{Kind: EmailItem}, setEmail(t, Subscribed), FromCRM, CRM},
		"channel": {Item{ChannelItem, "news"}, news, FromCRM, CRM},
		"push":    {Item{Kind: PushItem}, switchPush(t, ptr(true), nil), FromCRM, CRM},
		"purpose": {Item{PurposeItem, string(emailMarketing)}, setEmail(t, Subscribed), FromCMP, CMP},
		"linked":  {Item{PurposeItem, string(pushMarketing)}, news, FromCMP, CMP},
	} {
		written := []Written{{Write: Holding{c.item: Off}, From: start, Until: start.Add(time.Second)}}
		echoes := func(p Preferences, says State, at time.Time) bool {
			return p.Echoes(c.item, says, at, start.Add(9*time.Second), c.origin, written)
		}
		none := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted))
		there := heard(none, c.on, start.Add(3*time.Second), c.source)
		require.True(t, echoes(none, Off, start.Add(5*time.Second)), name)
		require.False(t, echoes(there, Off, start.Add(5*time.Second)), name)
		require.False(t, echoes(there, Off, time.Time{}), name)
		require.True(t, echoes(heard(none, c.on, start, c.source), Off, start.Add(5*time.Second)), "%s: said before it was written", name)
		require.True(t, echoes(heard(none, c.on, start.Add(3*time.Second), FromApp), Off, start.Add(5*time.Second)), "%s: said elsewhere", name)
		// While it is being written it may overtake what they say.
		written[0].Until = time.Time{}
		require.True(t, echoes(there, Off, start.Add(5*time.Second)), name)
		// What lets us send more stays in doubt.
		written[0] = Written{Write: Holding{c.item: On}, From: start, Until: start.Add(time.Second)}
		require.True(t, echoes(there, On, start.Add(5*time.Second)), name)
	}
}
