package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"accord/app/chaostest/checker"
)

// putRight has those compared who have decided at a vendor: a decision that could not reach everything, or one that a write of ours
// met on its way, leaves the vendor with something else than the others hold, and it is the reconciliation that ends that. It waits
// until they agree, for a while; the checker judges what it comes to.
func (w *workload) putRight(ctx context.Context) {
	var all []string
	w.mu.Lock()
	for _, who := range deciders() {
		if w.known[who] {
			all = append(all, who)
		}
	}
	w.mu.Unlock()
	if len(all) == 0 {
		return
	}
	for end := time.Now().Add(min(2*time.Minute, w.options.settle)); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 3*time.Second) {
		w.ask(ctx, &checker.Call{To: "api-1", Customer: "support", Scope: operatorScopes, Method: "POST", Path: "/v1/reconciliations", Body: encode(map[string]any{"customers": all})})
		pause(ctx, 5*time.Second)
		if !slices.ContainsFunc(all, func(who string) bool { return !w.agrees(ctx, who) }) {
			return
		}
	}
}

// deciders are all those who decide at a vendor.
func deciders() (all []string) {
	for n := range crmCustomers {
		all = append(all, crmCustomer(n))
	}
	for n := range pushCustomers {
		all = append(all, pushCustomer(n))
	}
	return all
}

// decidesAt is the vendor at which one of them decides.
func decidesAt(who string) string {
	if strings.HasPrefix(who, "by-push-") {
		return "push"
	}
	return "crm"
}

// agrees tells whether the CRM and the push provider hold of somebody what the API shows.
func (w *workload) agrees(ctx context.Context, who string) bool {
	ours, err := w.tell(ctx, "api-1", who, "", "/v1/preferences")
	if err != nil {
		return false
	}
	theirs, err := w.tell(ctx, "sandbox", "", "", "/_sandbox/customers/"+url.PathEscape(who))
	var api struct {
		Version int64 `json:"version"`
		Push    struct {
			Enabled  bool `json:"enabled"`
			Channels map[string]struct {
				Enabled bool `json:"enabled"`
			} `json:"channels"`
			Devices []struct {
				Enabled     bool   `json:"enabled"`
				Permission  string `json:"permission"`
				Fingerprint string `json:"token_fingerprint"`
			} `json:"devices"`
		} `json:"push"`
		Email struct {
			Marketing struct {
				Status string `json:"status"`
			} `json:"marketing"`
		} `json:"email"`
	}
	var held struct {
		CRM struct {
			Email    string            `json:"email_marketing"`
			Channels map[string]string `json:"channels"`
		} `json:"crm"`
		Push struct {
			Devices []struct {
				Token   string `json:"token"`
				Enabled bool   `json:"enabled"`
			} `json:"devices"`
		} `json:"push"`
	}
	if err != nil || json.Unmarshal(ours, &api) != nil || json.Unmarshal(theirs, &held) != nil {
		return false
	}
	if api.Version == 0 {
		return true // nothing was ever applied
	}
	if (api.Email.Marketing.Status == "subscribed") != (held.CRM.Email == "subscribed") {
		return false
	}
	shall, has := map[string]bool{}, map[string]bool{}
	for _, d := range api.Push.Devices {
		shall[d.Fingerprint] = api.Push.Enabled && d.Enabled && d.Permission != "denied"
	}
	for _, d := range held.Push.Devices {
		has[checker.Fingerprint(d.Token)] = d.Enabled
	}
	if !maps.Equal(shall, has) {
		return false
	}
	for key, ch := range api.Push.Channels {
		if held.CRM.Channels[key] != map[bool]string{true: "subscribed", false: "unsubscribed"}[ch.Enabled] {
			return false
		}
	}
	return true
}
