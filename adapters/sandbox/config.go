package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Channel is a push channel and the Braze subscription group that stands for it.
type Channel struct {
	Key          string
	BrazeGroupID string
}

// Purpose is a consent purpose and its OneTrust id.
type Purpose struct {
	Name       string // as the control calls name it, such as "push-marketing"
	OneTrustID string // uuid
}

// Rate allows so many requests per fixed window. The zero value means no limit.
type Rate struct {
	Requests int
	Per      time.Duration
}

func (r Rate) unlimited() bool { return r.Requests == 0 || r.Per == 0 }

// RateLimits are the vendors' request limits. A zero Rate switches a limit off.
type RateLimits struct {
	Braze       Rate // every Braze call but exports
	BrazeExport Rate // /users/export/ids
	OneSignal   Rate // every call of the app
	// OneSignalPerSubject limits writes to one user or one subscription. The vendor documents one per second.
	OneSignalPerSubject Rate
	OneTrust            Rate // receipts and profile reads together
	Iterable            Rate // every Iterable call
}

// Config describes one sandbox. DefaultConfig holds the values of the development stack.
type Config struct {
	// StatePath is the file that keeps the vendors' state; "" keeps it in memory only.
	StatePath string
	// ApplyDelay is how long an accepted asynchronous write waits before reads show it.
	ApplyDelay time.Duration
	Channels   []Channel
	Topics     []Channel // of marketing e-mail
	Purposes   []Purpose

	BrazeAPIKey string
	// BrazeMaxObjects caps attributes, events and purchases of one /users/track call together; 0 means 75.
	BrazeMaxObjects int

	OneSignalAppID  string
	OneSignalAPIKey string

	OneTrustClientID     string
	OneTrustClientSecret string
	// CollectionPointID is the processId in the collection point's token.
	CollectionPointID string
	// CollectionPointSecret signs the collection point's token and the receipts.
	CollectionPointSecret string

	// EngagementAPIKey is the bearer token of the neutral campaign feed; "" leaves the feed open.
	EngagementAPIKey string
	// IterableAPIKey is a server-side key: it reads messages and may not track what was done with them.
	IterableAPIKey string

	RateLimits RateLimits
	// MaxHold caps how long a timeout fault holds a call that names no delay_ms; 0 means one minute.
	MaxHold time.Duration
	// RequestLogSize bounds the log of vendor calls; 0 means 10000.
	RequestLogSize int

	Clock  func() time.Time // nil means time.Now
	Logger *slog.Logger     // nil discards
}

// DefaultConfig returns the development stack's vendors: its channels, purposes and well-known credentials. The
// credentials open nothing but a sandbox. State is in memory and writes apply at once until the caller says otherwise.
func DefaultConfig() Config {
	return Config{ //nolint:gosec // credentials that open nothing but a sandbox
		Channels: []Channel{
			{Key: "promotions", BrazeGroupID: "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c01"},
			{Key: "order_updates", BrazeGroupID: "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c02"},
			{Key: "loyalty", BrazeGroupID: "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c03"},
			{Key: "news", BrazeGroupID: "6b0d1f52-3a58-4c0e-9d3b-0a4f5a2e7c04"},
		},
		Purposes: []Purpose{
			{Name: "push-marketing", OneTrustID: "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d501"},
			{Name: "email-marketing", OneTrustID: "c2b6e9d4-51f7-4f6b-8d0c-7e1a92b3d502"},
		},
		BrazeAPIKey:           "dev-braze-rest-key",
		OneSignalAppID:        "3f8a1c6e-94b2-4d57-8e0f-5c2d7b1a6e90",
		OneSignalAPIKey:       "dev-onesignal-rest-key",
		OneTrustClientID:      "dev-onetrust-client",
		OneTrustClientSecret:  "dev-onetrust-secret",
		CollectionPointID:     "9d5e0b7a-2c41-4e86-b3f9-1a6c8d4e7f20",
		CollectionPointSecret: "dev-collection-point-secret",
		EngagementAPIKey:      "dev-campaign-feed-key",
		IterableAPIKey:        "dev-iterable-server-key",
		RateLimits:            DefaultRateLimits(),
	}
}

// EmailTopic is a topic of marketing e-mail with a group id of its own, the same at every start.
func EmailTopic(key string) Channel {
	return Channel{Key: key, BrazeGroupID: uuid.NewSHA1(uuid.NameSpaceOID, []byte("accord/sandbox/topic/"+key)).String()}
}

// DefaultRateLimits are generous: the vendors' documented limits where load on a development machine stays below them,
// and Braze's general burst limit for its exports, whose documented 250 per minute a load test would meet at once.
// OneSignal's limit of one write per second and user is off; set OneSignalPerSubject to meet it.
func DefaultRateLimits() RateLimits {
	return RateLimits{
		Braze:       Rate{Requests: 3000, Per: 3 * time.Second},
		BrazeExport: Rate{Requests: 3000, Per: 3 * time.Second},
		OneSignal:   Rate{Requests: 1000, Per: time.Second},
		OneTrust:    Rate{Requests: 20000, Per: time.Minute},
		Iterable:    Rate{Requests: 3000, Per: time.Second},
	}
}

func (c Config) withDefaults() Config {
	if c.BrazeMaxObjects == 0 {
		c.BrazeMaxObjects = 75
	}
	if c.MaxHold == 0 {
		c.MaxHold = time.Minute
	}
	if c.RequestLogSize == 0 {
		c.RequestLogSize = 10_000
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	must(c.ApplyDelay >= 0, "ApplyDelay must not be negative")
	must(c.MaxHold >= 0, "MaxHold must not be negative")
	must(c.RequestLogSize >= 0, "RequestLogSize must not be negative")
	must(c.BrazeMaxObjects >= 0, "BrazeMaxObjects must not be negative")
	for name, value := range map[string]string{
		"BrazeAPIKey": c.BrazeAPIKey, "OneSignalAppID": c.OneSignalAppID, "OneSignalAPIKey": c.OneSignalAPIKey,
		"OneTrustClientID": c.OneTrustClientID, "OneTrustClientSecret": c.OneTrustClientSecret,
		"CollectionPointID": c.CollectionPointID, "CollectionPointSecret": c.CollectionPointSecret,
		"IterableAPIKey": c.IterableAPIKey,
	} {
		must(value != "", "%s is required", name)
	}
	seen := map[string]bool{}
	for _, ch := range slices.Concat(c.Channels, c.Topics) {
		must(ch.Key != "" && ch.BrazeGroupID != "", "channel %q needs a key and a Braze group id", ch.Key)
		must(!seen["group "+ch.BrazeGroupID], "the group id of channel %q is there twice", ch.Key)
		seen["group "+ch.BrazeGroupID] = true
	}
	for _, ch := range c.Channels {
		must(!seen["key "+ch.Key], "channel %q is there twice", ch.Key)
		seen["key "+ch.Key] = true
	}
	for _, p := range c.Purposes {
		must(p.Name != "" && p.OneTrustID != "", "purpose %q needs a name and a OneTrust id", p.Name)
		must(!seen["purpose "+p.Name] && !seen["id "+p.OneTrustID], "purpose %q or its id is there twice", p.Name)
		seen["purpose "+p.Name], seen["id "+p.OneTrustID] = true, true
	}
	return errors.Join(problems...)
}

func (c Config) group(id string) (Channel, bool) {
	for _, ch := range slices.Concat(c.Channels, c.Topics) {
		if ch.BrazeGroupID == id {
			return ch, true
		}
	}
	return Channel{}, false
}

func (c Config) channel(key string) (Channel, bool) { return find(c.Channels, key) }

func (c Config) topic(key string) (Channel, bool) { return find(c.Topics, key) }

func find(list []Channel, key string) (Channel, bool) {
	i := slices.IndexFunc(list, func(ch Channel) bool { return ch.Key == key })
	if i < 0 {
		return Channel{}, false
	}
	return list[i], true
}

func (c Config) purpose(match func(Purpose) bool) (Purpose, bool) {
	for _, p := range c.Purposes {
		if match(p) {
			return p, true
		}
	}
	return Purpose{}, false
}
