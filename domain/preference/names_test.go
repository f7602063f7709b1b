package preference_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

func TestIDsAreChecked(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"ada", "ada@example.org", "Ünï", strings.Repeat("x", 255), "auth0|5f7"} {
		id, err := ParseCustomerID(good)
		require.NoError(t, err, good)
		require.Equal(t, CustomerID(good), id)
	}
	for _, bad := range []string{"", "a b", "a\tb", "a\x00", "a\u00a0b", "a\u0085", "\xff", strings.Repeat("x", 256)} {
		_, err := ParseCustomerID(bad)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", bad)
	}
	for _, good := range []string{"d", "A.b_c:d-9", strings.Repeat("x", 128)} {
		id, err := ParseDeviceID(good)
		require.NoError(t, err, good)
		require.Equal(t, DeviceID(good), id)
	}
	for _, bad := range []string{"", "a b", "a/b", "ü", "a\n", strings.Repeat("x", 129)} {
		_, err := ParseDeviceID(bad)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", bad)
	}
}

func TestAPseudonymTellsCustomersApartAndGivesNobodyAway(t *testing.T) {
	t.Parallel()
	for _, plain := range []string{"ada", "user-42", "Grace_H"} {
		require.Equal(t, plain, CustomerID(plain).Pseudonym())
	}
	hashed := regexp.MustCompile(`^h-[0-9a-f]{24}$`)
	for _, personal := range []string{"ada@example.org", "+41790000000", "41790000000", "a b", "ü", strings.Repeat("x", 65)} {
		require.Regexp(t, hashed, CustomerID(personal).Pseudonym())
	}
	// Somebody who is called like another's pseudonym is somebody else.
	mail := CustomerID("ada@example.org")
	require.NotEqual(t, mail.Pseudonym(), CustomerID(mail.Pseudonym()).Pseudonym())
	rapid.Check(t, func(t *rapid.T) {
		a, b := CustomerID(rapid.String().Draw(t, "a")), CustomerID(rapid.String().Draw(t, "b"))
		require.Equal(t, a == b, a.Pseudonym() == b.Pseudonym())
		require.Regexp(t, `^[A-Za-z0-9_-]{1,64}$`, a.Pseudonym())
	})
}

func TestACatalogueIsChecked(t *testing.T) {
	t.Parallel()
	for name, channels := range map[string][]Channel{
		"nothing to choose": nil,
		"no key":            {{Key: ""}},
		"a key twice":       {{Key: "a"}, {Key: "b"}, {Key: "a"}},
	} {
		_, err := NewCatalogue("", channels...)
		require.Error(t, err, name)
	}
	given := []Channel{{Key: "a", Purpose: "p"}, {Key: "b", Purpose: "q"}, {Key: "c", Purpose: "p"}, {Key: "d"}}
	c := newCatalogue("q", given...)
	given[0].Key = "changed"
	c.Channels()[1].Key = "changed"
	require.Equal(t, []Channel{{Key: "a", Purpose: "p"}, {Key: "b", Purpose: "q"}, {Key: "c", Purpose: "p"}, {Key: "d"}}, c.Channels())
	require.Equal(t, []PurposeID{"p", "q"}, c.Purposes())
	require.Equal(t, []PurposeID{"p", "q", "e"}, newCatalogue("e", c.Channels()...).Purposes())
	require.Equal(t, PurposeID("q"), c.EmailPurpose())
	_, known := c.Channel("changed")
	require.False(t, known)
}

func TestFactsAreWhatTheChangeSpeaksAbout(t *testing.T) {
	t.Parallel()
	p := after(t, Defaults(ada, catalogue), register(t, "phone", "token-1", Granted), switchPush(t, nil, map[ChannelKey]bool{promotions: true}))
	phone := map[string]any{"platform": IOS, "permission": Granted, "enabled": true, "channels": map[ChannelKey]bool(nil), "token_fingerprint": Fingerprint("token-1")}
	for name, tc := range map[string]struct {
		change Change
		want   map[string]any
	}{
		"switches":       {switchPush(t, ptr(false), map[ChannelKey]bool{promotions: false, loyalty: true}), map[string]any{"push.enabled": true, "push.channels.promotions": true, "push.channels.loyalty": false, "purposes.push-marketing": ConsentGranted}},
		"e-mail":         {setEmail(t, Subscribed), map[string]any{"email.marketing": Unsubscribed, "purposes.email-marketing": ConsentUnknown}},
		"device":         {switchDevice(t, "phone", ptr(false), nil), map[string]any{"devices.phone": phone}},
		"release":        {ReleaseDevice("phone"), map[string]any{"devices.phone": phone}},
		"unknown device": {register(t, "watch", "token-2", Granted), map[string]any{"devices.watch": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, p.Facts(tc.change))
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		c := someWish.Draw(t, "wish").change(t)
		body := string(must(json.Marshal(somePreferences.Draw(t, "preferences").Facts(c))))
		require.NotContains(t, body, "token-", "a token is a credential")
	})
}
