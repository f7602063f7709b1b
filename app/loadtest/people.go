package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// person is a customer with an app: signed in, with a phone that is registered and messages in the inbox.
type person struct {
	name     string
	token    string
	on       bool     // what promotions were switched to last
	messages []string // that can be acknowledged
	turn     int
}

// people are the customers that clients act for.
type people struct {
	system    *system
	http      *http.Client
	all       []*person
	idle      chan *person // those that no client acts for just now
	publisher string
	published atomic.Int64
	next      atomic.Int64
}

const (
	pageSize     = 20
	perPerson    = 40 // messages of each customer
	globalsShown = 25 // messages for everybody
)

func newPeople(s *system, n int) (*people, error) {
	p := &people{system: s, idle: make(chan *person, n),
		http: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 4096, DisableCompression: true}}}
	for i := range n {
		one := &person{name: fmt.Sprintf("load-%d", i+1)}
		var err error
		if one.token, _, err = s.issuer.Mint(one.name, ""); err != nil {
			return nil, err
		}
		p.all = append(p.all, one)
		p.idle <- one
	}
	var err error
	p.publisher, _, err = s.issuer.Mint("campaigns", "messages:write messages:read")
	return p, err
}

// anybody is the next of all in turn; several clients may act for one at a time.
func (p *people) anybody() *person { return p.all[int(p.next.Add(1))%len(p.all)] }

// base is one instance of the API after the other.
func (p *people) base() string { return p.system.apis[int(p.next.Add(1))%len(p.system.apis)] }

// errUnexpected: the answer is another one than it should be.
type errUnexpected struct {
	Status int
	Body   string
}

func (e errUnexpected) Error() string { return fmt.Sprintf("answered %d: %.300s", e.Status, e.Body) }

// ask sends one request and reads the whole answer, whose status must be one of those wanted.
func (p *people) ask(ctx context.Context, method, path, token, prefer, body string, want ...int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base()+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	for _, status := range want {
		if res.StatusCode == status {
			return answer, nil
		}
	}
	return nil, errUnexpected{res.StatusCode, string(answer)}
}

// settle brings everything into place through the API: messages for everybody and for each, a phone for each.
func (p *people) settle(ctx context.Context) error {
	for range globalsShown {
		if err := p.publish(ctx, `{"type":"global"}`, 24*time.Hour); err != nil {
			return fmt.Errorf("publish to everybody: %w", err)
		}
	}
	names := make([]string, len(p.all))
	for i, one := range p.all {
		names[i] = one.name
	}
	ids, err := json.Marshal(names)
	if err != nil {
		return err
	}
	for range perPerson {
		if err := p.publish(ctx, `{"type":"customers","ids":`+string(ids)+`}`, 24*time.Hour); err != nil {
			return fmt.Errorf("publish to each: %w", err)
		}
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(16)
	for i, one := range p.all {
		work.Go(func() error {
			if err := patiently(ctx, func() error { return p.register(ctx, one) }); err != nil {
				return fmt.Errorf("register the phone of %s: %w", one.name, err)
			}
			// Every other one has promotions on, so that grants and withdrawals are mixed at every moment: one waits for its run to be
			// started before it is accepted, the other does not.
			if one.on = i%2 == 0; one.on {
				if err := patiently(ctx, func() error { return p.switched(ctx, one, "wait=30", http.StatusOK) }); err != nil {
					return fmt.Errorf("switch on the promotions of %s: %w", one.name, err)
				}
			}
			return p.look(ctx, one)
		})
	}
	return work.Wait()
}

// patiently tries again what is not possible right now: bringing things into place is not what is measured.
func patiently(ctx context.Context, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		var answered errUnexpected
		if again := errors.As(err, &answered) && (answered.Status == http.StatusServiceUnavailable || answered.Status == http.StatusAccepted); !again || n == 10 {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// publish puts a message in, to be shown for a while.
func (p *people) publish(ctx context.Context, audience string, shown time.Duration) error {
	n := p.published.Add(1)
	_, err := p.ask(ctx, http.MethodPost, "/v1/messages", p.publisher, "", fmt.Sprintf(
		`{"source":"load","external_id":"m%d","audience":%s,"title":"Your parcel %d is on its way","body":"%s","category":"orders","expiry":"%s"}`,
		n, audience, n, strings.Repeat("It will be with you soon. ", 4), time.Now().Add(shown).UTC().Format(time.RFC3339)), http.StatusCreated)
	return err
}

// register puts the phone in, and returns when all targets have it.
func (p *people) register(ctx context.Context, one *person) error {
	_, err := p.ask(ctx, http.MethodPut, "/v1/devices/phone", one.token, "wait=30", fmt.Sprintf(
		`{"platform":"ios","token":"token-of-%s","permission":"granted","app_version":"4.2.0","locale":"en-GB"}`, one.name), http.StatusOK, http.StatusCreated)
	return err
}

// look finds the person's own messages, once they have been delivered.
func (p *people) look(ctx context.Context, one *person) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		answer, err := p.ask(ctx, http.MethodGet, "/v1/inbox?limit=100", one.token, "", "", http.StatusOK)
		if err != nil {
			return err
		}
		var page struct {
			Messages []struct {
				ID       string `json:"id"`
				Audience string `json:"audience"`
			} `json:"messages"`
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return err
		}
		one.messages = nil
		for _, m := range page.Messages {
			one.messages = append(one.messages, m.ID)
		}
		if len(one.messages) >= perPerson+globalsShown {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has %d of %d messages after two minutes", one.name, len(one.messages), perPerson+globalsShown)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// exclusively acts for somebody whom nobody else acts for meanwhile.
func (p *people) exclusively(ctx context.Context, act func(*person) error) error {
	select {
	case one := <-p.idle:
		defer func() { p.idle <- one }()
		return act(one)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page reads the first page of an inbox.
func (p *people) page(ctx context.Context, token string) error {
	answer, err := p.ask(ctx, http.MethodGet, "/v1/inbox", token, "", "", http.StatusOK)
	if err == nil && len(answer) < pageSize*100 {
		err = fmt.Errorf("a page of %d bytes is none with %d messages", len(answer), pageSize)
	}
	return err
}

// acknowledge marks a message as read or, in the next round, takes it back: every time something is written.
func (p *people) acknowledge(ctx context.Context) error {
	return p.exclusively(ctx, func(one *person) error {
		if len(one.messages) == 0 {
			return errors.New("no messages to acknowledge")
		}
		state := "read"
		if one.turn/len(one.messages)%2 == 1 {
			state = "unread"
		}
		id := one.messages[one.turn%len(one.messages)]
		one.turn++
		_, err := p.ask(ctx, http.MethodPost, "/v1/inbox/messages/"+id+"/acknowledge", one.token, "", `{"state":"`+state+`"}`, http.StatusOK)
		return err
	})
}

// change switches promotions to what they are not: a withdrawal and a grant in turn.
func (p *people) change(ctx context.Context, prefer string, want int) error {
	return p.exclusively(ctx, func(one *person) error {
		one.on = !one.on
		return p.switched(ctx, one, prefer, want)
	})
}

// switched has promotions be what they are to be.
func (p *people) switched(ctx context.Context, one *person, prefer string, want int) error {
	_, err := p.ask(ctx, http.MethodPatch, "/v1/preferences/push", one.token, prefer, fmt.Sprintf(`{"channels":{"promotions":{"enabled":%t}}}`, one.on), want)
	return err
}

// pause waits, and is an error when ctx ends meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each does something for all of some, so many at a time.
func each[T any](of []T, atOnce int, do func(T) error) error {
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		errs []error
		gate = make(chan struct{}, atOnce)
	)
	for _, one := range of {
		gate <- struct{}{}
		work.Go(func() {
			defer func() { <-gate }()
			if err := do(one); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}
