package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"accord/app/chaostest/checker"
)

// listeners are streams that stay open over everything that is done, reconnecting wherever they can.
type listeners struct {
	workload *workload
	all      []*listener
	stop     context.CancelFunc
	done     sync.WaitGroup
}

type listener struct {
	name, who string

	mu      sync.Mutex
	version string // of the inbox, as it heard last
	lastID  string
}

// listen opens some, for customers to whom much happens.
func (w *workload) listen(ctx context.Context) *listeners {
	ctx, stop := context.WithCancel(ctx)
	out := &listeners{workload: w, stop: stop}
	for n := range min(8, w.customers) {
		l := &listener{name: fmt.Sprintf("stream-%d", n), who: w.customer(n)}
		w.mu.Lock()
		w.known[l.who] = true
		w.mu.Unlock()
		out.all = append(out.all, l)
		out.done.Go(func() {
			for at := n; ctx.Err() == nil; at++ {
				w.hear(ctx, l, w.stack.apis[at%2])
				pause(ctx, 500*time.Millisecond)
			}
		})
	}
	return out
}

// hear reads one connection to its end.
func (w *workload) hear(ctx context.Context, l *listener, api string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/v1/inbox/stream", nil)
	if err != nil {
		return
	}
	token, err := w.token(l.who, "")
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if l.lastID != "" {
		req.Header.Set("Last-Event-ID", l.lastID)
	}
	res, err := (&http.Client{}).Do(req) // no time-out: it has no end
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	mark := func(what string) {
		w.rec.heard(checker.Heard{Stream: l.name, Customer: l.who, At: time.Now(), Kind: what})
	}
	mark(checker.StreamBegins)
	defer mark(checker.StreamEnds)
	var id, kind, data string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				w.rec.heard(checker.Heard{Stream: l.name, Customer: l.who, At: time.Now(), Kind: kind, Data: data})
				l.told(id, kind, data)
			}
			kind, data = "", ""
		}
	}
}

func (l *listener) told(id, kind, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID = id
	var body struct {
		Version string `json:"version"`
	}
	if kind == "inbox.changed" && json.Unmarshal([]byte(data), &body) == nil {
		l.version = body.Version
	}
}

// probe publishes to everybody when nothing is disturbed any more, and gives the streams the time that they have to hear of it.
func (ls *listeners) probe(ctx context.Context, final *checker.Final) {
	final.Healed = time.Now()
	for n := range 2 {
		before := ls.versions()
		ls.workload.ask(ctx, &checker.Call{To: fmt.Sprintf("api-%d", n+1), Customer: "campaigns", Scope: publisherScopes, Method: "POST", Path: "/v1/messages",
			Body: encode(map[string]any{"audience": map[string]any{"type": "global"}, "title": "the end", "body": "by the chaos test", "category": "news",
				"source": "chaos", "external_id": fmt.Sprintf("probe-%d", n)})})
		for end := time.Now().Add(checker.HeardWithin + 2*time.Second); time.Now().Before(end) && ctx.Err() == nil && !ls.allHeardSince(before); {
			pause(ctx, 200*time.Millisecond)
		}
	}
}

func (ls *listeners) versions() (out []string) {
	for _, l := range ls.all {
		l.mu.Lock()
		out = append(out, l.version)
		l.mu.Unlock()
	}
	return out
}

func (ls *listeners) allHeardSince(before []string) bool {
	return !slices.ContainsFunc(ls.all, func(l *listener) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Contains(before, l.version)
	})
}

// catchUp gives them time to hear the last word, and ends them.
func (ls *listeners) catchUp(ctx context.Context) {
	for end := time.Now().Add(min(time.Minute, ls.workload.options.settle)); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		behind := 0
		for _, l := range ls.all {
			call := ls.workload.ask(ctx, &checker.Call{To: "api-1", Customer: l.who, Method: "GET", Path: "/v1/inbox/counts"})
			var now shown
			_ = json.Unmarshal(call.Answer, &now) // it has not caught up then
			l.mu.Lock()
			if l.version != now.Version {
				behind++
			}
			l.mu.Unlock()
		}
		if behind == 0 {
			break
		}
	}
	ls.stop()
	ls.done.Wait()
}
