package compose

import (
	"context"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"accord/adapters/auth"
	"accord/app/config"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// demo registers a phone each for ada and grace, once: the keys make a second start change nothing. Then it fills their
// inboxes.
func (d *dev) demo(ctx context.Context, c *core) error {
	service := c.service()
	defer service.Close()
	for _, p := range []struct {
		customer preference.CustomerID
		device   preference.Registration
	}{
		{"ada", preference.Registration{Device: "ada-phone", Platform: preference.IOS, Token: "demo-token-ada", Permission: preference.Granted, AppVersion: "1.0.0", Locale: "en"}},
		{"grace", preference.Registration{Device: "grace-phone", Platform: preference.Android, Token: "demo-token-grace", Permission: preference.Granted, AppVersion: "1.0.0", Locale: "en"}},
	} {
		change, err := preference.RegisterDevice(p.device)
		if err != nil {
			return err
		}
		result, err := service.Change(ctx, ports.ChangeCommand{Customer: p.customer, Change: change, Source: preference.FromApp,
			Actor: consent.Actor{Type: "customer", ID: string(p.customer)}, Origin: consent.Origin{Source: string(preference.FromApp)},
			Key: "demo/device", Fingerprint: "demo", Wait: 10 * time.Second})
		if err != nil {
			return err
		}
		if s := result.Operation.Status; s != preference.Applied {
			d.say("  the demo device of %s is %s", p.customer, s)
		}
	}
	return d.demoInbox(ctx, c)
}

// demoInbox fills the inboxes of ada and grace, once: what is there already, or was changed since, stays as it is.
func (d *dev) demoInbox(ctx context.Context, c *core) error {
	for key, text := range map[inbox.TargetKey]string{"home": "app://home", "orders": "app://orders/{order_id}",
		"products": "app://products/{product_id}", "preferences": "app://preferences"} {
		if _, err := c.inbox.Target(ctx, key); fault.KindOf(err) != fault.NotFound {
			continue
		}
		pattern, err := inbox.ParsePattern(text)
		if err != nil {
			return err
		}
		if _, _, err := c.inbox.PutTarget(ctx, inbox.LinkTarget{Key: key, Pattern: pattern, Active: true}); err != nil {
			return err
		}
	}
	for _, m := range []inbox.Draft{
		{ExternalID: "welcome", Audience: inbox.Global, Campaign: "welcome", Content: inbox.Content{Category: "news", Link: "app://home", Locale: "en",
			Text:     inbox.Text{Title: "Welcome", Body: "This is your inbox: what concerns you, and nothing that has passed."},
			Variants: map[string]inbox.Text{"de": {Title: "Willkommen", Body: "Das ist Ihr Posteingang: was Sie betrifft und nichts, was vorbei ist."}}}},
		{ExternalID: "choose", Audience: inbox.Global, Campaign: "choose", Content: inbox.Content{Category: "promotions", Link: "app://preferences", Locale: "en",
			Text:    inbox.Text{Title: "Offers, if you like", Body: "Promotions are off until you choose them."},
			Actions: []inbox.Action{{ID: "choose", Title: "Choose", Link: "app://preferences"}}}},
		{ExternalID: "order-42", Audience: inbox.Personal, Recipients: []preference.CustomerID{"ada"}, Content: inbox.Content{Category: "orders",
			Link: "app://orders/42", Locale: "en", Text: inbox.Text{Title: "Order 42 is on its way", Body: "It should be with you tomorrow."}}},
		{ExternalID: "order-43", Audience: inbox.Personal, Recipients: []preference.CustomerID{"grace"}, Content: inbox.Content{Category: "orders",
			Link: "app://orders/43", Locale: "en", Text: inbox.Text{Title: "Order 43 has arrived", Body: "Tell us how you like it."}}},
	} {
		m.Source = "demo"
		if _, _, err := c.inbox.Publish(ctx, m); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return nil
}

// welcome prints where everything is and what to paste.
func (d *dev) welcome(issuer *auth.DevIssuer, api, sandbox net.Listener) {
	token, _, err := issuer.Mint("ada", "")
	if err != nil {
		d.say("no token: %v", err)
		return
	}
	base := "http://" + api.Addr().String()
	d.say(`
Accord is ready after %s

  API          %s        (docs: %s/docs)
  Temporal UI  %s
  Sandbox      http://%s
  Postgres     %s
  Log          %s/accord.log    (settings for other commands: . %s/dev.env)

  TOKEN=%s

Switch promotions on for ada, everywhere or nowhere:

  curl -s -X PATCH %s/v1/preferences/push -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' -d '{"channels":{"promotions":{"enabled":true}}}'

What the vendors hold now:   curl -s http://%s/_sandbox/customers/ada
What is in ada's inbox:      curl -s %s/v1/inbox -H "Authorization: Bearer $TOKEN"
Webhooks from %s are signed with
                             accord-development-<source>, for nobody but this stack (docs/webhooks.md)
Stop with Ctrl-C.`,
		time.Since(d.began).Round(100*time.Millisecond), base, base, d.cfg.TemporalUI, sandbox.Addr(), redact(d.cfg.DatabaseURL.Reveal()),
		d.cfg.StateDir, d.cfg.StateDir, token, base, sandbox.Addr(), base, strings.Join(slices.Sorted(maps.Keys(config.DevelopmentSecrets())), ", "))
}

// redact leaves the password out of an address.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "as set"
	}
	return u.Redacted()
}
