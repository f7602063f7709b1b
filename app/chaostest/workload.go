package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"accord/app/chaostest/checker"
)

// workload is everybody who uses the system.
type workload struct {
	options
	dir   string // of the record
	stack *stack
	rec   *recorder
	http  *http.Client
	pace  chan struct{}

	mu      sync.Mutex
	tokens  map[string]string
	known   map[string]bool // customers who have called
	numbers atomic.Int64
	answers [6]atomic.Int64 // by the first digit of the status; 0 for none
	changes atomic.Int64
	posted  atomic.Int64
	heardOf atomic.Int64

	everybody []*client
	gone      atomic.Int64
	erasing   []string          // who have begun to be erased
	erased    map[string]string // the operations that do it, by whom
	inCRM     [crmCustomers]sync.Mutex
	crmKnows  [crmCustomers]bool
}

func newWorkload(o options, dir string, s *stack, rec *recorder) *workload {
	return &workload{options: o, dir: dir, stack: s, rec: rec, tokens: map[string]string{}, known: map[string]bool{}, erased: map[string]string{}, pace: make(chan struct{}),
		// Longer than anybody waits for an outcome. What is not answered by then is unknown.
		http: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

// Scopes of the systems that call.
const (
	publisherScopes = "messages:write messages:read"
	operatorScopes  = "operations:write operations:read audit:read preferences:read"
	mailerScopes    = "preferences:write"
)

// customer makes up a name. Some are of the kind that is personal data itself.
func (w *workload) customer(n int) string {
	if n%17 == 5 {
		return fmt.Sprintf("c%d+shop@example.org", n)
	}
	return fmt.Sprintf("c-%d", n)
}

// token of somebody whose clock is wrong by up to 25 seconds, always the same.
func (w *workload) token(subject, scope string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := subject + " " + scope
	if t := w.tokens[key]; t != "" {
		return t, nil
	}
	var seed uint64
	for _, b := range []byte(key) {
		seed = seed*31 + uint64(b)
	}
	t, err := w.stack.issuer.mint(subject, scope, time.Duration(seed%51)*time.Second-25*time.Second)
	w.tokens[key] = t
	return t, err
}

// ask is one request, recorded with its answer. There is an answer unless Status is 0.
func (w *workload) ask(ctx context.Context, c *checker.Call) *checker.Call {
	c.ID = fmt.Sprintf("q-%d", w.numbers.Add(1))
	if c.Header == nil {
		c.Header = map[string]string{}
	}
	for _, who := range []string{c.Customer, c.About} {
		if who != "" && c.Scope == "" {
			w.mu.Lock()
			w.known[who] = true
			w.mu.Unlock()
		}
	}
	c.Invoked = time.Now()
	if err := w.send(ctx, c); err != nil {
		c.Error, c.Status, c.Answer, c.Given = err.Error(), 0, nil, nil
	} else {
		c.Answered = time.Now()
	}
	w.answers[min(c.Status/100, 5)].Add(1)
	w.rec.call(c)
	return c
}

func (w *workload) send(ctx context.Context, c *checker.Call) error {
	base := "http://" + w.stack.sandbox
	if n, is := strings.CutPrefix(c.To, "api-"); is {
		base = w.stack.apis[int(n[0]-'1')]
	}
	// What is asked for is seen through, also when time is up.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), c.Method, base+c.Path, io.MultiReader(bytes.NewReader(c.Body), strings.NewReader(c.Form)))
	if err != nil {
		return err
	}
	if len(c.Body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.To != "sandbox" {
		req.Header.Set("X-Request-Id", c.ID)
	}
	if c.Customer != "" {
		token, err := w.token(c.Customer, c.Scope)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, value := range c.Header {
		req.Header.Set(name, value)
	}
	res, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	c.Status, c.Given = res.StatusCode, map[string]string{}
	for _, name := range []string{"Accord-Operation", "Etag", "Location", "Idempotency-Replayed", "Retry-After"} {
		if v := res.Header.Get(name); v != "" {
			c.Given[name] = v
		}
	}
	if json.Valid(raw) {
		c.Answer = raw
	}
	return nil
}

// prepare makes what everything else stands on.
func (w *workload) prepare(ctx context.Context) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		c := w.ask(ctx, &checker.Call{To: "api-1", Customer: "campaigns", Scope: publisherScopes, Method: "PUT", Path: "/v1/deeplink-targets/orders",
			Body: encode(map[string]any{"pattern": "app://orders/{order_id}", "active": true})})
		if c.Status != 0 && c.Status < 300 {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("prepare: %s", c)
		}
		pause(ctx, time.Second)
	}
}

// work has all clients call until ctx ends.
func (w *workload) work(ctx context.Context) {
	var wg sync.WaitGroup
	clients := make([]*client, w.clients)
	for n := range clients {
		c := &client{workload: w, id: n, rng: rand.New(rand.NewPCG(w.seed, uint64(n)+2)), read: map[string][]string{}} //nolint:gosec // to be had again
		clients[n] = c
		wg.Go(func() {
			for c.turn(ctx) {
				c.act(ctx)
			}
		})
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / w.rate))
	defer tick.Stop()
	told := time.NewTicker(30 * time.Second)
	defer told.Stop()
	w.everybody = clients
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-told.C:
			say("%s", w.progress())
		case <-tick.C:
			select {
			case w.pace <- struct{}{}:
			default: // all are waiting for answers
			}
		}
	}
	wg.Wait()
}

func (w *workload) progress() string {
	return fmt.Sprintf("%d requests: %d answered 2xx, %d 4xx, %d 5xx, %d not answered; %d changes asked for, %d told of, %d messages",
		w.numbers.Load(), w.answers[2].Load(), w.answers[4].Load(), w.answers[5].Load(), w.answers[0].Load(), w.changes.Load(), w.heardOf.Load(), w.posted.Load())
}

// client is one of those at work.
type client struct {
	*workload
	id  int
	rng *rand.Rand

	kept     []*checker.Call     // changes with a key, to be repeated much later
	told     []told              // decisions made elsewhere, to be told again much later
	untold   []told              // not told yet
	read     map[string][]string // messages that a customer has seen
	versions map[string]string
	ops      []string
	posts    []string // messages published
	asking   []mailed // links that confirm a subscription
	mirror   mirror
}

// turn waits for it. False when time is up.
func (c *client) turn(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.pace:
		return true
	}
}

func (c *client) chance(percent int) bool { return c.rng.IntN(100) < percent }

func pick[T any](c *client, of ...T) T { return of[c.rng.IntN(len(of))] }

// somebody: half of all that happens happens to a few, who get in each other's way.
func (c *client) somebody() string {
	if c.chance(50) {
		return c.customer(c.rng.IntN(min(30, c.customers)))
	}
	return c.customers1()
}

func (c *client) customers1() string { return c.workload.customer(c.rng.IntN(c.customers)) }

func (c *client) api() string { return pick(c, "api-1", "api-2") }

// works are the parts of what is done that a run may focus on: numbers of act, up to but without the second.
var works = map[string]*[2]int{"preferences": {0, 70}, "inbox": {70, 100}, "told": {100, 113}}

// act does one of all the things that callers do.
func (c *client) act(ctx context.Context) {
	who := c.somebody()
	n := c.rng.IntN(113)
	if among := works[c.focus]; among != nil && c.chance(90) {
		n = among[0] + c.rng.IntN(among[1]-among[0])
	}
	switch {
	case n < 14:
		c.register(ctx, who)
	case n < 17:
		c.change(ctx, who, "DELETE", "/v1/devices/"+pick(c, "phone", "tablet"), nil)
	case n < 34:
		c.change(ctx, who, "PATCH", "/v1/preferences/push", c.switches())
	case n < 42:
		c.email(ctx, who)
	case n < 46:
		c.change(ctx, who, "PATCH", "/v1/devices/"+pick(c, "phone", "tablet"), pick(c, map[string]any{"enabled": c.chance(60)},
			map[string]any{"channels": map[string]any{pick(c, "promotions", "news"): map[string]any{"enabled": c.chance(50)}}}))
	case n < 50:
		c.race(ctx, who)
	case n < 53:
		c.again(ctx)
	case n < 65:
		c.get(ctx, who, pick(c, "/v1/preferences", "/v1/preferences", "/v1/preferences/push", "/v1/preferences/email"), "")
	case n < 67:
		c.operations(ctx, who)
	case n < 68:
		c.mail(ctx, who)
	case n < 70:
		c.operate(ctx)
	case n < 75:
		c.publish(ctx)
	case n < 84:
		c.page(ctx, c.viewer())
	case n < 88:
		c.follow(ctx)
	case n < 90:
		c.get(ctx, c.viewer(), "/v1/inbox/counts", "")
	case n < 92:
		c.refresh(ctx)
	case n < 100:
		c.acknowledge(ctx)
	case n < 106:
		c.decideElsewhere(ctx, who)
	case n < 107:
		c.comeAndGo(ctx)
	case n < 110:
		c.decideInCRM(ctx)
	default:
		c.decideAtDevice(ctx)
	}
}

// viewer reads an inbox: mostly one of the few who have something in it, now and then nobody in particular.
func (c *client) viewer() string {
	if c.chance(8) {
		return ""
	}
	return c.customer(c.rng.IntN(min(30, c.customers)))
}

func (c *client) get(ctx context.Context, who, path, session string) *checker.Call {
	return c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: who, Method: "GET", Path: path, Session: session})
}

func (c *client) post(ctx context.Context, who, path string, body any) *checker.Call {
	return c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: who, Method: "POST", Path: path, Body: encode(body)})
}

// operations are read by whose they are, and by others, who must not see them.
func (c *client) operations(ctx context.Context, who string) {
	if len(c.ops) == 0 {
		return
	}
	owner, id, _ := strings.Cut(pick(c, c.ops...), " ")
	if c.chance(70) {
		who = owner
	}
	c.get(ctx, who, "/v1/operations/"+url.PathEscape(id), "")
}

// operate decides about what is parked, as operators do: mostly again, now and then back.
func (c *client) operate(ctx context.Context) {
	list := c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: "support", Scope: operatorScopes, Method: "GET", Path: "/v1/operations?status=needs_attention&limit=20"})
	for _, o := range listed(list) {
		what := pick(c, "retry", "retry", "retry", "compensate")
		if strings.HasPrefix(o.Customer, erasedCustomer) { // nobody takes an erasure back
			what = "retry"
		}
		c.ask(ctx, &checker.Call{Client: c.id, To: c.api(), Customer: "support", Scope: operatorScopes, Method: "POST", Path: "/v1/operations/" + o.ID + "/" + what})
	}
}

type parked struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
}

func listed(c *checker.Call) []parked {
	var page struct {
		Operations []parked `json:"operations"`
	}
	_ = json.Unmarshal(c.Answer, &page) // none then
	return page.Operations
}

func encode(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of what can be encoded, by this program
	}
	return raw
}
