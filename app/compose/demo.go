package compose

import (
	"context"
	"net"
	"net/url"
	"time"

	"accord/adapters/auth"
	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// demo registers a phone each for ada and grace, once: the keys make a second start change nothing.
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
Stop with Ctrl-C.`,
		time.Since(d.began).Round(100*time.Millisecond), base, base, d.cfg.TemporalUI, sandbox.Addr(), redact(d.cfg.DatabaseURL.Reveal()),
		d.cfg.StateDir, d.cfg.StateDir, token, base, sandbox.Addr())
}

// redact leaves the password out of an address.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "as set"
	}
	return u.Redacted()
}
