package config

import (
	"fmt"
	"slices"
	"strings"

	"accord/domain/fault"
	"accord/domain/webhook"
)

// Webhooks says with which secrets other systems show that a decision comes from them. A source without any is not there.
type Webhooks struct {
	// Secrets with which Braze's webhooks are signed (Standard Webhooks: whsec_ and base64), separated by commas; each of
	// them will do, so that they can be changed. Empty for none.
	BrazeSecrets Secret `env:"ACCORD_WEBHOOK_SECRETS_BRAZE"`
	// The same for OneSignal.
	OneSignalSecrets Secret `env:"ACCORD_WEBHOOK_SECRETS_ONESIGNAL"`
	// The same for OneTrust.
	OneTrustSecrets Secret `env:"ACCORD_WEBHOOK_SECRETS_ONETRUST"`
	// The same for Iterable.
	IterableSecrets Secret `env:"ACCORD_WEBHOOK_SECRETS_ITERABLE"`
	// The same for any other system that speaks our own format.
	GenericSecrets Secret `env:"ACCORD_WEBHOOK_SECRETS_GENERIC"`
	// Secrets of at least 24 characters that Braze sends as they are, separated by commas; empty for none. Whoever can sign
	// should: a secret that is sent does not protect what is sent with it.
	BrazeShared Secret `env:"ACCORD_WEBHOOK_SHARED_SECRETS_BRAZE"`
	// The same for OneSignal.
	OneSignalShared Secret `env:"ACCORD_WEBHOOK_SHARED_SECRETS_ONESIGNAL"`
	// The same for OneTrust.
	OneTrustShared Secret `env:"ACCORD_WEBHOOK_SHARED_SECRETS_ONETRUST"`
	// The same for Iterable.
	IterableShared Secret `env:"ACCORD_WEBHOOK_SHARED_SECRETS_ITERABLE"`
	// Header that they are sent in. In Authorization they are a bearer token, or the password of Basic.
	SharedHeader string `env:"ACCORD_WEBHOOK_SHARED_HEADER" envDefault:"Authorization"`
	// What channels and message types of Iterable are to us, by their number: number=channel or number=email, separated by
	// commas.
	IterableTypes map[string]string `env:"ACCORD_WEBHOOK_ITERABLE_TYPES" envKeyValSeparator:"="`

	// AllowLocal lets endpoints be on this machine, without TLS too. The development stack and tests set it; the environment
	// cannot.
	AllowLocal bool `env:"-"`
}

// minShared is how many characters a secret has at least that is sent as it is.
const minShared = 24

// WebhookSource are the secrets of one source.
type WebhookSource struct {
	Secrets []webhook.Secret
	Shared  []string
}

// Sources are those that have a secret, by their names in addresses.
func (w Webhooks) Sources() (map[string]WebhookSource, error) {
	out := map[string]WebhookSource{}
	for _, s := range w.listed() {
		var source WebhookSource
		for _, text := range split(s.secrets) {
			secret, err := webhook.ParseSecret(text)
			if f, is := fault.As(err); is {
				return nil, fmt.Errorf("ACCORD_WEBHOOK_SECRETS_%s each %s", strings.ToUpper(s.name), f.Fields[0].Message)
			}
			source.Secrets = append(source.Secrets, secret)
		}
		for _, text := range split(s.shared) {
			if len(text) < minShared {
				return nil, fmt.Errorf("ACCORD_WEBHOOK_SHARED_SECRETS_%s must each have at least %d characters", strings.ToUpper(s.name), minShared)
			}
			source.Shared = append(source.Shared, text)
		}
		if len(source.Secrets)+len(source.Shared) > 0 {
			out[s.name] = source
		}
	}
	return out, nil
}

type webhookSecrets struct {
	name            string
	secrets, shared Secret
}

func (w Webhooks) listed() []webhookSecrets {
	return []webhookSecrets{{"braze", w.BrazeSecrets, w.BrazeShared}, {"onesignal", w.OneSignalSecrets, w.OneSignalShared},
		{"onetrust", w.OneTrustSecrets, w.OneTrustShared}, {"iterable", w.IterableSecrets, w.IterableShared}, {"generic", w.GenericSecrets, ""}}
}

func split(s Secret) (out []string) {
	for _, part := range strings.Split(s.Reveal(), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// DevelopmentSecrets of the webhooks, by source. Everybody knows them, so nothing but the development stack takes them.
func DevelopmentSecrets() map[string]string {
	return map[string]string{
		"braze":     "whsec_YWNjb3JkLWRldmVsb3BtZW50LWJyYXpl",
		"onesignal": "whsec_YWNjb3JkLWRldmVsb3BtZW50LW9uZXNpZ25hbA==",
		"onetrust":  "whsec_YWNjb3JkLWRldmVsb3BtZW50LW9uZXRydXN0",
		"iterable":  "whsec_YWNjb3JkLWRldmVsb3BtZW50LWl0ZXJhYmxl",
		"generic":   "whsec_YWNjb3JkLWRldmVsb3BtZW50LWdlbmVyaWM=",
	}
}

// WithDevelopmentSecrets gives every source its secret that has none. Only the development stack does that.
func (w Webhooks) WithDevelopmentSecrets() Webhooks {
	for name, field := range map[string]*Secret{"braze": &w.BrazeSecrets, "onesignal": &w.OneSignalSecrets, "onetrust": &w.OneTrustSecrets,
		"iterable": &w.IterableSecrets, "generic": &w.GenericSecrets} {
		if *field == "" {
			*field = Secret(DevelopmentSecrets()[name])
		}
	}
	return w
}

// refuseDevelopmentSecrets is for every command that serves others than the person at this machine.
func (w Webhooks) refuseDevelopmentSecrets(bad func(setting, format string, args ...any)) {
	known := DevelopmentSecrets()
	for _, s := range w.listed() {
		if slices.Contains(split(s.secrets), known[s.name]) {
			bad("ACCORD_WEBHOOK_SECRETS_"+strings.ToUpper(s.name), "is the development stack's, which everybody knows")
		}
	}
}
