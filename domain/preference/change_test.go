package preference_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	. "accord/domain/preference"
)

func TestAChangeIsAWithdrawalExactlyWhenItSaysOffAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := someWish.Draw(t, "wish")
		require.Equal(t, w.saysOff(), w.change(t).Kind() == Withdrawal)
	})
}

func TestAMixedChangeIsAWithdrawal(t *testing.T) {
	t.Parallel()
	require.Equal(t, Withdrawal, switchPush(t, ptr(true), map[ChannelKey]bool{promotions: true, loyalty: false}).Kind())
	require.Equal(t, Withdrawal, switchDevice(t, "phone", ptr(true), map[ChannelKey]bool{loyalty: false}).Kind())
	require.Equal(t, Grant, switchPush(t, ptr(true), map[ChannelKey]bool{promotions: true}).Kind())
	require.Equal(t, Grant, register(t, "phone", "token-1", Provisional).Kind())
}

func TestAChangeSurvivesItsStoredForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := someWish.Draw(t, "wish").change(t)
		body := ok(t, must(json.Marshal(c)), nil)

		var back Change
		require.NoError(t, json.Unmarshal(body, &back))
		require.Equal(t, string(body), string(must(json.Marshal(back))))
		require.Equal(t, c.Kind(), back.Kind())
		require.Equal(t, c.Summary(), back.Summary())
		require.Equal(t, c.Hold(), back.Hold())
		require.Equal(t, c.Wording(), back.Wording())
		require.Equal(t, c.Token(), back.Token())

		p := somePreferences.Draw(t, "preferences")
		want, wantErr := p.Apply(c, start, FromApp)
		got, gotErr := p.Apply(back, start, FromApp)
		require.Equal(t, wantErr, gotErr)
		require.Equal(t, stored(t, want), stored(t, got))
	})
}

func TestReadingAStoredChangeLeavesNothingOfTheOneBefore(t *testing.T) {
	t.Parallel()
	c := switchPush(t, ptr(false), map[ChannelKey]bool{promotions: false})
	want := setEmail(t, Subscribed)
	require.NoError(t, json.Unmarshal(must(json.Marshal(want)), &c))
	require.Equal(t, want, c)
}

func TestAChangeIsNotChangedThroughWhatItWasBuiltFrom(t *testing.T) {
	t.Parallel()
	enabled, channels, wording := true, map[ChannelKey]bool{promotions: true}, &Wording{ID: "push-2026", Locale: "en"}
	c := ok(t, must(SwitchPush(&enabled, channels, wording)), nil)
	d := ok(t, must(SwitchDevice("phone", &enabled, channels)), nil)
	enabled, channels[promotions], wording.ID = false, false, "other"
	require.Equal(t, Grant, c.Kind())
	require.Equal(t, Grant, d.Kind())
	require.Equal(t, "push-2026", c.Wording().ID)
}

func TestNoChangeIsRefused(t *testing.T) {
	t.Parallel()
	_, err := SwitchPush(nil, map[ChannelKey]bool{}, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = SwitchDevice("phone", nil, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, status := range []EmailStatus{"", PendingConfirmation, "Subscribed"} {
		_, err = SetEmail(status, nil)
		require.Equal(t, fault.Invalid, fault.KindOf(err), status)
	}

	require.True(t, Change{}.IsZero())
	require.True(t, ReleaseDevice("").IsZero())
	require.False(t, ReleaseDevice("phone").IsZero())
	_, err = Defaults(ada, catalogue).Apply(Change{}, start, FromApp)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func TestARegistrationNamesEveryBrokenRule(t *testing.T) {
	t.Parallel()
	good := Registration{Device: "phone", Platform: Web, Token: "t", Permission: Undetermined, AppVersion: "1", Locale: "de-CH"}
	with := func(edit func(*Registration)) Registration { r := good; edit(&r); return r }
	for name, tc := range map[string]struct {
		registration Registration
		paths        []string
	}{
		"nothing wrong":      {good, nil},
		"without optionals":  {with(func(r *Registration) { r.AppVersion, r.Locale = "", "" }), nil},
		"longest token":      {with(func(r *Registration) { r.Token = strings.Repeat("x", 4096) }), nil},
		"everything wrong":   {Registration{Platform: "vms", Permission: "maybe", AppVersion: strings.Repeat("1", 65), Locale: "_"}, []string{"platform", "token", "permission", "app_version", "locale"}},
		"token too long":     {with(func(r *Registration) { r.Token = strings.Repeat("x", 4097) }), []string{"token"}},
		"token with a space": {with(func(r *Registration) { r.Token = "a b" }), []string{"token"}},
		"token with DEL":     {with(func(r *Registration) { r.Token = "a\x7f" }), []string{"token"}},
		// What is not UTF-8 would come out of its stored form as another token.
		"token not UTF-8":            {with(func(r *Registration) { r.Token = "a\xff" }), []string{"token"}},
		"version not UTF-8":          {with(func(r *Registration) { r.AppVersion = "a\xff" }), []string{"app_version"}},
		"version a store can't hold": {with(func(r *Registration) { r.AppVersion = "a\x00" }), []string{"app_version"}},
		"locale too long":            {with(func(r *Registration) { r.Locale = "en" + strings.Repeat("-abcdefgh", 4) }), []string{"locale"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := RegisterDevice(tc.registration)
			requireFields(t, err, tc.paths)
		})
	}
}

func TestAWordingIsChecked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wording Wording
		paths   []string
	}{
		"with the text's hash":  {Wording{ID: "x", Locale: "en", TextHash: strings.Repeat("0a", 32)}, nil},
		"half a hash":           {Wording{ID: "x", Locale: "en", TextHash: strings.Repeat("0a", 16)}, []string{"wording.text_sha256"}},
		"good":                  {Wording{ID: "newsletter-2026-01", Locale: "en"}, nil},
		"empty":                 {Wording{}, []string{"wording.id", "wording.locale"}},
		"id too long":           {Wording{ID: strings.Repeat("x", 256), Locale: "en"}, []string{"wording.id"}},
		"id not UTF-8":          {Wording{ID: "a\xff", Locale: "en"}, []string{"wording.id"}},
		"id a store can't hold": {Wording{ID: "a\x00", Locale: "en"}, []string{"wording.id"}},
		"locale is a sentence":  {Wording{ID: "x", Locale: "english please"}, []string{"wording.locale"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := SetEmail(Subscribed, &tc.wording)
			requireFields(t, err, tc.paths)
			_, err = SwitchPush(ptr(true), nil, &tc.wording)
			requireFields(t, err, tc.paths)
		})
	}
}

func TestTargetsAreThoseTheChangeConcerns(t *testing.T) {
	t.Parallel()
	unlinked := newCatalogue("", Channel{Key: promotions})
	for name, tc := range map[string]struct {
		change    Change
		catalogue *Catalogue
		source    Source
		want      []Target
	}{
		"linked channel":            {switchPush(t, nil, map[ChannelKey]bool{promotions: true}), catalogue, FromApp, []Target{CRM, Push, CMP}},
		"channel without a purpose": {switchPush(t, nil, map[ChannelKey]bool{loyalty: true}), catalogue, FromApp, []Target{CRM, Push}},
		"global switch":             {switchPush(t, ptr(false), nil), catalogue, FromApp, []Target{CRM, Push}},
		"device":                    {register(t, "phone", "token-1", Granted), catalogue, FromApp, []Target{CRM, Push}},
		"device channel":            {switchDevice(t, "phone", nil, map[ChannelKey]bool{promotions: false}), catalogue, FromApp, []Target{CRM, Push}},
		"release":                   {ReleaseDevice("phone"), catalogue, FromApp, []Target{CRM, Push}},
		"a token moved by push":     {ReleaseMovedToken("phone", "token-1", later), catalogue, FromTokenMove, []Target{CRM, Push}},
		"e-mail":                    {setEmail(t, Subscribed), catalogue, FromEmailLink, []Target{CRM, CMP}},
		"e-mail without a purpose":  {setEmail(t, Subscribed), unlinked, FromApp, []Target{CRM}},
		"channel, nothing linked":   {switchPush(t, nil, map[ChannelKey]bool{promotions: true}), unlinked, FromApp, []Target{CRM, Push}},
		"no echo to the CRM":        {setEmail(t, Unsubscribed), catalogue, FromCRM, []Target{CMP}},
		"no echo to the CMP":        {switchPush(t, nil, map[ChannelKey]bool{promotions: false}), catalogue, FromCMP, []Target{CRM, Push}},
		"no echo to push":           {ReleaseDevice("phone"), catalogue, FromPush, []Target{CRM}},
		"drift goes everywhere":     {setEmail(t, Unsubscribed), catalogue, FromReconciler, []Target{CRM, CMP}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.change.Targets(tc.catalogue, tc.source))
		})
	}
}

func TestASummaryHoldsNoPersonalData(t *testing.T) {
	t.Parallel()
	require.Equal(t, "push off, channel loyalty on, channel promotions off",
		switchPush(t, ptr(false), map[ChannelKey]bool{promotions: false, loyalty: true}).Summary())
	require.Equal(t, "device on, device channel news off", switchDevice(t, "phone", ptr(true), map[ChannelKey]bool{news: false}).Summary())
	require.Equal(t, "register ios device, permission granted", register(t, "phone", "token-1", Granted).Summary())
	require.Equal(t, "release device", ReleaseMovedToken("phone", "token-1", later).Summary())
	require.Equal(t, "e-mail marketing unsubscribed", setEmail(t, Unsubscribed).Summary())
	rapid.Check(t, func(t *rapid.T) {
		summary := someWish.Draw(t, "wish").change(t).Summary()
		require.NotEmpty(t, summary)
		for _, personal := range []string{"token-", "phone", "tablet", "watch"} {
			require.NotContains(t, summary, personal)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func requireFields(t *testing.T, err error, paths []string) {
	t.Helper()
	if len(paths) == 0 {
		require.NoError(t, err)
		return
	}
	f, is := fault.As(err)
	require.True(t, is)
	require.Equal(t, fault.Invalid, f.Kind)
	var got []string
	for _, field := range f.Fields {
		got = append(got, field.Path)
	}
	require.Equal(t, paths, got)
}
