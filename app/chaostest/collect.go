package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"accord/app/chaostest/checker"
	"accord/app/systemtest/process"
)

// calm is how long nothing may have been open before it is believed that nothing will be again: an end can bring forth another
// change, as a token that moved does.
const calm = 4 * time.Second

// settle waits until nothing is open any more. What is parked is tried again, as an operator would when the vendors are well.
func (w *workload) settle(ctx context.Context, final *checker.Final) error {
	began := time.Now()
	control(ctx, w.stack.sandbox)
	quietSince := time.Time{}
	for time.Since(began) < w.options.settle {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		list := w.ask(ctx, &checker.Call{To: "api-2", Customer: "support", Scope: operatorScopes, Method: "GET", Path: "/v1/operations?limit=200"})
		var page struct {
			Operations []json.RawMessage `json:"operations"`
		}
		if list.Status != 200 || json.Unmarshal(list.Answer, &page) != nil {
			quietSince = time.Time{}
			pause(ctx, 500*time.Millisecond)
			continue
		}
		final.Open = page.Operations
		switch {
		case len(page.Operations) > 0:
			quietSince = time.Time{}
		case quietSince.IsZero():
			quietSince = time.Now()
		case time.Since(quietSince) > calm:
			if final.Quiet {
				return nil
			}
			final.Quiet, final.Settled = true, fmt.Sprintf("nothing was open any more after %s", quietSince.Sub(began).Round(100*time.Millisecond))
			return nil
		}
		w.retryParked(ctx)
		pause(ctx, 500*time.Millisecond)
	}
	final.Quiet, final.Settled = false, fmt.Sprintf("%d operations were open still after %s", len(final.Open), w.options.settle)
	return nil
}

func (w *workload) retryParked(ctx context.Context) {
	parked := w.ask(ctx, &checker.Call{To: "api-1", Customer: "support", Scope: operatorScopes, Method: "GET", Path: "/v1/operations?status=needs_attention&limit=200"})
	for _, o := range listed(parked) {
		w.ask(ctx, &checker.Call{To: "api-1", Customer: "support", Scope: operatorScopes, Method: "POST", Path: "/v1/operations/" + o.ID + "/retry"})
	}
}

// control removes every fault.
func control(ctx context.Context, sandbox string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://"+sandbox+"/_sandbox/faults", nil)
	if err != nil {
		return
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

// collect asks everybody what there is.
func (w *workload) collect(ctx context.Context, final *checker.Final) error {
	final.At = time.Now()
	w.mu.Lock()
	everybody := slices.Sorted(maps.Keys(w.known))
	w.mu.Unlock()
	if err := w.proofs(ctx, final); err != nil { // before anybody asks for an inbox, which is remembered
		return err
	}
	final.Customers = make([]checker.Standing, len(everybody))
	problems := make([]error, len(everybody))
	var wg sync.WaitGroup
	free := make(chan struct{}, 6)
	for i, who := range everybody {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			final.Customers[i], problems[i] = w.standing(ctx, who)
		})
	}
	wg.Wait()
	if err := errors.Join(problems...); err != nil {
		return err
	}
	final.Groups = map[string]string{}
	maps.Copy(final.Groups, w.stack.groups)
	// For who looks into a failure. What is judged by it are writes that must not be there: calls that were lost do not matter.
	if log, err := w.tell(ctx, "sandbox", "", "", "/_sandbox/requests"); err == nil {
		if err := os.WriteFile(filepath.Join(w.dir, "vendor-calls.json"), log, 0o600); err != nil {
			return err
		}
	}
	if err := w.writes(final); err != nil {
		return err
	}
	return w.audit(ctx, final)
}

// writes are ours to the vendors where customers decide, of these customers, out of every log that was kept.
func (w *workload) writes(final *checker.Final) error {
	logs, err := filepath.Glob(filepath.Join(w.dir, "vendor-calls*.json"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var log struct {
			Requests []struct {
				checker.Write
				Customers []string `json:"customers"`
				Call      string   `json:"call"`
			} `json:"requests"`
		}
		if json.Unmarshal(raw, &log) != nil {
			continue // cut short, as whoever told it was killed
		}
		for _, r := range log.Requests {
			for _, who := range deciders() {
				if r.Call == "write" && r.Target == decidesAt(who) && !strings.Contains(r.Path, ownSwitch) && (r.Customer == who || slices.Contains(r.Customers, who)) {
					r.Customer = who
					final.Writes = append(final.Writes, r.Write)
				}
			}
		}
	}
	return nil
}

func (w *workload) standing(ctx context.Context, who string) (s checker.Standing, err error) {
	s.Customer = who
	escaped := url.PathEscape(who)
	if s.Preferences, err = w.tell(ctx, "api-1", who, "", "/v1/preferences"); err != nil {
		return s, err
	}
	if s.Vendors, err = w.tell(ctx, "sandbox", "", "", "/_sandbox/customers/"+escaped); err != nil {
		return s, err
	}
	if s.Inbox, err = w.all(ctx, who, "", "/v1/inbox?limit=100"); err != nil {
		return s, err
	}
	if s.Archived, err = w.all(ctx, who, "", "/v1/inbox?limit=100&state=archived"); err != nil {
		return s, err
	}
	pages, err := w.all(ctx, "support", operatorScopes, "/v1/customers/"+escaped+"/audit?limit=200")
	for _, p := range pages {
		var page struct {
			Entries []json.RawMessage `json:"entries"`
		}
		err = errors.Join(err, json.Unmarshal(p, &page))
		s.Ledger = append(s.Ledger, page.Entries...)
	}
	slices.Reverse(s.Ledger) // newest first, as it is told
	return s, err
}

// all reads every page.
func (w *workload) all(ctx context.Context, who, scope, path string) (out []json.RawMessage, err error) {
	for cursor := ""; ; {
		raw, err := w.tell(ctx, "api-2", who, scope, path+cursor)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
		var page struct {
			Next *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil || page.Next == nil {
			return out, err
		}
		cursor = "&cursor=" + url.QueryEscape(*page.Next)
	}
}

// tell asks until there is an answer. It is no part of the history.
func (w *workload) tell(ctx context.Context, to, who, scope, path string) (json.RawMessage, error) {
	var c *checker.Call
	for range 20 {
		c = &checker.Call{To: to, Customer: who, Scope: scope, Method: "GET", Path: path, Header: map[string]string{}, ID: "at-the-end"}
		err := w.send(ctx, c)
		if err == nil && c.Status == 200 {
			return c.Answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pause(ctx, time.Second)
	}
	return nil, fmt.Errorf("at the end: %s of %s answers %d %s", path, who, c.Status, c.Answer)
}

// audit has the ledger verified as an operator would.
func (w *workload) audit(ctx context.Context, final *checker.Final) error {
	told, err := process.Run(ctx, w.stack.bin, w.stack.env, "audit", "verify")
	final.Audit.Output = told
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		final.Audit.Exit, err = exit.ExitCode(), nil
	}
	return err
}

// counted is what was asked for and what came of it, in one line.
func (w *workload) counted(final *checker.Final) string {
	ends := map[string]int{}
	for _, s := range final.Customers {
		for _, raw := range s.Ledger {
			var e struct {
				Event string `json:"event"`
			}
			if json.Unmarshal(raw, &e) == nil {
				ends[e.Event]++
			}
		}
	}
	restarts := 0
	for _, p := range w.stack.parts {
		p.mu.Lock()
		restarts += p.restarts
		p.mu.Unlock()
	}
	return fmt.Sprintf("%s; %d customers; accepted %d, applied %d, compensated %d, parked %d; %d processes ended by themselves", w.progress(), len(final.Customers),
		ends["requested"], ends["applied"], ends["compensated"], ends["needs_attention"], restarts)
}
