package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"accord/app/chaostest/checker"
)

// Decisions that are made elsewhere: in a system that speaks Accord's own format, and in the CRM. Those at devices are in provider.go.

// webhookKey signs for all sources.
var webhookKey = []byte("the chaos test signs with this key")

func webhookSecret() string { return "whsec_" + base64.StdEncoding.EncodeToString(webhookKey) }

// told is one decision on its way to us, with the id that all its deliveries have.
type told struct {
	source, who, id string
	body            any
}

// deliver sends it once, signed as of now by the sender's clock.
func (c *client) deliver(ctx context.Context, t told, to string) *checker.Call {
	c.heardOf.Add(1)
	body := encode(t.body)
	at := strconv.FormatInt(time.Now().Add(time.Duration(c.id%7-3)*8*time.Second).Unix(), 10)
	mac := hmac.New(sha256.New, webhookKey)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", t.id, at, body) // a hash takes everything
	return c.ask(ctx, &checker.Call{Client: c.id, To: to, About: t.who, Method: "POST", Path: "/v1/webhooks/" + t.source, Body: body,
		Header: map[string]string{"webhook-id": t.id, "webhook-timestamp": at, "webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}})
}

// repeat delivers as senders do: again while there is no good answer, twice at once now and then, and sometimes much later once more.
func (c *client) repeat(ctx context.Context, t told) {
	if c.chance(20) {
		var wg sync.WaitGroup
		wg.Go(func() { c.deliver(ctx, t, "api-1") })
		defer wg.Wait()
	}
	for range 4 {
		if last := c.deliver(ctx, t, c.api()); last.Status != 0 && last.Status < 500 {
			break
		}
		pause(ctx, time.Duration(200+c.rng.IntN(900))*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
	}
	if c.chance(15) {
		c.deliver(ctx, t, c.api())
	}
	if c.told = append(c.told, t); len(c.told) > 20 {
		c.told = c.told[1:]
	}
}

// decideElsewhere is a decision in a system that is no target. It may be told late, and then says when it was made.
func (c *client) decideElsewhere(ctx context.Context, who string) {
	if c.chance(15) && len(c.told) > 0 {
		c.deliver(ctx, pick(c, c.told...), c.api())
		return
	}
	late := time.Duration(c.rng.IntN(1500)) * time.Millisecond
	switch n := c.rng.IntN(10); {
	case n < 3:
		late = time.Duration(c.rng.IntN(60_000)) * time.Millisecond
	case n < 4:
		late = -time.Duration(c.rng.IntN(3000)) * time.Millisecond // its clock is ahead
	}
	now := time.Now().UTC()
	data := map[string]any{"customer": who, "decided_at": now.Add(-late).Truncate(time.Microsecond).Format(time.RFC3339Nano), "cause": "store_form"}
	on := func(percent int) map[string]any { return map[string]any{"enabled": c.chance(percent)} }
	n := c.rng.IntN(10)
	if n < 6 {
		data["channels"] = map[string]any{pick(c, "promotions", "promotions", "loyalty", "news"): on(45)}
	}
	if n == 6 || n == 5 {
		data["push"] = on(55)
	}
	if n > 6 || n == 0 {
		data["email"] = map[string]any{"marketing": map[string]any{"status": pick(c, "subscribed", "unsubscribed")}}
	}
	c.repeat(ctx, told{source: "generic", who: who, id: fmt.Sprintf("msg_%d_%d", c.id, c.numbers.Add(1)),
		body: map[string]any{"type": "preferences.decision", "timestamp": now.Format(time.RFC3339Nano), "data": data}})
}

// crmCustomers decide in the CRM. Half of them never do anything else, so that nothing is ever to be written there for them.
const crmCustomers = 6

func crmCustomer(n int) string { return fmt.Sprintf("by-crm-%d", n) }

// decideInCRM is somebody who clicks in an e-mail of the CRM: it holds that from then on, and tells us: at once, later, or after
// what it has to tell next.
func (c *client) decideInCRM(ctx context.Context) {
	n := c.rng.IntN(crmCustomers)
	who := crmCustomer(n)
	if n%2 == 1 && c.chance(30) {
		c.change(ctx, who, "PATCH", "/v1/preferences/push", c.switches())
		return
	}
	c.tellSome(ctx, c.choose(ctx, n))
}

// tellSome is a vendor that has one more thing to tell, and tells what it has in any order, sooner or later.
func (c *client) tellSome(ctx context.Context, one told) {
	c.untold = append(c.untold, one)
	for len(c.untold) > 0 && (c.chance(60) || len(c.untold) > 3) {
		i := c.rng.IntN(len(c.untold))
		event := c.untold[i]
		c.untold = append(c.untold[:i], c.untold[i+1:]...)
		c.repeat(ctx, event)
	}
}

// tellTheRest is for what was not told in time.
func (c *client) tellTheRest(ctx context.Context) {
	for _, event := range c.untold {
		c.repeat(ctx, event)
	}
	c.untold = nil
}

// choose makes the CRM hold a choice. When the sandbox does not answer it may hold it or not; we are told all the same.
func (c *client) choose(ctx context.Context, n int) told {
	who := crmCustomer(n)
	c.inCRM[n].Lock() // one person does one thing at a time
	defer c.inCRM[n].Unlock()
	if !c.crmKnows[n] { // as somebody whom it has been told of before
		c.crmKnows[n] = c.hold(ctx, who, map[string]any{"email_marketing": "unsubscribed", "channels": map[string]any{"promotions": "unsubscribed",
			"loyalty": "unsubscribed", "news": "unsubscribed", "order_updates": "subscribed"}})
	}
	on := c.chance(45)
	event := map[string]any{"id": fmt.Sprintf("braze_%d_%d", c.id, c.numbers.Add(1)), "external_user_id": who, "time": time.Now().Unix()}
	if c.chance(25) {
		delete(event, "time") // who does not say when only counts as a withdrawal, or against what nobody has chosen
	}
	held := map[string]any{"email_marketing": map[bool]string{true: "subscribed", false: "unsubscribed"}[on]}
	if c.chance(40) {
		event["event_type"], event["subscription_status"] = "users.behaviors.subscription.GlobalStateChange", map[bool]string{true: "Opted-in", false: "Unsubscribed"}[on]
	} else {
		channel := pick(c, "promotions", "promotions", "news")
		event["event_type"], event["subscription_status"] = "users.behaviors.subscriptiongroup.StateChange", map[bool]string{true: "Subscribed", false: "Unsubscribed"}[on]
		event["subscription_group_id"] = c.stack.groups[channel]
		held = map[string]any{"channels": map[string]any{channel: map[bool]string{true: "subscribed", false: "unsubscribed"}[on]}}
	}
	c.hold(ctx, who, held)
	return told{source: "braze", who: who, id: fmt.Sprintf("msg_%d_%d", c.id, c.numbers.Add(1)), body: event}
}

func (c *client) hold(ctx context.Context, who string, held map[string]any) bool {
	set := c.ask(ctx, &checker.Call{Client: c.id, To: "sandbox", About: who, Method: "PUT", Path: "/_sandbox/customers/" + url.PathEscape(who),
		Body: encode(map[string]any{"crm": held})})
	return set.Status >= 200 && set.Status < 300
}
