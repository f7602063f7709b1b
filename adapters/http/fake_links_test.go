package httpapi

import (
	"context"
	"sync"
	"time"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// fakeLinks knows one token, "good", and answers what it is told to.
type fakeLinks struct {
	mu    sync.Mutex
	view  ports.LinkView
	err   error
	looks int
	uses  []ports.LinkUse
}

func (f *fakeLinks) NewUnsubscribe(_ context.Context, customer preference.CustomerID, topic preference.TopicKey) (string, error) {
	return "https://mail.example/u/" + string(customer) + string(topic), f.err
}

func (f *fakeLinks) NewConfirmation(_ context.Context, customer preference.CustomerID) (string, time.Time, error) {
	return "https://mail.example/c/" + string(customer), time.Date(2026, 5, 7, 10, 0, 0, 0, time.UTC), f.err
}

func (f *fakeLinks) open(token string) error {
	if token != "good" {
		return fault.New(fault.NotFound, "link-unknown", "no such link")
	}
	return nil
}

func (f *fakeLinks) Look(_ context.Context, _ ports.LinkPurpose, token string) (ports.LinkView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return f.view, f.open(token)
}

func (f *fakeLinks) Unsubscribe(_ context.Context, u ports.LinkUse) (ports.LinkView, error) {
	return f.use(u)
}

func (f *fakeLinks) Confirm(_ context.Context, u ports.LinkUse) (ports.LinkView, error) {
	return f.use(u)
}

func (f *fakeLinks) use(u ports.LinkUse) (ports.LinkView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(u.Token); err != nil {
		return ports.LinkView{}, err
	}
	f.uses = append(f.uses, u)
	return f.view, f.err
}
