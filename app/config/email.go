package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"accord/adapters/links"
	"accord/domain/preference"
)

// Email says what can be chosen about marketing e-mail, and how the links in e-mails are made.
type Email struct {
	// Topics of marketing e-mail in the order in which they are shown, separated by commas: key, or key=title for what
	// people are shown; empty for none.
	Topics []string `env:"ACCORD_EMAIL_TOPICS"`
	// Whether a subscription must be confirmed by a link before it counts. API and workers must agree.
	DoubleOptIn bool `env:"ACCORD_EMAIL_DOUBLE_OPT_IN" envDefault:"false"`
	// How long such a subscription waits to be confirmed.
	ConfirmationTTL time.Duration `env:"ACCORD_EMAIL_CONFIRMATION_TTL" envDefault:"72h"`

	// Where people reach the API, for the links in e-mails: https, or http on this machine. Together with ACCORD_LINK_KEYS.
	PublicURL string `env:"ACCORD_PUBLIC_URL"`
	// Keys of the links in e-mails: id:base64 of 32 bytes, separated by commas (docs/email.md). The first makes links, all
	// of them open links; taking one out ends its links. Empty for no links.
	LinkKeys Secret `env:"ACCORD_LINK_KEYS"`
	// How long an unsubscribe link works, at least 1440h (60 days); 0 for as long as its key is there.
	UnsubscribeTTL time.Duration `env:"ACCORD_UNSUBSCRIBE_LINK_TTL" envDefault:"0s"`
	// Who sends the e-mails, as the pages behind their links say.
	Brand string `env:"ACCORD_BRAND" envDefault:"Accord"`
}

// sixtyDays is how long an unsubscribe link must work by law in Canada, the longest we know of.
const sixtyDays = 60 * 24 * time.Hour

func (e Email) check(bad func(setting, format string, args ...any)) {
	if e.ConfirmationTTL < time.Minute {
		bad("ACCORD_EMAIL_CONFIRMATION_TTL", "must be at least 1m, not %s", e.ConfirmationTTL)
	}
	if e.UnsubscribeTTL != 0 && e.UnsubscribeTTL < sixtyDays {
		bad("ACCORD_UNSUBSCRIBE_LINK_TTL", "must be 0 or at least %s (60 days), not %s", sixtyDays, e.UnsubscribeTTL)
	}
	if (e.PublicURL == "") != (e.LinkKeys == "") {
		bad("ACCORD_LINK_KEYS", "goes together with ACCORD_PUBLIC_URL")
	}
	if u, err := url.Parse(e.PublicURL); e.PublicURL != "" && (err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname()))) {
		bad("ACCORD_PUBLIC_URL", "must be an https address, or http on this machine, not %q", e.PublicURL)
	}
	if _, err := e.Keys(); err != nil {
		bad("ACCORD_LINK_KEYS", "%v", err)
	}
	if strings.TrimSpace(e.Brand) == "" {
		bad("ACCORD_BRAND", "must not be empty")
	}
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Keys of the links, none where links are not configured.
func (e Email) Keys() ([]links.Key, error) {
	if e.LinkKeys == "" {
		return nil, nil
	}
	return links.ParseKeys(strings.Split(e.LinkKeys.Reveal(), ","))
}

var topicPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Catalogue builds the topics.
func (e Email) topics() ([]preference.Topic, error) {
	var out []preference.Topic
	for _, spec := range e.Topics {
		key, title, titled := strings.Cut(spec, "=")
		if !topicPattern.MatchString(key) || titled && strings.TrimSpace(title) == "" {
			return nil, fmt.Errorf("ACCORD_EMAIL_TOPICS has %q, which is neither key nor key=title (letters, digits, _ and -)", spec)
		}
		if !titled {
			title = key
		}
		out = append(out, preference.Topic{Key: preference.TopicKey(key), Title: strings.TrimSpace(title)})
	}
	return out, nil
}

// confirm is how long a subscription waits to be confirmed, 0 when it need not be.
func (e Email) confirm() time.Duration {
	if !e.DoubleOptIn {
		return 0
	}
	return e.ConfirmationTTL
}
