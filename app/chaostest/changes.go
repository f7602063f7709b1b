package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"accord/app/chaostest/checker"
)

// register puts a device in: mostly the customer's own, now and then one that was somebody else's until now.
func (c *client) register(ctx context.Context, who string) {
	id := pick(c, "phone", "phone", "tablet")
	token := fmt.Sprintf("token-%s-%s-%d", who, id, c.rng.IntN(2))
	if c.chance(15) {
		token = fmt.Sprintf("passed-around-%d", c.rng.IntN(min(12, max(2, c.customers/3)))) // few enough that some meet
	}
	// A token is one of a platform: providers tell two of the same letters apart by it.
	platform := "ios"
	if len(token)%2 == 0 {
		platform = "android"
	}
	c.change(ctx, who, "PUT", "/v1/devices/"+id, map[string]any{"platform": platform, "token": token,
		"permission": pick(c, "granted", "granted", "granted", "granted", "provisional", "denied"), "app_version": "4.2.0", "locale": "en-GB"})
}

func (c *client) switches() map[string]any {
	one := func() map[string]any {
		return map[string]any{pick(c, "promotions", "promotions", "loyalty", "news"): map[string]any{"enabled": c.chance(55)}}
	}
	if c.chance(10) {
		return map[string]any{"quiet_hours": pick[any](c, nil, nil, map[string]any{"start": "00:00", "end": "23:59", "time_zone": "UTC"},
			map[string]any{"start": "21:30", "end": "06:00", "time_zone": "Europe/Zurich"}, map[string]any{"start": "12:00", "end": "18:00", "time_zone": "Asia/Kolkata"})}
	}
	switch n := c.rng.IntN(10); {
	case n < 7:
		return map[string]any{"channels": one()}
	case n < 9:
		return map[string]any{"enabled": c.chance(65)}
	default:
		return map[string]any{"enabled": c.chance(65), "channels": one()}
	}
}

// change asks for one, as different clients do: with and without a key, patiently or not, once or again and again.
func (c *client) change(ctx context.Context, who, method, path string, body any) {
	first := c.changing(who, method, path, body)
	c.ask(ctx, first)
	last := first
	if first.Header["Idempotency-Key"] != "" {
		// Who was not answered, or refused for now, asks again, elsewhere.
		for range 3 {
			if last.Status != 0 && last.Status != 503 {
				break
			}
			pause(ctx, time.Duration(200+c.rng.IntN(900))*time.Millisecond)
			if ctx.Err() != nil {
				break
			}
			last = c.ask(ctx, c.copyOf(first))
		}
		if c.chance(15) {
			c.ask(ctx, c.copyOf(first))
		}
		if c.chance(4) {
			other := c.copyOf(first)
			other.Method, other.Path, other.Body = "PATCH", "/v1/preferences/push", encode(map[string]any{"channels": map[string]any{"loyalty": map[string]any{"enabled": c.chance(50)},
				"news": map[string]any{"enabled": c.chance(50)}}})
			c.ask(ctx, other)
		}
		c.keep(first)
	}
	if last.Status == 202 && c.chance(60) { // while it is under way: what is withheld is withheld by now
		c.get(ctx, who, "/v1/preferences/push", "")
	}
	if op := last.Given["Accord-Operation"]; op != "" {
		if c.ops = append(c.ops, who+" "+op); len(c.ops) > 50 {
			c.ops = c.ops[1:]
		}
	}
}

// changing is a change that has not been sent yet.
func (c *client) changing(who, method, path string, body any) *checker.Call {
	c.changes.Add(1)
	out := &checker.Call{Client: c.id, To: c.api(), Customer: who, Method: method, Path: path, Body: encode(body), Header: map[string]string{}}
	if c.chance(70) {
		out.Header["Idempotency-Key"] = fmt.Sprintf("k-%d-%d", c.id, c.rng.Uint64())
	}
	switch n := c.rng.IntN(10); {
	case n < 3:
		out.Header["Prefer"] = "respond-async"
	case n < 5:
		out.Header["Prefer"] = fmt.Sprintf("wait=%d", 1+c.rng.IntN(8))
	case n < 6:
		out.Header["Prefer"] = "respond-async, wait=2"
	}
	return out
}

// copyOf is the same request once more, to whichever instance.
func (c *client) copyOf(call *checker.Call) *checker.Call {
	header := map[string]string{}
	for name, value := range call.Header {
		header[name] = value
	}
	return &checker.Call{Client: c.id, To: c.api(), Customer: call.Customer, Method: call.Method, Path: call.Path, Body: call.Body, Header: header}
}

func (c *client) keep(call *checker.Call) {
	if c.kept = append(c.kept, call); len(c.kept) > 60 {
		c.kept = c.kept[1:]
	}
}

// again repeats a change of long ago: after crashes, after its run has been closed.
func (c *client) again(ctx context.Context) {
	if len(c.kept) > 0 {
		c.ask(ctx, c.copyOf(pick(c, c.kept...)))
	}
}

// race is two who edit what both have read.
func (c *client) race(ctx context.Context, who string) {
	read := c.get(ctx, who, "/v1/preferences/push", "")
	tag := read.Given["Etag"]
	if tag == "" {
		return
	}
	one, two := c.changing(who, "PATCH", "/v1/preferences/push", c.switches()), c.changing(who, "PATCH", "/v1/preferences/push", c.switches())
	one.To, two.To = "api-1", "api-2"
	var wg sync.WaitGroup
	for _, call := range []*checker.Call{one, two} {
		call.Header["If-Match"] = tag
		wg.Go(func() { c.ask(ctx, call) })
	}
	wg.Wait()
}
