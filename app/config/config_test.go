package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	c := config.Load(map[string]string{"ACCORD_HTTP_ADDR": "8080", "ACCORD_GRANT_BUDGET": "-1s", "ACCORD_LOG_FORMAT": "xml",
		"ACCORD_CHANNELS": "news,news", "ACCORD_BRAZE_URL": "ftp://x"})
	err := c.Validate(config.NeedDatabase, config.NeedTemporal, config.NeedTokens, config.NeedVendors)
	for _, setting := range []string{"ACCORD_HTTP_ADDR", "ACCORD_GRANT_BUDGET", "ACCORD_LOG_FORMAT", "ACCORD_CHANNELS", "ACCORD_BRAZE_URL",
		"ACCORD_DATABASE_URL", "ACCORD_TEMPORAL_ADDRESS", "ACCORD_JWT_ISSUER", "ACCORD_ONESIGNAL_API_KEY"} {
		require.ErrorContains(t, err, setting)
	}
	c = config.Load(map[string]string{"ACCORD_DATABASE_CONNS": "many", "ACCORD_VENDOR_TIMEOUT": "soon", "ACCORD_CHANNELS": "a b,promotions:,x!!", "ACCORD_BRAZE_RATE": "0"})
	err = c.Validate()
	for _, setting := range []string{"ACCORD_DATABASE_CONNS", "ACCORD_VENDOR_TIMEOUT", "ACCORD_CHANNELS", "ACCORD_BRAZE_RATE"} {
		require.ErrorContains(t, err, setting)
	}
}

func TestTheEngagementPlatformIsOptional(t *testing.T) {
	t.Parallel()
	c := config.Load(nil)
	require.NoError(t, c.Validate())
	require.Equal(t, []any{20 * time.Second, 30 * time.Second, time.Minute, true}, []any{c.Inbox.PullEvery, c.Inbox.OwnTTL, c.Inbox.MaxAge, c.Vendors.IterableEmbedded})
	c = config.Load(map[string]string{"ACCORD_CAMPAIGN_FEED_URL": "https://feed.example/v1", "ACCORD_ITERABLE_URL": "https://api.iterable.com", "ACCORD_ITERABLE_API_KEY": "k"})
	require.NoError(t, c.Validate())
}

func TestSettingsOfTheInboxAreChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		set     map[string]string
		problem string
	}{
		{map[string]string{"ACCORD_CAMPAIGN_FEED_URL": "feed.example"}, "ACCORD_CAMPAIGN_FEED_URL must be an http or https address"},
		{map[string]string{"ACCORD_CAMPAIGN_FEED_RATE": "0"}, "ACCORD_CAMPAIGN_FEED_RATE must be more than zero"},
		{map[string]string{"ACCORD_ITERABLE_URL": "ftp://x", "ACCORD_ITERABLE_API_KEY": "k"}, "ACCORD_ITERABLE_URL must be an http or https address"},
		{map[string]string{"ACCORD_ITERABLE_URL": "https://api.iterable.com"}, "ACCORD_ITERABLE_API_KEY must be set"},
		{map[string]string{"ACCORD_ITERABLE_RATE": "-1"}, "ACCORD_ITERABLE_RATE must be more than zero"},
		{map[string]string{"ACCORD_ITERABLE_EMBEDDED": "perhaps"}, "ACCORD_ITERABLE_EMBEDDED cannot be read"},
		{map[string]string{"ACCORD_ITERABLE_PLATFORM": "iOS"}, "ACCORD_ITERABLE_PACKAGE goes together"},
		{map[string]string{"ACCORD_ITERABLE_PLATFORM": "ios", "ACCORD_ITERABLE_PACKAGE": "a.b"}, "ACCORD_ITERABLE_PLATFORM must be iOS"},
		{map[string]string{"ACCORD_INBOX_PULL_EVERY": "500ms"}, "ACCORD_INBOX_PULL_EVERY must be at least 1s"},
		{map[string]string{"ACCORD_INBOX_PULL_EVERY": "60s"}, "ACCORD_INBOX_PULL_EVERY must be shorter than ACCORD_INBOX_MAX_AGE"},
		{map[string]string{"ACCORD_INBOX_MAX_AGE": "25s"}, "ACCORD_INBOX_OWN_TTL must be shorter"},
		{map[string]string{"ACCORD_INBOX_OWN_TTL": "0s"}, "ACCORD_INBOX_OWN_TTL must be longer than zero"},
		{map[string]string{"ACCORD_INBOX_OWN_TTL": "often"}, "ACCORD_INBOX_OWN_TTL cannot be read"},
		{map[string]string{"ACCORD_INBOX_PULLS": "0"}, "ACCORD_INBOX_PULLS must be at least 1"},
		{map[string]string{"ACCORD_INBOX_REFRESH_BURST": "0"}, "ACCORD_INBOX_REFRESH_BURST must be at least 1"},
	} {
		require.ErrorContains(t, config.Load(test.set).Validate(), test.problem)
	}
}

func TestDefaultsAreTheDevelopmentCatalogue(t *testing.T) {
	t.Parallel()
	c := config.Load(nil)
	require.NoError(t, c.Validate())
	require.Equal(t, 2*time.Minute, c.GrantBudget)
	cat, err := c.Catalogue()
	require.NoError(t, err)
	required, linked := []string{}, map[string]string{}
	for _, ch := range cat.Channels() {
		if ch.Required {
			required = append(required, string(ch.Key))
		}
		linked[string(ch.Key)] = string(ch.Purpose)
	}
	require.Equal(t, []string{"order_updates"}, required)
	require.Equal(t, map[string]string{"promotions": "push-marketing", "loyalty": "", "news": "", "order_updates": ""}, linked)
	require.Equal(t, "email-marketing", string(cat.EmailPurpose()))
}

func TestEveryChannelAndPurposeNeedsItsCounterpart(t *testing.T) {
	t.Parallel()
	c := config.Load(map[string]string{"ACCORD_BRAZE_GROUPS": "promotions=a,loyalty=b,order_updates=c"})
	err := c.Validate(config.NeedVendors)
	require.ErrorContains(t, err, "channel news")
	require.NotContains(t, err.Error(), "channel loyalty")
	require.ErrorContains(t, err, "purpose push-marketing")
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	c := config.Load(map[string]string{"ACCORD_DATABASE_URL": "postgres://u:hunter2@h/d", "ACCORD_BRAZE_API_KEY": "hunter2",
		"ACCORD_ITERABLE_API_KEY": "hunter2", "ACCORD_CAMPAIGN_FEED_KEY": "hunter2"})
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	var logged strings.Builder
	c.Logger(&logged).Info("configuration", "config", c, "url", c.DatabaseURL)
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.DatabaseURL), string(asJSON), logged.String()} {
		require.NotContains(t, out, "hunter2")
	}
	require.Equal(t, "hunter2", c.Vendors.BrazeAPIKey.Reveal())
}

func TestTheDocumentationIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../../docs/configuration.md"
	want := document(t)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run make generate")
}

// document reads the settings and their comments off the source, so that the page cannot say anything else.
func document(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Configuration

Settings come from the environment. A command checks what it needs at its start and reports every problem at once.
` + "`make run`" + ` needs none of them: whatever is not set it starts itself, and points the vendors' settings at its sandbox.

| setting | default | what it is |
|---|---|---|
`)
	for _, source := range []string{"config.go", "email.go", "reconciliation.go", "security.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(file, describe(t, &b))
	}
	return b.String()
}

func describe(t *testing.T, b *strings.Builder) func(ast.Node) bool {
	return func(n ast.Node) bool {
		field, is := n.(*ast.Field)
		if !is || field.Tag == nil {
			return true
		}
		raw, err := strconv.Unquote(field.Tag.Value)
		require.NoError(t, err)
		tag := reflect.StructTag(raw)
		setting := tag.Get("env")
		if setting == "" {
			return true
		}
		require.NotNil(t, field.Doc, "%s needs a comment", setting)
		value := tag.Get("envDefault")
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", setting, value, strings.Join(strings.Fields(field.Doc.Text()), " "))
		return true
	}
}

func TestSettingsOfEMailAreChecked(t *testing.T) {
	t.Parallel()
	key := "k1:" + strings.Repeat("A", 43) + "="
	for _, test := range []struct {
		set     map[string]string
		problem string
	}{
		{map[string]string{"ACCORD_EMAIL_CONFIRMATION_TTL": "1s"}, "ACCORD_EMAIL_CONFIRMATION_TTL must be at least 1m"},
		{map[string]string{"ACCORD_EMAIL_CONFIRMATION_TTL": "soon"}, "ACCORD_EMAIL_CONFIRMATION_TTL cannot be read"},
		{map[string]string{"ACCORD_UNSUBSCRIBE_LINK_TTL": "1439h"}, "ACCORD_UNSUBSCRIBE_LINK_TTL must be 0 or at least 1440h"},
		{map[string]string{"ACCORD_PUBLIC_URL": "https://mail.example"}, "ACCORD_LINK_KEYS goes together"},
		{map[string]string{"ACCORD_PUBLIC_URL": "http://mail.example", "ACCORD_LINK_KEYS": key}, "ACCORD_PUBLIC_URL must be an https address"},
		{map[string]string{"ACCORD_PUBLIC_URL": "https://mail.example", "ACCORD_LINK_KEYS": "k1:hunter2"}, "ACCORD_LINK_KEYS key 1 is not"},
		{map[string]string{"ACCORD_EMAIL_TOPICS": "a b"}, "ACCORD_EMAIL_TOPICS has"},
		{map[string]string{"ACCORD_EMAIL_TOPICS": "a,a"}, "keys must be unique"},
		{map[string]string{"ACCORD_BRAND": " "}, "ACCORD_BRAND must not be empty"},
	} {
		err := config.Load(test.set).Validate()
		require.ErrorContains(t, err, test.problem)
		require.NotContains(t, err.Error(), "hunter2")
	}
	c := config.Load(map[string]string{"ACCORD_PUBLIC_URL": "https://mail.example", "ACCORD_LINK_KEYS": key, "ACCORD_EMAIL_TOPICS": "offers=Special offers,tips"})
	require.NoError(t, c.Validate())
	require.ErrorContains(t, c.Validate(config.NeedVendors), "ACCORD_BRAZE_TOPICS must name the subscription group of topic offers")
	cat, err := c.Catalogue()
	require.NoError(t, err)
	offers, known := cat.Topic("offers")
	require.True(t, known)
	require.Equal(t, "Special offers", offers.Title)
}
