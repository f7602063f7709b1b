// Package portstest holds the contracts of the ports as tests. Every adapter runs them; what they do not say, a caller
// must not rely on.
package portstest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// Store is everything that shares one database.
type Store interface {
	ports.Accounts
	ports.Operations
	ports.Steps
	ports.Ledger
	ports.Outcomes
	ports.Erasures
	ports.KeyStore
}

// Catalogue that a store under test is to be opened with.
func Catalogue() *preference.Catalogue {
	c, err := preference.NewCatalogue("email-marketing",
		preference.Channel{Key: "promotions", Purpose: "push-marketing"},
		preference.Channel{Key: "loyalty"},
		preference.Channel{Key: "news"},
		preference.Channel{Key: "order_updates", Required: true})
	if err != nil {
		panic(err)
	}
	return c
}

// Noon is when things happen in these tests. It has microseconds, which must survive.
var Noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

const (
	ada   preference.CustomerID = "ada"
	grace preference.CustomerID = "grace"
)

var lastID atomic.Int64

// NewID is an operation's id that was not used before.
func NewID() string { return fmt.Sprintf("op-%06d", lastID.Add(1)) }

// Unsubscribe is a withdrawal that is valid at any time.
func Unsubscribe(customer preference.CustomerID) preference.Request {
	change, err := preference.SetEmail(preference.Unsubscribed, &preference.Wording{ID: "footer-3", Locale: "de-CH"})
	if err != nil {
		panic(err)
	}
	return request(customer, change)
}

// Subscribe is a grant that is valid at any time. Its budget is two minutes.
func Subscribe(customer preference.CustomerID) preference.Request {
	change, err := preference.SetEmail(preference.Subscribed, nil)
	if err != nil {
		panic(err)
	}
	return request(customer, change)
}

// Register is a grant that registers a device.
func Register(customer preference.CustomerID, device preference.DeviceID, token string) preference.Request {
	change, err := preference.RegisterDevice(preference.Registration{Device: device, Platform: preference.IOS, Token: token,
		Permission: preference.Granted, AppVersion: "1.2.3", Locale: "en"})
	if err != nil {
		panic(err)
	}
	return request(customer, change)
}

// Release is a withdrawal that takes a device away.
func Release(customer preference.CustomerID, device preference.DeviceID) preference.Request {
	return request(customer, preference.ReleaseDevice(device))
}

func request(customer preference.CustomerID, c preference.Change) preference.Request {
	return preference.Request{ID: NewID(), Change: c, Source: preference.FromApp, Budget: 2 * time.Minute,
		Actor:  consent.Actor{Type: "customer", ID: string(customer)},
		Origin: consent.Origin{Source: "app", Installation: "0b7f", RequestID: "r-1"}}
}

// Accept takes requests into the customer's queue.
func Accept(t testing.TB, s ports.Accounts, customer preference.CustomerID, requests ...preference.Request) {
	t.Helper()
	for _, r := range requests {
		require.NoError(t, s.Update(t.Context(), customer, r.Key, func(a *preference.Account) error {
			_, _, err := a.Accept(r, Noon)
			return err
		}))
	}
}

// AcceptAhead takes a request into the queue and begins it where that gives it the turn.
func AcceptAhead(t testing.TB, s ports.Accounts, customer preference.CustomerID, r preference.Request) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), customer, r.Key, func(a *preference.Account) error {
		op, _, err := a.Accept(r, Noon)
		if err == nil {
			a.BeginAhead(op)
		}
		return err
	}))
}

// Begin puts the operation that has the turn to work.
func Begin(t testing.TB, s ports.Accounts, id string) {
	t.Helper()
	require.NoError(t, s.UpdateOperation(t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
		_, run := a.Turn()
		return a.Begin(op, run, Noon.Add(time.Second))
	}))
}

// Commit makes a running operation hold.
func Commit(t testing.TB, s ports.Accounts, id string) {
	t.Helper()
	require.NoError(t, s.UpdateOperation(t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
		return a.Commit(op, Noon.Add(2*time.Second))
	}))
}

// Compensate takes a running grant back.
func Compensate(t testing.TB, s ports.Accounts, id string) {
	t.Helper()
	require.NoError(t, s.UpdateOperation(t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
		if err := a.StartCompensation(op, consent.Reason{Code: "refused", Target: "crm"}, Noon.Add(time.Second)); err != nil {
			return err
		}
		return a.Compensate(op, []string{"crm:email/"}, Noon.Add(2*time.Second))
	}))
}

// Park leaves a running withdrawal to an operator.
func Park(t testing.TB, s ports.Accounts, id string) {
	t.Helper()
	require.NoError(t, s.UpdateOperation(t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
		return a.Park(op, consent.Reason{Code: "refused", Target: "crm"}, Noon.Add(time.Second))
	}))
}

// Apply takes requests through their whole life, one after the other.
func Apply(t testing.TB, s ports.Accounts, customer preference.CustomerID, requests ...preference.Request) {
	t.Helper()
	for _, r := range requests {
		Accept(t, s, customer, r)
		Begin(t, s, r.ID)
		Commit(t, s, r.ID)
	}
}

// Erase makes us forget a customer, every target having done so.
func Erase(t testing.TB, s interface {
	ports.Accounts
	ports.Erasures
}, customer preference.CustomerID) ports.ErasureProof {
	t.Helper()
	r := request(customer, preference.Erase())
	Accept(t, s, customer, r)
	Begin(t, s, r.ID)
	proof, err := s.Forget(t.Context(), r.ID, Noon.Add(3*time.Second))
	require.NoError(t, err)
	return proof
}

// chain is the customer's whole ledger, oldest first.
func chain(t testing.TB, s ports.Ledger, customer preference.CustomerID) []consent.Line {
	t.Helper()
	links, err := s.Entries(t.Context(), customer, 0, 1000)
	require.NoError(t, err)
	slices.Reverse(links)
	return links
}

// verified is how much there is, all of it whole.
func verified(t testing.TB, s ports.Ledger, only string) ports.Verified {
	t.Helper()
	v, err := s.Verify(t.Context(), only, func(f consent.Finding) { t.Error(f) })
	require.NoError(t, err)
	return v
}

func events(links []consent.Line) (out []consent.Event) {
	for _, l := range links {
		out = append(out, l.Event)
	}
	return out
}

func load(t testing.TB, s ports.Accounts, customer preference.CustomerID) *preference.Account {
	t.Helper()
	a, err := s.Load(t.Context(), customer)
	require.NoError(t, err)
	return a
}

func operation(t testing.TB, s ports.Operations, id string) ports.OperationState {
	t.Helper()
	op, err := s.Operation(t.Context(), id)
	require.NoError(t, err)
	return op
}

// same compares operations by what they say: no choices are the same as an empty list of them.
func same(t testing.TB, want, got preference.Operation) {
	t.Helper()
	for _, s := range []*preference.Snapshot{&want.Before, &want.After, &got.Before, &got.After} {
		if len(s.Channels) == 0 {
			s.Channels = nil
		}
		if len(s.Purposes) == 0 {
			s.Purposes = nil
		}
	}
	require.Equal(t, want, got)
}

// within waits for a signal.
func within[T any](t testing.TB, limit time.Duration, signal <-chan T, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	select {
	case <-signal:
	case <-ctx.Done():
		t.Fatalf("not within %v: %s", limit, what)
	}
}
