package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"accord/app/chaostest/checker"
)

// People who use Accord for a while and then have themselves erased. Nobody else has anything to do with them.

const (
	mostErased     = 12
	erasingScopes  = "customers:erase"
	erasedCustomer = "gone-"
)

// comeAndGo is such a person's whole life. One whose changes were not all answered stays: a change that is still on its way could
// arrive after the erasure, and begin a new life.
func (c *client) comeAndGo(ctx context.Context) {
	n := c.gone.Add(1)
	if n > mostErased {
		return
	}
	who := fmt.Sprintf("%s%d", erasedCustomer, n)
	if n%3 == 0 {
		who += "@example.org"
	}
	for i, change := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "/v1/devices/phone", map[string]any{"platform": "ios", "token": fmt.Sprintf("token-of-%s%d", erasedCustomer, n), "permission": "granted", "app_version": "4.2.0", "locale": "en-GB"}},
		{"PATCH", "/v1/preferences/push", map[string]any{"channels": map[string]any{"promotions": map[string]any{"enabled": true}}}},
		{"PATCH", "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": pick(c, "subscribed", "unsubscribed")}}},
	} {
		call := &checker.Call{Client: c.id, To: c.api(), Customer: who, Method: change.method, Path: change.path, Body: encode(change.body),
			Header: map[string]string{"Prefer": pick(c, "wait=5", "respond-async")}}
		if c.ask(ctx, call).Status == 0 {
			return
		}
		if i > 0 && c.chance(30) || !c.turn(ctx) {
			break
		}
	}
	if c.get(ctx, who, "/v1/inbox?limit=5", "").Status == 0 {
		return
	}
	c.mu.Lock()
	c.erasing = append(c.erasing, who)
	c.mu.Unlock()
	for range 4 {
		if c.erase(ctx, who, c.api()) || !c.turn(ctx) {
			return
		}
	}
}

// erase asks for it, and tells whether it was accepted.
func (w *workload) erase(ctx context.Context, who, api string) bool {
	call := w.ask(ctx, &checker.Call{To: api, Customer: "privacy-desk", Scope: erasingScopes, About: who, Method: "DELETE", Path: "/v1/customers/" + url.PathEscape(who),
		Header: map[string]string{"Idempotency-Key": "erase-" + who, "Prefer": "wait=2"}})
	if call.Status != 200 && call.Status != 202 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.erased[who] = call.Given["Accord-Operation"]
	return true
}

// eraseAll sees to it that everybody has been answered who has begun to be erased.
func (w *workload) eraseAll(ctx context.Context) {
	for _, who := range w.erasing {
		for end := time.Now().Add(time.Minute); w.erased[who] == "" && time.Now().Before(end) && ctx.Err() == nil; pause(ctx, time.Second) {
			w.erase(ctx, who, "api-1")
		}
	}
}

// proofs of the erasures, as they stand at the end.
func (w *workload) proofs(ctx context.Context, final *checker.Final) error {
	final.Erasures = map[string]json.RawMessage{}
	for _, who := range w.erasing {
		if w.erased[who] == "" {
			continue
		}
		proof, err := w.tell(ctx, "api-2", "privacy-desk", erasingScopes, "/v1/erasures/"+url.PathEscape(w.erased[who]))
		if err != nil {
			return err
		}
		export, err := w.tell(ctx, "api-1", "privacy-desk", erasingScopes, "/v1/customers/"+url.PathEscape(who)+"/export")
		if err != nil {
			return err
		}
		final.Erasures[who] = encode(map[string]json.RawMessage{"proof": proof, "export": export})
	}
	return nil
}
