// Package config reads the configuration from the environment. Every setting is documented at its field; every problem
// is reported at once; secrets are never printed.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"accord/domain/preference"
)

// Secret is a value that is never printed.
type Secret string

func (Secret) String() string { return "***" }

// GoString keeps %#v from printing it.
func (Secret) GoString() string { return "***" }

// LogValue keeps slog from printing it.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText keeps encoders from printing it.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Reveal hands the value to whoever needs it.
func (s Secret) Reveal() string { return string(s) }

//go:generate go test -run TestTheDocumentationIsCurrent -update .

// Config is everything that can be set. The development stack fills in what is not set.
type Config struct {
	// Address of the API, host:port.
	HTTPAddr string `env:"ACCORD_HTTP_ADDR" envDefault:"127.0.0.1:8080"`
	// Address where a worker answers /healthz, /readyz and /metrics; empty for none.
	WorkerAddr string `env:"ACCORD_WORKER_ADDR"`
	// Address of this machine where API and worker answer /debug/pprof, such as 127.0.0.1:6060; empty for none.
	ProfileAddr string `env:"ACCORD_PROFILE_ADDR"`
	// Address of the sandbox, host:port.
	SandboxAddr string `env:"ACCORD_SANDBOX_ADDR" envDefault:"127.0.0.1:8090"`
	// How long an accepted write stays invisible in the sandbox.
	SandboxApplyDelay time.Duration `env:"ACCORD_SANDBOX_APPLY_DELAY" envDefault:"5ms"`
	// File that keeps the sandbox's state; the development stack keeps it in the state folder.
	SandboxState string `env:"ACCORD_SANDBOX_STATE"`

	// Postgres, as a URL. Holds a password and is never printed.
	DatabaseURL Secret `env:"ACCORD_DATABASE_URL"`
	// Keys that the ledger's data keys are wrapped under, separated by commas: name:base64 of 32 bytes. The first is current,
	// the others still open what they have wrapped; `accord keys rewrap` makes an old one superfluous (docs/audit.md). What
	// is in the ledger can't be read without them: keep a copy apart from the database. The development stack makes one.
	LedgerKeys Secret `env:"ACCORD_LEDGER_KEYS"`
	// Key that signs the ledger's checkpoints, as `accord keys new` prints it. Only a worker needs it; the development stack
	// makes one.
	CheckpointKey Secret `env:"ACCORD_CHECKPOINT_KEY"`
	// Public keys that `accord audit verify` trusts as well, separated by commas: those of keys that signed before.
	CheckpointVerifiers []string `env:"ACCORD_CHECKPOINT_VERIFIERS"`
	// Folder where a worker keeps a copy of each checkpoint; empty for none. Best on other ground than the database's: who has
	// one can tell if what was sealed by then was changed since, even by the database's owner. The development stack has one.
	CheckpointDir string `env:"ACCORD_CHECKPOINT_DIR"`
	// How often what was added to the ledger is sealed by a checkpoint.
	CheckpointEvery time.Duration `env:"ACCORD_CHECKPOINT_EVERY" envDefault:"1m"`
	// How much of a client's network address the ledger keeps: none, truncated (IPv4 to /24, IPv6 to /48) or full.
	AuditAddress string `env:"ACCORD_AUDIT_ADDRESS" envDefault:"truncated"`
	// Proxies that are believed who the client is (X-Forwarded-For): networks such as 10.0.0.0/8, separated by commas.
	TrustedProxies []string `env:"ACCORD_TRUSTED_PROXIES"`
	// Connections a process keeps to Postgres at most.
	DatabaseConns int `env:"ACCORD_DATABASE_CONNS" envDefault:"24"`

	// Temporal, host:port.
	TemporalAddress string `env:"ACCORD_TEMPORAL_ADDRESS"`
	// Temporal namespace.
	TemporalNamespace string `env:"ACCORD_TEMPORAL_NAMESPACE" envDefault:"default"`
	// Base URL of the Temporal UI, for links in operations; empty for none.
	TemporalUI string `env:"ACCORD_TEMPORAL_UI_URL"`
	// Keys that encrypt what Temporal keeps, separated by commas: name:base64 of 32 bytes. The first encrypts, all of them
	// decrypt (docs/security.md says how to change them). Empty leaves it readable; the development stack makes one.
	TemporalKeys Secret `env:"ACCORD_TEMPORAL_KEYS"`

	// Where the keys of the issuer of bearer tokens are (a JWKS): https, or http on this machine.
	JWKSURL string `env:"ACCORD_JWT_JWKS_URL"`
	// Who must have issued a token (iss).
	JWTIssuer string `env:"ACCORD_JWT_ISSUER"`
	// For whom a token must be (aud).
	JWTAudience string `env:"ACCORD_JWT_AUDIENCE"`

	// Channels in the order in which they are shown, separated by commas: key, key! when required, key:purpose when
	// linked to a consent.
	Channels []string `env:"ACCORD_CHANNELS" envDefault:"promotions:push-marketing,loyalty,news,order_updates!"`
	// Purpose that e-mail marketing is linked to; "none" for none.
	EmailPurpose string `env:"ACCORD_EMAIL_PURPOSE" envDefault:"email-marketing"`
	// How long a grant may take before it is compensated.
	GrantBudget time.Duration `env:"ACCORD_GRANT_BUDGET" envDefault:"2m"`

	Devices Devices
	Email   Email
	Inbox   Inbox
	Vendors Vendors
	Tracing Tracing
	// Reconciliation is in reconciliation.go.
	Reconciliation Reconciliation
	// Security is in security.go.
	Security Security
	// Webhooks is in webhooks.go.
	Webhooks Webhooks

	// How long a stop may take before it is cut short.
	StopTimeout time.Duration `env:"ACCORD_STOP_TIMEOUT" envDefault:"20s"`
	// debug, info, warn or error.
	LogLevel slog.Level `env:"ACCORD_LOG_LEVEL" envDefault:"info"`
	// json or text.
	LogFormat string `env:"ACCORD_LOG_FORMAT" envDefault:"json"`

	// Development stack only: where state is kept.
	StateDir string `env:"ACCORD_STATE_DIR" envDefault:".accord"`
	// Development stack only: port of the Postgres it starts; 0 takes a free one.
	PostgresPort int `env:"ACCORD_POSTGRES_PORT" envDefault:"0"`
	// Development stack only: port of the Temporal it starts.
	TemporalPort int `env:"ACCORD_TEMPORAL_PORT" envDefault:"7233"`
	// Development stack only: port of Temporal's UI.
	TemporalUIPort int `env:"ACCORD_TEMPORAL_UI_PORT" envDefault:"8233"`

	unreadable []error
}

// Devices says how long a registered device counts as known.
type Devices struct {
	// A registration that says what the last one said is passed over for this long since that one, so that apps may register at
	// every launch; 0 to bring each to the vendors.
	RefreshAfter time.Duration `env:"ACCORD_DEVICE_REFRESH_AFTER" envDefault:"24h"`
	// A device that nothing was heard of for this long is taken away, in the vendors too.
	StaleAfter time.Duration `env:"ACCORD_DEVICE_STALE_AFTER" envDefault:"6480h"`
}

// Inbox says how fresh the inbox is, and what that may cost the engagement platform.
type Inbox struct {
	// How old what is shown of the engagement platform may be before the feed says that it is stale.
	MaxAge time.Duration `env:"ACCORD_INBOX_MAX_AGE" envDefault:"60s"`
	// How often the campaign feed is read.
	PullEvery time.Duration `env:"ACCORD_INBOX_PULL_EVERY" envDefault:"20s"`
	// A customer's own messages are read from the engagement platform again when the inbox is read and they are older.
	OwnTTL time.Duration `env:"ACCORD_INBOX_OWN_TTL" envDefault:"30s"`
	// How long a reader waits for that; it goes on in the background.
	PullBudget time.Duration `env:"ACCORD_INBOX_PULL_BUDGET" envDefault:"300ms"`
	// Customers whose own messages are read at once, per process.
	Pulls int `env:"ACCORD_INBOX_PULLS" envDefault:"32"`
	// One more pull to refresh per viewer after this long.
	RefreshEvery time.Duration `env:"ACCORD_INBOX_REFRESH_EVERY" envDefault:"5s"`
	// So many of them at once.
	RefreshBurst int `env:"ACCORD_INBOX_REFRESH_BURST" envDefault:"5"`
	// How long a pull to refresh waits for the engagement platform.
	RefreshBudget time.Duration `env:"ACCORD_INBOX_REFRESH_BUDGET" envDefault:"3s"`
	// Streams open at once at most, per process.
	Streams int `env:"ACCORD_STREAMS_MAX" envDefault:"20000"`
	// Streams of one viewer open at once at most; a further one ends the oldest.
	StreamsPerViewer int `env:"ACCORD_STREAMS_PER_VIEWER" envDefault:"20"`
	// How long a message that has ended is kept for clients that ask what has changed.
	Retention time.Duration `env:"ACCORD_INBOX_RETENTION" envDefault:"168h"`
}

// Vendors says where the targets and the engagement platform are and how to sign in there.
type Vendors struct {
	// How long one vendor call may take.
	Timeout time.Duration `env:"ACCORD_VENDOR_TIMEOUT" envDefault:"5s"`

	// REST address of the CRM, Braze.
	BrazeURL string `env:"ACCORD_BRAZE_URL"`
	// Braze's REST API key, with the permissions users.track, users.delete, users.export.ids and subscription.groups.get.
	BrazeAPIKey Secret `env:"ACCORD_BRAZE_API_KEY"`
	// Subscription group of each channel: channel=id, separated by commas.
	BrazeGroups map[string]string `env:"ACCORD_BRAZE_GROUPS" envKeyValSeparator:"="`
	// Subscription group of each topic of marketing e-mail: topic=id, separated by commas.
	BrazeTopics map[string]string `env:"ACCORD_BRAZE_TOPICS" envKeyValSeparator:"="`
	// Calls to Braze per second at most, per process.
	BrazeRate float64 `env:"ACCORD_BRAZE_RATE" envDefault:"900"`

	// Address of the push provider, OneSignal.
	OneSignalURL string `env:"ACCORD_ONESIGNAL_URL"`
	// OneSignal's app.
	OneSignalAppID string `env:"ACCORD_ONESIGNAL_APP_ID"`
	// The app's REST API key.
	OneSignalAPIKey Secret `env:"ACCORD_ONESIGNAL_API_KEY"`
	// Calls to OneSignal per second at most, per process.
	OneSignalRate float64 `env:"ACCORD_ONESIGNAL_RATE" envDefault:"900"`

	// Address of the consent platform, OneTrust (its management host).
	OneTrustURL string `env:"ACCORD_ONETRUST_URL"`
	// Where receipts are sent (OneTrust's privacy portal host); the same as ACCORD_ONETRUST_URL when empty.
	OneTrustReceiptsURL string `env:"ACCORD_ONETRUST_RECEIPTS_URL"`
	// OAuth client that may read profiles.
	OneTrustClientID string `env:"ACCORD_ONETRUST_CLIENT_ID"`
	// That client's secret.
	OneTrustClientSecret Secret `env:"ACCORD_ONETRUST_CLIENT_SECRET"`
	// The collection point's JWT.
	OneTrustRequestInformation Secret `env:"ACCORD_ONETRUST_REQUEST_INFORMATION"`
	// What the collection point calls the identifier of a person.
	OneTrustIdentifierType string `env:"ACCORD_ONETRUST_IDENTIFIER_TYPE" envDefault:"customer"`
	// OneTrust id of each purpose: purpose=uuid, separated by commas.
	OneTrustPurposes map[string]string `env:"ACCORD_ONETRUST_PURPOSES" envKeyValSeparator:"="`
	// Calls to OneTrust per second at most, per process.
	OneTrustRate float64 `env:"ACCORD_ONETRUST_RATE" envDefault:"300"`

	// Address under which the engagement platform serves its campaign feed (docs/campaign-feed.md); empty for none.
	CampaignFeedURL string `env:"ACCORD_CAMPAIGN_FEED_URL"`
	// Bearer token for the campaign feed; empty for a feed without.
	CampaignFeedKey Secret `env:"ACCORD_CAMPAIGN_FEED_KEY"`
	// Calls to the campaign feed per second at most, per process.
	CampaignFeedRate float64 `env:"ACCORD_CAMPAIGN_FEED_RATE" envDefault:"10"`

	// Address of Iterable, where customers' own messages are; empty for none.
	IterableURL string `env:"ACCORD_ITERABLE_URL"`
	// Iterable's server-side API key.
	IterableAPIKey Secret `env:"ACCORD_ITERABLE_API_KEY"`
	// Calls to Iterable per second at most, per process. Reading one customer's messages takes two.
	IterableRate float64 `env:"ACCORD_ITERABLE_RATE" envDefault:"100"`
	// Whether Iterable's embedded messages are read beside the in-app messages.
	IterableEmbedded bool `env:"ACCORD_ITERABLE_EMBEDDED" envDefault:"true"`
	// App whose own messages Iterable adds to those for every app: iOS, Android, Web or OTT, together with the package;
	// empty for none.
	IterablePlatform string `env:"ACCORD_ITERABLE_PLATFORM"`
	// That app's package name, as Iterable knows it.
	IterablePackage string `env:"ACCORD_ITERABLE_PACKAGE"`
}

// Tracing says where traces go. The names are OpenTelemetry's own; its other variables (OTEL_EXPORTER_OTLP_HEADERS,
// OTEL_TRACES_SAMPLER, OTEL_BSP_SCHEDULE_DELAY and so on) are read by its library.
type Tracing struct {
	// Base address that traces are sent to, by OTLP over HTTP, such as http://collector:4318; empty for no tracing.
	Endpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// Whole address for traces, where it is not OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces after it.
	TracesEndpoint string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"`
	// Name shown with every span; accord-api, accord-worker or accord-dev when empty.
	Service string `env:"OTEL_SERVICE_NAME"`
	// true switches tracing off whatever else is set.
	Disabled bool `env:"OTEL_SDK_DISABLED" envDefault:"false"`
	// Targets that are sent our traceparent: crm, push, cmp, engagement, separated by commas. None by default: what we trace
	// is no vendor's business.
	TellTargets []string `env:"ACCORD_TRACE_TARGETS"`
}

// check refuses what would be ignored in silence.
func (t Tracing) check(bad func(setting, format string, args ...any)) {
	for _, name := range t.TellTargets {
		if !slices.Contains([]string{"crm", "push", "cmp", "engagement"}, name) {
			bad("ACCORD_TRACE_TARGETS", "has %q, which is none of crm, push, cmp and engagement", name)
		}
	}
}

// Load reads the environment. What cannot be read is reported by Validate, together with everything else.
func Load(environ map[string]string) Config {
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Environment: environ})
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, problem := range all.Errors {
			c.unreadable = append(c.unreadable, bySetting(problem))
		}
	} else if err != nil {
		c.unreadable = []error{err}
	}
	return c
}

// bySetting names the environment variable instead of our field.
func bySetting(problem error) error {
	var parse env.ParseError
	if !errors.As(problem, &parse) {
		return problem
	}
	for _, t := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Devices](), reflect.TypeFor[Email](), reflect.TypeFor[Inbox](), reflect.TypeFor[Vendors](), reflect.TypeFor[Tracing](), reflect.TypeFor[Security](), reflect.TypeFor[Reconciliation](),
		reflect.TypeFor[Webhooks]()} {
		if field, ok := t.FieldByName(parse.Name); ok {
			return fmt.Errorf("%s cannot be read: %w", field.Tag.Get("env"), parse.Err)
		}
	}
	return problem
}

// Need names what a command cannot do without.
type Need int

const (
	NeedDatabase Need = iota
	NeedTemporal
	NeedTokens
	NeedVendors
	NeedLedgerKeys
	NeedCheckpointKey
)

// Validate checks what a command needs, and everything that has a form. All problems are reported together.
func (c Config) Validate(needs ...Need) error {
	problems := slices.Clone(c.unreadable)
	bad := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s %s", setting, fmt.Sprintf(format, args...)))
	}
	required := func(setting, value string) {
		if value == "" {
			bad(setting, "must be set")
		}
	}
	for _, n := range needs {
		switch n {
		case NeedDatabase:
			required("ACCORD_DATABASE_URL", c.DatabaseURL.Reveal())
		case NeedTemporal:
			required("ACCORD_TEMPORAL_ADDRESS", c.TemporalAddress)
		case NeedTokens:
			required("ACCORD_JWT_JWKS_URL", c.JWKSURL)
			required("ACCORD_JWT_ISSUER", c.JWTIssuer)
			required("ACCORD_JWT_AUDIENCE", c.JWTAudience)
			c.Webhooks.refuseDevelopmentSecrets(bad)
		case NeedLedgerKeys:
			required("ACCORD_LEDGER_KEYS", c.LedgerKeys.Reveal())
		case NeedCheckpointKey:
			required("ACCORD_CHECKPOINT_KEY", c.CheckpointKey.Reveal())
		case NeedVendors:
			c.Vendors.required(required)
			c.mappings(bad)
		}
	}
	for setting, addr := range map[string]string{"ACCORD_HTTP_ADDR": c.HTTPAddr, "ACCORD_WORKER_ADDR": c.WorkerAddr,
		"ACCORD_SANDBOX_ADDR": c.SandboxAddr, "ACCORD_TEMPORAL_ADDRESS": c.TemporalAddress} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			bad(setting, "must be host:port, not %q", addr)
		}
	}
	checkProfileAddr(c.ProfileAddr, bad)
	for setting, raw := range map[string]string{"ACCORD_BRAZE_URL": c.Vendors.BrazeURL, "ACCORD_ONESIGNAL_URL": c.Vendors.OneSignalURL,
		"ACCORD_ONETRUST_URL": c.Vendors.OneTrustURL, "ACCORD_ONETRUST_RECEIPTS_URL": c.Vendors.OneTrustReceiptsURL,
		"ACCORD_CAMPAIGN_FEED_URL": c.Vendors.CampaignFeedURL, "ACCORD_ITERABLE_URL": c.Vendors.IterableURL, "ACCORD_JWT_JWKS_URL": c.JWKSURL, "ACCORD_TEMPORAL_UI_URL": c.TemporalUI,
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.Tracing.Endpoint, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.Tracing.TracesEndpoint} {
		if u, err := url.Parse(raw); raw != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
			bad(setting, "must be an http or https address, not %q", raw)
		}
	}
	for setting, port := range map[string]int{"ACCORD_POSTGRES_PORT": c.PostgresPort, "ACCORD_TEMPORAL_PORT": c.TemporalPort, "ACCORD_TEMPORAL_UI_PORT": c.TemporalUIPort} {
		if port < 0 || port > 65535 {
			bad(setting, "must be a port from 0 to 65535, not %d", port)
		}
	}
	for setting, d := range map[string]time.Duration{"ACCORD_GRANT_BUDGET": c.GrantBudget, "ACCORD_VENDOR_TIMEOUT": c.Vendors.Timeout, "ACCORD_STOP_TIMEOUT": c.StopTimeout,
		"ACCORD_INBOX_OWN_TTL": c.Inbox.OwnTTL, "ACCORD_INBOX_PULL_BUDGET": c.Inbox.PullBudget, "ACCORD_INBOX_REFRESH_EVERY": c.Inbox.RefreshEvery,
		"ACCORD_INBOX_REFRESH_BUDGET": c.Inbox.RefreshBudget, "ACCORD_INBOX_RETENTION": c.Inbox.Retention} {
		if d <= 0 {
			bad(setting, "must be longer than zero, not %s", d)
		}
	}
	for setting, rate := range map[string]float64{"ACCORD_BRAZE_RATE": c.Vendors.BrazeRate, "ACCORD_ONESIGNAL_RATE": c.Vendors.OneSignalRate, "ACCORD_ONETRUST_RATE": c.Vendors.OneTrustRate,
		"ACCORD_CAMPAIGN_FEED_RATE": c.Vendors.CampaignFeedRate, "ACCORD_ITERABLE_RATE": c.Vendors.IterableRate} {
		if rate <= 0 {
			bad(setting, "must be more than zero, not %g", rate)
		}
	}
	if d := c.Devices; d.RefreshAfter < 0 || d.StaleAfter < 24*time.Hour || d.StaleAfter <= d.RefreshAfter {
		bad("ACCORD_DEVICE_STALE_AFTER", "must be a day or more, and longer than ACCORD_DEVICE_REFRESH_AFTER, which may be zero; not %s and %s", d.StaleAfter, d.RefreshAfter)
	}
	c.Inbox.check(bad)
	c.Reconciliation.check(bad)
	c.Tracing.check(bad)
	c.Security.check(bad)
	c.Email.check(bad)
	c.Vendors.engagement(bad)
	if _, err := url.Parse(c.DatabaseURL.Reveal()); err != nil {
		bad("ACCORD_DATABASE_URL", "must be a URL such as postgres://user:password@host/database")
	}
	if c.Vendors.Timeout > 8*time.Second {
		bad("ACCORD_VENDOR_TIMEOUT", "must be at most 8s, so that an attempt of several calls ends in time")
	}
	if c.DatabaseConns < 4 {
		bad("ACCORD_DATABASE_CONNS", "must be at least 4, not %d", c.DatabaseConns)
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		bad("ACCORD_LOG_FORMAT", "must be json or text, not %q", c.LogFormat)
	}
	if _, err := c.EncryptionKeys(); err != nil {
		bad("ACCORD_TEMPORAL_KEYS", "%v", err)
	}
	c.audit(bad)
	if _, err := c.Webhooks.Sources(); err != nil {
		problems = append(problems, err)
	}
	if _, err := c.Catalogue(); err != nil {
		bad("ACCORD_CHANNELS", "%v", err)
	} else if _, _, err := c.GPC(); err != nil {
		bad("ACCORD_GPC_WITHDRAWS", "%v", err)
	}
	return errors.Join(problems...)
}

// audit checks what the ledger is kept with.
func (c Config) audit(bad func(setting, format string, args ...any)) {
	if _, err := c.KeysOfLedger(); err != nil {
		bad("ACCORD_LEDGER_KEYS", "%v", err)
	}
	if c.CheckpointEvery < time.Second {
		bad("ACCORD_CHECKPOINT_EVERY", "must be at least 1s, not %s", c.CheckpointEvery)
	}
	if !slices.Contains([]string{"none", "truncated", "full"}, c.AuditAddress) {
		bad("ACCORD_AUDIT_ADDRESS", "must be none, truncated or full, not %q", c.AuditAddress)
	}
	for _, proxy := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(proxy); err != nil {
			bad("ACCORD_TRUSTED_PROXIES", "must be networks such as 10.0.0.0/8, not %q", proxy)
		}
	}
}

// check holds the times against each other: what is read less often than it may be old would be stale all the time.
func (i Inbox) check(bad func(setting, format string, args ...any)) {
	if i.PullEvery < time.Second {
		bad("ACCORD_INBOX_PULL_EVERY", "must be at least 1s, not %s", i.PullEvery)
	}
	for setting, every := range map[string]time.Duration{"ACCORD_INBOX_PULL_EVERY": i.PullEvery, "ACCORD_INBOX_OWN_TTL": i.OwnTTL} {
		if every >= i.MaxAge {
			bad(setting, "must be shorter than ACCORD_INBOX_MAX_AGE, which is %s, not %s", i.MaxAge, every)
		}
	}
	for setting, n := range map[string]int{"ACCORD_INBOX_PULLS": i.Pulls, "ACCORD_INBOX_REFRESH_BURST": i.RefreshBurst,
		"ACCORD_STREAMS_MAX": i.Streams, "ACCORD_STREAMS_PER_VIEWER": i.StreamsPerViewer} {
		if n < 1 {
			bad(setting, "must be at least 1, not %d", n)
		}
	}
}

// engagement checks what both feeds need; neither is needed itself.
func (v Vendors) engagement(bad func(setting, format string, args ...any)) {
	if v.IterableURL != "" && v.IterableAPIKey == "" {
		bad("ACCORD_ITERABLE_API_KEY", "must be set, as ACCORD_ITERABLE_URL is")
	}
	if (v.IterablePlatform == "") != (v.IterablePackage == "") {
		bad("ACCORD_ITERABLE_PACKAGE", "goes together with ACCORD_ITERABLE_PLATFORM")
	}
	if !slices.Contains([]string{"", "iOS", "Android", "Web", "OTT"}, v.IterablePlatform) {
		bad("ACCORD_ITERABLE_PLATFORM", "must be iOS, Android, Web or OTT, not %q", v.IterablePlatform)
	}
}

func (v Vendors) required(check func(setting, value string)) {
	check("ACCORD_BRAZE_URL", v.BrazeURL)
	check("ACCORD_BRAZE_API_KEY", v.BrazeAPIKey.Reveal())
	check("ACCORD_ONESIGNAL_URL", v.OneSignalURL)
	check("ACCORD_ONESIGNAL_APP_ID", v.OneSignalAppID)
	check("ACCORD_ONESIGNAL_API_KEY", v.OneSignalAPIKey.Reveal())
	check("ACCORD_ONETRUST_URL", v.OneTrustURL)
	check("ACCORD_ONETRUST_CLIENT_ID", v.OneTrustClientID)
	check("ACCORD_ONETRUST_CLIENT_SECRET", v.OneTrustClientSecret.Reveal())
	check("ACCORD_ONETRUST_REQUEST_INFORMATION", v.OneTrustRequestInformation.Reveal())
}

// mappings checks that every channel and purpose of the catalogue has its counterpart at the vendors.
func (c Config) mappings(bad func(setting, format string, args ...any)) {
	cat, err := c.Catalogue()
	if err != nil {
		return // reported already
	}
	for _, ch := range cat.Channels() {
		if c.Vendors.BrazeGroups[string(ch.Key)] == "" {
			bad("ACCORD_BRAZE_GROUPS", "must name the subscription group of channel %s", ch.Key)
		}
	}
	for _, t := range cat.Topics() {
		if c.Vendors.BrazeTopics[string(t.Key)] == "" {
			bad("ACCORD_BRAZE_TOPICS", "must name the subscription group of topic %s", t.Key)
		}
	}
	for _, p := range cat.Purposes() {
		if c.Vendors.OneTrustPurposes[string(p)] == "" {
			bad("ACCORD_ONETRUST_PURPOSES", "must name the OneTrust id of purpose %s", p)
		}
	}
}

var channelPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}!?(:[A-Za-z0-9_-]{1,64})?$`)

// Catalogue builds the channels and the e-mail purpose.
func (c Config) Catalogue() (*preference.Catalogue, error) {
	channels := make([]preference.Channel, 0, len(c.Channels))
	for _, spec := range c.Channels {
		if !channelPattern.MatchString(spec) {
			return nil, fmt.Errorf("has %q, which is none of key, key! and key:purpose (letters, digits, _ and -)", spec)
		}
		key, purpose, _ := strings.Cut(spec, ":")
		key, required := strings.CutSuffix(key, "!")
		channels = append(channels, preference.Channel{Key: preference.ChannelKey(key), Required: required, Purpose: preference.PurposeID(purpose)})
	}
	email := preference.PurposeID(c.EmailPurpose)
	if email == "none" {
		email = ""
	}
	cat, err := preference.NewCatalogue(email, channels...)
	if err != nil {
		return nil, err
	}
	topics, err := c.Email.topics()
	if err != nil {
		return nil, err
	}
	return cat.WithEmail(c.Email.confirm(), topics...)
}

// Logger writes to w as configured.
func (c Config) Logger(w interface{ Write([]byte) (int, error) }) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
