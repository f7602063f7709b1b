package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"accord/app/chaostest/checker"
)

// nemesis does what the schedule says, and writes down what it did.
type nemesis struct {
	dir   string // of the record
	stack *stack
	rec   *recorder

	mu     sync.Mutex
	counts map[string]int
	hits   int // calls that met a fault
}

// rage strikes lane by lane until all is done or ctx ends. A strike that comes late, because the one before took longer on a
// busy machine, comes at once.
func (n *nemesis) rage(ctx context.Context, all []strike) {
	n.counts = map[string]int{}
	lanes := map[string][]strike{}
	for _, s := range all {
		lanes[s.lane] = append(lanes[s.lane], s)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, strikes := range lanes {
		wg.Go(func() {
			for _, s := range strikes {
				pause(ctx, time.Until(began.Add(s.at)))
				if ctx.Err() != nil {
					return
				}
				n.strike(ctx, s)
			}
		})
	}
	wg.Wait()
}

func (n *nemesis) strike(ctx context.Context, s strike) {
	from := time.Now()
	done := true
	switch s.what {
	case "kill":
		n.kill(ctx, s)
	case "stop":
		n.stop(ctx, s)
	case "cut":
		n.stack.links.cut(s.whom)
		pause(ctx, s.lasts)
		n.stack.links.mend(s.whom)
	case "slow":
		n.stack.links.slow(s.whom, s.latency, s.latency/2)
		pause(ctx, s.lasts)
		n.stack.links.quicken(ctx, s.whom)
	case "fault":
		done = n.fault(ctx, s)
	case "fill":
		if done = n.stack.disk.fill(); done {
			pause(ctx, s.lasts)
			n.stack.disk.free()
		}
	case "deploy":
		n.deploy(ctx)
	}
	if !done {
		return
	}
	n.rec.disturbed(checker.Disturbance{What: s.String(), From: from, To: time.Now()})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[strings.TrimSpace(s.what+" "+kindOf(s))]++
}

// kindOf is what the figures are told by.
func kindOf(s strike) string {
	if s.fault != nil {
		return ""
	}
	kind, _, _ := strings.Cut(s.whom, "-")
	return kind
}

func (n *nemesis) kill(ctx context.Context, s strike) {
	switch s.whom {
	case "postgres":
		p := n.stack.postgres
		p.acting.Lock()
		defer p.acting.Unlock()
		p.kill()
		defer p.release()
	case "temporal":
		t := n.stack.temporal
		t.acting.Lock()
		defer t.acting.Unlock()
		t.kill()
		defer t.release()
	default:
		p := n.stack.parts[s.whom]
		p.acting.Lock()
		defer p.acting.Unlock()
		if s.whom == "sandbox" { // its log of calls dies with it, and tells who looks into a failure more than anything else
			if calls, answered := n.ask(ctx, http.MethodGet, "/requests", nil); answered {
				_ = os.WriteFile(filepath.Join(n.dir, fmt.Sprintf("vendor-calls-%s.json", time.Now().UTC().Format("150405"))), calls, 0o600)
			}
		}
		p.kill()
		defer p.release()
	}
	pause(ctx, s.lasts)
}

func (n *nemesis) stop(ctx context.Context, s strike) {
	signal, acting := n.stack.postgres.signal, &n.stack.postgres.acting
	if s.whom == "temporal" {
		signal, acting = n.stack.temporal.signal, &n.stack.temporal.acting
	} else if p := n.stack.parts[s.whom]; p != nil {
		signal, acting = p.signal, &p.acting
	}
	acting.Lock()
	defer acting.Unlock()
	signal(syscall.SIGSTOP)
	pause(ctx, s.lasts)
	signal(syscall.SIGCONT)
}

// deploy rolls the next version out, one process after the other, as long as it takes.
func (n *nemesis) deploy(ctx context.Context) {
	for _, name := range []string{"worker-1", "worker-2", "api-1", "api-2"} {
		p := n.stack.parts[name]
		p.acting.Lock()
		p.replace(n.stack.next)
		for end := time.Now().Add(20 * time.Second); !p.isUp() && time.Now().Before(end); {
			pause(ctx, 100*time.Millisecond)
		}
		p.acting.Unlock()
	}
}

func (n *nemesis) fault(ctx context.Context, s strike) bool {
	id := n.control(ctx, http.MethodPost, "/faults", s.fault)
	if id == "" {
		return false // the sandbox is down
	}
	pause(ctx, s.lasts)
	ctx = context.WithoutCancel(ctx)
	n.countHits(ctx, id)
	for range 20 { // it may be down now, and forgets its faults with that
		if n.control(ctx, http.MethodDelete, "/faults/"+id, nil) != "" {
			break
		}
		pause(ctx, 500*time.Millisecond)
	}
	return true
}

func (n *nemesis) countHits(ctx context.Context, id string) {
	var all struct {
		Faults []struct {
			ID   string `json:"id"`
			Hits int    `json:"hits"`
		} `json:"faults"`
	}
	raw, _ := n.ask(ctx, http.MethodGet, "/faults", nil)
	_ = json.Unmarshal(raw, &all) // no hits then
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range all.Faults {
		if f.ID == id {
			n.hits += f.Hits
		}
	}
}

// control asks the sandbox and answers with an id, or with something else that is not empty, when it has answered.
func (n *nemesis) control(ctx context.Context, method, path string, body any) string {
	raw, answered := n.ask(ctx, method, path, body)
	var made struct {
		ID string `json:"id"`
	}
	if !answered {
		return ""
	}
	if json.Unmarshal(raw, &made) == nil && made.ID != "" {
		return made.ID
	}
	return "done"
}

func (n *nemesis) ask(ctx context.Context, method, path string, body any) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, false
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.stack.sandbox+"/_sandbox"+path, bytes.NewReader(raw))
	if err != nil {
		return nil, false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false
	}
	defer res.Body.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(res.Body)
	return out.Bytes(), err == nil
}

// counted is what was done, in one line.
func (n *nemesis) counted() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(n.counts)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", what, n.counts[what]))
	}
	return fmt.Sprintf("done: %s; %d calls met a fault", strings.Join(parts, ", "), n.hits)
}
