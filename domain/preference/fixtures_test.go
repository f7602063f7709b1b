package preference_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/consent"
	. "accord/domain/preference"
)

// TestMain keeps the domain's tests at about a second: fewer checks than rapid's default, unless asked for by flag.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { asked[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks":     "40",
		"rapid.nofailfile": "true", // the seed in the output is enough, and leaves nothing behind
	} {
		if !asked[name] {
			_ = flag.Set(name, value)
		}
	}
	// A generator makes its name when it is first drawn from, and not safely for two tests at once: have it made before.
	for _, g := range []fmt.Stringer{someDevice, someToken, somePlatform, somePermission, someSource, maybeSwitch, someWording, someChannels, someTime, someZone, someHours,
		goodChannels, someRegister, someWish, someMoment, somePreferences, someSnapshot, someTransition} {
		_ = g.String()
	}
	os.Exit(m.Run())
}

const (
	ada          CustomerID = "ada"
	promotions   ChannelKey = "promotions"
	loyalty      ChannelKey = "loyalty"
	news         ChannelKey = "news"
	orderUpdates ChannelKey = "order_updates"
	retired      ChannelKey = "retired" // not in the catalogue (any more)

	pushMarketing  PurposeID = "push-marketing"
	emailMarketing PurposeID = "email-marketing"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// catalogue is the development stack's, but for news, which shares the purpose of promotions.
var catalogue = newCatalogue(emailMarketing,
	Channel{Key: promotions, Purpose: pushMarketing},
	Channel{Key: loyalty},
	Channel{Key: news, Purpose: pushMarketing},
	Channel{Key: orderUpdates, Required: true},
)

func newCatalogue(email PurposeID, channels ...Channel) *Catalogue {
	c, err := NewCatalogue(email, channels...)
	if err != nil {
		panic(err)
	}
	return c
}

func ptr[T any](v T) *T { return &v }

func ok[T any](t require.TestingT, v T, err error) T {
	require.NoError(t, err)
	return v
}

func switchPush(t require.TestingT, enabled *bool, channels map[ChannelKey]bool) Change {
	c, err := SwitchPush(enabled, channels, nil)
	return ok(t, c, err)
}

func setEmail(t require.TestingT, s EmailStatus) Change {
	c, err := SetEmail(s, nil)
	return ok(t, c, err)
}

func register(t require.TestingT, id DeviceID, token string, p Permission) Change {
	c, err := RegisterDevice(Registration{Device: id, Platform: IOS, Token: token, Permission: p})
	return ok(t, c, err)
}

func switchDevice(t require.TestingT, id DeviceID, enabled *bool, channels map[ChannelKey]bool) Change {
	c, err := SwitchDevice(id, enabled, channels)
	return ok(t, c, err)
}

// after applies changes one after the other, each of which must be valid.
func after(t require.TestingT, p Preferences, changes ...Change) Preferences {
	for _, c := range changes {
		next, err := p.Apply(c, start, FromApp)
		require.NoError(t, err)
		p = next
	}
	return p
}

// stored is the stored form of preferences, byte for byte: what two equal values have in common.
func stored(t require.TestingT, p Preferences) string {
	b, err := json.Marshal(p.Snapshot())
	require.NoError(t, err)
	return string(b)
}

// wish is what a generated change asks for, in the open: a Change does not show what it is made of.
type wish struct {
	push     *bool
	quiet    *QuietHours
	channels map[ChannelKey]bool
	register *Registration
	device   DeviceID
	enabled  *bool
	topics   map[ChannelKey]bool
	release  DeviceID
	token    string
	email    EmailStatus
	wording  *Wording
}

func (w wish) change(t require.TestingT) Change {
	var c Change
	var err error
	switch {
	case w.register != nil:
		c, err = RegisterDevice(*w.register)
	case w.device != "":
		c, err = SwitchDevice(w.device, w.enabled, w.topics)
	case w.release != "" && w.token != "":
		c = ReleaseMovedToken(w.release, w.token, later)
	case w.release != "":
		c = ReleaseDevice(w.release)
	case w.email != "":
		c, err = SetEmail(w.email, w.wording)
	case w.push != nil || len(w.channels) > 0:
		c, err = SwitchPush(w.push, w.channels, w.wording)
	}
	if w.quiet != nil {
		c = c.WithQuietHours(*w.quiet)
	}
	require.NoError(t, err)
	return c
}

// saysOff is the definition of a withdrawal: off, anywhere.
func (w wish) saysOff() bool {
	switch {
	case w.release != "", w.email == Unsubscribed:
		return true
	case w.quiet != nil && !w.quiet.IsNone():
		return true
	case w.push != nil && !*w.push, w.enabled != nil && !*w.enabled:
		return true
	case w.register != nil && (w.register.Permission == Denied || w.register.Permission == Undetermined):
		return true
	}
	for _, m := range []map[ChannelKey]bool{w.channels, w.topics} {
		for _, on := range m {
			if !on {
				return true
			}
		}
	}
	return false
}

var (
	someDevice     = rapid.SampledFrom([]DeviceID{"phone", "tablet", "watch"})
	someToken      = rapid.SampledFrom([]string{"token-1", "token-2", "token-3", "token-4"})
	somePlatform   = rapid.SampledFrom([]Platform{IOS, Android, Web})
	somePermission = rapid.SampledFrom([]Permission{Granted, Granted, Denied, Provisional, Undetermined})
	someSource     = rapid.SampledFrom([]Source{FromApp, FromOperator, FromCRM, FromPush, FromCMP, FromEmailLink, FromReconciler})
	maybeSwitch    = rapid.Ptr(rapid.Bool(), true)
	someWording    = rapid.Ptr(rapid.Custom(func(t *rapid.T) Wording {
		return Wording{ID: rapid.StringMatching(`[a-z0-9.-]{1,12}`).Draw(t, "wording"), Locale: rapid.SampledFrom([]string{"en", "de-CH", "zh_Hant"}).Draw(t, "locale")}
	}), true)
	// channels may name a required one and, rarely, one that is not in the catalogue.
	someChannels = rapid.MapOfN(rapid.SampledFrom([]ChannelKey{promotions, promotions, loyalty, news, loyalty, news, orderUpdates, retired}), rapid.Bool(), 1, 3)
	goodChannels = rapid.MapOfN(rapid.SampledFrom([]ChannelKey{promotions, loyalty, news}), rapid.Bool(), 1, 3)
	someRegister = rapid.Custom(func(t *rapid.T) Registration {
		return Registration{Device: someDevice.Draw(t, "device"), Platform: somePlatform.Draw(t, "platform"), Token: someToken.Draw(t, "token"),
			Permission: somePermission.Draw(t, "permission"), AppVersion: rapid.SampledFrom([]string{"", "4.2.0"}).Draw(t, "version"), Locale: rapid.SampledFrom([]string{"", "en-GB"}).Draw(t, "locale")}
	})
	someWish   = wishes(someChannels)
	usefulWish = wishes(goodChannels)
)

func wishes(channels *rapid.Generator[map[ChannelKey]bool]) *rapid.Generator[wish] {
	return rapid.Custom(func(t *rapid.T) wish {
		switch rapid.SampledFrom([]string{"push", "push", "quiet", "register", "register", "device", "release", "email", "moved"}).Draw(t, "shape") {
		case "register":
			r := someRegister.Draw(t, "registration")
			return wish{register: &r}
		case "device":
			w := wish{device: someDevice.Draw(t, "device"), enabled: maybeSwitch.Draw(t, "enabled")}
			if w.enabled == nil || rapid.Bool().Draw(t, "topics too") {
				w.topics = channels.Draw(t, "topics")
			}
			return w
		case "quiet":
			w := wish{push: maybeSwitch.Draw(t, "push"), quiet: &QuietHours{}}
			if rapid.Bool().Draw(t, "hours") {
				*w.quiet = someHours.Draw(t, "quiet")
			}
			return w
		case "release":
			return wish{release: someDevice.Draw(t, "release")}
		case "moved":
			return wish{release: someDevice.Draw(t, "release"), token: someToken.Draw(t, "token")}
		case "email":
			return wish{email: rapid.SampledFrom([]EmailStatus{Subscribed, Unsubscribed}).Draw(t, "email"), wording: someWording.Draw(t, "wording")}
		}
		w := wish{push: maybeSwitch.Draw(t, "push"), wording: someWording.Draw(t, "wording")}
		if w.push == nil || rapid.Bool().Draw(t, "channels too") {
			w.channels = channels.Draw(t, "channels")
		}
		return w
	})
}

// someMoment has the store's resolution.
var someMoment = rapid.Custom(func(t *rapid.T) time.Time {
	return start.Add(time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "µs")) * time.Microsecond)
})

// somePreferences are reached by changes from the defaults; those that are not valid are left out.
var somePreferences = rapid.Custom(func(t *rapid.T) Preferences {
	p := Defaults(ada, catalogue)
	for _, w := range rapid.SliceOfN(someWish, 0, 10).Draw(t, "history") {
		if next, err := p.Apply(w.change(t), someMoment.Draw(t, "at"), someSource.Draw(t, "source")); err == nil {
			p = next
		}
	}
	return p
})

// someSnapshot was stored at some time: it may hold what today's catalogue and rules would not let in.
var someSnapshot = rapid.Custom(func(t *rapid.T) Snapshot {
	choice := rapid.Custom(func(t *rapid.T) Choice {
		return Choice{Enabled: rapid.Bool().Draw(t, "enabled"), At: someMoment.Draw(t, "at"), Source: someSource.Draw(t, "source")}
	})
	keys := rapid.SampledFrom([]ChannelKey{promotions, loyalty, news, orderUpdates, retired})
	s := Snapshot{
		Version:  rapid.Int64Range(0, 1e6).Draw(t, "version"),
		Push:     choice.Draw(t, "push"),
		Channels: rapid.MapOfN(keys, choice, 0, 5).Draw(t, "channels"),
		Email:    Email{Status: rapid.SampledFrom([]EmailStatus{Subscribed, Unsubscribed, PendingConfirmation}).Draw(t, "email"), At: someMoment.Draw(t, "at"), Source: FromApp},
		Purposes: rapid.MapOfN(rapid.SampledFrom([]PurposeID{pushMarketing, emailMarketing, "left"}),
			rapid.SampledFrom([]ConsentState{ConsentGranted, ConsentWithdrawn}), 0, 3).Draw(t, "purposes"),
	}
	for _, id := range rapid.SliceOfNDistinct(someDevice, 0, 3, rapid.ID).Draw(t, "devices") {
		s.Devices = append(s.Devices, Device{ID: id, Platform: somePlatform.Draw(t, "platform"), Token: "token of " + string(id), Permission: somePermission.Draw(t, "permission"),
			Enabled: rapid.Bool().Draw(t, "enabled"), Channels: rapid.MapOfN(keys, rapid.Bool(), 0, 5).Draw(t, "topics"), RegisteredAt: start, UpdatedAt: start})
	}
	slices.SortFunc(s.Devices, func(a, b Device) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return s
})

var customerActor = consent.Actor{Type: "customer", ID: "ada"}

// later than any claim a test makes.
var later = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
