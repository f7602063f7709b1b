package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"accord/app/chaostest/checker"
)

// pushCustomers decide at their devices: the push provider holds that from then on, and tells us. Nobody else has their tokens.
const pushCustomers = 6

func pushCustomer(n int) string { return fmt.Sprintf("by-push-%d", n) }

// provider is where apps speak with the push provider themselves.
type provider struct {
	app string // path
	key string
}

// providerIn finds it in the settings of whoever speaks with it.
func providerIn(settings []string) (p provider) {
	var id string
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "ACCORD_ONESIGNAL_URL":
			if u, err := url.Parse(value); err == nil {
				p.app = u.Path
			}
		case "ACCORD_ONESIGNAL_APP_ID":
			id = value
		case "ACCORD_ONESIGNAL_API_KEY":
			p.key = value
		}
	}
	p.app += "/apps/" + url.PathEscape(id)
	return p
}

// ownSwitch is in the path of a call that an app makes, and Accord never.
const ownSwitch = "/subscriptions_by_token/"

// decideAtDevice is somebody who switches notifications on or off in the settings of a device, or takes the app away. Now and then
// they open the app, register, or use its own switches.
func (c *client) decideAtDevice(ctx context.Context) {
	who, id := pushCustomer(c.rng.IntN(pushCustomers)), pick(c, "phone", "tablet")
	token := fmt.Sprintf("token-%s-%s-%d", who, id, c.rng.IntN(2))
	switch n := c.rng.IntN(20); {
	case n < 5:
		c.change(ctx, who, "PUT", "/v1/devices/"+id, map[string]any{"platform": "ios", "token": token, "permission": "granted", "app_version": "4.2.0", "locale": "en-GB"})
	case n < 6:
		c.change(ctx, who, "DELETE", "/v1/devices/"+id, nil)
	case n < 8:
		c.change(ctx, who, "PATCH", "/v1/devices/"+id, map[string]any{"enabled": c.chance(60)})
	case n < 9:
		c.change(ctx, who, "PATCH", "/v1/preferences/push", c.switches())
	default:
		if event, happened := c.switchAt(ctx, who, token); happened {
			c.tellSome(ctx, event)
		}
	}
}

// switchAt makes the provider hold it. When the provider does not answer it may hold it or not, and tells us all the same; of a token
// that it does not know there is nothing to tell.
func (c *client) switchAt(ctx context.Context, who, token string) (told, bool) {
	on, types := false, -2 // OneSignal's "unsubscribed"
	kind := pick(c, "changed", "changed", "changed", "unsubscribed", "disabled", "invalid")
	switch {
	case kind == "changed" && c.chance(65):
		on, types = true, 1
	case kind == "invalid":
		types = -10 // its "uninstalled"
	}
	set := c.ask(ctx, &checker.Call{Client: c.id, To: "sandbox", About: who, Method: "PATCH", Path: c.stack.provider.app + ownSwitch + "iOSPush/" + url.PathEscape(token),
		Header: map[string]string{"Authorization": "Key " + c.stack.provider.key}, Body: encode(map[string]any{"subscription": map[string]any{"enabled": on, "notification_types": types}})})
	if set.Status >= 400 && set.Status < 500 {
		return told{}, false
	}
	subscription := map[string]any{"token": token}
	if kind == "changed" {
		subscription["enabled"], subscription["notification_types"] = on, types
	}
	event := map[string]any{"id": fmt.Sprintf("onesignal_%d_%d", c.id, c.numbers.Add(1)), "type": "subscription." + kind, "external_id": who,
		"timestamp": time.Now().Unix(), "subscription": subscription}
	if c.chance(15) {
		delete(event, "timestamp") // who does not say when only counts as a withdrawal, or against what nobody has chosen
	}
	return told{source: "onesignal", who: who, id: fmt.Sprintf("msg_%d_%d", c.id, c.numbers.Add(1)), body: event}, true
}
