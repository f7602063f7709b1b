package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"accord/app/chaostest/checker"
)

// shown is what clients look at in a page.
type shown struct {
	Messages []struct {
		ID string `json:"id"`
	} `json:"messages"`
	Next    *string `json:"next_cursor"`
	Version string  `json:"version"`
	HasMore bool    `json:"has_more"`
}

// page reads a feed from its first page to the last. It answers with the version, when all pages are of one.
func (c *client) page(ctx context.Context, who string) {
	c.pages(ctx, who, fmt.Sprintf("p-%d-%d", c.id, c.numbers.Load()))
}

func (c *client) pages(ctx context.Context, who, session string) (version string) {
	limit, cursor := 3+c.rng.IntN(28), ""
	for n := 0; ; n++ {
		path := fmt.Sprintf("/v1/inbox?limit=%d%s", limit, cursor)
		var p shown
		var call *checker.Call
		for range 4 {
			if call = c.get(ctx, who, path, session); call.Status == 200 {
				break
			}
			if !c.turn(ctx) {
				return ""
			}
		}
		if call.Status != 200 || json.Unmarshal(call.Answer, &p) != nil {
			return ""
		}
		c.saw(who, p)
		if n == 0 {
			version = p.Version
		}
		if p.Version != version {
			version = ""
		}
		if p.Next == nil {
			return version
		}
		cursor = "&cursor=" + url.QueryEscape(*p.Next)
		if !c.turn(ctx) {
			return ""
		}
	}
}

// saw remembers what may be acknowledged.
func (c *client) saw(who string, p shown) {
	if who == "" {
		return
	}
	if c.versions == nil {
		c.versions = map[string]string{}
	}
	c.versions[who] = p.Version
	for _, m := range p.Messages {
		c.read[who] = append(c.read[who], m.ID)
	}
	if n := len(c.read[who]); n > 60 {
		c.read[who] = c.read[who][n-60:]
	}
}

// mirror is a client's own copy of an inbox, kept up to date by changes alone.
type mirror struct {
	who, session, version string
}

// follow asks for what has changed since, and looks now and then whether that was all.
func (c *client) follow(ctx context.Context) {
	m := &c.mirror
	if m.version == "" {
		m.who, m.session = c.customer(c.rng.IntN(min(30, c.customers))), fmt.Sprintf("m-%d-%d", c.id, c.numbers.Load())
		m.version = c.pages(ctx, m.who, m.session)
		return
	}
	if c.chance(60) && c.turn(ctx) { // so that there is something to follow
		c.acknowledgeFor(ctx, m.who)
	}
	for {
		call := c.get(ctx, m.who, "/v1/inbox/changes?since="+url.QueryEscape(m.version), m.session)
		var p shown
		if call.Status != 200 || json.Unmarshal(call.Answer, &p) != nil {
			m.version = ""
			return
		}
		m.version = p.Version
		if !p.HasMore || !c.turn(ctx) {
			break
		}
	}
	if v := c.pages(ctx, m.who, m.session); v != "" {
		m.version = v
	}
	if c.chance(10) {
		m.version = "" // somebody else
	}
}

func (c *client) refresh(ctx context.Context) {
	call := c.post(ctx, c.viewer(), "/v1/inbox/refresh", nil)
	var p shown
	if call.Status == 200 && json.Unmarshal(call.Answer, &p) == nil {
		c.saw(call.Customer, p)
	}
}

// acknowledge says what was done with messages, by a clock that may be wrong.
func (c *client) acknowledge(ctx context.Context) {
	c.acknowledgeFor(ctx, c.customer(c.rng.IntN(min(30, c.customers))))
}

func (c *client) acknowledgeFor(ctx context.Context, who string) {
	if len(c.read[who]) == 0 {
		c.page(ctx, who)
		return
	}
	at := time.Now().Add(time.Duration(c.rng.IntN(120)-90) * time.Second).UTC().Format(time.RFC3339Nano)
	state := func() string {
		if c.chance(4) {
			return pick(c, "archived", "unread", "unarchived")
		}
		return pick(c, "seen", "read", "read", "clicked")
	}
	switch n := c.rng.IntN(10); {
	case n < 6:
		c.post(ctx, who, "/v1/inbox/messages/"+url.PathEscape(pick(c, c.read[who]...))+"/acknowledge", map[string]any{"state": state(), "at": at})
	case n < 9:
		var items []any
		taken := map[string]bool{}
		for range 1 + c.rng.IntN(5) {
			if id := pick(c, c.read[who]...); !taken[id] {
				taken[id] = true
				items = append(items, map[string]any{"id": id, "state": state(), "at": at})
			}
		}
		c.post(ctx, who, "/v1/inbox/acknowledge", map[string]any{"items": items})
	default:
		c.post(ctx, who, "/v1/inbox/acknowledge", map[string]any{"all": pick(c, "seen", "read"), "as_of": c.versions[who]})
	}
}

// publish puts messages in, for one, for a few, now and then for everybody; changes and retracts some of them; or has the
// engagement platform do it.
func (c *client) publish(ctx context.Context) {
	number := fmt.Sprintf("%d-%d", c.id, c.numbers.Add(1))
	audience := map[string]any{"type": "global"}
	if c.chance(85) {
		ids := []string{c.customer(c.rng.IntN(min(30, c.customers)))}
		for range c.rng.IntN(3) {
			ids = append(ids, c.customers1())
		}
		audience = map[string]any{"type": "customers", "ids": ids}
	}
	body := map[string]any{"audience": audience, "title": "message " + number, "body": "by the chaos test", "category": pick(c, "news", "promotions", "order_updates")}
	c.posted.Add(1)
	if c.chance(25) {
		c.ask(ctx, &checker.Call{Client: c.id, To: "sandbox", Method: "POST", Path: "/_sandbox/messages", Body: encode(body)})
		return
	}
	body["source"], body["external_id"], body["pinned"] = "chaos", "x-"+number, c.chance(10)
	if c.chance(30) {
		body["deeplink"] = "app://orders/" + number
	}
	for range 3 { // the same source and external id again is the same message
		call := c.asPublisher(ctx, "POST", "/v1/messages", body)
		var made struct {
			ID string `json:"id"`
		}
		if call.Status == 200 || call.Status == 201 {
			if json.Unmarshal(call.Answer, &made) == nil && made.ID != "" {
				c.posts = append(c.posts, made.ID)
			}
			if !c.chance(10) {
				break
			}
		}
		if !c.turn(ctx) {
			return
		}
	}
	c.edit(ctx)
}

func (c *client) edit(ctx context.Context) {
	if len(c.posts) == 0 || !c.chance(40) {
		return
	}
	n := c.rng.IntN(len(c.posts))
	id := c.posts[n]
	if c.chance(60) {
		c.asPublisher(ctx, "PATCH", "/v1/messages/"+url.PathEscape(id), pick(c, map[string]any{"body": "changed"}, map[string]any{"pinned": c.chance(50)}))
		return
	}
	c.asPublisher(ctx, "DELETE", "/v1/messages/"+url.PathEscape(id), nil)
	c.posts = append(c.posts[:n], c.posts[n+1:]...)
}

func (c *client) asPublisher(ctx context.Context, method, path string, body any) *checker.Call {
	return c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: "campaigns", Scope: publisherScopes, Method: method, Path: path, Body: encode(body)})
}
