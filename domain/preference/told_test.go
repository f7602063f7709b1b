package preference

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var toldAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func toldCatalogue(t require.TestingT) *Catalogue {
	cat, err := NewCatalogue("email-marketing", Channel{Key: "promotions", Purpose: "push-marketing"}, Channel{Key: "offers", Purpose: "push-marketing"},
		Channel{Key: "news"}, Channel{Key: "orders", Required: true})
	require.NoError(t, err)
	return cat
}

func names(parts []Part) (out []string) {
	for _, p := range parts {
		out = append(out, p.Name+"="+p.Why)
	}
	return out
}

func withDevice(t require.TestingT, p Preferences, id DeviceID, token string) Preferences {
	c, err := RegisterDevice(Registration{Device: id, Platform: IOS, Token: token, Permission: Granted})
	require.NoError(t, err)
	next, err := p.Apply(c, toldAt.Add(-time.Hour), FromApp)
	require.NoError(t, err)
	return next
}

func TestWhatIsToldBecomesChanges(t *testing.T) {
	t.Parallel()
	on, off := true, false
	p := withDevice(t, Defaults("ada", toldCatalogue(t)), "phone", "tok")

	parts := p.Told(Told{Channels: map[ChannelKey]bool{"news": true, "orders": false, "gone": true}, Push: &off}, CRM)
	require.Equal(t, []string{"channel/gone=unknown_channel", "channel/news=", "channel/orders=channel_required", "push="}, names(parts))
	require.Equal(t, Item{ChannelItem, "news"}, parts[1].Item)
	require.Equal(t, On, parts[1].Says)
	require.Equal(t, Off, parts[2].Says, "the CRM has to be put right")
	require.Equal(t, Withdrawal, parts[3].Change.Kind())

	parts = p.Told(Told{Channels: map[ChannelKey]bool{"news": true, "promotions": false}, Push: &on, Email: Subscribed}, "")
	require.Equal(t, []string{"switches=", "email="}, names(parts), "one change where nobody has to be told apart")
	require.Empty(t, parts[0].Says)

	parts = p.Told(Told{Purposes: map[PurposeID]bool{"push-marketing": true, "email-marketing": false, "other": true}}, CMP)
	require.Equal(t, []string{"purpose/email-marketing/email=", "purpose/other=unknown_purpose", "purpose/push-marketing/channels="}, names(parts))
	require.Equal(t, "channel offers on, channel promotions on", parts[2].Change.Summary())

	parts = p.Told(Told{Tokens: map[string]bool{"tok": false, "strange": true}, Gone: []string{"tok", "other"}}, Push)
	require.Equal(t, "", parts[indexOf(t, parts, "token/"+Fingerprint("tok"))].Why)
	require.Equal(t, "unknown_device", parts[indexOf(t, parts, "token/"+Fingerprint("strange"))].Why)
	require.Equal(t, "unknown_device", parts[indexOf(t, parts, "gone/"+Fingerprint("other"))].Why)
	require.Equal(t, "release device", parts[indexOf(t, parts, "gone/"+Fingerprint("tok"))].Change.Summary())
	for _, part := range parts {
		require.NotContains(t, part.Name, "tok-", "a token is a credential")
	}
}

func indexOf(t require.TestingT, parts []Part, name string) int {
	for i, p := range parts {
		if p.Name == name {
			return i
		}
	}
	require.Fail(t, "no part "+name)
	return -1
}

func TestConsentToAPurposeThatIsUsedAlreadySwitchesNothingElseOn(t *testing.T) {
	t.Parallel()
	c, err := SwitchPush(nil, map[ChannelKey]bool{"promotions": true, "offers": false}, nil)
	require.NoError(t, err)
	p, err := Defaults("ada", toldCatalogue(t)).Apply(c, toldAt, FromCRM)
	require.NoError(t, err)
	parts := p.Told(Told{Purposes: map[PurposeID]bool{"push-marketing": true}}, CMP)
	require.Equal(t, "channel promotions on", parts[0].Change.Summary())
	parts = p.Told(Told{Purposes: map[PurposeID]bool{"push-marketing": false}}, CMP)
	require.Equal(t, "channel offers off, channel promotions off", parts[0].Change.Summary())
}

func TestATargetThatDisagreesIsPutRight(t *testing.T) {
	t.Parallel()
	p := withDevice(t, Defaults("ada", toldCatalogue(t)), "phone", "tok")
	for _, c := range []struct {
		of    Target
		item  Item
		says  State
		kind  Kind
		right bool
	}{
		{CRM, Item{ChannelItem, "news"}, On, Withdrawal, true},
		{CRM, Item{ChannelItem, "news"}, Off, "", false},
		{CRM, Item{ChannelItem, "orders"}, Off, Grant, true},
		{CRM, Item{Kind: PushItem}, On, "", false}, // never chosen
		{Push, Item{DeviceItem, "tok"}, Off, Grant, true},
		{Push, Item{DeviceItem, "strange"}, On, "", false}, // nothing of ours
	} {
		kind, right := p.Disagrees(c.of, c.item, c.says)
		require.Equal(t, c.right, right, "%v", c)
		require.Equal(t, c.kind, kind)
	}
}

// TestAnEchoIsNeverADecision draws what we have written to a target, taken back and written again, and a vendor that tells
// of each write with a clock of its own, late and in any order. None of it may count. What a person decides there clearly
// afterwards must.
func TestAnEchoIsNeverADecision(t *testing.T) {
	t.Parallel()
	item := Item{ChannelItem, "news"}
	rapid.Check(t, func(t *rapid.T) {
		skew := time.Duration(rapid.IntRange(-9, 9).Draw(t, "skew")) * time.Second // a few seconds, either way
		var written []Written
		type echo struct {
			says State
			at   time.Time
		}
		var echoes []echo
		at := toldAt
		for n := range rapid.IntRange(1, 8).Draw(t, "operations") {
			at = at.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * time.Second)
			says := onOff(rapid.Bool().Draw(t, "on"))
			took := time.Duration(rapid.IntRange(0, 120).Draw(t, "took")) * time.Second
			w := Written{Write: Holding{item: says}, From: at, Until: at.Add(took)}
			echoes = append(echoes, echo{says, at.Add(time.Duration(rapid.Int64Range(0, int64(took)).Draw(t, "seen")) + skew)})
			if rapid.Bool().Draw(t, "taken back") {
				w.Restore = Holding{item: onOff(says == Off)}
				echoes = append(echoes, echo{w.Restore[item], w.Until.Add(skew)})
			}
			if n == 0 && rapid.Bool().Draw(t, "still open") {
				w.Until = time.Time{}
			}
			written = append(written, w)
			at = at.Add(took)
		}
		now := at.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "late")) * time.Second)
		for _, e := range echoes {
			require.True(t, isEcho(item, e.says, e.at, now, written), "%v", e)
			require.True(t, isEcho(item, e.says, time.Time{}, e.at.Add(14*time.Minute), written), "without a time: %v", e)
		}
		closed := written
		if closed[0].Until.IsZero() {
			closed = closed[1:]
		}
		later := at.Add(echoOfGrant + time.Second)
		for _, says := range []State{On, Off} {
			require.False(t, isEcho(item, says, later, later.Add(time.Minute), closed), "a decision made there afterwards")
			require.False(t, isEcho(Item{ChannelItem, "offers"}, says, at, now, written), "of another item")
		}
	})
}

func TestAWithdrawalWhileWeGrantIsNoEcho(t *testing.T) {
	t.Parallel()
	item := Item{Kind: EmailItem}
	written := []Written{{Write: Holding{item: On}, From: toldAt, Until: toldAt.Add(time.Second)}}
	require.False(t, isEcho(item, Off, toldAt.Add(time.Second), toldAt.Add(2*time.Second), written))
	written = append(written, Written{Write: Holding{item: Off}, From: toldAt.Add(-time.Minute), Until: toldAt.Add(-59 * time.Second)})
	require.False(t, isEcho(item, Off, toldAt.Add(time.Second), toldAt.Add(2*time.Second), written), "we withdrew a minute before, which is long enough ago")
}
