package main

import (
	"context"
	"encoding/json"
	"net/url"

	"accord/app/chaostest/checker"
)

// What has to do with e-mail: the subscription, and the links in what is sent.

func (c *client) email(ctx context.Context, who string) {
	status := pick(c, "subscribed", "unsubscribed")
	c.change(ctx, who, "PATCH", "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": status},
		"wording": map[string]any{"id": "newsletter-1", "locale": "en"}})
	if c.doubleOptIn == "on" && status == "subscribed" && c.chance(70) && c.turn(ctx) {
		c.confirm(ctx, who)
	}
}

// mail is somebody who sends an e-mail, and the mail provider's one-click out of it: at once, twice now and then, or never.
func (c *client) mail(ctx context.Context, who string) {
	path := c.link(ctx, who, "unsubscribe-links")
	if path == "" {
		return
	}
	for more := c.chance(70); more && c.turn(ctx); more = c.chance(20) {
		c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), About: who, Method: "POST", Path: path, Form: "List-Unsubscribe=One-Click"})
	}
}

// mailed is a link in an e-mail to somebody.
type mailed struct{ who, path string }

// confirm is somebody who is sent an e-mail that asks whether they have subscribed, and mostly presses the button: at once, twice now
// and then, or long after, when they have decided something else since.
func (c *client) confirm(ctx context.Context, who string) {
	path := c.link(ctx, who, "confirmation-links")
	if path == "" {
		return
	}
	if c.asking = append(c.asking, mailed{who, path}); len(c.asking) > 20 {
		c.asking = c.asking[1:]
	}
	link := mailed{who, path}
	if c.chance(30) {
		link = pick(c, c.asking...)
	}
	for more := c.chance(80); more && c.turn(ctx); more = c.chance(20) {
		c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), About: link.who, Method: "POST", Path: link.path, Form: "pressed=confirm"})
	}
}

// link is the path of one that is made for an e-mail to the customer, empty when there is none.
func (c *client) link(ctx context.Context, who, kind string) string {
	made := c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: "mailer", Scope: mailerScopes, About: who, Method: "POST",
		Path: "/v1/customers/" + url.PathEscape(who) + "/" + kind})
	var link struct {
		URL string `json:"url"`
	}
	if made.Status != 200 || json.Unmarshal(made.Answer, &link) != nil {
		return ""
	}
	at, err := url.Parse(link.URL)
	if err != nil {
		return ""
	}
	return at.Path
}
